"""Real answers of real schedulers to exactly our commands, kept by version."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from hybrid_hpc.commands import Answer

_HERE = Path(__file__).parent


@cache
def names(version: str) -> tuple[str, ...]:
    """The names of all answers of that version."""
    return tuple(_exit_statuses(version))


@cache
def captured(version: str, name: str) -> Answer:
    """One answer, decoded as `hybrid_hpc.headnode` decodes it."""
    stdout, stderr = (_text(_HERE / version / f"{name}.{kind}") for kind in ("out", "err"))
    return Answer(_exit_statuses(version)[name], stdout, stderr)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


@cache
def _exit_statuses(version: str) -> dict[str, int]:
    statuses: dict[str, int] = json.loads((_HERE / version / "exit_status.json").read_text())
    return statuses
