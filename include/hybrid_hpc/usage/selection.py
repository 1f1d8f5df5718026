"""Which usage somebody asks for, and where it is read from.

`usage_by` is the one way from the ledger to an aggregate of the pages, the exports and the budgets. It reads
the roll-up, so its quantiles lie within `buckets.ERROR` (2.5 %) of those of the jobs themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.usage.aggregate import COUNTS, QUANTILES, SUMS, table_of
from hybrid_hpc.usage.buckets import Integers, counted, quantile_of
from hybrid_hpc.usage.capacity import STOOD, utilisation_of
from hybrid_hpc.usage.daily import PACKED
from hybrid_hpc.usage.days import Extract, days_of, midnight
from hybrid_hpc.usage.frames import Period
from hybrid_hpc.usage.rollup import roll_up
from hybrid_hpc.usage.windows import Window

Column = Literal["cluster", "partition", "project", "person"]
By = Column | Period
COLUMNS: tuple[Column, ...] = get_args(Column)
PERIODS: tuple[Period, ...] = get_args(Period)
Found = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Usage in a window of whole UTC days; an empty collection leaves everybody in.

    A window that begins or ends within a day has the whole of that day.
    """

    window: Window
    cluster: frozenset[str] = frozenset()
    partition: frozenset[str] = frozenset()
    project: frozenset[str] = frozenset()
    person: frozenset[str] = frozenset()

    @property
    def extract(self) -> Extract:
        """The same as the roll-up is asked for it."""
        return Extract(*days_of(self.window), {column: getattr(self, column) for column in COLUMNS})


def usage_by(ledger: Ledger, selection: Selection, by: Sequence[By]) -> pd.DataFrame:
    """The selection added up, with the columns of `aggregate.totals`. Index: ``by``; without any, one row.

    At most one of ``by`` is a period, and its level holds the beginnings (UTC) of the pieces of time. What
    was collected and not rolled up yet is rolled up first, so nothing is missing.
    """
    roll_up(ledger, *days_of(selection.window))
    return rolled_usage(ledger, selection, by)


def rolled_usage(ledger: Ledger, selection: Selection, by: Sequence[By]) -> pd.DataFrame:
    """`usage_by` as far as it is rolled up, which is told by the ledger's marks."""
    added = sums_by(ledger, selection, by)
    found = ledger.rolled_waits(selection.extract, by)
    lines = _lines(found, by, selection.window, added)
    counts = {
        measure: counted([row[column] for row in found], lines, len(added))
        for measure, column in PACKED.items()
    }
    ranks = {name: quantile_of(counts[measure], part) for name, (measure, part) in QUANTILES.items()}
    return table_of(added, pd.DataFrame(ranks, index=added.index))


def sums_by(ledger: Ledger, selection: Selection, by: Sequence[By]) -> pd.DataFrame:
    """The part of `rolled_usage` that needs no ranks, which take longest: the columns `aggregate.SUMS`."""
    added = _table(ledger.rolled_sums(selection.extract, by), by, SUMS, selection).fillna(0.0)
    return added.assign(**{name: added[name].astype("int64") for name in COUNTS})


def failures_by(ledger: Ledger, selection: Selection, by: Sequence[By]) -> pd.DataFrame:
    """As `aggregate.failures`, as far as it is rolled up; ``by`` at least one column."""
    found = _table(ledger.rolled_causes(selection.extract, by), [*by, "cause"], ["lives"], selection)
    return found["lives"].astype(int).unstack("cause", fill_value=0)


def utilisation_by(ledger: Ledger, selection: Selection, by: Sequence[By], each_s: float) -> pd.DataFrame:
    """As `capacity.utilisation`, of whole clusters, as far as it is rolled up; a group is ``each_s`` long."""
    found = ledger.rolled_samples(selection.extract, by)
    return utilisation_of(_table(found, by, STOOD, selection), each_s)


def _lines(found: Found, by: Sequence[str], window: Window, added: pd.DataFrame) -> Integers:
    """The line of ``added`` to which each row belongs; -1 for a group that was rolled up only just now."""
    if not by:
        return np.zeros(len(found), np.int64)
    return added.index.get_indexer(_keys(found, by, window).set_index([*by]).index).astype(np.int64)


def _table(found: Found, by: Sequence[str], figures: Sequence[str], selection: Selection) -> pd.DataFrame:
    """The figures as floats, NaN where there is none."""
    values = {name: np.array([row[name] for row in found], dtype=float) for name in figures}
    if not by:
        return pd.DataFrame(values)
    return _keys(found, by, selection.window).assign(**values).set_index([*by]).sort_index()


def _keys(found: Found, by: Sequence[str], window: Window) -> pd.DataFrame:
    return pd.DataFrame({name: _key([row[name] for row in found], name, window) for name in by})


def _key(values: Sequence[Any], name: str, window: Window) -> Sequence[Any] | pd.DatetimeIndex:
    """One level of an index; the outer pieces of time begin where the window does."""
    if name not in PERIODS:
        return values
    began = [max(midnight(day), window.since) for day in values]
    return pd.DatetimeIndex(began, dtype="datetime64[us, UTC]")
