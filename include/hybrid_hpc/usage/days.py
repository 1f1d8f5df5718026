"""Whole days and months of usage, in UTC: what of them somebody asks for, and which a life touches (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from hybrid_hpc.usage.windows import Window

Span = Literal["day", "month"]  # what the roll-up keeps
DAY: Span = "day"
MONTH: Span = "month"


@dataclass(frozen=True, slots=True)
class Extract:
    """Whole days from ``first`` to before ``after``; ``only`` these names, by column, where there are any."""

    first: date
    after: date
    only: Mapping[str, Collection[str]] = field(default_factory=dict)

    def spans(self, finest: str) -> Iterator[tuple[Span, date, date]]:
        """Which spans of the roll-up to add up, each from a day to before another one: as few as possible.

        ``finest`` is the shortest time that is to be told apart: day, week, month, or '' for none.
        """
        month, after = _ceiling(self.first), self.after.replace(day=1)
        if finest in ("day", "week") or month >= after:
            yield DAY, self.first, self.after
            return
        yield MONTH, month, after
        if self.first < month:
            yield DAY, self.first, month
        if after < self.after:
            yield DAY, after, self.after


def _ceiling(day: date) -> date:
    first, after = month_of(day)
    return first if day == first else after


def window_of(day: date) -> Window:
    """The day from midnight to midnight."""
    since = midnight(day)
    return Window(since, since + timedelta(days=1))


def midnight(day: date) -> datetime:
    """When the day begins."""
    return datetime.combine(day, time(), UTC)


def days_of(window: Window) -> tuple[date, date]:
    """The first day that the window touches, and the first one after it."""
    until = window.until.astimezone(UTC)
    whole = until == midnight(until.date())
    return window.since.astimezone(UTC).date(), until.date() + timedelta(days=0 if whole else 1)


def month_of(day: date) -> tuple[date, date]:
    """The first day of its month, and that of the next one."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def extent_of(
    started_at: datetime | None, ended_at: datetime | None, submitted_at: datetime, elapsed_s: float
) -> tuple[datetime, datetime]:
    """When a life began, and when it ended or has used something until, as `frames.spread` takes it."""
    began = started_at or ended_at or submitted_at
    until = ended_at or began + timedelta(seconds=elapsed_s)
    return min(began, until), max(began, until)


def days_touched(extents: Iterable[tuple[datetime, datetime]]) -> set[date]:
    """Every day on which one of the lives used something, or ended."""
    spans = {(began.toordinal(), until.toordinal()) for began, until in extents}
    return {date.fromordinal(day) for first, last in spans for day in range(first, last + 1)}
