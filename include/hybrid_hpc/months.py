"""Calendar months in UTC, written ``2026-03`` (pure)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hybrid_hpc.usage.windows import Window

PATTERN = r"2[0-9]{3}-(0[1-9]|1[0-2])"


def month_of(moment: datetime) -> str:
    """The month in which a moment lies."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def span_of(month: str) -> Window:
    """From its first moment to the first of the next one. Raises ValueError for what is no month."""
    if not re.fullmatch(PATTERN, month):
        raise ValueError(f"{month!r} is no month: write it as 2026-03")
    return Window(_first(month), _first(month_after(month)))


def month_after(month: str, months: int = 1) -> str:
    """The month so many later; earlier for a negative number."""
    year, number = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 + months, 12)
    return f"{year:04}-{number + 1:02}"


def month_text(month: str) -> str:
    """``March 2026``."""
    return f"{_first(month):%B %Y}"


def _first(month: str) -> datetime:
    return datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
