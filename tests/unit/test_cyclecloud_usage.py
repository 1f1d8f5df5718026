from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from lab.cyclecloud.usage import Life, Question, cluster_usage, intervals

FRIDAY_NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def bounds(question: Question, now: datetime = FRIDAY_NOON) -> tuple[str, str, int]:
    found = intervals(question, now)
    return f"{found[0].start:%m-%dT%H:%M}", f"{found[-1].end:%m-%dT%H:%M}", len(found)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(), ("01-01T00:00", "01-03T00:00", 2)),
        (Question("monthToDate", "total"), ("01-01T00:00", "01-02T12:00", 1)),
        (Question("monthToDate", "hourly"), ("01-01T00:00", "01-02T12:00", 36)),
        (Question("lastMonth"), ("12-01T00:00", "01-01T00:00", 31)),
        (Question("weekToDate"), ("12-28T00:00", "01-03T00:00", 6)),
        (
            Question("custom", "hourly", "2026-01-01T01:59:59Z", "2026-01-01T03:00:01Z"),
            ("01-01T01:00", "01-01T04:00", 3),
        ),
        (
            Question("custom", "daily", "2026-01-01T01:00Z", "2026-01-01T03:00Z"),
            ("01-01T00:00", "01-02T00:00", 1),
        ),
        (Question("custom", "daily", "2026-01-01", "2026-01-02"), ("01-01T00:00", "01-02T00:00", 1)),
        (
            Question("custom", "hourly", "2026-01-01T01:00:00+02:00", "2026-01-01T02:00:00+02:00"),
            ("12-31T23:00", "01-01T00:00", 1),
        ),
    ],
)
def test_a_time_frame_is_widened_to_whole_steps(question: Question, expected: tuple[str, str, int]) -> None:
    assert bounds(question) == expected


def test_a_week_begins_on_sunday_also_on_a_sunday() -> None:
    sunday = datetime(2026, 1, 4, 0, 30, tzinfo=UTC)
    assert bounds(Question("weekToDate"), sunday)[0] == "01-04T00:00"


def test_intervals_follow_each_other_without_gap_or_overlap() -> None:
    hours = intervals(Question("lastMonth", "hourly"), FRIDAY_NOON)
    assert len(hours) == 31 * 24
    assert all(one.end == other.start for one, other in itertools.pairwise(hours))


def life(began: datetime, ended: datetime | None, **changes: object) -> Life:
    values = {
        "node": "hpc-1",
        "nodearray": "hpc",
        "vm_size": "F16",
        "cores": 16,
        "interruptible": False,
        "usd_per_hour": 2.0,
        "began_at": began.timestamp(),
        "ended_at": ended and ended.timestamp(),
    }
    return Life.model_validate(values | changes)


def test_hours_are_cut_at_the_intervals_and_add_up_to_the_whole() -> None:
    began, ended = FRIDAY_NOON - timedelta(hours=14), FRIDAY_NOON - timedelta(minutes=30)
    answer = cluster_usage(Question(), [life(began, ended)], "r", FRIDAY_NOON.timestamp())
    assert [each.total.hours for each in answer.usage] == [2 * 16, 11.5 * 16]
    assert [each.total.cost for each in answer.usage] == [4, 23]


def test_a_vm_that_still_runs_counts_up_to_now() -> None:
    began = FRIDAY_NOON - timedelta(hours=1)
    answer = cluster_usage(Question(granularity="total"), [life(began, None)], "r", FRIDAY_NOON.timestamp())
    assert answer.usage[0].total.hours == 16


def test_one_unknown_price_leaves_the_sum_unknown_but_not_the_other_nodearrays() -> None:
    began = FRIDAY_NOON - timedelta(hours=1)
    lives = [life(began, None), life(began, None, nodearray="htc", usd_per_hour=None)]
    answer = cluster_usage(Question(granularity="total"), lives, "r", FRIDAY_NOON.timestamp())
    assert answer.usage[0].total.cost is None
    assert [item.cost for item in answer.usage[0].breakdown] == [2, None]


def test_details_tell_spot_from_regular() -> None:
    began = FRIDAY_NOON - timedelta(hours=1)
    lives = [life(began, None), life(began, None, interruptible=True), life(began, None)]
    question = Question(granularity="total", details=True)
    (item,) = cluster_usage(question, lives, "r", FRIDAY_NOON.timestamp()).usage[0].breakdown
    assert {each.priority: each.hours for each in item.details or ()} == {"Regular": 32, "Spot": 16}
