"""Collecting usage: twice is once, halves are the whole, what cannot be asked is a gap with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_hpc.errors import NoAccounting, Unavailable, Unreachable
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, Ledger, UsageRow
from hybrid_hpc.ledger.lives import NewLife
from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.seen import with_known_nodes
from hybrid_hpc.usage.collect import ACCOUNTING, FIRST, SAMPLES, VM_HOURS, CollectedUsage, collect_usage
from hybrid_hpc.usage.windows import Window
from tests.unit.ledger_databases import NOW, empty
from tests.unit.usage_world import AZURE, NOON, ONPREM, AccountingHeadNode, Cloud, Life, site

pytest_plugins = ["tests.unit.ledger_fixtures"]

HOUR = 3600.0
EVER = Window(NOON - timedelta(days=90), NOON + timedelta(days=90))
LIVES = (
    Life("1", began=-7200, ended=-3700),
    Life("2", began=-7100, ended=-7100, state="CANCELLED", cpu_s=0),
    Life("3", began=-7000, ended=-6000, state="REQUEUED"),
    Life("3", began=-5000, ended=600, submitted=-6000),
    Life("4", began=-100, ended=900, task="1"),
    Life("4", began=-50, ended=7200, task="2"),
    Life("5", began=300, ended=900),
)


def after(seconds: float) -> Any:
    return NOON + timedelta(seconds=seconds)


async def collected(ledger: Ledger, head_node: AccountingHeadNode, now: float, **how: Any) -> CollectedUsage:
    head_node.now = now
    return await collect_usage(site(head_node), ledger, clock=lambda: after(now), **how)


def everything(ledger: Ledger) -> list[UsageRow]:
    return sorted(ledger.usage_between(EVER), key=lambda row: (row.native_id, row.task, row.submitted_at))


async def test_every_life_of_everybodys_jobs_is_a_row_and_what_waits_is_none(ledger: Ledger) -> None:
    brought = await collected(ledger, AccountingHeadNode(LIVES), 0)
    rows = everything(ledger)
    assert [(row.native_id, row.task, row.state) for row in rows] == [
        ("1", "", JobState.COMPLETED),
        ("2", "", JobState.CANCELLED),
        ("3", "", JobState.PENDING),
        ("3", "", JobState.RUNNING),
        ("4", "1", JobState.RUNNING),
        ("4", "2", JobState.RUNNING),
    ]
    assert rows[0].core_h == pytest.approx(4 * 3500 / HOUR)
    assert (rows[0].cpu_s, rows[0].max_rss_mib) == (60.0, 1024.0)
    assert brought.rows[ACCOUNTING] >= 6
    assert "rows of accounting" in brought.sentence()


async def test_what_ran_has_its_end_after_the_next_collection(ledger: Ledger) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, 0)
    await collected(ledger, head_node, 1200)
    ended = {(row.native_id, row.task): row.ended_at for row in everything(ledger)}
    assert ended["3", ""] == after(600)
    assert ended["5", ""] == after(900)
    assert ended["4", "2"] is None


async def test_collecting_twice_is_collecting_once(ledger: Ledger) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, 0)
    once, marks = everything(ledger), ledger.watermarks()
    await collected(ledger, head_node, 0)
    assert (everything(ledger), ledger.watermarks()) == (once, marks)


async def test_a_record_that_comes_late_is_found_by_the_next_collection(ledger: Ledger) -> None:
    late = Life("9", began=-600, ended=-300)
    await collected(ledger, AccountingHeadNode(LIVES), 0)
    await collected(ledger, AccountingHeadNode((*LIVES, late)), 600)
    assert "9" in {row.native_id for row in everything(ledger)}


async def test_the_first_collection_goes_back_for_a_month_in_pieces_and_the_next_only_for_what_is_new(
    ledger: Ledger,
) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, 0)
    assert head_node.asked[0][0] == -FIRST.total_seconds()
    assert [until for _, until in head_node.asked[:-1]] == [since for since, _ in head_node.asked[1:]]
    head_node.asked.clear()
    await collected(ledger, head_node, 600)
    assert head_node.asked == [(-3600.0, 600.0)]


async def test_a_window_with_more_jobs_than_an_answer_holds_is_cut_in_halves(ledger: Ledger) -> None:
    lives = [
        Life(str(number), began=-40_000 + number * 100, ended=-39_950 + number * 100) for number in range(300)
    ]
    head_node = AccountingHeadNode(lives, most_lives=40)
    await collected(ledger, head_node, 0)
    assert len(everything(ledger)) == 300
    assert ledger.watermarks()[0].collected == Window(NOON - FIRST, NOON)


async def test_a_cluster_that_does_not_answer_leaves_a_gap_with_its_reason_and_the_next_run_closes_it(
    ledger: Ledger,
) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, 0)
    head_node.trouble = {"load": Unreachable("onprem: connection refused")}
    brought = await collected(ledger, head_node, 600)
    assert brought.trouble == dict.fromkeys([ACCOUNTING, SAMPLES], "onprem: connection refused")
    assert brought.silent
    mark = ledger.watermark("onprem", ACCOUNTING)
    assert mark
    assert mark.collected == Window(NOON - FIRST, NOON), "no later than what is there"
    assert mark.trouble == "onprem: connection refused"
    head_node.trouble = {}
    await collected(ledger, head_node, 90_000)
    mark = ledger.watermark("onprem", ACCOUNTING)
    assert mark
    assert (mark.trouble, mark.collected) == ("", Window(NOON - FIRST, after(90_000)))
    assert {row.native_id: row.ended_at for row in everything(ledger)}["5"] == after(900)


async def test_an_accounting_that_is_silent_costs_the_samples_nothing(ledger: Ledger) -> None:
    head_node = AccountingHeadNode(trouble={"usage": Unavailable("Slurm does not answer: no database")})
    brought = await collected(ledger, head_node, 0)
    assert brought.trouble == {ACCOUNTING: "Slurm does not answer: no database"}
    assert brought.rows == {SAMPLES: 2}
    assert [(row.partition, row.cores, row.cores_busy) for row in ledger.samples_between(EVER)] == [
        ("", 16, 4),
        ("batch", 16, 4),
    ]


async def test_a_collection_shows_the_cluster_to_the_pages_unless_the_watch_has_just_done_so(
    ledger: Ledger,
) -> None:
    await collected(ledger, AccountingHeadNode(), 0)
    seen = ledger.snapshots()
    assert [(row.partition, row.cores_busy, row.cores_free) for row in seen] == [
        ("", 4, 12),
        ("batch", 4, 12),
    ]
    watched = [replace(row, cores_busy=9, seen_at=NOW + timedelta(seconds=1)) for row in seen]
    ledger.save_snapshot(watched)
    await collected(ledger, AccountingHeadNode(), 600)
    assert ledger.snapshots() == watched


def test_nodes_that_look_broken_to_the_scheduler_are_off_or_boot_as_far_as_the_ledger_knows(
    ledger: Ledger,
) -> None:
    ledger.begin_lives("azure", [NewLife("1", "htc-1", "htc", "F16")])
    nodes = [NodeState(f"htc-{n}", ("htc",), NodeStatus.DOWN, 16, 0, 1, 0) for n in range(3)]
    known = with_known_nodes(Load(0.0, tuple(nodes), ()), AZURE, ledger)
    assert [node.status for node in known.nodes] == [NodeStatus.OFF, NodeStatus.BOOTING, NodeStatus.OFF]
    assert with_known_nodes(Load(0.0, tuple(nodes), ()), ONPREM, ledger).nodes == tuple(nodes)


async def test_a_cluster_without_accounting_has_answered_and_its_gap_says_so(ledger: Ledger) -> None:
    brought = await collected(ledger, AccountingHeadNode(trouble={"usage": NoAccounting("none is kept")}), 0)
    assert not brought.silent
    assert brought.rows == {SAMPLES: 2}
    assert "NO accounting: none is kept" in brought.sentence()
    mark = ledger.watermark("onprem", ACCOUNTING)
    assert mark
    assert (mark.collected, mark.trouble, mark.trouble_since) == (None, "none is kept", NOW)


async def test_what_came_before_the_trouble_stays_and_its_window_is_not_asked_for_again(
    ledger: Ledger,
) -> None:
    head_node = Breaking(LIVES, answers=3)
    brought = await collected(ledger, head_node, 0)
    assert ACCOUNTING in brought.rows
    assert ACCOUNTING in brought.trouble
    mark = ledger.watermark("onprem", ACCOUNTING)
    assert mark
    assert mark.collected == Window(NOON - FIRST, NOON - FIRST + timedelta(hours=36))


class Breaking(AccountingHeadNode):
    """Its accounting gives so many answers and then none."""

    def __init__(self, lives: Sequence[Life], answers: int) -> None:
        super().__init__(lives)
        self.answers = answers

    async def run(self, command: Any, *, timeout_s: float | None = None) -> Any:
        if command.label == "usage":
            self.answers -= 1
            if self.answers < 0:
                raise Unreachable("connection refused")
        return await super().run(command, timeout_s=timeout_s)


async def test_a_line_that_cannot_be_read_is_counted_and_costs_no_other(ledger: Ledger) -> None:
    brought = await collected(ledger, AccountingHeadNode(LIVES, noise=["half a line"]), 0)
    assert len(everything(ledger)) == 6
    assert brought.unreadable[ACCOUNTING] == 2 * FIRST.days, "one in each piece"
    assert "60 lines could not be read" in brought.sentence()
    mark = ledger.watermark("onprem", ACCOUNTING)
    assert mark
    assert (mark.unreadable, mark.trouble) == (60, "")
    await collected(ledger, AccountingHeadNode(LIVES, noise=["half a line"]), 0)
    again = ledger.watermark("onprem", ACCOUNTING)
    assert again
    assert again.unreadable == 1, "what is asked for again is not counted again"


async def test_an_accounting_of_which_nothing_can_be_read_is_a_gap(ledger: Ledger) -> None:
    brought = await collected(ledger, AccountingHeadNode(noise=["what is this"] * 100), 0)
    assert "not one of 100 lines" in brought.trouble[ACCOUNTING]


async def test_a_window_of_the_past_takes_no_sample_and_widens_what_is_collected_where_it_touches(
    ledger: Ledger,
) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, 0)
    before = Window(NOON - FIRST - timedelta(days=2), NOON - FIRST)
    brought = await collected(ledger, head_node, 0, window=before)
    assert SAMPLES not in brought.rows
    mark = ledger.watermark("onprem", ACCOUNTING)
    assert mark
    assert mark.collected == Window(before.since, NOON)
    apart = Window(NOON - timedelta(days=80), NOON - timedelta(days=79))
    await collected(ledger, head_node, 0, window=apart)
    assert ledger.watermark("onprem", ACCOUNTING) == mark, "what lies between is not there"


async def test_a_window_that_is_newer_than_the_gap_before_it_does_not_hide_the_gap(ledger: Ledger) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, -50_000)
    await collected(ledger, head_node, 0, window=Window(after(-1000), NOON))
    head_node.asked.clear()
    await collected(ledger, head_node, 0)
    assert min(since for since, _ in head_node.asked) == -50_000 - HOUR


async def test_our_jobs_have_their_token_and_strangers_of_the_same_name_have_not(ledger: Ledger) -> None:
    request = JobRequest(name="test", script="hostname")
    job = Job(JobKey("dag", "run"), request, "onprem", "batch", submitted_by="ada")
    token = ledger.intend(job).token
    ledger.record_native_id(token, "1", after(-7200))
    lives = [Life(number, began=-7200, ended=-3700, name=token) for number in ("1", "2")]
    other = Life("3", began=-7200, ended=-3700, name="hh-abcdefghijkl")
    await collected(ledger, AccountingHeadNode([*lives, other]), 0)
    assert [row.token for row in everything(ledger)] == [token, "", ""]
    assert [row.person for row in everything(ledger)] == ["ada", "alice", "alice"]
    assert [row.native_id for row in ledger.usage_of(token)] == ["1"]
    assert ledger.usage_of("") == []


async def test_an_answer_that_was_read_before_the_end_and_written_after_it_takes_no_end_back(
    ledger: Ledger,
) -> None:
    head_node = AccountingHeadNode(LIVES)
    await collected(ledger, head_node, 10_000)
    ended = everything(ledger)
    await collected(ledger, head_node, 0)
    assert everything(ledger) == ended


async def test_the_hours_of_vms_are_collected_by_the_hour_and_the_last_one_again(ledger: Ledger) -> None:
    cloud = Cloud(lambda hour: 4.0 if hour == NOON else 16.0)
    there = site(AccountingHeadNode(), cloud, AZURE)
    brought = await collect_usage(there, ledger, clock=lambda: after(900))
    assert VM_HOURS in brought.rows
    assert len(ledger.vm_hours_between(EVER)) == FIRST.days * 24 + 1
    cloud.core_h = lambda _hour: 16.0
    await collect_usage(there, ledger, clock=lambda: after(4500))
    last = ledger.vm_hours_between(Window(NOON, EVER.until))
    assert [(row.hour, row.core_h, row.node_h, row.cost_usd) for row in last] == [
        (NOON, 16.0, 1.0, 1.6),
        (after(3600), 16.0, 1.0, 1.6),
    ]


async def test_a_cyclecloud_that_does_not_answer_costs_the_head_nodes_sources_nothing(ledger: Ledger) -> None:
    there = site(AccountingHeadNode(LIVES), Cloud(trouble=Unreachable("connection refused")), AZURE)
    brought = await collect_usage(there, ledger, clock=lambda: NOON)
    assert brought.trouble == {VM_HOURS: "connection refused"}
    assert len(everything(ledger)) == 6


async def test_a_ledger_that_does_not_answer_is_raised_not_noted(tmp_path: Path) -> None:
    bare = Ledger(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    with pytest.raises(Unavailable, match="ledger"):
        await collect_usage(site(AccountingHeadNode(LIVES)), bare)


lives = st.lists(
    st.builds(
        Life,
        native_id=st.integers(1, 9).map(str),
        began=st.integers(-50_000, 4_000).map(float),
        ended=st.integers(4_001, 9_000).map(float) | st.integers(-50_000, 4_000).map(float),
        submitted=st.integers(-60_000, -50_001).map(float),
        task=st.sampled_from(["", "1", "2"]),
    ).filter(lambda life: life.ended >= life.began),
    max_size=12,
    unique_by=lambda life: (life.native_id, life.task, life.submitted),
)


@contextmanager
def fresh_ledger(path: Path) -> Iterator[Ledger]:
    path.unlink(missing_ok=True)
    ledger = Ledger(f"sqlite:///{path}")
    ledger.migrate()
    yield ledger
    ledger.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=lives, cuts=st.lists(st.integers(-49_000, 4_999), max_size=3), order=st.randoms())
async def test_a_window_in_pieces_of_any_order_gives_the_rows_of_the_whole(
    tmp_path: Path, lives: list[Life], cuts: list[int], order: Any
) -> None:
    edges = [-50_000, *sorted(set(cuts)), 5_000]
    pieces = [Window(after(a), after(b)) for a, b in pairwise(edges)]
    order.shuffle(pieces)
    found = []
    for windows in ([Window(after(-50_000), after(5_000))], pieces):
        with fresh_ledger(tmp_path / "ledger.db") as ledger:
            for window in windows:
                await collected(ledger, AccountingHeadNode(lives), 5_000, window=window)
            found.append(everything(ledger))
    assert found[0] == found[1]


def test_many_rows_and_few_are_written_alike(ledger_server: Any) -> None:
    """From some number of rows on they go by COPY."""
    from hybrid_hpc.ledger import bulk  # noqa: PLC0415
    from tests.unit.usage_world import life  # noqa: PLC0415

    rows = [
        life(native_id=str(number), name=r"\N 'a' \. ü", project="\\") for number in range(bulk.COPY_FROM)
    ]
    ledger = Ledger(empty(ledger_server))
    ledger.migrate()
    try:
        ledger.save_usage(rows)
        many = everything(ledger)
        ledger.save_usage([*rows[:-1], life(native_id=rows[-1].native_id, cost_usd=7.0)])
        changed = everything(ledger)
    finally:
        ledger.close()
    assert many == sorted(rows, key=lambda row: row.native_id)
    assert [row.cost_usd for row in changed if row.native_id == rows[-1].native_id] == [7.0]
    assert sum(row in many for row in changed) == len(rows) - 1
