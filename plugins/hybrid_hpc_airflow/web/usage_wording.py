"""Amounts as a person reads them (pure)."""

from __future__ import annotations

UNKNOWN = "\N{EN DASH}"


def number(value: float | None) -> str:
    """``0``, ``0.042``, ``4.20``, ``1,234``: three digits or so, and a dash for what is not known."""
    if value is None:
        return UNKNOWN
    if not value or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.2g}"


def percent(part: float | None) -> str:
    """``42 %``, and a dash for what is not known."""
    return UNKNOWN if part is None else f"{100 * part:.0f} %"


def money(usd: float | None) -> str:
    """``1,234``, ``0.08``, ``< 0.01``, in USD, and a dash for what is not known."""
    if usd is None:
        return UNKNOWN
    if 0 < usd < 0.005:
        return "< 0.01"
    return f"{usd:,.2f}" if usd < 1_000 else f"{usd:,.0f}"
