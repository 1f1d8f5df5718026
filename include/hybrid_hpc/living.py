"""Which DAG runs are alive, asked of Airflow as seldom as possible (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote_plus

URL_ROOM = 6_000  # proxies refuse a request line of more than 8 KiB


def living_runs(run_ids: Sequence[str], count: Callable[[Sequence[str]], int]) -> set[str]:
    """Which of the runs are alive, asking ``count`` (of living ones among some) as seldom as possible.

    One question for a URL's length of runs when all or none of them are alive, and a few more per dead one
    otherwise.
    """
    return {run_id for some in _in_urls(run_ids) for run_id in _living(some, count)}


def _living(run_ids: Sequence[str], count: Callable[[Sequence[str]], int]) -> set[str]:
    alive = count(run_ids)
    if alive in (0, len(run_ids)):
        return set(run_ids) if alive else set()
    half = len(run_ids) // 2
    return _living(run_ids[:half], count) | _living(run_ids[half:], count)


def _in_urls(run_ids: Iterable[str]) -> Iterator[list[str]]:
    """Airflow's API takes them in the URL, and a URL of 64 KiB is not even sent."""
    some: list[str] = []
    room = URL_ROOM
    for run_id in run_ids:
        length = len(quote_plus(run_id)) + len("&run_ids=")
        if some and length > room:
            yield some
            some, room = [], URL_ROOM
        some.append(run_id)
        room -= length
    if some:
        yield some
