"""Rolling up: the days and months whose rows have changed are made anew, so that no page adds up jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.rollup import Mark
from hybrid_hpc.usage.daily import days_of_usage, month_of_usage
from hybrid_hpc.usage.days import DAY, MONTH

AT_ONCE = 7  # days whose jobs are in memory together


def roll_up(ledger: Ledger, first: date = date.min, after: date = date.max) -> int:
    """Makes anew what is marked of the days from ``first`` to before ``after``; gives how many days.

    It may be cut off, or run by several at once: a day is done when its mark is gone. Raises `Unavailable`.
    """
    marks = [mark for mark in ledger.marks(first, after) if mark.span == DAY]
    for cluster, days in _weeks(marks):
        ledger.roll_up_days(cluster, days, days_of_usage)
    for mark in ledger.marks(first, after):
        if mark.span == MONTH:
            ledger.roll_up_month(mark.cluster, mark.day, month_of_usage)
    return len(marks)


def _weeks(marks: Iterable[Mark]) -> Iterator[tuple[str, list[date]]]:
    """The marked days of a cluster in a week, for neighbours have most of their rows in common."""
    for (cluster, _), found in groupby(
        marks, key=lambda mark: (mark.cluster, mark.day.toordinal() // AT_ONCE)
    ):
        yield cluster, [mark.day for mark in found]
