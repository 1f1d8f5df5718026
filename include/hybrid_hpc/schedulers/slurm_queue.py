"""Slurm's queue: lines of squeue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Found, QueuedJob
from hybrid_hpc.schedulers.slurm_words import (
    array_size,
    given,
    host_names,
    job_state,
    limit_s,
    moment,
    tres,
    tres_gpus,
    tres_mib,
)

SEPARATOR = "\x1f"
# Fixed for the name only: its owner may put separators and line breaks in it, and 16 characters are too few
# for a forged line, yet one more than a token has, so a longer name never passes for a token.
_NAME = "Name:16"
_COLUMNS = (
    "ArrayJobID",
    "ArrayTaskID",
    "UserName",
    "Account",
    "Partition",
    "State",
    "Reason",
    "NumNodes",
    "tres-alloc",
    "TimeLimit",
    "PriorityLong",
    "SubmitTime",
    "StartTime",
    "NodeList",
)

# --Format=Field:SUFFIX prints a field in full, then the suffix (without a colon it is cut at 20 letters).
FORMAT = ",".join([*(f"{column}:{SEPARATOR}" for column in _COLUMNS), _NAME + SEPARATOR])

# Which state an array of jobs is in, by the states of its parts: the first of these that occurs.
_WHOLE = (
    JobState.RUNNING,
    JobState.COMPLETING,
    JobState.SUSPENDED,
    JobState.CONFIGURING,
    JobState.PENDING,
    JobState.HELD,
    JobState.UNKNOWN,
    JobState.FAILED,
    JobState.TIMEOUT,
    JobState.OUT_OF_MEMORY,
    JobState.NODE_FAIL,
    JobState.BOOT_FAIL,
    JobState.PREEMPTED,
    JobState.DEADLINE,
    JobState.CANCELLED,
    JobState.COMPLETED,
)


def queued_jobs(lines: Sequence[str]) -> tuple[list[QueuedJob], int]:
    """The jobs in the order of the lines, and how many lines could not be read."""
    jobs: list[QueuedJob] = []
    unreadable = 0
    for line in lines:
        try:
            jobs.append(_queued_job(_fields(line)))
        except (ValueError, OverflowError):
            unreadable += 1
    return jobs, unreadable


def _fields(line: str) -> dict[str, str]:
    *values, name, rest = line.split(SEPARATOR)
    if rest or len(values) != len(_COLUMNS):
        raise ValueError("not one field a column")
    return {**dict(zip(_COLUMNS, values, strict=True)), "Name": name.rstrip(" ")}


def _queued_job(fields: dict[str, str]) -> QueuedJob:
    amounts = tres(fields["tres-alloc"])
    nodes = int(fields["NumNodes"].partition("-")[0])
    return QueuedJob(
        native_id=str(int(fields["ArrayJobID"])),
        name=fields["Name"],
        user=fields["UserName"],
        project=given(fields["Account"]),
        partition=fields["Partition"],
        state=job_state(fields["State"], fields["Reason"]),
        reason=given(fields["Reason"]),
        nodes=nodes,
        cores=int(amounts.get("cpu", "0")),
        memory_per_node_mib=round(tres_mib(amounts) / max(nodes, 1)),
        gpus_per_node=-(-tres_gpus(amounts) // max(nodes, 1)),
        walltime_s=limit_s(fields["TimeLimit"]),
        priority=int(fields["PriorityLong"]),
        submitted_at=float(int(fields["SubmitTime"])),
        starts_at=moment(fields["StartTime"]),
        node_names=host_names(fields["NodeList"]),
        array_tasks=array_size(fields["ArrayTaskID"]),
    )


def found_jobs(jobs: Iterable[QueuedJob], token: str) -> list[Found]:
    """Every job of that name, an array once."""
    states: dict[str, list[JobState]] = {}
    for job in jobs:
        if job.name == token:
            states.setdefault(job.native_id, []).append(job.state)
    return [Found(native_id, whole_state(parts)) for native_id, parts in states.items()]


def whole_state(parts: Sequence[JobState]) -> JobState:
    """One state for all parts of an array: what still happens before what has ended."""
    return min(parts, key=_WHOLE.index)
