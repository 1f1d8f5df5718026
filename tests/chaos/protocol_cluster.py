"""A model of a Slurm cluster that speaks Slurm's own language, and remembers what truly happened.

It has a queue that forgets (MinJobAge), an accounting that lags, is down or loses its past, requeueing under
the same id, and ids that begin again, when the cluster is rebuilt or when they have all been used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.jobs import TOKEN_PREFIX
from hybrid_hpc.schedulers.slurm_history import FORMAT as ACCOUNTING_FORMAT
from hybrid_hpc.schedulers.slurm_queue import SEPARATOR
from tests.captured.reading import captured

EPOCH = 1_767_225_600  # 2026-01-01
MIN_JOB_AGE_S = 300
NONCE = "0123456789ab"
ENDS = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY")
EXIT_CODES = {"COMPLETED": 0, "FAILED": 3}
NODES = "\n".join(
    line for line in captured("slurm-22.05.8", "load-busy").stdout.split("\n") if line.startswith("NodeName=")
)
DATABASE_DOWN = "sacct: error: Problem talking to the database: Connection refused"
UNKNOWN_ID = "Invalid job id specified"


@dataclass
class Life:
    """One run, or one stay in the queue, of a job; ``seen``: its states, since when."""

    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    seen: list[tuple[float, str]] = field(default_factory=list)


class Sender(Protocol):
    """Who submitted a job."""

    @property
    def succeeded(self) -> bool:
        """True when it went on to its end without an error."""


@dataclass(eq=False)
class ClusterJob:
    """One job; ``ours`` is False for people who use the same account beside us."""

    native_id: str
    name: str
    ours: bool
    state: str = "PENDING"
    held: bool = True
    lives: list[Life] = field(default_factory=list)
    ran: bool = False
    in_doubt: bool = False  # it came while its sender's row said that it still might
    sender: Sender | None = None  # who was told its id
    wiped: bool = False  # with the whole cluster
    outsider: bool = False  # ended by somebody else before it could run
    exit_code: int | None = None  # in the exit record that it wrote

    @property
    def ended(self) -> bool:
        return self.state in (*ENDS, "NODE_FAIL")

    @property
    def life(self) -> Life:
        return self.lives[-1]


@dataclass
class Cluster:
    """What the scheduler was told and what ran. ``time`` is true time, in seconds, and its own clock."""

    time: float = 0.0
    jobs: list[ClusterJob] = field(default_factory=list)  # every one there ever was
    next_id: int = 1
    accounting_until: float | None = None  # the accounting knows nothing younger; None: all
    accounting_from: float = 0.0  # nor of jobs that ended before this
    database_down: bool = False
    strangers_hurt: list[str] = field(default_factory=list)

    def take(self, name: str, *, ours: bool, held: bool) -> ClusterJob:
        """A job comes in; ids in the queue are not given again."""
        used = {job.native_id for job in self.queue()}
        while str(self.next_id) in used:
            self.next_id += 1
        job = ClusterJob(str(self.next_id), name, ours, held=held, lives=[Life(self.time)])
        self.next_id += 1
        self.jobs.append(job)
        return job

    def queue(self) -> list[ClusterJob]:
        """What squeue knows, ended jobs too until they are forgotten."""
        return [job for job in self.jobs if not job.wiped and not self._forgotten(job)]

    def _forgotten(self, job: ClusterJob) -> bool:
        return job.ended and self.time - (job.life.ended_at or 0.0) > MIN_JOB_AGE_S

    def waiting(self) -> list[ClusterJob]:
        return [job for job in self.queue() if job.state == "PENDING" and not job.held]

    def running(self) -> list[ClusterJob]:
        return [job for job in self.queue() if job.state == "RUNNING"]

    def start(self, job: ClusterJob) -> None:
        job.state, job.ran, job.life.started_at = "RUNNING", True, self.time
        job.life.seen.append((self.time, "RUNNING"))

    def end(self, job: ClusterJob, state: str) -> None:
        if state in EXIT_CODES and job.state == "RUNNING":
            job.exit_code = EXIT_CODES[state]
        job.outsider = job.outsider or not job.ran
        job.state, job.life.ended_at = state, self.time
        job.life.seen.append((self.time, state))

    def requeue(self, job: ClusterJob) -> None:
        """Its node is gone: it waits again, under the same id, and the accounting begins another record."""
        self.end(job, "NODE_FAIL")
        job.state, job.exit_code = "PENDING", None
        job.lives.append(Life(self.time))

    def rebuild(self) -> None:
        """Everything is gone, and ids begin again."""
        for job in self.jobs:
            job.wiped = True
        self.next_id = 1

    def answer(self, command: Command) -> Answer:
        """Does what a command says; what it prints."""
        label, words = command.label, command.argv
        if label == "release":
            return self._release(words[-1], words[-2])
        if label == "cancel":
            return self._cancel(words[-1], words[-2].removeprefix("--name="))
        if label == "find":
            found = [job for job in self.queue() if job.name == words[-1]]
            return self._sections(jobs=self._lines(found), records=self._records("", words[-1]))
        if label == "load":
            waiting = [job for job in self.queue() if not job.ended]
            clock = [str(EPOCH + int(self.time))]
            return self._sections(clock=clock, nodes=[NODES], jobs=self._lines(waiting))
        assert label == "history", label
        asked = words[-1].split(",")
        return self._sections(records=[row for one in asked for row in self._records(one, "")])

    def _release(self, native_id: str, name: str) -> Answer:
        job = self._of_id(native_id)
        if job and job.name != name:
            return Answer(65, "", f"hybrid-hpc: job {native_id} is not {name} any more")
        if job is None or job.ended:
            return Answer(1, "", f"{UNKNOWN_ID} for job {native_id}")
        if job.held and not job.ours:
            self.strangers_hurt.append(f"released {job.name}")
        job.held = False
        return Answer(0, "", "")

    def _cancel(self, native_id: str, name: str) -> Answer:
        job = self._of_id(native_id)
        if job is None or job.ended:
            return Answer(1, "", f"scancel: error: Kill job error on job id {native_id}: {UNKNOWN_ID}")
        if job.name == name:
            if not job.ours:
                self.strangers_hurt.append(f"cancelled {job.name}")
            self.end(job, "CANCELLED")
        return Answer(0, "", "")

    def _of_id(self, native_id: str) -> ClusterJob | None:
        return next((job for job in self.queue() if job.native_id == native_id), None)

    def _sections(self, **parts: list[str]) -> Answer:
        said = [f"hh-begin {NONCE}"]
        stderr = ""
        for name, lines in parts.items():
            if name == "records" and self.database_down:
                alone = len(parts) == 1  # `find` has sacct's stderr among its lines
                stderr = DATABASE_DOWN if alone else ""
                said += [*([] if alone else [DATABASE_DOWN]), f"hh-{NONCE} {name} 1"]
            else:
                said += [*lines, f"hh-{NONCE} {name} 0"]
        return Answer(0, "\n".join([*said, f"hh-{NONCE} end 0", ""]), stderr)

    def _lines(self, jobs: list[ClusterJob]) -> list[str]:
        return [_queue_line(job) for job in jobs]

    def _records(self, native_id: str, name: str) -> list[str]:
        jobs = [
            job for job in self.jobs if not job.wiped and (job.native_id == native_id or job.name == name)
        ]
        return [_record(job, life, state) for job in jobs for life, state in self.known(job)]

    def known(self, job: ClusterJob) -> Iterator[tuple[Life, str]]:
        """What the accounting knows of a job, a state for each of its lives."""
        for life in job.lives:
            states = [state for at, state in life.seen if self._in_accounting(at)]
            if states and (life.ended_at is None or life.ended_at >= self.accounting_from):
                yield life, states[-1]

    def _in_accounting(self, at: float) -> bool:
        return self.accounting_until is None or at <= self.accounting_until


def name_of(script: str) -> str:
    """The job's name in a batch script."""
    found = re.search(r"^#SBATCH --job-name=(\S+)$", script, re.MULTILINE)
    assert found, script
    return found[1]


def has_our_prefix(job: ClusterJob) -> bool:
    """True for what we submitted, whatever became of it."""
    return job.name.startswith(TOKEN_PREFIX)


def _queue_line(job: ClusterJob) -> str:
    reason = "JobHeldUser" if job.held and job.state == "PENDING" else "None"
    started = job.life.started_at
    values = (
        *(job.native_id, "N/A", "lab", "proj-alpha", "batch", job.state, reason),
        *("1", "cpu=1,mem=2000M,node=1,billing=1", "5:00", "0", _moment(job.life.submitted_at)),
        *("N/A" if started is None else _moment(started), "" if started is None else "node01"),
    )
    return SEPARATOR.join([*values, f"{job.name[:16]:16}", ""])


def _record(job: ClusterJob, life: Life, state: str) -> str:
    code = EXIT_CODES.get(state, 0) if state != "CANCELLED" else 0
    began, ended = life.started_at, life.ended_at if state != "RUNNING" else None
    values = {
        "JobID": job.native_id,
        "State": state,
        "ExitCode": f"{code}:0",
        "Submit": _moment(life.submitted_at),
        "Start": "Unknown" if began is None else _moment(began),
        "End": "Unknown" if ended is None else _moment(ended),
        "ElapsedRaw": "0" if began is None else str(int((ended or began) - began)),
        "NNodes": "1",
        "NodeList": "None assigned" if began is None else "node01",
        "User": "lab",
        "JobName": job.name,
    }
    return NONCE.join(values.get(column, "") for column in ACCOUNTING_FORMAT.split(","))


def _moment(seconds: float) -> str:
    return str(EPOCH + int(seconds))
