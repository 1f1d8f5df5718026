"""Calendar months in UTC, by their names: ``2026-03`` (pure)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.problems import shown
from hybrid_hpc.usage.windows import Window

PATTERN = r"20[0-9]{2}-(0[1-9]|1[0-2])"


def month_name(moment: datetime) -> str:
    """The month in which a moment lies."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def month_window(name: str) -> Window:
    """All of a month. Raises `Invalid` for what is no month of this century."""
    if not re.fullmatch(PATTERN, name):
        raise Invalid([Problem("month", f"{shown(name)} is no month", "Write year and month: 2026-03.")])
    return Window(_first(name), _first(month_after(name)))


def month_after(name: str, months: int = 1) -> str:
    """The month so many later; earlier for a negative number."""
    year, number = divmod(int(name[:4]) * 12 + int(name[5:]) - 1 + months, 12)
    return f"{year:04}-{number + 1:02}"


def month_before(moment: datetime) -> str:
    """The last month that was over at that moment."""
    return month_after(month_name(moment), -1)


def this_month(now: datetime) -> Window:
    """The month so far, to the end of its current day."""
    tomorrow = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return Window(_first(month_name(now)), tomorrow)


def month_text(name: str) -> str:
    """``March 2026``."""
    return f"{_first(name):%B %Y}"


def _first(name: str) -> datetime:
    return datetime(int(name[:4]), int(name[5:]), 1, tzinfo=UTC)
