"""A scheduler in memory that can lose replies, accept late and die with its client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import ConnectionLost, SubmissionRefused, Unreachable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Found, Scheduler, Submission


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours may catch it."""


class Fate(Enum):
    """What becomes of one submission."""

    ANSWERED = "answered"
    REPLY_LOST = "taken, the reply is lost"
    LATE = "the reply is lost, taken 100 s later"
    VERY_LATE = "the reply is lost, taken 400 s later"
    NEVER = "lost on the way"
    KILLED_TAKEN = "taken, and we die meanwhile"
    KILLED_LATE = "we die meanwhile, taken 100 s later"
    KILLED_NEVER = "we die meanwhile, lost on the way"
    REFUSED = "refused"
    NO_CONNECTION = "no connection, nothing sent"


DELAYS_S = {Fate.LATE: 100, Fate.KILLED_LATE: 100, Fate.VERY_LATE: 400}
TAKEN = (Fate.ANSWERED, Fate.REPLY_LOST, Fate.KILLED_TAKEN)


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class QueueJob:
    native_id: str
    token: str
    script: str
    state: JobState = JobState.HELD
    ran: bool = False


@dataclass
class Queue:
    """The scheduler's side: what it was told, and what ran."""

    clock: Clock
    jobs: list[QueueJob] = field(default_factory=list)
    late: list[tuple[datetime, str, str]] = field(default_factory=list)
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    told_as: list[str] = field(default_factory=list)  # the identity of each

    def take(self, token: str, script: str) -> str:
        self.jobs.append(QueueJob(str(len(self.jobs) + 1), token, script))
        return self.jobs[-1].native_id

    def take_what_is_due(self) -> None:
        due = [entry for entry in self.late if entry[0] <= self.clock.now()]
        self.late = [entry for entry in self.late if entry not in due]
        for _, token, script in due:
            self.take(token, script)

    def named(self, token: str) -> list[QueueJob]:
        return [job for job in self.jobs if job.token == token]

    def release(self, native_id: str) -> None:
        job = self._job(native_id)
        if job.state is JobState.HELD:
            job.state, job.ran = JobState.RUNNING, True

    def cancel(self, native_id: str, token: str) -> None:
        job = self._job(native_id)
        if job.token == token and not job.state.final:
            job.state = JobState.CANCELLED

    def _job(self, native_id: str) -> QueueJob:
        return next(job for job in self.jobs if job.native_id == native_id)


class FakeHeadNode:
    """Carries commands to a `Queue`; ``fates`` are those of the next submissions, then all are answered."""

    def __init__(self, queue: Queue, fates: Sequence[Fate] = (), identity: str = "") -> None:
        self.queue = queue
        self.fates = fates if isinstance(fates, deque) else deque(fates)
        self.identity = identity

    def acting_as(self, identity: str) -> FakeHeadNode:
        return FakeHeadNode(self.queue, self.fates, identity) if identity else self

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        await asyncio.sleep(0)
        assert timeout_s is None or timeout_s >= 30, "sbatch repeats by itself and needs its time"
        verb, *words = command.argv
        self.queue.told.append(verb)
        self.queue.told_as.append(self.identity)
        self.queue.take_what_is_due()
        if verb == "submit":
            return self._submit(words[0], command.stdin or "")
        if verb == "release":
            self.queue.release(words[0])
        if verb == "cancel":
            self.queue.cancel(words[0], words[1])
        found = [f"{job.native_id} {job.state.value}" for job in self.queue.named(words[-1])]
        return Answer(0, "\n".join(found), "")

    def _submit(self, token: str, script: str) -> Answer:
        fate = self.fates.popleft() if self.fates else Fate.ANSWERED
        if fate is Fate.NO_CONNECTION:
            raise Unreachable("head node: connection refused")
        if fate is Fate.REFUSED:
            return Answer(1, "", "sbatch: error: Requested node configuration is not available")
        if fate in DELAYS_S:
            due = self.queue.clock.now() + timedelta(seconds=DELAYS_S[fate])
            self.queue.late.append((due, token, script))
        native_id = self.queue.take(token, script) if fate in TAKEN else ""
        if fate.name.startswith("KILLED"):
            raise Killed(fate.value)
        if fate is not Fate.ANSWERED:
            raise ConnectionLost("head node: the connection was reset")
        return Answer(0, native_id, "")

    async def storage(self) -> str:
        return f"/{self.identity or 'scratch'}/hybrid-hpc"

    async def make_dir(self, path: str) -> None:
        self.queue.files[path] = ("", 0o700)

    async def write(self, path: str, text: str, *, mode: int = 0o600) -> None:
        self.queue.files[path] = (text, mode)


class FakeScheduler(Scheduler):
    """The part of a scheduler's language that a submission speaks."""

    name = "fake"

    def submit_command(self, submission: Submission) -> Command:
        return Command(("submit", submission.token), self.batch_script(submission))

    def batch_script(self, submission: Submission) -> str:
        evictable = " evictable" if submission.evictable else ""
        return f"{submission.partition} {submission.run_dir} {submission.directives}{evictable}"

    def read_submit(self, answer: Answer) -> str:
        if not answer.ok:
            raise SubmissionRefused(answer.stderr)
        return answer.stdout

    def find_command(self, token: str) -> Command:
        return Command(("find", token))

    def read_find(self, answer: Answer, token: str) -> list[Found]:
        assert token.startswith("hh-")
        pairs = [line.split() for line in answer.stdout.splitlines()]
        return [Found(native_id, JobState(state)) for native_id, state in pairs]

    def release_command(self, native_id: str, token: str) -> Command:
        return Command(("release", native_id, token))

    def read_release(self, answer: Answer) -> None:
        assert answer.ok

    def cancel_command(self, native_id: str, token: str) -> Command:
        return Command(("cancel", native_id, token))

    def read_cancel(self, answer: Answer) -> None:
        assert answer.ok

    withdraw_command: Any = None
    read_withdraw: Any = None
    version_command: Any = None
    read_version: Any = None
    load_command: Any = None
    read_load: Any = None
    history_command: Any = None
    read_history: Any = None
    usage_command: Any = None
    read_usage: Any = None
    start_estimate_command: Any = None
    read_start_estimate: Any = None
    accounting_command: Any = None
    read_accounting: Any = None
    admit_nodes_command: Any = None
    drain_nodes_command: Any = None
    retire_nodes_command: Any = None
    give_up_nodes_command: Any = None
    read_nodes_update: Any = None
