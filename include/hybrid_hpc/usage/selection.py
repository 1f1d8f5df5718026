"""Which usage somebody asks for, and where it is read from.

`usage_by` is the one way from the ledger to an aggregate of the pages, the exports and the budgets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.usage.aggregate import totals
from hybrid_hpc.usage.frames import Period, jobs_frame, pieces_of, spread
from hybrid_hpc.usage.windows import Window

Column = Literal["cluster", "partition", "project", "person"]
By = Column | Period
COLUMNS: tuple[Column, ...] = get_args(Column)
PERIODS: tuple[Period, ...] = get_args(Period)


@dataclass(frozen=True, slots=True)
class Selection:
    """Usage in a window of whole UTC days; an empty collection leaves everybody in."""

    window: Window
    cluster: frozenset[str] = frozenset()
    partition: frozenset[str] = frozenset()
    project: frozenset[str] = frozenset()
    person: frozenset[str] = frozenset()


def usage_by(ledger: Ledger, selection: Selection, by: Sequence[By]) -> pd.DataFrame:
    """The selection added up, with the columns of `aggregate.totals`. Index: ``by``.

    At most one of ``by`` is a period, and its level holds the beginnings (UTC) of the pieces of time.
    """
    periods = [each for each in by if each in PERIODS]
    pieces = pieces_of(selection.window, periods[0]) if periods else [selection.window]
    parts = spread(jobs_frame(ledger.usage_between(selection.window)), pieces)
    for column in COLUMNS:
        parts = _only(parts, column, getattr(selection, column))
    table = totals(parts, ["piece" if each in PERIODS else each for each in by])
    return table.rename_axis(index=list(by))


def _only(parts: pd.DataFrame, column: Column, wanted: Collection[str]) -> pd.DataFrame:
    return parts[parts[column].isin(list(wanted))] if wanted else parts
