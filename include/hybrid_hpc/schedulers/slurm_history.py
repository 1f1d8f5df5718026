"""Slurm's accounting: rows of ``sacct --duplicates``, a job's steps after the job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from typing_extensions import override

from hybrid_hpc.errors import Unreadable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Found, JobRecord, JobRecords
from hybrid_hpc.schedulers.slurm_queue import whole_state
from hybrid_hpc.schedulers.slurm_words import (
    given,
    host_names,
    job_state,
    limit_of_minutes,
    mib,
    moment,
    seconds,
    tres,
    tres_gpus,
    tres_mib,
)

_COLUMNS = (
    "JobID",
    "State",
    "ExitCode",
    "Submit",
    "Eligible",
    "Start",
    "End",
    "ElapsedRaw",
    "TimelimitRaw",
    "TotalCPU",
    "MaxRSS",
    "ReqTRES",
    "AllocTRES",
    "AllocCPUS",
    "NNodes",
    "NodeList",
    "User",
    "Account",
    "Partition",
    "Comment",
    "JobName",
)
FORMAT = ",".join(_COLUMNS)
_used = itemgetter(*map(_COLUMNS.index, ("JobID", "TotalCPU", "MaxRSS")))  # of a step's line

# ``13_2``: a task of an array; ``8_[3-9%2]``: its tasks that never started; ``12+1``: a part of a
# heterogeneous job.
_JOB_ID = re.compile(r"([0-9]{1,10})(?:_([0-9]{1,10}|\[[0-9,:%-]+\])|(\+[0-9]{1,10}))?")
_EXIT = re.compile(r"([0-9]+):([0-9]+)")
_MOST = 2**31 - 1  # what the ledger can keep of a count

Row = Mapping[str, str]


class FoldedRecords(JobRecords):
    """One record per life of a job, or of an array task, with the steps that follow its line folded in.

    ``refuse_from``: so many lines of which not one can be read are no answer.
    """

    def __init__(self, lines: Iterable[str], separator: str, refuse_from: int = 1) -> None:
        self._lines = lines
        self._separator = separator
        self._refuse_from = refuse_from

    @override
    def __iter__(self) -> Iterator[JobRecord]:
        self.unreadable = 0
        life: _Life | None = None
        for line in self._lines:
            try:
                begun = self._begun(line, life)
            except (ValueError, OverflowError):
                self.unreadable += 1
                continue
            if begun is not life:
                if life:
                    yield life.record()
                life = begun
        if life:
            yield life.record()
        elif self.unreadable >= self._refuse_from:  # 'nothing there' would be a lie
            raise Unreadable(f"not one of {self.unreadable} lines of Slurm's answer can be read")

    def _begun(self, line: str, life: _Life | None) -> _Life:
        """The life that this line begins, or the one of which it is a step."""
        cells = _cells(line, self._separator)
        if "." not in cells[0]:
            return _Life(dict(zip(_COLUMNS, cells, strict=True)))
        if life is None:
            raise ValueError("a step before its job")
        life.fold(*_used(cells))
        return life


class _Life:
    """A job's line, and what its steps have used so far."""

    __slots__ = ("_cpu_s", "_job_id", "_known", "_peak_mib")

    def __init__(self, row: Row) -> None:
        self._job_id = row["JobID"]
        self._known = _known(row)
        self._cpu_s = 0.0
        self._peak_mib: float | None = None

    def fold(self, step_id: str, cpu: str, peak: str) -> None:
        """Steps come after their job; a step of another job is somebody's broken line."""
        if step_id.partition(".")[0] != self._job_id:
            raise ValueError("a step without its job")
        cpu_s, peak_mib = _amount(seconds(cpu)), _peak_mib(peak)
        self._cpu_s += cpu_s
        if peak_mib is not None:
            self._peak_mib = max(peak_mib, self._peak_mib or 0.0)

    def record(self) -> JobRecord:
        return JobRecord(**self._known, cpu_s=round(self._cpu_s, 3), max_rss_mib=self._peak_mib)


def _cells(line: str, separator: str) -> list[str]:
    """Raises ValueError for a part of a line: a name or a comment may hold a line break."""
    if "\0" in line:
        raise ValueError("no database keeps a NUL")
    cells = line.split(separator)
    if len(cells) != len(_COLUMNS):
        raise ValueError(f"{len(cells)} columns")
    return cells


def _known(row: Row) -> dict[str, Any]:
    """All of a record but what its steps tell. Raises ValueError."""
    native_id, task = _job_and_task(row["JobID"])
    state = job_state(row["State"])
    exit_code, signal = _exit(row["ExitCode"], state)
    allocated_mib, gpus = _memory_and_gpus(row["AllocTRES"])
    asked_mib = _memory_and_gpus(row["ReqTRES"])[0] if row["ReqTRES"] else allocated_mib
    return {
        "native_id": native_id,
        "task": task,
        "name": row["JobName"],
        "state": state,
        "exit_code": exit_code,
        "signal": signal,
        "user": row["User"],
        "project": given(row["Account"]),
        "partition": row["Partition"],
        "node_names": _nodes(row["NodeList"]),
        "nodes": _count(row["NNodes"]),
        "cores": _count(row["AllocCPUS"]),
        "gpus": gpus,
        "submitted_at": moment(row["Submit"]),
        "eligible_at": moment(row["Eligible"]),
        "started_at": moment(row["Start"]),
        "ended_at": moment(row["End"]),
        "elapsed_s": float(_count(row["ElapsedRaw"])),
        "walltime_s": _limit_s(row["TimelimitRaw"]),
        "memory_asked_mib": asked_mib or None,
        "comment": row["Comment"],
    }


def _count(text: str) -> int:
    """A whole number, 0 where Slurm writes nothing. Raises ValueError for one that cannot be."""
    number = int(text or 0)
    if not 0 <= number <= _MOST:
        raise ValueError(f"{number} is no count")
    return number


@lru_cache(maxsize=1024)
def _limit_s(text: str) -> int | None:
    limit_s = limit_of_minutes(text)
    return limit_s and _count(str(limit_s))


def _amount(value: float) -> float:
    """Raises ValueError for more than any job has used: one such line would spoil every sum."""
    if not value <= _MOST * 1000.0:
        raise ValueError(f"{value} is no amount")
    return value


# A million jobs name few resources, limits, ends and sets of nodes: each is read once.
_nodes = lru_cache(maxsize=1024)(host_names)


@lru_cache(maxsize=1024)
def _memory_and_gpus(text: str) -> tuple[int, int]:
    amounts = tres(text)
    return _count(str(round(tres_mib(amounts)))), _count(str(tres_gpus(amounts)))


def _peak_mib(text: str) -> float | None:
    """MaxRSS is in bytes when it has no unit; '' when the step was never sampled."""
    if not text:
        return None
    return _amount(mib(text) if text[-1].isalpha() else float(text) / 1024**2)


def _job_and_task(job_id: str) -> tuple[str, str]:
    """``13_2`` -> ('13', '2'); ``8_[3-9%2]`` -> ('8', '[3-9%2]'); ``12+1`` -> ('12', '+1')."""
    found = _JOB_ID.fullmatch(job_id)
    if found is None:
        raise ValueError(f"{job_id!r} is no job")
    return found[1], found[2] or found[3] or ""


@lru_cache(maxsize=1024)
def _exit(text: str, state: JobState) -> tuple[int | None, int | None]:
    """``n:m`` -> exit code and signal. Slurm writes 0:0 for a cancelled job too: that is no exit code."""
    found = _EXIT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no exit code")
    code, signal = _count(found[1]), _count(found[2])
    known = code or (state is JobState.COMPLETED and not signal)
    return (code if known else None), signal or None


def found_in_history(records: Iterable[JobRecord], token: str) -> list[Found]:
    """Every job of that name, an array once; of a job's lives the last one counts."""
    last: dict[tuple[str, str], JobRecord] = {}
    for record in sorted(records, key=lambda life: life.submitted_at or 0.0):
        if record.name == token:
            last[record.native_id, record.task] = record
    states: dict[str, list[JobState]] = {}
    for (native_id, _), record in last.items():
        states.setdefault(native_id, []).append(record.state)
    return [Found(native_id, whole_state(parts)) for native_id, parts in states.items()]
