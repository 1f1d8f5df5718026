"""Calendar months, UTC, by their names: ``2026-03`` (pure)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.problems import shown
from hybrid_hpc.usage.windows import Window

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


def month_window(name: str) -> Window:
    """All of the month. Raises `Invalid` for what is no month of this century."""
    found = _MONTH.fullmatch(name)
    if not found:
        raise Invalid([Problem("month", f"{shown(name)} is no month", "Write year and month: 2026-03.")])
    since = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    return Window(since, (since + timedelta(days=32)).replace(day=1))


def month_name(moment: datetime) -> str:
    """The month in which the moment lies."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def month_before(moment: datetime) -> str:
    """The last month that was over at that moment."""
    return month_name(moment.astimezone(UTC).replace(day=1) - timedelta(days=1))


def this_month(now: datetime) -> Window:
    """The month so far, to the end of its current day."""
    tomorrow = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return Window(month_window(month_name(now)).since, tomorrow)
