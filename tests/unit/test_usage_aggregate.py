"""Usage added up: figures that are checked by hand, and sums that stay what they are however time is cut."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import UsageRow
from hybrid_hpc.usage.aggregate import cloud_share, failures, totals, usage_table
from hybrid_hpc.usage.frames import SPREAD, Period, jobs_frame, pieces_of, spread
from hybrid_hpc.usage.windows import Window
from tests.unit.usage_world import NOON, life

DAY = Window(NOON, NOON + timedelta(days=1))
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def parts(*rows: UsageRow, pieces: Sequence[Window] = (DAY,)) -> pd.DataFrame:
    return spread(jobs_frame(rows), pieces)


def only(table: pd.DataFrame) -> dict[str, Any]:
    assert len(table) == 1
    return dict(table.iloc[0])


def test_core_hours_cpu_hours_and_money_of_one_job() -> None:
    found = only(totals(parts(life(hours=2, gpus=1, cost_usd=0.5)), ["cluster", "project"]))
    assert (found["jobs"], found["failed"]) == (1, 0)
    assert (found["core_h"], found["cpu_h"], found["gpu_h"], found["cost_usd"]) == (8.0, 2.0, 2.0, 0.5)
    assert found["cpu_efficiency"] == 0.25
    assert found["memory_efficiency"] == 0.125


def test_waits_are_told_by_their_quantiles_and_only_of_what_started() -> None:
    rows = [life(native_id=str(number), waited_s=number * 60.0) for number in range(11)]
    never = life(native_id="never", started_at=None, elapsed_s=0.0, state=JobState.CANCELLED)
    found = only(totals(parts(*rows, never), ["cluster"]))
    assert (found["wait_p50_s"], found["wait_p90_s"], found["wait_p95_s"]) == (300.0, 540.0, 570.0)
    assert found["jobs"] == 12


def test_the_slowdown_of_a_job_of_an_instant_is_bounded() -> None:
    at_once = life(hours=1 / 3600, waited_s=99.0)
    assert only(totals(parts(at_once), ["cluster"]))["slowdown_p50"] == 10.0
    unhindered = life(hours=1 / 3600, waited_s=0.0)
    assert only(totals(parts(unhindered), ["cluster"]))["slowdown_p50"] == 1.0


def test_a_life_after_which_the_scheduler_ran_the_job_again_is_no_job_and_no_failure_but_was_used() -> None:
    lives = [life(state=JobState.PENDING), life(NOON + timedelta(hours=2))]
    found = only(totals(parts(*lives), ["cluster"]))
    assert (found["jobs"], found["failed"], found["core_h"]) == (1, 0, 8.0)


def test_failures_are_told_by_their_cause() -> None:
    states = [JobState.FAILED, JobState.FAILED, JobState.TIMEOUT, JobState.PENDING, JobState.COMPLETED]
    rows = [life(native_id=str(number), state=state) for number, state in enumerate(states)]
    assert only(failures(parts(*rows), ["cluster"])) == {"failed": 2, "timeout": 1, "requeued": 1}
    assert only(totals(parts(*rows), ["cluster"]))["failed"] == 3


def test_a_job_over_midnight_is_used_on_both_days_and_counts_on_the_one_on_which_it_ended() -> None:
    row = life(NOON + timedelta(hours=9), hours=9, cost_usd=9.0)
    window = Window(NOON, NOON + timedelta(days=2))
    table = totals(parts(row, pieces=pieces_of(window, "day")), ["piece"])
    assert list(table["core_h"]) == [12.0, 24.0]
    assert list(table["cost_usd"]) == [3.0, 6.0]
    assert list(table["jobs"]) == [0, 1]


def test_of_a_job_that_runs_what_it_has_used_so_far_counts() -> None:
    found = only(totals(parts(life(ended_at=None, state=JobState.RUNNING)), ["cluster"]))
    assert (found["core_h"], found["jobs"]) == (4.0, 0)
    assert pd.isna(found["wait_p50_s"])


def test_a_job_that_ended_just_when_a_piece_begins_is_counted_once() -> None:
    row = life(NOON - timedelta(hours=1), hours=1)
    before = Window(NOON - timedelta(days=1), NOON)
    table = totals(parts(row, pieces=[before, DAY]), ["piece"])
    assert list(table["jobs"]) == [0, 1]
    assert list(table["core_h"]) == [4.0, 0.0]


def test_the_share_of_azure_is_of_jobs_hours_and_money() -> None:
    rows = [
        life(cost_usd=1.0),
        life(cluster="azure", cores=12, cost_usd=1.0),
        life(native_id="18", cost_usd=0.0),
    ]
    found = only(cloud_share(parts(*rows).assign(all="all"), {"azure"}, ["all"]))
    assert found["jobs"] == pytest.approx(1 / 3)
    assert found["core_h"] == pytest.approx(12 / 20)
    assert found["cost_usd"] == 0.5


@pytest.mark.parametrize(("period", "count"), [("day", 33), ("week", 5), ("month", 3)])
def test_pieces_are_the_calendars_and_the_outer_ones_are_cut(period: Period, count: int) -> None:
    window = Window(APRIL - timedelta(hours=12), APRIL + timedelta(days=31, hours=12))
    pieces = pieces_of(window, period)
    assert (pieces[0].since, pieces[-1].until) == (window.since, window.until)
    assert all(one.until == other.since for one, other in pairwise(pieces))
    assert len(pieces) == count
    assert pieces[1].since == (datetime(2026, 4, 6, tzinfo=UTC) if period == "week" else APRIL)


def test_without_a_job_there_is_nothing_and_no_error() -> None:
    for table in (
        totals(parts(), ["cluster"]),
        failures(parts(), ["cluster"]),
        cloud_share(parts(), {"azure"}, ["project"]),
    ):
        assert usage_table(table) == "nothing"


def test_a_table_is_readable_and_what_is_not_known_is_left_empty() -> None:
    told = usage_table(totals(parts(life(max_rss_mib=None)), ["cluster", "person"]))
    assert told.splitlines()[1].split()[:2] == ["onprem", "alice"]
    assert "nan" not in told.lower()


@st.composite
def rows(draw: st.DrawFn) -> UsageRow:
    began = NOON + timedelta(seconds=draw(st.integers(-200_000, 200_000)))
    hours = draw(st.integers(0, 300_000)) / 3600
    return life(
        began,
        hours,
        native_id=str(draw(st.integers(1, 10**6))),
        waited_s=float(draw(st.integers(0, 9999))),
        cluster=draw(st.sampled_from(["onprem", "azure"])),
        person=draw(st.sampled_from(["alice", "bob"])),
        cores=draw(st.integers(0, 100)),
        cost_usd=float(draw(st.integers(0, 100))),
        state=draw(st.sampled_from(list(JobState))),
    )


EVER = Window(NOON - timedelta(days=20), NOON + timedelta(days=20))


@settings(deadline=None, max_examples=50)
@given(st.lists(rows(), max_size=8), st.sampled_from(["day", "week", "month"]))
def test_however_time_is_cut_the_pieces_add_up_to_the_whole(drawn: list[UsageRow], period: Period) -> None:
    frame = jobs_frame(drawn)
    cut, whole = spread(frame, pieces_of(EVER, period)), spread(frame, [EVER])
    for name in SPREAD:
        assert cut[name].sum() == pytest.approx(whole[name].sum())
    assert whole["cost_usd"].sum() == pytest.approx(sum(row.cost_usd for row in drawn))
    assert cut["ended_here"].sum() == whole["ended_here"].sum() == len(drawn)
    assert len(whole) == len(drawn)


@settings(deadline=None, max_examples=50)
@given(st.lists(rows(), min_size=1, max_size=8), st.randoms())
def test_the_order_of_clusters_and_jobs_changes_no_number(drawn: list[UsageRow], order: Any) -> None:
    shuffled = order.sample(drawn, len(drawn))
    one, other = (totals(parts(*each, pieces=[EVER]), ["cluster", "person"]) for each in (drawn, shuffled))
    pd.testing.assert_frame_equal(one, other)


@settings(deadline=None, max_examples=50)
@given(st.lists(rows(), min_size=1, max_size=8))
def test_clusters_added_up_are_the_whole(drawn: list[UsageRow]) -> None:
    found = parts(*drawn, pieces=[EVER])
    by_cluster = totals(found, ["cluster"])[["jobs", "failed", "core_h", "cost_usd"]].sum()
    whole = only(totals(found.assign(all=1), ["all"]))
    for name, value in by_cluster.items():
        assert whole[str(name)] == pytest.approx(value)
