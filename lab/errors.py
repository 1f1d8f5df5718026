"""The one error of the lab: a sentence that says what is missing and what to do."""

from __future__ import annotations

from pathlib import Path


class LabError(Exception):
    """A step of the lab cannot work; the message is meant for a person."""


def tail(path: Path, lines: int = 8) -> str:
    """Give the last ``lines`` lines of a log, or an empty text when there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
