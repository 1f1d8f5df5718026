"""Airflow's parts as chaos tests kill them, and what the cluster itself says afterwards."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from hybrid_hpc import crash
from hybrid_hpc.jobs import JobKey, JobState, token
from hybrid_hpc.ledger import JobRow
from lab.testing import on_head_node
from tests.e2e.house import PATIENCE_S, House, until
from tests.e2e.scientist import Run

CLUSTER = "onprem"
SUBMIT = f"{CLUSTER}.submit"
RAN = "ran.txt"  # one line an execution, written by the job itself
SCRIPT = f'#!/bin/bash\necho "$SLURM_JOB_ID" >> "$SLURM_SUBMIT_DIR/{RAN}"\n'
PARTS = ("triggerer", "dag-processor", "api-server", "scheduler")
IN_DOUBT = "before_send"  # whether it was sent is not known for 150 s after a death there


@dataclass(frozen=True)
class AirflowWorld:
    """A house in which parts of Airflow die."""

    house: House

    def start(self, what: str, dies_at: str = "", **fields: object) -> Run:
        """Starts a run on premises; its worker is killed once, at that point of its submission."""
        run = Run("hpc_job", f"{what.replace(' ', '-')}-{uuid.uuid4().hex[:8]}")
        if dies_at:
            self._death(run, dies_at).touch()
        terms = {"name": what.replace(" ", "-"), "cluster": CLUSTER, "walltime": "5", "script": SCRIPT}
        self.house.scientist.trigger(*run, {**terms, **fields})
        return run

    def has_died(self, run: Run, point: str) -> bool:
        return not self._death(run, point).exists()

    def _death(self, run: Run, point: str) -> Path:
        folder = Path(self.house.stack.settings.environment[crash.FOLDER_VARIABLE])
        return folder / f"{run.run_id}.{point}"

    def run_dir(self, run: Run) -> Path:
        """The first attempt's folder, seen from this machine."""
        return self.house.site(CLUSTER).files / "scratch" / "hybrid-hpc" / token(JobKey(*run))

    def task_pid(self, run: Run, task_id: str) -> int | None:
        """The process that works on a task now; None when there is none."""
        tasks = self.house.scientist.tasks(*run)
        found = (task["pid"] for task in tasks if (task["task_id"], task["state"]) == (task_id, "running"))
        return next(found, None)

    @contextmanager
    def in_flight(self, run: Run) -> Iterator[None]:
        """As long as this is entered, the run's sbatch waits for slurmctld, which is stopped."""
        script = self.run_dir(run) / "script"
        _at_once(script.exists, f"the script of {run}")
        with self._controller_stopped():
            _at_once(self._submits, f"sbatch of {run}", deadline_s=20)
            yield

    @contextmanager
    def _controller_stopped(self) -> Iterator[None]:
        controller = self._daemon("slurmctld")
        controller.suspend()
        try:
            yield
        finally:
            controller.resume()

    def _submits(self) -> bool:
        """Whether an sbatch that submits runs on the head node."""
        return any("--hold" in _argv(process) for process in self._daemon("sshd").children(recursive=True))

    def _daemon(self, program: str) -> psutil.Process:
        folder = self.house.stack.lab.folder
        return psutil.Process(_pid(folder, f"{CLUSTER}-{program}"))

    def kill(self, part: str) -> None:
        """SIGKILL, and waits until the one that is started in its place serves."""
        since = datetime.now(UTC)
        self.kill_at_once(part)
        self.until_all_live(since)

    def kill_at_once(self, part: str) -> None:
        """SIGKILL, and waits until another one is started in its place."""
        folder = self.house.stack.airflow.folder
        killed = _pid(folder, part)
        os.kill(killed, signal.SIGKILL)
        until(lambda: _pid(folder, part) != killed, f"a new {part}")

    @contextmanager
    def lost_postgres(self) -> Iterator[None]:
        """SIGKILL of the server of both databases, which nobody starts again meanwhile.

        In the end it is started, with whatever of Airflow has given up without it, as an operator does.
        """
        postgres = self.house.stack.postgres
        assert postgres.pid
        os.kill(postgres.pid, signal.SIGKILL)
        until(lambda: not postgres.running, "the end of PostgreSQL")
        try:
            yield
        finally:
            postgres.up()
            self.until_all_live(datetime.now(UTC))

    def until_all_live(self, since: datetime) -> None:
        """Waits for a sign of life of every part; what has died for good is started again."""
        airflow = self.house.stack.airflow

        def all_live() -> bool:
            airflow.revive()
            try:
                beats = self.house.scientist.heartbeats().values()
            except httpx.HTTPError:
                return False
            return all(beat is not None and beat > since for beat in beats)

        until(all_live, "a sign of life of every part of Airflow")

    def queue(self) -> dict[str, str]:
        """State by job name of all that is in the cluster's queue: ``RUNNING``, ``PENDING JobHeldUser``."""
        answer = on_head_node(self.house.stack.lab, CLUSTER, "squeue -ha -o '%j|%T|%r'")
        assert answer.returncode == 0, answer.stderr
        lines = [line.split("|") for line in answer.stdout.splitlines()]
        return {name: " ".join(word for word in (state, why) if word != "None") for name, state, why in lines}

    def check_ran_once(self, run: Run) -> JobRow:
        """Fails unless the cluster's accounting, the job itself and the ledger say that it ran, once."""
        house = self.house
        assert house.ended(run) == ["success"], house.seen(run)
        row = house.job(run)
        assert house.accounting(CLUSTER, row.token) == {row.native_id: "COMPLETED"}
        assert (self.run_dir(run) / RAN).read_text().split() == [row.native_id]
        assert (row.outcome, row.evidence) == (JobState.COMPLETED, "accounting")
        assert row.settled
        assert row.cancel_requested_at is None
        assert row.token not in self.queue()
        return row

    def check_nothing_is_left(self, run: Run) -> None:
        """Fails unless nothing ran, nothing is in the queue, and the ledger says that it was cancelled."""
        row = self.house.job(run)
        assert row.token not in self.queue()
        assert set(self.house.accounting(CLUSTER, row.token).values()) <= {"CANCELLED"}
        assert not (self.run_dir(run) / RAN).exists()
        assert row.settled, row
        assert row.outcome is JobState.CANCELLED


def _at_once(look: Callable[[], object], what: str, *, deadline_s: float = PATIENCE_S) -> None:
    """Returns within a few milliseconds of ``look`` becoming true."""
    end = time.monotonic() + deadline_s
    while not look():
        assert time.monotonic() < end, f"waited {deadline_s:g} s in vain for {what}"
        time.sleep(0.002)


def _argv(process: psutil.Process) -> list[str]:
    try:
        argv: list[str] = process.cmdline()
    except psutil.NoSuchProcess:
        return []
    return argv if argv and Path(argv[0]).name == "sbatch" else []


def _pid(folder: Path, name: str) -> int:
    return int((folder / "pid" / f"{name}.pid").read_text().split()[0])
