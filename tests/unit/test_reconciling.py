"""Reconciling acts on what it finds, once or twice or cut off in the middle, and tells what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import event
from typing_extensions import override

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.errors import Unavailable, Unreachable
from hybrid_hpc.findings import Action, Finding
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.reconcile_table import findings_table
from hybrid_hpc.reconciling import Report, reconcile
from hybrid_hpc.schedulers.base import Found, JobRecord, Load
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.site import Site
from tests.unit.reconcile_world import NOW, line, load, name_of
from tests.unit.submission_fakes import Killed
from tests.unit.submission_world import REQUEST

CLUSTERS = load_clusters().clusters


@dataclass
class There(Slurm):
    """A cluster: what is in its queue, what its accounting says, what it was told, what it does not do."""

    queue: dict[str, tuple[str, JobState]] = field(default_factory=dict)  # by native id: name and state
    told: list[str] = field(default_factory=list)
    acted_as: list[str] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)  # names whose run directory names this ledger
    fails: dict[str, BaseException] = field(default_factory=dict)  # by a command's label
    accounting: bool = True
    moves_on: dict[str, JobState] = field(default_factory=dict)  # states at a second look

    def acting_as(self, identity: str) -> There:
        self.acted_as.append(identity)
        return self

    async def run(self, command: Command, **_: object) -> Answer:
        await asyncio.sleep(0)
        label = command.label
        if label in self.fails:
            raise self.fails[label]
        if label in ("cancel", "release"):
            self._tell(label, command.argv[-1])
        if label == "whose":
            self.told.append(label)
            paths = [
                path for path in command.argv if path.split("/")[-2:-1] and path.split("/")[-2] in self.marked
            ]
            return Answer(0, "\n".join(paths), "")
        return Answer(0, command.argv[-1], "")

    def _tell(self, label: str, native_id: str) -> None:
        self.told.append(f"{label} {native_id}")
        if label == "cancel":
            self.queue.pop(native_id, None)
        elif native_id in self.queue:
            self.queue[native_id] = (self.queue[native_id][0], JobState.RUNNING)

    async def storage(self) -> str:
        return "/scratch/hybrid-hpc"

    async def find(self, *_: object) -> list[str]:
        return []

    async def read_small(self, *_: object) -> None:
        return None

    async def close(self) -> None:
        self.told.append("closed")

    @override
    def read_load(self, answer: Answer) -> Load:
        return load(*(line(name, native_id, state) for native_id, (name, state) in self.queue.items()))

    @override
    def read_find(self, answer: Answer, token: str) -> list[Found]:
        named = {native_id: state for native_id, (name, state) in self.queue.items() if name == token}
        return [Found(native_id, state) for native_id, state in (named | self.moves_on).items()]

    @override
    def read_history(self, answer: Answer) -> list[JobRecord]:
        if not self.accounting:
            raise Unavailable("slurmdbd does not answer")
        return []


class World:
    """A ledger, and two clusters that are only remembered."""

    def __init__(self, folder: Path) -> None:
        self.at = NOW
        self.ledger = Ledger(f"sqlite:///{folder}/ledger.db", clock=lambda: self.at)
        self.ledger.migrate()
        self.there = {name: There() for name in CLUSTERS}
        self.onprem = self.there["onprem"]
        self.living: set[tuple[str, str]] = set()

    def now(self) -> datetime:
        return self.at

    def intended(
        self, run_id: str = "run", cluster: str = "onprem", *, alive: bool = True, runs_as: str = ""
    ) -> JobRow:
        row = self.ledger.intend(Job(JobKey("dag", run_id), REQUEST, cluster, "batch", runs_as=runs_as))
        if alive:
            self.living.add(("dag", run_id))
        return row

    def recorded(self, run_id: str, native_id: str, *, released: bool = True, alive: bool = True) -> JobRow:
        row = self.intended(run_id, alive=alive)
        self.ledger.record_native_id(row.token, native_id, self.at, "/scratch/hybrid-hpc/x")
        if released:
            self.ledger.mark_released(row.token)
        return row

    def fresh(self, row: JobRow) -> JobRow:
        found = self.ledger.job(row.token)
        assert found
        return found

    def later(self, **parts: float) -> None:
        self.at += timedelta(**parts)

    async def reconcile(self) -> Report:
        async def open_site(cluster: Cluster) -> Site:
            there = self.there[cluster.name]
            return Site(cluster, there, cast("HeadNode", there))

        def alive(runs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
            return self.living.intersection(runs)

        return await reconcile(
            list(CLUSTERS.values()), ledger=self.ledger, open_site=open_site, living=alive, now=self.now
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybrid_hpc.collecting.PATIENCE_S", -1.0)


def done(report: Report) -> list[tuple[Action, str, str]]:
    return [(finding.action, finding.native_id, finding.result) for finding in report.findings]


async def test_a_reconciliation_shows_the_pages_every_cluster_that_answered(world: World) -> None:
    row = world.recorded("run", "17")
    world.onprem.queue["17"] = (row.token, JobState.PENDING)
    world.there["azure"].fails["load"] = Unreachable("no route")
    await world.reconcile()
    seen = world.ledger.snapshots()
    assert {(each.cluster, each.partition) for each in seen} >= {("onprem", "")}
    assert "azure" not in {each.cluster for each in seen}
    assert (seen[0].jobs_waiting, seen[0].seen_at) == (1, world.at)


async def test_when_nothing_is_wrong_nothing_is_done_and_every_cluster_is_left(world: World) -> None:
    row = world.recorded("run", "7")
    world.onprem.queue["7"] = (row.token, JobState.RUNNING)
    world.later(hours=1)
    report = await world.reconcile()
    assert report.findings == ()
    assert report.numbers().startswith("1 open job on 2 clusters, 0 findings, ")
    assert [there.told for there in world.there.values()] == [["closed"], ["closed"]]


async def test_a_job_left_by_a_dead_submission_is_recorded_then_released(world: World) -> None:
    row = world.intended()
    world.onprem.queue["7"] = (row.token, JobState.HELD)
    world.later(minutes=2)
    assert done(await world.reconcile()) == [(Action.ADOPT, "7", "recorded as job 7")]
    assert world.fresh(row).run_dir == f"/scratch/hybrid-hpc/{row.token}"
    world.later(minutes=11)
    assert done(await world.reconcile()) == [(Action.RELEASE, "7", "released")]
    assert world.fresh(row).released_at == world.at
    assert world.onprem.queue["7"][1] is JobState.RUNNING
    assert (await world.reconcile()).findings == ()


async def test_what_is_done_about_a_job_is_done_as_whom_it_runs(world: World) -> None:
    lost = world.intended("lost", runs_as="person:ada")
    ended = world.intended("ended", alive=False, runs_as="project:alpha")
    world.ledger.record_native_id(ended.token, "8", world.at, "/x")
    world.onprem.queue |= {
        "7": (lost.token, JobState.HELD),
        "9": (lost.token, JobState.HELD),
        "8": (ended.token, JobState.RUNNING),
    }
    world.later(minutes=2)
    await world.reconcile()
    world.later(minutes=11)
    await world.reconcile()
    assert set(world.onprem.queue) == {"7"}
    assert world.fresh(lost).released_at
    assert set(world.onprem.acted_as) == {"person:ada", "project:alpha"}


async def test_two_reconciliations_at_once_do_what_one_does(world: World) -> None:
    lost, double = world.intended("lost"), world.recorded("double", "8")
    ended = world.recorded("ended", "10", alive=False)
    world.onprem.queue |= {
        "7": (lost.token, JobState.HELD),
        "8": (double.token, JobState.RUNNING),
        "9": (double.token, JobState.HELD),
        "10": (ended.token, JobState.RUNNING),
    }
    world.later(minutes=20)
    await asyncio.gather(world.reconcile(), world.reconcile())
    assert world.fresh(lost).native_id == "7"
    assert set(world.onprem.queue) == {"7", "8"}
    assert world.fresh(ended).cancel_requested_by == "hpc_reconcile"
    assert not world.fresh(double).cancel_wished


@pytest.mark.parametrize("where", ["cancel", "history"])
async def test_what_one_that_is_killed_leaves_undone_the_next_one_does(world: World, where: str) -> None:
    row = world.recorded("run", "7", alive=False)
    world.onprem.queue["7"] = (row.token, JobState.RUNNING)
    world.onprem.fails[where] = Killed(where)
    with pytest.raises(Killed):
        await world.reconcile()
    assert world.fresh(row).cancel_wished, "the wish is written down before it is sent"
    del world.onprem.fails[where]
    await world.reconcile()
    assert "7" not in world.onprem.queue


async def test_a_cluster_that_does_not_answer_is_told_and_hinders_no_other(world: World) -> None:
    world.there["azure"].fails["load"] = Unreachable("azure: connection refused")
    world.intended("elsewhere", "azure", alive=False)
    row = world.intended()
    world.onprem.queue["7"] = (row.token, JobState.HELD)
    world.later(minutes=2)
    report = await world.reconcile()
    silent, adopted = report.findings
    assert (silent.cluster, silent.action) == ("azure", Action.REPORT)
    assert silent.why == "it does not answer: connection refused; 1 open job there could not be looked at"
    assert adopted.result == "recorded as job 7"


async def test_an_action_that_fails_is_told_and_hinders_no_other(world: World) -> None:
    ended, lost = world.recorded("ended", "7", alive=False), world.intended("lost")
    world.onprem.queue |= {"7": (ended.token, JobState.RUNNING), "8": (lost.token, JobState.HELD)}
    world.onprem.fails["cancel"] = RuntimeError("a defect of ours")
    world.later(minutes=2)
    results = [finding.result for finding in (await world.reconcile()).findings]
    assert results == ["not done: RuntimeError: a defect of ours", "recorded as job 8"]


async def test_open_jobs_of_a_cluster_that_is_configured_no_more_are_told(world: World) -> None:
    world.intended("run", "retired", alive=False)
    [finding] = (await world.reconcile()).findings
    assert (finding.cluster, finding.action) == ("retired", Action.REPORT)
    assert "clusters.yaml does not name it any more; 1 open job" in finding.why


async def test_a_stray_is_looked_at_again_before_it_is_cancelled(world: World) -> None:
    """Between the look and the action its owner may have released it, or somebody else have its id."""
    row = world.recorded("run", "7")
    world.onprem.queue |= {"7": (row.token, JobState.RUNNING), "9": (row.token, JobState.HELD)}
    world.onprem.moves_on = {"9": JobState.PENDING}
    [finding] = (await world.reconcile()).findings
    assert finding.action is Action.CANCEL_STRAY
    assert finding.result.startswith("left alone")
    assert "9" in world.onprem.queue


async def test_a_forgotten_held_job_is_cancelled_only_when_its_directory_names_this_ledger(
    world: World,
) -> None:
    ours, theirs = name_of("forgotten"), name_of("another installation's")
    world.onprem.queue |= {"7": (ours, JobState.HELD), "8": (theirs, JobState.HELD)}
    world.onprem.marked = {ours}
    report = await world.reconcile()
    assert set(world.onprem.queue) == {"8"}
    assert [finding.action for finding in report.findings] == [Action.CANCEL_STRAY, Action.REPORT]
    assert world.onprem.told.count("whose") == 1


async def test_without_an_answer_whose_it_is_a_forgotten_job_is_left_alone(world: World) -> None:
    world.onprem.queue["7"] = (name_of("forgotten"), JobState.HELD)
    world.onprem.fails["whose"] = Unavailable("the storage hangs")
    [finding] = (await world.reconcile()).findings
    assert finding.action is Action.REPORT
    assert "7" in world.onprem.queue


async def test_a_job_nobody_knows_of_an_ended_run_is_closed_as_unknown_and_never_as_more(
    world: World,
) -> None:
    row = world.recorded("run", "7", alive=False)
    [first] = (await world.reconcile()).findings
    assert first.result.startswith("left open")
    assert [alert.subject for alert in world.ledger.alerts()] == [row.token]
    world.later(minutes=16)
    [second] = (await world.reconcile()).findings
    assert second.result == "closed: how it ended stays unknown for ever"
    closed = world.fresh(row)
    assert (closed.settled, closed.outcome, closed.evidence) == (True, JobState.UNKNOWN, None)
    assert world.ledger.alerts() == []
    assert (await world.reconcile()).findings == ()


async def test_should_it_come_back_after_all_it_is_cancelled(world: World) -> None:
    row = world.recorded("run", "7", alive=False)
    await world.reconcile()
    world.later(minutes=16)
    await world.reconcile()
    world.onprem.queue["7"] = (row.token, JobState.RUNNING)
    world.later(minutes=5)
    assert done(await world.reconcile()) == [(Action.CANCEL, "7", "the cluster was told again")]
    assert world.onprem.queue == {}


async def test_nothing_is_closed_while_the_accounting_does_not_answer(world: World) -> None:
    row = world.recorded("run", "7", alive=False)
    world.onprem.accounting = False
    await world.reconcile()
    world.later(hours=3)
    [finding] = (await world.reconcile()).findings
    assert finding.result == "not done: slurmdbd does not answer"
    assert not world.fresh(row).settled


async def test_an_unknown_job_is_an_alert_until_it_is_seen_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    row = world.recorded("run", "7")
    world.ledger.observe([JobReport(row.token, "7", JobState.UNKNOWN)])
    world.later(minutes=16)
    [finding] = (await world.reconcile()).findings
    [alert] = world.ledger.alerts()
    assert (alert.subject, alert.kind, alert.cluster) == (row.token, "unknown", "onprem")
    assert finding.why in caplog.text
    world.later(minutes=5)
    world.onprem.queue["7"] = (row.token, JobState.RUNNING)
    assert (await world.reconcile()).findings == ()
    assert world.ledger.alerts() == []


async def test_a_conflict_is_an_alert_until_it_is_over(world: World) -> None:
    row = world.recorded("run", "7")
    world.onprem.queue |= {"7": (row.token, JobState.RUNNING), "9": (row.token, JobState.RUNNING)}
    await world.reconcile()
    assert [alert.kind for alert in world.ledger.alerts()] == ["conflict"]
    assert "cancel" not in " ".join(world.onprem.told)
    del world.onprem.queue["9"]
    world.later(minutes=5)
    await world.reconcile()
    assert world.ledger.alerts() == []


async def test_the_report_is_in_the_ledger_as_it_is_in_the_log(world: World) -> None:
    row = world.intended()
    world.onprem.queue["7"] = (row.token, JobState.HELD)
    world.later(minutes=2)
    report = await world.reconcile()
    [kept] = world.ledger.reconciliations()
    assert (kept.began_at, kept.open_jobs) == (world.at, 1)
    assert kept.findings == [finding.as_json() for finding in report.findings]
    assert report.counts() == dict.fromkeys(Action, 0) | {"adopt": 1}


async def test_the_ledger_is_asked_as_often_for_many_open_jobs_as_for_one(world: World) -> None:
    asked: list[str] = []
    event.listen(
        world.ledger._engine, "before_cursor_execute", lambda _c, _u, statement, *_: asked.append(statement)
    )
    counts = []
    for n in range(1, 202):
        row = world.recorded(f"run {n}", str(n))
        world.onprem.queue[str(n)] = (row.token, JobState.RUNNING)
        if n in (1, 201):
            world.later(minutes=5)  # as often as it runs: each keeps a snapshot
            asked.clear()
            assert (await world.reconcile()).findings == ()
            counts.append(len(asked))
    assert counts[0] == counts[1]


def test_the_table_is_plain_text_whatever_a_job_is_called() -> None:
    hostile = Finding("onprem", Action.REPORT, "[red]why[/]", "hh-x", "7", "a\x1b[31m\nb [bold]", 90.0)
    table = findings_table([hostile] * 300)
    assert "\x1b" not in table
    assert "[red]why[/]" in table
    assert table.endswith("and 100 more")
    assert "2 min" in table
    assert max(map(len, table.splitlines())) <= 140


async def test_requests_for_nodes_at_which_nobody_looks_any_more_are_settled_and_old_wishes_forgotten(
    world: World,
) -> None:
    world.ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray="htc", names=["htc-1"])
    world.ledger.wish_for_nodes("gone", cluster="azure", nodearray="htc", count=1)
    world.later(days=31)
    await world.reconcile()
    (row,) = world.ledger.scale_requests("azure")
    assert (row.outcome, row.came) == ("failed", 0)
    assert world.ledger.forget_node_wishes() == 0, "forgotten already"
