"""Processes that submit, cancel, watch and collect over a faulty network, by one of three protocols."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar, Protocol, cast

from sqlalchemy import delete, event, true

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.collecting import settle
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import ConnectionLost, Unreachable
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import token
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.alerts import ALERTS
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.ownership import cancel
from hybrid_hpc.remote_files import RemoteFile
from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.site import Site
from hybrid_hpc.submission import Patience, submit
from hybrid_hpc.watch import ClusterWatch
from tests.chaos.protocol_cluster import EPOCH, Cluster, ClusterJob, has_our_prefix, name_of
from tests.chaos.protocol_turns import Process, Turn
from tests.unit.submission_fakes import Killed

SLURM = Slurm()
SITE = load_clusters().cluster("onprem")
STORAGE = "/scratch/hybrid-hpc"
REQUEST = JobRequest(name="test", script="#!/bin/bash\nhostname\n")


class Fate(Enum):
    """What becomes of one submission; the values are seconds until it comes to the scheduler."""

    ANSWERED = 0.0
    REPLY_LOST = 0.001
    LATE = 100.0
    VERY_LATE = 400.0
    NEVER = 1e12
    REFUSED = -1.0
    NO_CONNECTION = -2.0


LOST = (Fate.REPLY_LOST, Fate.LATE, Fate.VERY_LATE, Fate.NEVER)


class CountingLedger(Ledger):
    """A ledger that counts what was written, so that a test need not read it in vain."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.migrate()
        self.writes = 0
        event.listen(self._engine, "after_cursor_execute", self._count)

    def _count(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.writes += not statement.startswith("SELECT")

    def empty(self) -> None:
        """Forgets every job and alert."""
        with self._transaction() as connection:
            for table in (JOBS, ALERTS):
                connection.execute(delete(table))

    def all_jobs(self) -> list[JobRow]:
        """Every row, settled ones too."""
        return self._rows(true())


@dataclass
class OnItsWay:
    """A submission without an answer: when it comes, and until when its sender's row says that it may.

    ``jumps``: how often our clock had jumped when the row was written; after another one it proves nothing.
    """

    due: float
    name: str
    held: bool
    until: datetime | None
    jumps: int


@dataclass
class World:
    """One cluster, one ledger, and every process that works on them."""

    ledger: Ledger
    cluster: Cluster = field(default_factory=Cluster)
    skew_s: float = 0.0  # of our machines' clock
    jumps: int = 0
    on_its_way: list[OnItsWay] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    overslept: set[str] = field(default_factory=set)  # names sent when their row no longer said so
    recorded: dict[str, str] = field(default_factory=dict)  # what the rivals keep instead of a ledger

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH + self.cluster.time + self.skew_s, UTC)

    def jump(self, seconds: float) -> None:
        self.skew_s += seconds
        self.jumps += 1

    def pass_by(self, seconds: float) -> None:
        self.cluster.time += seconds
        self.take_what_is_due()

    def take_what_is_due(self) -> None:
        due = [late for late in self.on_its_way if late.due <= self.cluster.time]
        self.on_its_way = [late for late in self.on_its_way if late not in due]
        for late in due:
            job = self.cluster.take(late.name, ours=True, held=late.held)
            sure = late.until is not None and late.jumps == self.jumps
            job.in_doubt = sure and self.now() < cast(datetime, late.until)

    def start(self, what: str, steps: Callable[[Link], Any], **faults: Any) -> Process:
        """A process with a connection of its own."""
        link = Link(self, **faults)
        process = link.process = Process(what, steps(link), link)
        self.processes.append(process)
        return process

    def site(self, link: Link) -> Site:
        return Site(SITE, SLURM, cast(HeadNode, link))

    def ran(self, name: str) -> list[ClusterJob]:
        """Every job of that name whose work has begun."""
        return [job for job in self.cluster.jobs if job.name == name and job.ran]

    def ours(self) -> list[ClusterJob]:
        return [job for job in self.cluster.jobs if has_our_prefix(job)]

    def kill_all(self) -> None:
        for process in self.processes:
            process.kill()


class Link:
    """One process's connection: a turn on the way there, another one on the way back."""

    def __init__(self, world: World, fates: Iterable[Fate] = (), dies_at: str = "") -> None:
        self.world = world
        self.fates = deque(fates)
        self.dies_at = dies_at
        self.cut_next = False
        self.process: Process | None = None
        self.until: datetime | None = None  # what the ledger was told before the last submission
        self.jumps = world.jumps  # of our clock, when it was told that

    @property
    def succeeded(self) -> bool:
        return self.process is not None and self.process.result is not None

    def acting_as(self, identity: str) -> Link:
        assert not identity
        return self

    def at(self, point: str) -> None:
        """Stands for `hybrid_hpc.crash.at`."""
        if point == self.dies_at:
            raise Killed(point)

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        assert timeout_s is None or timeout_s >= 30, "sbatch repeats by itself and needs its time"
        await Turn()
        self.world.take_what_is_due()
        answer = self._submit(command) if command.label == "submit" else self.world.cluster.answer(command)
        await Turn()
        if self.cut_next:
            self.cut_next = False
            raise ConnectionLost("head node: the connection was reset")
        return answer

    def _submit(self, command: Command) -> Answer:
        world, fate = self.world, self.fates.popleft() if self.fates else Fate.ANSWERED
        name, held = name_of(command.stdin or ""), "--hold" in command.argv
        if self.until is None or self.jumps != world.jumps or world.now() >= self.until:
            world.overslept.add(name)
        if fate is Fate.NO_CONNECTION:
            raise Unreachable("head node: connection refused")
        if fate is Fate.REFUSED:
            world.refused.add(name)
            return Answer(1, "", "sbatch: error: Batch job submission failed: Invalid feature specification")
        if fate in LOST:
            due = world.cluster.time + fate.value
            world.on_its_way.append(OnItsWay(due, name, held, self.until, self.jumps))
            if fate is Fate.REPLY_LOST:
                world.pass_by(fate.value)
            self.cut_next = True
            return Answer(255, "", "")
        job = world.cluster.take(name, ours=True, held=held)
        job.sender = self
        return Answer(0, f"{job.native_id}\n", "")

    async def storage(self) -> str:
        return STORAGE

    async def make_dir(self, *_: object) -> None:
        await Turn()

    async def write(self, *_: object, **__: object) -> None:
        await Turn()

    async def find(self, root: str, _patterns: object) -> list[RemoteFile]:
        await Turn()
        return [RemoteFile("exit", 0)] if self._exit_record(root) else []

    async def read_small(self, path: str, _limit: int) -> str | None:
        await Turn()
        return self._exit_record(path.rpartition("/")[0])

    def _exit_record(self, root: str) -> str:
        name = root.rpartition("/")[2]
        written = [job for job in self.world.cluster.jobs if job.name == name and job.exit_code is not None]
        values = [f'"native_id": "{job.native_id}", "exit_code": {job.exit_code}' for job in written[-1:]]
        return "".join(f"{{{value}}}\n" for value in values)


class Submitting(Protocol):
    """A protocol: one try at a job, over a connection of its own."""

    name: ClassVar[str]

    async def attempt(self, job: Job, link: Link) -> object:
        """Submits the job unless that was done."""


class RecordAfterSubmit:
    """B: submit, then record the id. A retry without a record submits again."""

    name: ClassVar[str] = "B record after submit"

    async def attempt(self, job: Job, link: Link) -> object:
        name, recorded = token(job.key), link.world.recorded
        link.at("after_intent")
        if name not in recorded:
            found = await self.look(name, link)
            link.at("after_look")
            native_id = found or await self._submit(name, link)
            link.at("after_send")
            await Turn()
            recorded.setdefault(name, native_id)
            link.at("after_record")
        return recorded[name]

    async def look(self, _name: str, _link: Link) -> str:
        """The id of an earlier try's job; '' when there is none."""
        return ""

    async def _submit(self, name: str, link: Link) -> str:
        script = f"#!/bin/bash -l\n#SBATCH --job-name={name}\n"
        return SLURM.read_submit(await link.run(Command(("sbatch", "--parsable"), script, "submit")))


class SearchThenSubmit(RecordAfterSubmit):
    """C: look for a job of that name, else submit, then record the id."""

    name: ClassVar[str] = "C search, then submit"

    async def look(self, name: str, link: Link) -> str:
        found = SLURM.read_find(await link.run(SLURM.find_command(name)), name)
        return found[0].native_id if found else ""


class Ours:
    """Intent, look, submit held, record, release: the product's own code."""

    name: ClassVar[str] = "ours: intent, hold, record, release"

    async def attempt(self, job: Job, link: Link) -> object:
        ledger = link.world.ledger

        def at(point: str) -> None:
            row = ledger.attempted(job) if point == "before_send" else None
            if row:
                link.until, link.jumps = row.ambiguous_until, link.world.jumps
            link.at(point)

        patience = Patience(now=link.world.now, sleep=_sleep)
        return await submit(job, scheduler=SLURM, head_node=link, ledger=ledger, patience=patience, crash=at)


async def cancelled(world: World, row: JobRow, link: Link) -> object:
    """Carries out a wish that stands in the ledger."""
    return await cancel(row, scheduler=SLURM, head_node=link, ledger=world.ledger, now=world.now)


async def polled(world: World, link: Link) -> object:
    """One poll by the product's own watch, which repeats every wish to cancel."""
    poll = await ClusterWatch(world.site(link), world.ledger).poll()
    assert "Error" not in poll.trouble, poll.trouble
    return poll


async def settled(world: World, row: JobRow, link: Link) -> object:
    """Looks for evidence of how a job ended, as the task ``collect`` does."""
    return await settle(row, site=world.site(link), ledger=world.ledger)


async def _sleep(seconds: float) -> None:
    await Turn(seconds)


PROTOCOLS: tuple[Submitting, ...] = (RecordAfterSubmit(), SearchThenSubmit(), Ours())
