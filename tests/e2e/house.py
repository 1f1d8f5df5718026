"""The whole house as the end-to-end tests see it: Airflow, the ledger, the clusters, CycleCloud."""

from __future__ import annotations

import os
import signal
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg

from hybrid_hpc.ledger import JobRow, Ledger
from lab import cloud, processes, slurm, ssh
from lab.layout import ClusterLayout
from lab.stack import Stack
from lab.testing import on_head_node
from tests.e2e.scientist import Run, Scientist

T = TypeVar("T")
PATIENCE_S = 240.0  # two shared cores, and a task's start is seconds of computing


def until(look: Callable[[], T | None], what: str, *, deadline_s: float = PATIENCE_S) -> T:
    """Gives the first true answer of ``look``; fails after ``deadline_s`` with what was looked for."""
    end = time.monotonic() + deadline_s
    while not (answer := look()):
        assert time.monotonic() < end, f"waited {deadline_s:g} s in vain for {what}"
        time.sleep(0.5)
    return answer


@dataclass(frozen=True)
class House:
    """A stack that is up, with a scientist's and an auditor's view of it."""

    stack: Stack
    scientist: Scientist
    ledger: Ledger

    def ended(self, *runs: Run) -> list[str]:
        """The states of these runs once all of them have ended."""
        end = time.monotonic() + PATIENCE_S
        while late := [run for run in runs if not self.scientist.has_ended(run)]:
            assert time.monotonic() < end, f"not ended in time: {[(run, self.seen(run)) for run in late]}"
            time.sleep(0.5)
        return [self.scientist.state(run) for run in runs]

    def seen(self, run: Run) -> dict[str, str]:
        return {name: state for name, state in self.scientist.states(run).items() if state != "skipped"}

    def until_told(self, run: Run, task_id: str, words: str) -> str:
        """The task's log once these words are in it."""

        def told() -> str | None:
            text = self.scientist.told(run, task_id)
            return text if words in text else None

        return until(told, f"{words!r} in the log of {task_id} of {run}")

    def until_state(self, run: Run, task_id: str, *states: str) -> None:
        until(lambda: self.scientist.states(run).get(task_id) in states, f"{task_id} of {run} to be {states}")

    def until_running(self, run: Run, group: str = "") -> JobRow:
        """The job's row once it runs on its cluster."""
        return until(lambda: self.row_if(run, lambda row: row.state.started, group), f"{run}'s job to run")

    def job(self, run: Run, group: str = "", map_index: int = -1) -> JobRow:
        row = self.ledger.latest_job(*run, group, map_index)
        assert row, f"the ledger has no job of {run}, group {group!r}"
        return row

    def row_if(self, run: Run, says: Callable[[JobRow], bool], group: str = "") -> JobRow | None:
        row = self.ledger.latest_job(*run, group)
        return row if row and says(row) else None

    def settled(self, token: str) -> JobRow:
        """The row once it is settled; asks the reconcile DAG for it as long as it is not."""
        self.reconcile()
        row = self.ledger.job(token)
        assert row
        assert row.settled, row
        return row

    def reconcile(self) -> None:
        """Runs hpc_reconcile once, begun now."""
        run = self.scientist.start("hpc_reconcile")
        assert self.ended(run) == ["success"], self.scientist.told(run, "reconcile")

    def accounting(self, cluster: str, token: str) -> dict[str, str]:
        """State by native id of every job of that name, as the cluster's own accounting has it."""
        answer = on_head_node(
            self.stack.lab, cluster, f"sacct -nXPD -S 2020-01-01 --name {token} -o jobid,state"
        )
        assert answer.returncode == 0, answer.stderr
        return {line.split("|")[0]: line.split("|")[1].split()[0] for line in answer.stdout.splitlines()}

    def node_state(self, cluster: str, node: str) -> str:
        """The state of a node as Slurm itself writes it: ``DOWN+DRAIN``."""
        answer = on_head_node(self.stack.lab, cluster, f"sinfo -hN -n {node} -O StateComplete:99")
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip().upper()

    @contextmanager
    def closed_gate(self, cluster: str) -> Iterator[str]:
        """A new gate, for jobs that run `waits_at` it; open in the end whatever happens.

        Else they would hold the cluster's nodes for hours, and all tests that follow would wait in vain.
        """
        gate = new_gate()
        try:
            yield gate
        finally:
            self.open_gate(cluster, gate)

    def open_gate(self, cluster: str, gate: str) -> None:
        """Lets jobs go on that run `waits_at` this gate."""
        (self.site(cluster).files / "scratch" / "hybrid-hpc" / gate).touch()

    @contextmanager
    def closed_partition(self, cluster: str, partition: str) -> Iterator[None]:
        """It takes jobs meanwhile, and starts none."""
        self._set_partition(cluster, partition, "DOWN")
        try:
            yield
        finally:
            self.open_partition(cluster, partition)

    def open_partition(self, cluster: str, partition: str) -> None:
        self._set_partition(cluster, partition, "UP")

    def _set_partition(self, cluster: str, partition: str, state: str) -> None:
        slurm.ask(self.site(cluster), "scontrol", "update", f"PartitionName={partition}", f"State={state}")

    def site(self, cluster: str) -> ClusterLayout:
        return next(each for each in self.stack.lab.layout.clusters if each.name == cluster)

    @contextmanager
    def closed_door(self, cluster: str) -> Iterator[None]:
        """The head node's sshd is away meanwhile, and with it every connection."""
        processes.stop(self.stack.lab.folder, f"{cluster}-sshd")
        try:
            yield
        finally:
            ssh.start(self.site(cluster))
            ssh.wait(self.site(cluster))

    @contextmanager
    def lost_cyclecloud(self) -> Iterator[None]:
        """The server alone is killed, and comes back in the end: its VMs live on."""
        folder = self.stack.lab.folder
        _kill(folder, cloud.NAME)
        gone = "the end of CycleCloud"
        processes.wait_until(lambda: not processes.alive(folder, cloud.NAME), deadline_s=10, what=gone)
        try:
            yield
        finally:
            cloud.start(self.stack.lab.layout)
            cloud.wait(self.stack.lab.layout)

    def misbehave(self, **faults: object) -> None:
        """Tells CycleCloud to; see docs/cyclecloud-server.md. Nothing: to behave again."""
        with self._cyclecloud() as http:
            answer = http.post("/lab/faults", json=faults) if faults else http.delete("/lab/faults")
        answer.raise_for_status()

    @contextmanager
    def misbehaving(self, **faults: object) -> Iterator[None]:
        """It misbehaves meanwhile, and behaves in the end whatever happens."""
        try:
            if faults:
                self.misbehave(**faults)
            yield
        finally:
            self.misbehave()

    def cloud_nodes(self) -> list[str]:
        """The names of the nodes that CycleCloud has."""
        with self._cyclecloud() as http:
            answer = http.get("/clusters/azure/nodes").raise_for_status()
        return [node["Name"] for node in answer.json()["nodes"]]

    def _cyclecloud(self) -> httpx.Client:
        lab = self.stack.lab.layout
        login = (cloud.USER, cloud.password(lab))
        trust = ssl.create_default_context(cafile=cloud.ca_file(lab))
        return httpx.Client(base_url=cloud.url(lab), auth=login, verify=trust, trust_env=False)

    @contextmanager
    def scheduler_stopped(self) -> Iterator[None]:
        """Airflow's scheduler stands still meanwhile: no task follows one that has ended."""
        pid = _pid(self.stack.airflow.folder, "scheduler")
        try:
            until(lambda: self._stands_still(pid), "a moment in which the scheduler holds no lock")
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _stands_still(self, pid: int) -> bool:
        """Stops the process; lets it go on if it stands in a transaction, whose locks all others wait for."""
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the scheduler to stop")
        if self._in_transaction(pid):
            os.kill(pid, signal.SIGCONT)
            return False
        return True

    def _in_transaction(self, pid: int) -> bool:
        """Whether the process has a transaction open in Airflow's database."""
        ours = [link.laddr.port for link in psutil.Process(pid).net_connections("tcp")]
        assert ours, f"{pid} has no connection to a database"
        with psycopg.connect(self.stack.postgres.url("airflow").replace("+psycopg", "")) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE client_port = ANY(%s) AND xact_start IS NOT NULL",
                [ours],
            ).fetchone()
        return found is not None

    def kill_triggerer(self) -> None:
        """Kills it, and waits for the one that is started in its place."""
        folder = self.stack.airflow.folder
        killed = _kill(folder, "triggerer")
        until(lambda: _pid(folder, "triggerer") != killed, "a new triggerer")

    def triggerer_connections(self, cluster: str) -> set[int]:
        """Our ports of the SSH connections that the triggerer holds to a head node."""
        triggerer = psutil.Process(_pid(self.stack.airflow.folder, "triggerer"))
        family = [triggerer, *triggerer.children(recursive=True)]
        links = [link for process in family for link in process.net_connections("tcp")]
        port = self.site(cluster).ssh_port
        return {
            link.laddr.port
            for link in links
            if link.status == psutil.CONN_ESTABLISHED and link.raddr.port == port
        }


def new_gate() -> str:
    """A gate that is closed."""
    return f"gate-{uuid.uuid4().hex[:12]}"


def waits_at(gate: str, then: str = "echo the gate is open") -> str:
    """A script that runs until `House.open_gate`."""
    return f'#!/bin/bash\nuntil [ -e "$SLURM_SUBMIT_DIR/../{gate}" ]; do sleep 0.3; done\n{then}\n'


def _pid(folder: Path, name: str) -> int:
    return int((folder / "pid" / f"{name}.pid").read_text().split()[0])


def _kill(folder: Path, name: str) -> int:
    pid = _pid(folder, name)
    os.kill(pid, signal.SIGKILL)
    return pid
