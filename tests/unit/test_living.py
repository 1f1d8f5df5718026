"""Which runs are alive, asked as seldom as possible."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.living import living_runs

RUNS = st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=40)
USUAL = "manual__2026-03-29T01:30:00.123456+00:00_"


@given(runs=RUNS, data=st.data())
def test_exactly_the_living_runs_are_found(runs: list[str], data: st.DataObject) -> None:
    alive = set(data.draw(st.lists(st.sampled_from(runs), unique=True))) if runs else set()
    assert living_runs(runs, lambda some: len(alive.intersection(some))) == alive


def test_one_question_is_enough_when_every_run_lives() -> None:
    asked: list[Sequence[str]] = []

    def count(some: Sequence[str]) -> int:
        asked.append(some)
        return len(some)

    runs = [f"run {n}" for n in range(300)]
    assert living_runs(runs, count) == set(runs)
    assert len(asked) == 1


def test_one_dead_run_among_hundreds_costs_about_twenty_questions() -> None:
    asked = 0

    def count(some: Sequence[str]) -> int:
        nonlocal asked
        asked += 1
        return len(some) - ("run 50" in some)

    runs = [f"run {n}" for n in range(300)]
    assert living_runs(runs, count) == set(runs) - {"run 50"}
    assert asked <= 21


def test_no_question_is_longer_than_what_a_server_takes_in_a_url() -> None:
    """httpx refuses a URL of more than 64 KiB, and proxies one of more than 8 KiB."""
    asked: list[Sequence[str]] = []

    def count(some: Sequence[str]) -> int:
        asked.append(some)
        return len(some)

    runs = [f"{USUAL}{n}" for n in range(10_000)] + ["ä" * 200, "+" * 250]
    assert living_runs(runs, count) == set(runs)
    assert max(sum(len(run_id) for run_id in some) for some in asked) < 6_000
    assert len(asked) < 200
