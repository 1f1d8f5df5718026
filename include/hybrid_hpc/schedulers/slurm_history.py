"""Slurm's accounting: rows of ``sacct --duplicates``, a job's steps after the job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Found, JobRecord
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

_JOB_ID = re.compile(r"([0-9]+)(?:_([0-9]+|\[[0-9,:%-]+\]))?")

Row = Mapping[str, str]


def job_records(lines: Sequence[str], separator: str) -> tuple[list[JobRecord], int]:
    """One record per life of a job or array task, its steps folded in, and how many lines were left out."""
    records: list[JobRecord] = []
    unreadable = 0
    for line in lines:
        try:
            _add(records, _row(line, separator))
        except (ValueError, OverflowError):
            unreadable += 1
    return records, unreadable


def _row(line: str, separator: str) -> Row:
    """Raises ValueError for a part of a line: a name or a comment may hold a line break."""
    return dict(zip(_COLUMNS, line.split(separator), strict=True))


def _add(records: list[JobRecord], row: Row) -> None:
    if "." not in row["JobID"]:
        records.append(_record(row))
    elif records:
        records[-1] = _with_step(records[-1], row)
    else:
        raise ValueError("a step before its job")


def _record(row: Row) -> JobRecord:
    native_id, task = _job_and_task(row["JobID"])
    state = job_state(row["State"])
    exit_code, signal = _exit(row["ExitCode"], state)
    allocated = tres(row["AllocTRES"])
    return JobRecord(
        native_id=native_id,
        task=task,
        name=row["JobName"],
        state=state,
        exit_code=exit_code,
        signal=signal,
        user=row["User"],
        project=given(row["Account"]),
        partition=row["Partition"],
        node_names=host_names(row["NodeList"]),
        nodes=int(row["NNodes"] or 0),
        cores=int(row["AllocCPUS"] or 0),
        gpus=tres_gpus(allocated),
        submitted_at=moment(row["Submit"]),
        eligible_at=moment(row["Eligible"]),
        started_at=moment(row["Start"]),
        ended_at=moment(row["End"]),
        elapsed_s=float(int(row["ElapsedRaw"] or 0)),
        walltime_s=limit_of_minutes(row["TimelimitRaw"]),
        memory_asked_mib=round(tres_mib(tres(row["ReqTRES"]) or allocated)) or None,
        comment=row["Comment"],
    )


def _with_step(record: JobRecord, row: Row) -> JobRecord:
    """Steps come after their job; a step of another job is somebody's broken line."""
    if _job_and_task(row["JobID"].partition(".")[0]) != (record.native_id, record.task):
        raise ValueError("a step without its job")
    peaks = [peak for peak in (record.max_rss_mib, _peak_mib(row["MaxRSS"])) if peak is not None]
    return replace(
        record,
        cpu_s=round(record.cpu_s + seconds(row["TotalCPU"]), 3),
        max_rss_mib=max(peaks, default=None),
    )


def _peak_mib(text: str) -> float | None:
    """MaxRSS is in bytes when it has no unit; '' when the step was never sampled."""
    if not text:
        return None
    return mib(text) if text[-1].isalpha() else float(text) / 1024**2


def _job_and_task(job_id: str) -> tuple[str, str]:
    """``13_2`` -> ('13', '2'); ``8_[3-9%2]``, the tasks that never started -> ('8', '[3-9%2]')."""
    found = _JOB_ID.fullmatch(job_id)
    if found is None:
        raise ValueError(f"{job_id!r} is no job")
    return found[1], found[2] or ""


def _exit(text: str, state: JobState) -> tuple[int | None, int | None]:
    """``n:m`` -> exit code and signal. Slurm writes 0:0 for a cancelled job too: that is no exit code."""
    code, signal = (int(part) for part in text.split(":"))
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
