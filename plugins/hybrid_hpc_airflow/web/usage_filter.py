"""Which usage the page's address asks for, and the addresses that ask for other usage (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal, get_args
from urllib.parse import urlencode

from hybrid_hpc.usage.days import midnight, month_of
from hybrid_hpc.usage.frames import Period
from hybrid_hpc.usage.selection import COLUMNS, By, Column, Selection
from hybrid_hpc.usage.windows import Window

DAYS = 30  # that are shown when nothing else is asked for
Grouping = Literal["cluster", "partition", "project", "person", "day", "week", "month"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
MOST_DAYS, MOST_WEEKS = 62, 200  # days of a chart by day, and of one by week


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Days from ``first`` to ``last``, both included; '' leaves everybody in."""

    first: date
    last: date
    period: Period
    by: Grouping
    cluster: str = ""
    partition: str = ""
    project: str = ""
    person: str = ""

    @property
    def selection(self) -> Selection:
        """What the ledger is asked for."""
        window = Window(midnight(self.first), midnight(self.last + timedelta(days=1)))
        names: list[str] = [getattr(self, column) for column in COLUMNS]
        return Selection(window, *(frozenset({name} - {""}) for name in names))

    @property
    def query(self) -> str:
        """The same as an address's query."""
        names = {str(column): getattr(self, column) for column in COLUMNS if getattr(self, column)}
        whose = {} if self.person else {"whose": "all"}  # else it would be whoever opens it
        asked = {"from": self.first, "to": self.last, "period": self.period, "by": self.by}
        return urlencode({**asked, **names, **whose})

    def changed(self, **changes: Any) -> str:
        """The query that asks for the same, but for these."""
        return replace(self, **changes).query

    def over(self, first: date, last: date) -> UsageFilter:
        """The same of another time, by the period that suits it."""
        return replace(self, first=first, last=last, period=period_of(first, last))

    @property
    def of_all(self) -> UsageFilter:
        """The same of everybody, without their names."""
        return replace(self, person="", by="project" if self.by == "person" else self.by)

    @property
    def widest(self) -> UsageFilter:
        """The same time without any filter but the person."""
        return replace(self, cluster="", partition="", project="")

    def into(self, value: str) -> UsageFilter:
        """What a row of the table is made of: the grouping's next level, for that row only."""
        if self.by in COLUMNS:
            changes: dict[str, Any] = {self.by: value, "by": _next_column(self)}
            return replace(self, **changes)
        first = date.fromisoformat(value)
        last = min(_last_of(self.by, first), self.last)
        finer: Grouping = "day" if self.by != "day" else "person"
        return replace(self, first=first, last=last, by=finer, period="day")


def period_of(first: date, last: date) -> Period:
    """The period by which so many days are told, when nobody says which."""
    days = (last - first).days + 1
    return "day" if days <= MOST_DAYS else "week" if days <= MOST_WEEKS else "month"


def presets(today: date) -> dict[str, tuple[date, date]]:
    """First and last day of the times that people ask for most, by name."""
    month, _ = month_of(today)
    before = month - timedelta(days=1)
    return {
        "7 days": (today - timedelta(days=6), today),
        "30 days": (today - timedelta(days=29), today),
        "This month": (month, today),
        "Last month": (before.replace(day=1), before),
        "12 months": (month_of(month - timedelta(days=330))[0], today),
    }


def _next_column(asked: UsageFilter) -> By:
    left: list[Column] = [each for each in COLUMNS if each != asked.by and not getattr(asked, each)]
    return left[0] if left else "day"


def _last_of(grouping: Grouping, first: date) -> date:
    if grouping == "month":
        return month_of(first)[1] - timedelta(days=1)
    return first + timedelta(days=0 if grouping == "day" else 6 - first.weekday())
