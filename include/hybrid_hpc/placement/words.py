"""Seconds and money as people read them, in logs, sentences and tables."""

from __future__ import annotations

AT_ONCE_S = 1.0  # a start sooner than this is "at once"
SAME_USD = 0.005  # two prices closer than this look the same with two decimals


def duration(seconds: float) -> str:
    """``3 s``, ``4 min``, ``2 h 10 min``, ``3 d 4 h``: rounded to what matters at that length."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return _two(*divmod(minutes, 60), "h", "min")
    return _two(*divmod(round(minutes / 60), 24), "d", "h")


def _two(large: int, small: int, large_unit: str, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def usd(amount: float) -> str:
    """``12.40 USD``; less than a cent is said to be so, never shown as nothing."""
    return "under 0.01 USD" if 0 < amount < SAME_USD else f"{amount:,.2f} USD"


def at_most(amount: float) -> str:
    """``at most 0.85 USD``, or ``under 0.01 USD``."""
    return usd(amount) if 0 < amount < SAME_USD else f"at most {usd(amount)}"


def starts(seconds: float) -> str:
    """``starts at once`` or ``starts in about 4 min``."""
    return "starts at once" if seconds < AT_ONCE_S else f"starts in about {duration(seconds)}"


def counted(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_line(text: str, limit: int = 300) -> str:
    """Other people's words as one printable line, so that they break neither a log nor a table."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(plain.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
