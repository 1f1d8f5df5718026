"""What a scheduler must be able to say and to read: pairs of a command and the reader of its answer.

Everything here is pure. A scheduler makes `Command` objects and reads `Answer` objects; `headnode`
carries them. A reader raises `Unreadable` when the answer as a whole makes no sense, `Unavailable`
when the scheduler's daemon does not answer, and leaves out (and counts) single lines it cannot read.
Adding a scheduler is one module with a subclass of `Scheduler` and one template.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.jobs import JobState
from hybrid_hpc.request import JobRequest

CLAIM = "claimed/native_id"  # in the run directory: who has claimed it, the first script of a job that begins
WITHDRAWN = "withdrawn"  # or somebody who withdrew the job before any could


class NodeStatus(StrEnum):
    """What a node is good for. Slurm's many state words are folded into these."""

    UP = "up"  # takes jobs: idle, mixed or full
    BOOTING = "booting"  # asked for, not there yet
    OFF = "off"  # does not exist or does not run: powered down, or down on an elastic cluster
    DRAINING = "draining"  # finishes its jobs and takes no new ones
    DOWN = "down"  # broken


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node as the scheduler sees it."""

    name: str
    partitions: tuple[str, ...]
    status: NodeStatus
    cores: int
    cores_busy: int
    memory_mib: int
    memory_busy_mib: int
    gpus: int = 0
    gpus_busy: int = 0
    gpu_type: str = ""
    reason: str = ""  # why it is down or draining, in the scheduler's words
    state_word: str = ""  # the scheduler's own state word, for people
    last_busy: float | None = None  # unix seconds, head node's clock: when a job last ended here
    drained: bool = False  # takes no new job until somebody lifts that, not even when it comes back

    @property
    def cores_free(self) -> int:
        """Cores that a job could have now; 0 unless the node is up."""
        return self.cores - self.cores_busy if self.status is NodeStatus.UP else 0


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One line of the queue: a job, or a group of array tasks that share a line."""

    native_id: str  # the job's id; for an array the id of the whole array
    name: str  # cut at 16 characters, which no token reaches
    user: str
    project: str
    partition: str  # one name, or several joined with commas while pending
    state: JobState
    reason: str  # the scheduler's reason code, '' when it gives none
    nodes: int
    cores: int  # of the whole line: one task of an array
    memory_per_node_mib: int
    gpus_per_node: int
    walltime_s: int | None  # None: no limit
    priority: int
    submitted_at: float  # unix seconds, head node's clock
    starts_at: float | None  # when it started, or the scheduler's own forecast
    node_names: tuple[str, ...] = ()
    array_tasks: int = 1  # how many tasks this line stands for


@dataclass(frozen=True, slots=True)
class Load:
    """A cluster at one moment: its clock, its nodes and its queue (one round trip)."""

    now: float  # unix seconds, head node's clock
    nodes: tuple[NodeState, ...]
    jobs: tuple[QueuedJob, ...]
    unreadable: int = 0  # lines that had to be left out


@dataclass(frozen=True, slots=True)
class Found:
    """A job that carries the name (token) that was looked for."""

    native_id: str
    state: JobState


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One life of one job (for an array: of one task) in the accounting, its steps folded in.

    A requeued job has several lives under one id, told apart by ``submitted_at``. ``task`` is the array
    index, '' when it is no array, '[3-9]' for tasks that never started and share a record, '+1' for a part of
    a heterogeneous job.
    """

    native_id: str  # id of the job or of the whole array
    task: str
    name: str
    state: JobState
    exit_code: int | None
    signal: int | None
    user: str
    project: str
    partition: str
    node_names: tuple[str, ...]
    nodes: int
    cores: int
    gpus: int
    submitted_at: float | None
    eligible_at: float | None
    started_at: float | None
    ended_at: float | None
    elapsed_s: float
    walltime_s: int | None
    memory_asked_mib: int | None  # of the whole life, all nodes
    cpu_s: float = 0.0  # user + system CPU seconds of all steps
    max_rss_mib: float | None = None  # highest peak of any step's task; None: never sampled
    comment: str = ""


class JobRecords(Iterable[JobRecord]):
    """The records in one answer, each read when it is its turn: none is kept.

    ``unreadable`` counts the lines that had to be left out so far. Raises `Unreadable` at the end when there
    were many lines and not one made sense.
    """

    unreadable: int = 0

    @abstractmethod
    def __iter__(self) -> Iterator[JobRecord]:
        """Reads the answer from its beginning."""


@dataclass(frozen=True, slots=True)
class Submission:
    """All that a batch script is made of."""

    token: str
    request: JobRequest
    partition: str
    run_dir: str  # absolute, on the cluster's storage
    directives: dict[str, str] = field(default_factory=dict)  # site's extra ones, from clusters.yaml
    evictable: bool = False  # on spot nodes
    asked_by: str = ""  # a name in Airflow

    @property
    def requeue(self) -> bool:
        """True when the scheduler may start it over by itself: on spot nodes only the tasks of an array.

        Any other job that is evicted is sent anew by `hybrid_hpc.resubmission`, which knows when to leave
        spot; the scheduler would put it back there for ever.
        """
        return self.request.rerunnable and (not self.evictable or self.request.array is not None)


class Scheduler(ABC):
    """The language of one scheduler."""

    name: ClassVar[str]  # as in clusters.yaml; module and template are called the same

    @abstractmethod
    def version_command(self) -> Command:
        """Asks for the scheduler's version."""

    @abstractmethod
    def read_version(self, answer: Answer) -> str:
        """``'22.05.8'``."""

    @abstractmethod
    def batch_script(self, submission: Submission) -> str:
        """The whole script: directives, fence, environment, the user's script, exit record."""

    @abstractmethod
    def submit_command(self, submission: Submission) -> Command:
        """Submits **held**, the script on stdin, the token as the job's name.

        Raises `InvalidRequest` naming every field whose value would not be safe in a directive.
        """

    @abstractmethod
    def read_submit(self, answer: Answer) -> str:
        """The native id, ``'4711'``.

        Raises `SubmissionRefused` when the job was not taken, with the scheduler's words; `Unreachable`
        when it surely did not arrive; any other `Unavailable` when it may have been taken.
        """

    @abstractmethod
    def find_command(self, token: str) -> Command:
        """Looks for a job of that name in the queue and in the accounting, in one round trip."""

    @abstractmethod
    def read_find(self, answer: Answer, token: str) -> list[Found]:
        """Every job of that name and of this user, an array once; the queue's state goes first.

        Empty: none exists. Raises `Unavailable` when that cannot be said, as without an accounting that
        should answer.
        """

    @abstractmethod
    def release_command(self, native_id: str, token: str) -> Command:
        """Lets a held job start, only if it still carries the token as its name (ids are reused).

        Doing it again is harmless.
        """

    @abstractmethod
    def read_release(self, answer: Answer) -> None:
        """Returns also when the job was released before, or has ended. Raises `Refused` for another's job."""

    @abstractmethod
    def cancel_command(self, native_id: str, token: str) -> Command:
        """Cancels only if the job of that id still carries the token as its name (ids are reused)."""

    @abstractmethod
    def read_cancel(self, answer: Answer) -> None:
        """Returns also when the job has ended or is gone: cancelling twice is harmless."""

    @abstractmethod
    def withdraw_command(self, native_id: str, token: str, run_dir: str) -> Command:
        """Cancels as `cancel_command` does, but only a job of which no script has begun, and then none will.

        It claims the run directory first, as the job's own script does (`CLAIM`); doing it again is harmless.
        """

    @abstractmethod
    def read_withdraw(self, answer: Answer) -> bool:
        """False when it has begun and was left alone. Raises when that is not known; the claim may stand."""

    @abstractmethod
    def load_command(self) -> Command:
        """Clock, nodes and queue in one round trip."""

    @abstractmethod
    def read_load(self, answer: Answer) -> Load:
        """The cluster at that moment: jobs that have not ended, in the scheduler's order, and every node."""

    @abstractmethod
    def history_command(self, native_ids: Sequence[str]) -> Command:
        """The accounting of these jobs, every life of them, steps included."""

    @abstractmethod
    def read_history(self, answer: Answer) -> list[JobRecord]:
        """A record per task and life, in no order; none for what the accounting does not know (yet)."""

    @abstractmethod
    def usage_command(self, since: float, until: float) -> Command:
        """The accounting of everybody's jobs that existed from ``since`` on and before ``until``.

        Both are unix seconds in the head node's clock. Each such job comes with all its lives and steps, as
        it is now: what it was in the window is not cut out.
        """

    @abstractmethod
    def read_usage(self, answer: Answer) -> JobRecords:
        """A record per task and life, a job's lives one after the other.

        Raises `NoAccounting` where none is kept.
        """

    @abstractmethod
    def start_estimate_command(self, submission: Submission) -> Command:
        """Asks when the job would start, without submitting it."""

    @abstractmethod
    def read_start_estimate(self, answer: Answer) -> float | None:
        """Unix seconds in the head node's clock; None when the scheduler gives no answer."""

    @abstractmethod
    def accounting_command(self) -> Command:
        """Asks whether there is an accounting."""

    @abstractmethod
    def read_accounting(self, answer: Answer) -> bool:
        """True when the cluster keeps accounting records that can be read from the head node."""

    @abstractmethod
    def admit_nodes_command(self, names: Sequence[str]) -> Command:
        """Lets nodes that were drained or retired take jobs again, once they register with the scheduler."""

    @abstractmethod
    def drain_nodes_command(self, names: Sequence[str], reason: str) -> Command:
        """The nodes take no new job from now on; running ones go on."""

    @abstractmethod
    def retire_nodes_command(self, names: Sequence[str], reason: str) -> Command:
        """The nodes are gone; the scheduler must not wait for them. Ends every job that is still on them."""

    @abstractmethod
    def give_up_nodes_command(self, names: Sequence[str]) -> Command:
        """The scheduler stops powering up nodes that have no job; it may do so anew."""

    @abstractmethod
    def read_nodes_update(self, answer: Answer) -> None:
        """Returns when the change was made. Raises `Refused` with the scheduler's words when it was not."""
