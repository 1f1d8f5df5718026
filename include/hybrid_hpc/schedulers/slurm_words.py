"""Slurm's words: states, durations, memory, host lists, and what it says when it is in trouble."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice

from hybrid_hpc.jobs import JobState

# squeue(1) and sacct(1), "JOB STATE CODES". A word that is not here is UNKNOWN, never a final state.
STATES: Mapping[str, JobState] = {
    "BOOT_FAIL": JobState.BOOT_FAIL,
    "CANCELLED": JobState.CANCELLED,
    "COMPLETED": JobState.COMPLETED,
    "COMPLETING": JobState.COMPLETING,
    "CONFIGURING": JobState.CONFIGURING,
    "DEADLINE": JobState.DEADLINE,
    "FAILED": JobState.FAILED,
    "NODE_FAIL": JobState.NODE_FAIL,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "PENDING": JobState.PENDING,
    "PREEMPTED": JobState.PREEMPTED,
    "REQUEUED": JobState.PENDING,  # in sacct: this life ended, and another one follows
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.HELD,
    "RESIZING": JobState.RUNNING,
    "RESV_DEL_HOLD": JobState.HELD,
    "RUNNING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SPECIAL_EXIT": JobState.HELD,
    "STAGE_OUT": JobState.COMPLETING,
    "STOPPED": JobState.SUSPENDED,
    "SUSPENDED": JobState.SUSPENDED,
    "TIMEOUT": JobState.TIMEOUT,
}

_MIB = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)[nc]?")  # n, c: 'per node', 'per core' until 21.08
_CLOCK = re.compile(r"(?:([0-9]+)-)?(?:([0-9]+):)?([0-9]+):([0-9]+(?:\.[0-9]+)?)")
_NOTHING = frozenset({"", "(null)", "N/A", "None", "None assigned", "Unknown", "n/a"})
_NO_LIMIT = frozenset({"UNLIMITED", "INFINITE", "Partition_Limit", "NOT_SET", "INVALID", *_NOTHING})
_MOST_NAMES = 100_000  # no cluster is larger; a garbled range must not fill the memory


def job_state(word: str, reason: str = "") -> JobState:
    """The state behind Slurm's word (``CANCELLED by 1001`` too); held jobs are told by their reason."""
    state = STATES.get(word.split(" ", 1)[0], JobState.UNKNOWN)
    held = state is JobState.PENDING and "held" in reason.lower()
    return JobState.HELD if held else state


def given(text: str) -> str:
    """``text``, or '' where Slurm writes one of its many words for nothing."""
    return "" if text in _NOTHING else text


def mib(text: str) -> float:
    """``62.50G`` -> 64000.0; a number without a unit is MiB. Raises ValueError."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory")
    return float(found[1]) * _MIB[found[2]]


def seconds(text: str) -> float:
    """``1-02:03:04``, ``10:00``, ``00:02.316`` -> seconds. Raises ValueError."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    days, hours, minutes, rest = found.groups()
    return (int(days or 0) * 24 + int(hours or 0)) * 3600 + int(minutes) * 60 + float(rest)


def limit_s(text: str) -> int | None:
    """A time limit as squeue writes it, in seconds; None: there is none."""
    return None if text in _NO_LIMIT else int(seconds(text))


def limit_of_minutes(text: str) -> int | None:
    """A time limit as sacct's TimelimitRaw writes it (minutes), in seconds; None: there is none."""
    return None if text in _NO_LIMIT else int(text) * 60


def moment(text: str) -> float | None:
    """A time printed with SLURM_TIME_FORMAT=%s, as unix seconds; None where Slurm knows none."""
    if len(text) > 11:  # no calendar has it, and the ledger could not keep it
        raise ValueError(f"{text[:40]!r} is no moment")
    return None if text in _NOTHING else float(int(text))


def tres(text: str) -> dict[str, str]:
    """``cpu=8,mem=6G,gres/gpu=2`` -> its parts by name."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name: value for name, _, value in pairs}


def tres_mib(amounts: Mapping[str, str]) -> float:
    """The memory in `tres`, of all nodes together; 0.0 when it is not named."""
    return mib(amounts["mem"]) if "mem" in amounts else 0.0


def tres_gpus(amounts: Mapping[str, str]) -> int:
    """The GPUs in `tres`, of all nodes together: ``gres/gpu``, else the sum over ``gres/gpu:TYPE``."""
    if "gres/gpu" in amounts:
        return int(amounts["gres/gpu"])
    return sum(int(value) for name, value in amounts.items() if name.startswith("gres/gpu:"))


def host_names(text: str) -> tuple[str, ...]:
    """``node[01-03,7],gpu1`` -> every name. Raises ValueError."""
    if not given(text):
        return ()
    names: list[str] = []
    for part in _outside_brackets(text):
        names.extend(islice(_expanded(part), _MOST_NAMES + 1))
        _bounded(len(names))
    return tuple(names)


def _outside_brackets(text: str) -> list[str]:
    parts: list[str] = re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text)
    if ",".join(parts) != text:
        raise ValueError(f"{text!r} is no host list")
    return parts


def _expanded(part: str) -> Iterator[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        yield head
        return
    ranges, _, tail = rest.partition("]")
    tails = list(islice(_expanded(tail), _MOST_NAMES))
    for span in ranges.split(","):
        yield from (head + number + end for number in _numbers(span) for end in tails)


def _numbers(span: str) -> Iterator[str]:
    first, _, last = span.partition("-")
    low, high = int(first), int(last or first)
    _bounded(high - low)
    return (str(number).zfill(len(first)) for number in range(low, high + 1))


def _bounded(count: int) -> None:
    if count > _MOST_NAMES:
        raise ValueError("a host list that large is garbled")


def array_size(text: str) -> int:
    """How many tasks ``6-30:2%3`` or ``1,4,7`` stands for; 1 for ``N/A``. Raises ValueError."""
    if not given(text):
        return 1
    return sum(map(_range_size, text.partition("%")[0].split(",")))


def _range_size(part: str) -> int:
    span, _, step = part.partition(":")
    first, _, last = span.partition("-")
    return len(range(int(first), int(last or first) + 1, int(step or 1)))
