"""Memory, walltime and array expressions as Slurm's users write them, and back.

Memory is counted in MiB, time in seconds. What cannot be read raises `WrongValueError`, which says
what was given and what would be right.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from hybrid_hpc.problems import WrongValueError, shown

MAX_MEMORY_MIB = 1024**3  # 1 PiB: more than any node will have while this code lives
MAX_WALLTIME_S = 365 * 86_400
MAX_ARRAY_TASKS = 10_000
MAX_ARRAY_INDEX = 4_000_000  # Slurm's own bound for MaxArraySize

MEMORY_PATTERN = r"[0-9]{1,15}(\.[0-9]{1,6})?( ?[KkMmGgTt][Bb]?)?"
WALLTIME_PATTERN = r"([0-9]{1,9}|[0-9]{1,9}:[0-9]{1,9}(:[0-9]{1,9})?|[0-9]{1,9}-[0-9]{1,9}(:[0-9]{1,9}){0,2})"
_RANGE = r"[0-9]{1,7}(-[0-9]{1,7}(:[0-9]{1,7})?)?"
ARRAY_PATTERN = rf"{_RANGE}(,{_RANGE}){{0,99}}(%[0-9]{{1,7}})?"

_MEMORY_REMEDY = "Write a number with K, M, G or T, such as 500M or 4G; a plain number means MiB."
_WALLTIME_REMEDY = "Write minutes (90), HH:MM:SS (01:30:00) or D-HH:MM:SS (1-12:00:00)."
_ARRAY_REMEDY = "Write indices such as 0-9 or 1,3,5-7; 0-9%4 lets four of them run at once."
_MIB_PER_UNIT = {"K": Fraction(1, 1024), "M": Fraction(1), "G": Fraction(1024), "T": Fraction(1024**2)}


@dataclass(frozen=True, slots=True)
class ArrayTasks:
    """The tasks of a job array: their indices, ascending, and how many may run at once (None: all)."""

    indices: tuple[int, ...]
    limit: int | None = None


@lru_cache(maxsize=4096)
def parse_memory(text: str) -> int:
    """``'4G'`` -> 4096: MiB, rounded up to a whole one. A plain number is MiB, as for Slurm."""
    if not re.fullmatch(MEMORY_PATTERN, text):
        raise WrongValueError(f"{shown(text)} is not an amount of memory", _MEMORY_REMEDY)
    number = text.rstrip(" kKmMgGtTbB")
    unit = text[len(number) :].strip().upper().removesuffix("B") or "M"
    mib = math.ceil(Fraction(number) * _MIB_PER_UNIT[unit])
    if mib == 0:
        what = f"{shown(text)} means all the memory of a node, and how much that is depends on the cluster"
        raise WrongValueError(what, _MEMORY_REMEDY)
    if mib > MAX_MEMORY_MIB:
        raise WrongValueError(f"{shown(text)} is more than any node has", _MEMORY_REMEDY)
    return mib


def format_memory(mib: int) -> str:
    """4096 -> ``'4G'``: in the largest unit that loses nothing."""
    if mib and mib % 1024**2 == 0:
        return f"{mib // 1024**2}T"
    return f"{mib // 1024}G" if mib and mib % 1024 == 0 else f"{mib}M"


@lru_cache(maxsize=4096)
def parse_walltime(text: str) -> int:
    """``'1-12:00:00'`` -> 129600: seconds, from any of the six forms that Slurm reads."""
    if not re.fullmatch(WALLTIME_PATTERN, text):
        raise WrongValueError(f"{shown(text)} is not a walltime", _WALLTIME_REMEDY)
    days, dash, clock = text.rpartition("-")
    hours, minutes, seconds = _clock([int(part) for part in clock.split(":")], with_days=bool(dash))
    total = int(days or 0) * 86_400 + hours * 3_600 + minutes * 60 + seconds
    if not 0 < total <= MAX_WALLTIME_S:
        raise WrongValueError(f"{shown(text)} is not between one second and 365 days", _WALLTIME_REMEDY)
    return total


def _clock(parts: list[int], *, with_days: bool) -> tuple[int, int, int]:
    """Hours, minutes, seconds: after days the hours come first, else the number of parts decides."""
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    if with_days:
        return parts[0], parts[1] if len(parts) == 2 else 0, 0
    return 0, parts[0], parts[1] if len(parts) == 2 else 0


def format_walltime(seconds: int) -> str:
    """129600 -> ``'1-12:00:00'``; under a day ``'01:30:00'``."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    return f"{days}-{clock}" if days else clock


@lru_cache(maxsize=256)
def parse_array(text: str) -> ArrayTasks:
    """``'0-100:5%10'`` -> 21 indices, 10 at once."""
    if not re.fullmatch(ARRAY_PATTERN, text):
        raise WrongValueError(f"{shown(text)} is not an array of tasks", _ARRAY_REMEDY)
    ranges, percent, limit = text.partition("%")
    if percent and int(limit) == 0:
        raise WrongValueError(f"{shown(text)} lets no task run", "Write a number above 0 after the %.")
    indices = {index for part in ranges.split(",") for index in _indices(part)}
    if len(indices) > MAX_ARRAY_TASKS:
        raise _too_many(text, len(indices))
    return ArrayTasks(tuple(sorted(indices)), int(limit) if percent else None)


def _indices(part: str) -> range:
    span, _, step = part.partition(":")
    first, _, last = span.partition("-")
    low, high = int(first), int(last or first)
    if high < low or high > MAX_ARRAY_INDEX:
        raise WrongValueError(f"{shown(part)} is no rising range up to {MAX_ARRAY_INDEX}", _ARRAY_REMEDY)
    if step and int(step) == 0:
        raise WrongValueError(f"the step of {shown(part)} is 0", "Write a step of 1 or more after the colon.")
    found = range(low, high + 1, int(step or 1))
    if len(found) > MAX_ARRAY_TASKS:  # before it is expanded: a range of millions would fill the memory
        raise _too_many(part, len(found))
    return found


def _too_many(text: str, tasks: int) -> WrongValueError:
    what = f"{shown(text)} has {tasks} tasks, more than {MAX_ARRAY_TASKS}"
    return WrongValueError(what, "Let one task do several pieces of the work, or submit several jobs.")
