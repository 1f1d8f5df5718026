"""What the benchmarks conclude from what they saw."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from benchmarks import centre, job_overhead, waiting_jobs
from benchmarks.job_overhead import FLOOR, JOB, LOWER, WAY, Run
from benchmarks.waiting_jobs import Seen

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = Seen(1, 1, squeue_calls=30, connections=1, commands_alone=5, connections_alone=1, cpu_ms_a_poll=9)
MANY = replace(ONE, jobs=200, told=200, cpu_ms_a_poll=40)


def task(name: str, start_s: float, end_s: float) -> dict[str, Any]:
    start, end = (NOON + timedelta(seconds=seconds) for seconds in (start_s, end_s))
    return {"task_id": name, "start_date": start.isoformat(), "end_date": end.isoformat()}


def run(scale: float) -> Run:
    """Each task takes one unit of time and comes half a unit after the one before it."""
    tasks = [task(name, scale * (1.5 * n + 0.5), scale * (1.5 * n + 1.5)) for n, name in enumerate(WAY)]
    return job_overhead.read_run(NOON, NOON + timedelta(seconds=scale * 8), tasks)


def test_the_tasks_and_what_lies_between_them_add_up_to_the_whole_run() -> None:
    found = run(1)
    assert found.total_s == sum(found.parts_s.values()) + sum(found.gaps_s.values()) == 8
    assert list(found.parts_s) == list(WAY)
    assert set(found.parts_s.values()) == {1.0}


@pytest.mark.parametrize(("scale", "verdict"), [(2.9, "reached"), (3.0, "reached"), (3.1, "MISSED")])
def test_a_job_may_take_three_times_as_long_as_its_floor(scale: float, verdict: str) -> None:
    runs = {JOB: [run(scale), run(scale), run(99)], FLOOR: [run(1)]} | {name: [run(0.5)] for name in LOWER}
    printed = StringIO()
    assert job_overhead.report(runs, Console(file=printed, width=120)) == (verdict == "reached")
    assert f"{scale:.2f} times" in printed.getvalue()
    assert verdict in printed.getvalue()
    assert f"{2 * scale:.1f} times" in printed.getvalue()


@pytest.mark.parametrize(
    ("seen", "missed"),
    [
        (MANY, ""),
        (replace(MANY, squeue_calls=31), ""),  # the window held the beginning of one poll more
        (replace(MANY, squeue_calls=20), ""),
        (replace(MANY, squeue_calls=32), "32 squeue calls"),
        (replace(MANY, squeue_calls=0), "0 squeue calls"),
        (replace(MANY, connections=2), "2 SSH connections"),
        (replace(MANY, connections_alone=2), "2 of a watch alone"),
        (replace(MANY, commands_alone=1000), "1000 commands in 5 polls"),
        (replace(MANY, told=150), "150 of 200 waits were told"),
    ],
)
def test_many_waiting_jobs_must_cost_a_head_node_no_more_than_one(seen: Seen, missed: str) -> None:
    found = waiting_jobs.shortfalls(ONE, seen)
    assert len(found) == bool(missed)
    assert missed in "; ".join(found)


@pytest.mark.parametrize(("seconds", "verdict"), [(10, "2.00 times"), (40, "reached"), (41, "MISSED")])
def test_a_centre_does_at_least_half_as_many_jobs_a_minute(seconds: float, verdict: str) -> None:
    one, other = centre.Rate(10, 20), centre.Rate(10, seconds)
    printed = StringIO()
    reached = centre.report(one, other, Console(file=printed, width=120))
    assert reached == (verdict != "MISSED")
    assert verdict in printed.getvalue()
    assert one.per_minute == 30
