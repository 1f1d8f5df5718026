"""How a job ended, from evidence only (pure): the accounting first, then the job's own exit record.

Without evidence the outcome is `JobState.UNKNOWN`, which is neither success nor failure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from typing import Literal

from hybrid_hpc.endings import ending, exit_code_text, runs_text
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import JobRecord
from hybrid_hpc.units import parse_array

Evidence = Literal["accounting", "exit record", "refusal", "never sent", "withdrawn"]


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """What a job's own batch script wrote as its last act; ``ended_at`` in unix seconds."""

    native_id: str
    task: str
    exit_code: int
    ended_at: float | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended; for an array, all its tasks folded into one.

    ``evidence`` is None exactly when the state is unknown. ``task`` is the array task that ``state``,
    ``exit_code`` and ``signal`` are of: the first that went wrong. Times are unix seconds, cluster's clock.
    """

    state: JobState
    sentence: str
    evidence: Evidence | None = None
    exit_code: int | None = None
    signal: int | None = None
    task: str = ""
    tasks: Mapping[JobState, int] = field(default_factory=dict)
    restarts: int = 0
    started_at: float | None = None
    ended_at: float | None = None


def outcome_of(
    records: Sequence[JobRecord],
    exits: Sequence[ExitRecord] = (),
    *,
    tasks: int | None = None,
    cancelled_by: str = "",
) -> Outcome:
    """How one job ended, from every accounting record and every exit record of its native id.

    ``tasks``: how many array tasks there must be; with fewer the outcome is unknown, however those ended.
    ``cancelled_by``: who wished to cancel it and why, when somebody did.
    """
    lives = _lives(records)
    written = {record.task: record for record in exits}
    ends = [
        _end(lives.get(task, []), written.get(task), cancelled_by)
        for task in dict.fromkeys([*lives, *written])
    ]
    if not ends:
        said = "how it ended is unknown: neither the accounting nor an exit record of its own says so"
        return Outcome(JobState.UNKNOWN, said)
    if len(ends) == 1 and not ends[0].task:
        return ends[0]
    return _fold(ends, tasks)


def withdrawn(end: Outcome, why: str) -> Outcome:
    """The end of a job that was withdrawn before its script could begin, whatever the accounting calls it.

    To Slurm it ran while its nodes booted, or failed where it met the claim that keeps it from running.
    """
    said = f"cancelled by Hybrid HPC, because {why}, before it started"
    return Outcome(JobState.CANCELLED, said, "withdrawn", tasks=end.tasks, ended_at=end.ended_at)


def read_exit_records(texts: Iterable[str]) -> list[ExitRecord]:
    """The exit records in these files' texts; what cannot be read is left out: it proves nothing."""
    lines = (line for text in texts for line in text.splitlines())
    return [record for record in map(_read_exit_record, lines) if record]


def _read_exit_record(line: str) -> ExitRecord | None:
    try:
        values = json.loads(line)
        exit_code = values["exit_code"]
        if isinstance(exit_code, bool) or not isinstance(exit_code, int) or not 0 <= exit_code <= 255:
            return None
        return ExitRecord(
            native_id=str(values["native_id"]),
            task=str(values.get("task") or ""),
            exit_code=exit_code,
            ended_at=_seconds(values.get("ended_at")),
            host=str(values.get("host") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, OSError):
        return None


def _seconds(value: object) -> float | None:
    if isinstance(value, str) and "T" in value:
        value = datetime.fromisoformat(value).timestamp()
    if not isinstance(value, int | float | str) or value == "":
        return None
    return datetime.fromtimestamp(float(value), UTC).timestamp()  # refuses what no calendar has


def _lives(records: Sequence[JobRecord]) -> dict[str, list[JobRecord]]:
    """The lives of every task, the last one last: a requeued job has several under one id."""
    lives: dict[str, list[JobRecord]] = {}
    for record in sorted(records, key=_came):
        lives.setdefault(record.task, []).append(record)
    return lives


def _came(life: JobRecord) -> tuple[float, float]:
    """Only the last life can have no start: it takes one to be requeued, maybe within the same second."""
    return life.submitted_at or 0.0, inf if life.started_at is None else life.started_at


def _end(lives: Sequence[JobRecord], written: ExitRecord | None, cancelled_by: str) -> Outcome:
    if lives and lives[-1].state.final:
        return _from_accounting([*lives[:-1], _with_true_exit_code(lives, written)], cancelled_by)
    if written and _of_last_life(written, lives):
        return _from_exit_record(written, lives)
    said = f"no final state yet: the accounting says {_word(lives[-1].state)}"
    return Outcome(JobState.UNKNOWN, said, task=lives[-1].task, restarts=len(lives) - 1)


def _with_true_exit_code(lives: Sequence[JobRecord], written: ExitRecord | None) -> JobRecord:
    """The last life with the exit code that the job itself wrote: Slurm keeps 128 and more modulo 128."""
    life = lives[-1]
    cut = life.state is JobState.FAILED and not life.signal
    if not cut or written is None or written.exit_code < 128 or not _of_last_life(written, lives):
        return life
    same = written.exit_code % 128 == (life.exit_code or 0)
    return replace(life, exit_code=written.exit_code) if same else life


def _of_last_life(written: ExitRecord, lives: Sequence[JobRecord]) -> bool:
    """False for the exit record of a life that was followed by another one."""
    last = lives[-1].submitted_at if lives else None
    return last is None or written.ended_at is None or written.ended_at >= last


def _from_accounting(lives: Sequence[JobRecord], cancelled_by: str) -> Outcome:
    life = lives[-1]
    return Outcome(
        state=life.state,
        sentence=ending(life, cancelled_by) + runs_text(len(lives)),
        evidence="accounting",
        exit_code=life.exit_code,
        signal=life.signal or None,
        task=life.task,
        restarts=len(lives) - 1,
        started_at=min((each.started_at for each in lives if each.started_at is not None), default=None),
        ended_at=life.ended_at,
    )


def _from_exit_record(written: ExitRecord, lives: Sequence[JobRecord]) -> Outcome:
    where = f" on {written.host}" if written.host else ""
    failed = written.exit_code != 0
    said = (
        f"failed with exit code {exit_code_text(written.exit_code)}{where}" if failed else f"completed{where}"
    )
    return Outcome(
        state=JobState.FAILED if failed else JobState.COMPLETED,
        sentence=f"{said} (its own exit record; the accounting has nothing final)",
        evidence="exit record",
        exit_code=written.exit_code,
        task=written.task,
        restarts=max(len(lives) - 1, 0),
        started_at=lives[-1].started_at if lives else None,
        ended_at=written.ended_at,
    )


def _fold(ends: Sequence[Outcome], tasks: int | None) -> Outcome:
    counts: Counter[JobState] = Counter()
    for end in ends:
        counts[end.state] += _tasks_of(end.task)
    total = max(tasks or 0, counts.total())
    open_tasks = counts[JobState.UNKNOWN] + total - counts.total()
    if open_tasks:
        said = f"{open_tasks} of {total} array tasks have no final state yet{_so_far(counts)}"
        return Outcome(JobState.UNKNOWN, said, tasks=dict(counts), restarts=_most_restarts(ends))
    return _folded(ends, counts, total)


def _folded(ends: Sequence[Outcome], counts: Counter[JobState], total: int) -> Outcome:
    wrong = [end for end in ends if end.state is not JobState.COMPLETED]
    first = min(wrong, key=_what_matters_first) if wrong else ends[0]
    if wrong:
        bad = total - counts[JobState.COMPLETED]
        said = f"{bad} of {total} array tasks did not complete; first task {first.task}: {first.sentence}"
    else:
        said = f"completed, all {total} array tasks"
    return Outcome(
        state=first.state,
        sentence=said,
        evidence=next((end.evidence for end in ends if end.evidence != "accounting"), "accounting"),
        exit_code=first.exit_code,
        signal=first.signal,
        task=first.task if wrong else "",
        tasks=dict(counts),
        restarts=_most_restarts(ends),
        started_at=min((end.started_at for end in ends if end.started_at is not None), default=None),
        ended_at=max((end.ended_at for end in ends if end.ended_at is not None), default=None),
    )


def _what_matters_first(end: Outcome) -> tuple[bool, float, int, str]:
    """Failures before cancellations (a cancelled rest follows from them), then by time, then by index."""
    index = int(end.task) if end.task.isdecimal() else 0
    ended_at = end.ended_at if end.ended_at is not None else float("inf")
    return (end.state is JobState.CANCELLED, ended_at, index, end.task)


def _most_restarts(ends: Sequence[Outcome]) -> int:
    return max(end.restarts for end in ends)


def _so_far(counts: Counter[JobState]) -> str:
    known = [f"{count} {_word(state)}" for state, count in counts.items() if state is not JobState.UNKNOWN]
    return f" ({', '.join(known)})" if known else ""


def _tasks_of(task: str) -> int:
    """How many tasks one record stands for: the tasks that never started share one, ``[3-9%2]``."""
    try:
        return len(parse_array(task.strip("[]")).indices) if task.startswith("[") else 1
    except ValueError:
        return 1


def _word(state: JobState) -> str:
    return state.value.replace("_", " ")
