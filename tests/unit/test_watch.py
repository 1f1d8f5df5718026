"""One poll serves everybody who waits, and what it tells is true."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from typing_extensions import override

from hybrid_hpc import watch as watch_module
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.collecting import StillRunning, StillUnknown, collect
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import ConnectionLost, Unavailable, Unreachable
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.outcome import ExitRecord
from hybrid_hpc.schedulers.base import JobRecord, Load, NodeState, NodeStatus, QueuedJob
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.site import Site
from hybrid_hpc.watch import SOON_S, ClusterWatch, Poll
from tests.unit.submission_world import REQUEST

CLUSTER = load_clusters().cluster("onprem").model_copy(update={"poll_s": 15.0})
NODE = NodeState("node01", ("batch",), NodeStatus.UP, 16, 16, 64000, 0)


@dataclass
class There(Slurm):
    """A cluster: its queue and its accounting, what was asked of it, what it does when it is asked."""

    queue: list[QueuedJob] = field(default_factory=list)
    accounting: list[list[JobRecord]] = field(default_factory=list)  # one answer after the other
    asked: Counter[str] = field(default_factory=Counter)
    meanwhile: Callable[[], object] = lambda: None

    def acting_as(self, identity: str) -> There:
        assert not identity
        return self

    async def run(self, command: Command) -> Answer:
        self.asked[command.label] += 1
        self.meanwhile()
        return Answer(0, "", "")

    async def tail(self, *_: object) -> str:
        return "the end"

    async def find(self, *_: object) -> list[str]:
        return []

    async def read_small(self, *_: object) -> None:
        return None

    @override
    def read_load(self, answer: Answer) -> Load:
        return Load(100.0, (NODE,), tuple(self.queue))

    @override
    def read_history(self, answer: Answer) -> list[JobRecord]:
        return self.accounting.pop(0) if self.accounting else []


@dataclass
class World:
    """A cluster with a watch, and the ledger that both share."""

    there: There
    ledger: Ledger
    site: Site
    watch: ClusterWatch

    def submitted(self, run_id: str = "run") -> JobRow:
        """A job that was recorded as submitted; where it stands is for the test to say."""
        row = self.ledger.intend(Job(JobKey("dag", run_id), REQUEST, CLUSTER.name, "batch"))
        native_id = str(100 + len(self.ledger.open_jobs()))
        self.ledger.record_native_id(row.token, native_id, utc_now(), "/scratch/run")
        return self.known(row)

    async def polled(self, count: int) -> list[Poll]:
        """So many polls, one after the other."""
        stream = self.watch.polls()
        return [await anext(stream) for _ in range(count)]

    def known(self, row: JobRow) -> JobRow:
        fresh = self.ledger.job(row.token)
        assert fresh
        return fresh


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ledger, there = Ledger(f"sqlite:///{tmp_path}/ledger.db"), There()
    ledger.migrate()
    site = Site(CLUSTER, there, cast("HeadNode", there))
    yield World(there, ledger, site, ClusterWatch(site, ledger))
    ledger.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between polls, which take no time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return made


def line(row: JobRow, state: JobState = JobState.PENDING) -> QueuedJob:
    need = (1, 1, 1000, 0, 600, 1, 0.0, None)
    return QueuedJob(str(row.native_id), row.token, "ada", "proj-alpha", "batch", state, "Resources", *need)


def record(row: JobRow, state: JobState = JobState.COMPLETED) -> JobRecord:
    who = (str(row.native_id), "", row.token, state, 0, None, "ada", "proj-alpha", "batch", ("node01",))
    return JobRecord(*who, 1, 1, 0, 1.0, 1.0, 2.0, 3.0, 1.0, 600, None)


async def test_what_a_poll_sees_is_kept_for_the_pages_now_and_then_and_not_each_time(
    world: World, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = world.submitted()
    world.there.queue = [line(row)]
    await world.polled(1)
    whole, batch = world.ledger.snapshots()
    assert (whole.partition, whole.nodes_busy, whole.cores_free, whole.jobs_waiting) == ("", 1, 0, 1)
    assert (batch.partition, batch.jobs_waiting) == ("batch", 1)
    await world.polled(2)
    assert world.ledger.snapshots() == [whole, batch]
    monkeypatch.setattr(watch_module, "SNAPSHOT_S", 0.0)
    await world.polled(1)
    assert world.ledger.snapshots()[0].seen_at > whole.seen_at


async def test_a_snapshot_that_cannot_be_kept_costs_no_job_its_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bool:
        raise Unavailable("the ledger has no room")

    monkeypatch.setattr(world.ledger, "save_snapshot", fail)
    row = world.submitted()
    world.there.queue = [line(row)]
    poll = await world.watch.poll()
    assert (poll.trouble, [*poll.reports]) == ("", [row.token])


async def test_the_end_of_the_output_stays_in_the_ledger_when_a_job_is_collected(
    world: World, tmp_path: Path
) -> None:
    row = world.submitted()
    world.there.accounting = [[record(row)]]
    await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)
    assert world.ledger.output_of(row.token) == "the end"


async def test_many_waiting_jobs_cost_one_command(world: World) -> None:
    rows = [world.submitted(f"run-{number}") for number in range(200)]
    world.there.queue = [line(row) for row in rows]
    poll = await world.watch.poll()
    assert set(poll.reports) == {row.token for row in rows}
    assert world.there.asked == {"load": 1}


async def test_the_end_of_a_job_whose_record_is_late_is_looked_for_soon_and_not_a_whole_poll_later(
    world: World, pauses: list[float]
) -> None:
    row = world.submitted()
    world.there.accounting = [[], [record(row, JobState.RUNNING)], [record(row)], [record(row)]]
    states = [poll.reports[row.token].state for poll in await world.polled(4)]
    assert states == [JobState.UNKNOWN, JobState.UNKNOWN, JobState.COMPLETED, JobState.COMPLETED]
    assert pauses == [SOON_S, SOON_S, CLUSTER.poll_s]


async def test_a_job_that_never_gets_a_record_does_not_make_polls_come_sooner_for_ever(
    world: World, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = world.submitted()
    (poll,) = await world.polled(1)
    assert poll.reports[row.token].sentence.startswith("has left the queue")
    monkeypatch.setattr(watch_module, "ACCOUNTING_LAG_S", 0.0)
    await world.polled(3)
    assert pauses == [CLUSTER.poll_s] * 2


async def test_somebody_new_who_waits_for_nodes_does_not_wait_for_the_next_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "HURRIED_APART_S", 0.0)
    stream = world.watch.polls()
    await anext(stream)
    asyncio.get_running_loop().call_later(0.05, world.watch.hurry)
    async with asyncio.timeout(CLUSTER.poll_s / 2):
        await anext(stream)


async def test_nobody_is_in_a_hurry_while_the_cluster_does_not_answer(
    world: World, pauses: list[float]
) -> None:
    def fail() -> None:
        raise Unreachable("no route")

    world.there.meanwhile = fail
    stream = world.watch.polls()
    for _ in range(3):
        await anext(stream)
        world.watch.hurry()
    assert pauses == [CLUSTER.poll_s] * 2


async def test_a_job_submitted_while_the_queue_is_read_does_not_look_as_if_it_had_left_it(
    world: World,
) -> None:
    world.there.meanwhile = world.submitted
    poll = await world.watch.poll()
    assert poll.reports == {}


@pytest.mark.parametrize("error", [Unreachable("no route"), RuntimeError("a mistake of ours")])
async def test_a_poll_that_fails_says_so_and_the_next_one_goes_on(world: World, error: Exception) -> None:
    def fail() -> None:
        raise error

    row = world.submitted()
    world.there.queue = [line(row)]
    world.there.meanwhile = fail
    poll = await world.watch.poll()
    assert str(error) in poll.trouble
    world.there.meanwhile = lambda: None
    assert (await world.watch.poll()).reports[row.token].state is JobState.PENDING


async def test_a_job_whose_end_was_seen_is_collected_without_a_look_at_the_queue(
    world: World, tmp_path: Path
) -> None:
    row = world.submitted()
    world.there.accounting = [[record(row)], [record(row)]]
    await world.watch.poll()
    assert world.known(row).state is JobState.COMPLETED
    world.there.asked.clear()
    collected = await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)
    assert collected.succeeded
    assert world.there.asked == {"history": 1}
    assert world.known(row).settled


async def test_a_job_that_runs_again_after_its_end_was_seen_is_not_taken_for_ended(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator may put an ended job back in the queue."""
    row = world.submitted()
    again = replace(record(row, JobState.RUNNING), submitted_at=9.0)
    world.there.accounting = [[record(row)], [record(row), again]]
    await world.watch.poll()
    monkeypatch.setattr("hybrid_hpc.collecting.PATIENCE_S", 0.0)
    with pytest.raises(StillUnknown, match="the accounting says running"):
        await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)
    assert not world.known(row).settled


async def test_a_job_without_evidence_of_its_end_stays_unknown_with_its_age_and_an_alert_until_there_is_some(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = world.submitted()
    monkeypatch.setattr("hybrid_hpc.collecting.PATIENCE_S", 0.0)
    for _ in range(2):
        with pytest.raises(StillUnknown, match=r"is unknown since .* UTC: .* neither the accounting nor"):
            await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)
    known = world.known(row)
    assert (known.state, known.settled) == (JobState.UNKNOWN, False)
    assert known.unknown_since
    assert [alert.subject for alert in world.ledger.alerts(["unknown"])] == [row.token]
    world.there.accounting = [[record(row)]]
    assert (await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)).succeeded
    assert world.ledger.alerts() == []


async def test_a_job_that_is_back_in_the_queue_is_not_settled_by_the_end_of_its_life_before(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node failed, somebody wished it away, and the cluster takes its time to cancel it."""
    row = world.submitted()
    world.ledger.mark_released(row.token)
    world.ledger.request_cancel(row.token, by="ada", why="enough")
    world.there.queue = [line(row)]
    world.there.accounting = [[record(row, JobState.NODE_FAIL)]] * 3
    monkeypatch.setattr("hybrid_hpc.collecting.PATIENCE_S", 0.0)
    with pytest.raises(StillRunning, match="still in the queue, though the cluster was told to cancel it"):
        await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)
    assert not world.known(row).settled


async def test_a_job_that_the_scheduler_puts_back_in_the_queue_goes_on_under_the_same_id_and_is_counted(
    world: World,
) -> None:
    row = world.submitted()
    for state in (JobState.RUNNING, JobState.PENDING, JobState.PENDING, JobState.RUNNING):
        world.there.queue = [line(row, state)]
        await world.watch.poll()
    assert world.known(row).restarts == 1
    report = (await world.watch.poll()).reports[row.token]
    assert (report.state, report.sentence) == (
        JobState.RUNNING,
        "running on its nodes (run 2: the scheduler had started it again)",
    )


async def test_an_accounting_that_hangs_does_not_keep_from_what_the_job_itself_wrote(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def written(*_: object) -> list[ExitRecord]:
        return [ExitRecord(str(row.native_id), "", 3)]

    def hang() -> None:
        if world.there.asked["history"]:
            raise ConnectionLost("the answer to 'history' is missing: no answer within 30 s")

    row = world.submitted()
    world.there.meanwhile = hang
    monkeypatch.setattr("hybrid_hpc.collecting.PATIENCE_S", 0.0)
    monkeypatch.setattr("hybrid_hpc.collecting._exit_records", written)
    collected = await collect(row, site=world.site, ledger=world.ledger, results=tmp_path)
    assert (collected.outcome.state, collected.outcome.evidence) == (JobState.FAILED, "exit record")
