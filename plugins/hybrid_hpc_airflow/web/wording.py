"""Moments and ages as a person reads them (pure)."""

from __future__ import annotations

from datetime import UTC, datetime


def span(seconds: float) -> str:
    """``4 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``: rounded down, and never below zero."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min"
    return _two(whole // 60, 60, "h", "min") if whole < 86_400 else _two(whole // 3_600, 24, "d", "h")


def _two(number: int, per: int, large: str, small: str) -> str:
    rest = number % per
    return f"{number // per} {large}" + (f" {rest} {small}" if rest else "")


def age(moment: datetime, now: datetime) -> str:
    """How long ago it was."""
    return span((now - moment).total_seconds())


def ahead(moment: datetime, now: datetime) -> str:
    """``now`` or ``in 40 s``."""
    return f"in {span((moment - now).total_seconds())}" if moment > now else "now"


def clock(moment: datetime) -> str:
    """``2026-03-29 01:30:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def counted(number: int, what: str) -> str:
    """``1 job``, ``1,200 jobs``."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def usd(value: float | None) -> str:
    """``1,234.50 USD``, ``under 0.01 USD``; a dash for what is not known."""
    if value is None:
        return "\N{EN DASH}"
    return "under 0.01 USD" if 0 < value < 0.005 else f"{value:,.2f} USD"
