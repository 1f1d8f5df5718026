"""The jobs in the ledger: intended, recorded, released, observed, cancelled, settled."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    tuple_,
    update,
)

from hybrid_hpc.jobs import JobKey, JobReport, JobState, token
from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.reserving import reopen, require_left
from hybrid_hpc.ledger.rows import Job, JobRow, moment
from hybrid_hpc.ledger.search import search_columns
from hybrid_hpc.outcome import Outcome

JOBS = table(tables.Job)
DECISIONS = table(tables.Decision)
COLUMNS = [
    column.label("request_json") if column.name == "request" else column
    for column in JOBS.columns
    if column.name not in ("id", "decision_id") and not column.name.startswith("search_")
]
OPEN = JOBS.c.settled_at.is_(None)


class JobQueries(Database):
    """Every method is one transaction. A settled row never changes again."""

    def intend(self, job: Job) -> JobRow:
        """The row of this attempt, made when there is none: committed before anything is sent.

        The generation of a new attempt follows the last one's; ``job.key.generation`` is where it starts.
        The same attempt twice, even at once, gives the same row. Raises `BudgetSpent` when an attempt has
        ended and what the job is to be ``within`` has not its most left for another one.
        """
        while True:
            with self._transaction() as connection:
                row = _of_attempt(connection, job)
                if row:
                    return row
                values = _intent(connection, job, self._now())
                require_left(connection, job, values["decision_id"])
                connection.execute(insert(connection, JOBS).values(values).on_conflict_do_nothing())
                reopen(connection, values["decision_id"])
                row = _of_attempt(connection, job)
            if row:
                return row

    def attempted(self, job: Job) -> JobRow | None:
        """The row of this attempt, None when it was never intended."""
        with self._transaction() as connection:
            return _of_attempt(connection, job)

    def sending(self, token: str, run_dir: str, until: datetime) -> bool:
        """Announces a submission whose answer may get lost: nobody else may send before ``until``.

        False when it may not be sent: it is recorded, settled, unwanted, or somebody else is sending.
        """
        now = self._now()
        free = or_(JOBS.c.ambiguous_until.is_(None), JOBS.c.ambiguous_until <= now)
        wanted = and_(JOBS.c.native_id.is_(None), JOBS.c.cancel_requested_at.is_(None), free)
        return self._change(token, wanted, run_dir=run_dir, ambiguous_until=until)

    def not_sent(self, token: str, until: datetime) -> bool:
        """Takes back the announcement ``until``: it is known that nothing was sent."""
        return self._change(token, JOBS.c.ambiguous_until == until, ambiguous_until=None)

    def record_native_id(self, token: str, native_id: str, submitted_at: datetime, run_dir: str = "") -> bool:
        """Compare-and-set: True for the one caller whose job this row now stands for.

        ``run_dir`` is for a job that was found, of whose submission the ledger knows nothing.
        """
        return self._change(
            token,
            JOBS.c.native_id.is_(None),
            native_id=native_id,
            native_submitted_at=submitted_at,
            recorded_at=self._now(),
            run_dir=run_dir or JOBS.c.run_dir,
            state=JobState.HELD,
            state_seen_at=self._now(),
        )

    def mark_released(self, token: str) -> bool:
        """Notes that the scheduler was told to start it; False when that was noted before."""
        waits = case((JOBS.c.state == JobState.HELD, JobState.PENDING.value), else_=JOBS.c.state)
        return self._change(token, JOBS.c.released_at.is_(None), released_at=self._now(), state=waits)

    def request_cancel(self, token: str, by: str, why: str) -> bool:
        """Records the wish to cancel; False when the job is settled, unwanted already, or not known."""
        return self._change(
            token,
            JOBS.c.cancel_requested_at.is_(None),
            cancel_requested_at=self._now(),
            cancel_requested_by=by,
            cancel_why=why,
        )

    def request_leave(self, token: str, why: str) -> bool:
        """Records that it is to go from this cluster before it starts; False when that stands no more.

        It does not, when the job is settled, wished away, asked to go already, or not known.
        """
        unasked = and_(JOBS.c.leave_requested_at.is_(None), JOBS.c.cancel_requested_at.is_(None))
        return self._change(token, unasked, leave_requested_at=self._now(), leave_why=why)

    def stay(self, token: str) -> bool:
        """Takes `request_leave` back: it has started."""
        asked = JOBS.c.leave_requested_at.is_not(None)
        return self._change(token, asked, leave_requested_at=None, leave_why=None)

    def cancel_sent(self, token: str) -> bool:
        """Notes when the cluster was first told to cancel it."""
        return self._change(token, JOBS.c.cancel_sent_at.is_(None), cancel_sent_at=self._now())

    def observe(self, reports: Sequence[JobReport]) -> None:
        """Keeps what a poll saw of open jobs. A report about another job of the same name is left out."""
        if not reports:
            return
        seen_at = self._now()
        with self._transaction() as connection:
            connection.execute(_OBSERVE, [_seen(report, seen_at) for report in reports])

    def settle(self, token: str, outcome: Outcome) -> bool:
        """Writes how it ended, once and for all; True when this call did it.

        An unknown outcome is seen but settles nothing: the row stays open until there is evidence.
        """
        now = self._now()
        seen = {"state": outcome.state, "state_seen_at": now, "sentence": outcome.sentence}
        if not outcome.state.final:
            self._change(token, OPEN, **seen, unknown_since=func.coalesce(JOBS.c.unknown_since, now))
            return False
        confirmed = case((JOBS.c.cancel_requested_at.is_not(None), now), else_=None)
        ended = {"settled_at": now, "cancel_confirmed_at": confirmed, "reason": "", "unknown_since": None}
        return self._change(token, OPEN, **seen, **ended, **_outcome_columns(outcome))

    def close_unknown(self, token: str, why: str) -> bool:
        """Closes a job of which nothing will be known any more; its outcome is *unknown* for ever.

        For a job whose run a person has ended, when neither queue, accounting nor exit record know it.
        """
        closed = {"settled_at": self._now(), "outcome": JobState.UNKNOWN, "state": JobState.UNKNOWN}
        return self._change(token, OPEN, **closed, sentence=why, reason="")

    def jobs_named(self, tokens: Collection[str]) -> list[JobRow]:
        """The rows of these tokens, settled ones too; those that the ledger does not know are left out."""
        return self._rows(JOBS.c.token.in_(list(tokens))) if tokens else []

    def job(self, token: str) -> JobRow | None:
        """One job, None when the ledger does not know the token."""
        return next(iter(self._rows(JOBS.c.token == token)), None)

    def latest_job(self, dag_id: str, run_id: str, group_id: str, map_index: int = -1) -> JobRow | None:
        """The newest attempt, None when none was ever intended."""
        rows = self._rows(_same_job(JobKey(dag_id, run_id, group_id, map_index)))
        return max(rows, key=lambda row: row.generation, default=None)

    def attempts(self, key: JobKey) -> list[JobRow]:
        """Every attempt at this job, the oldest first, whatever its generation and cluster."""
        return self._rows(_same_job(key))

    def open_jobs(self, cluster: str | None = None) -> list[JobRow]:
        """Every job of a cluster, or of all, that is not settled, the oldest first."""
        return self._rows(OPEN if cluster is None else and_(OPEN, JOBS.c.cluster == cluster))

    def open_attempts(self, key: JobKey) -> list[JobRow]:
        """Every attempt at this job that is not settled, whatever its generation and cluster."""
        return self._rows(and_(OPEN, _same_job(key)))

    def open_jobs_of_runs(self, runs: Collection[tuple[str, str]]) -> list[JobRow]:
        """Every job of these (dag_id, run_id) that is not settled."""
        return self._rows(and_(OPEN, tuple_(JOBS.c.dag_id, JOBS.c.run_id).in_(list(runs)))) if runs else []

    def _rows(self, condition: ColumnElement[bool]) -> list[JobRow]:
        with self._transaction() as connection:
            return _select(connection, condition)

    def _change(self, token: str, condition: ColumnElement[bool], **values: Any) -> bool:
        statement = update(JOBS).where(JOBS.c.token == token, OPEN, condition).values(values)
        with self._transaction() as connection:
            return connection.execute(statement).rowcount == 1


_SEEN = ("state", "state_seen_at", "reason", "sentence", "tasks", "node_names")
_IN_QUEUE = frozenset({JobState.HELD, JobState.PENDING, JobState.CONFIGURING})
_RUN_BEFORE = (
    JobState.RUNNING,
    JobState.SUSPENDED,
    JobState.COMPLETING,
    JobState.NODE_FAIL,
    JobState.PREEMPTED,
)
_NOW_UNKNOWN = bindparam("is_unknown", type_=Boolean)
_BACK_IN_QUEUE = and_(
    bindparam("is_back", type_=Boolean), or_(*(JOBS.c.state == state for state in _RUN_BEFORE))
)
_SEEN_AT = bindparam("state_seen_at", type_=JOBS.c.state_seen_at.type)
_OBSERVE = (
    update(JOBS)
    .where(JOBS.c.token == bindparam("of_token"), JOBS.c.native_id == bindparam("of_native_id"), OPEN)
    .values({name: bindparam(name) for name in _SEEN if name != "state_seen_at"})
    .values(
        state_seen_at=_SEEN_AT,
        started_at=func.coalesce(bindparam("began_at", type_=JOBS.c.started_at.type), JOBS.c.started_at),
        unknown_since=case((_NOW_UNKNOWN, func.coalesce(JOBS.c.unknown_since, _SEEN_AT)), else_=None),
        # The scheduler may put a job back in the queue under the same id: RUNNING, then PENDING.
        restarts=JOBS.c.restarts + case((_BACK_IN_QUEUE, 1), else_=0),
    )
)


def _seen(report: JobReport, seen_at: datetime) -> dict[str, Any]:
    return {
        "of_token": report.token,
        "of_native_id": report.native_id,
        "state": report.state,
        "state_seen_at": seen_at,
        "reason": report.reason,
        "sentence": report.sentence,
        "tasks": {state.value: count for state, count in report.tasks.items()},
        "node_names": report.node_names,
        "is_unknown": report.state is JobState.UNKNOWN,
        "is_back": report.state in _IN_QUEUE,
        "began_at": None if report.started_at is None else moment(report.started_at),
    }


def _outcome_columns(outcome: Outcome) -> dict[str, Any]:
    moments = {"started_at": outcome.started_at, "ended_at": outcome.ended_at}
    return {
        "outcome": outcome.state,
        "evidence": outcome.evidence,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "restarts": outcome.restarts,
        "tasks": {state.value: count for state, count in outcome.tasks.items()},
        **{name: moment(value) for name, value in moments.items() if value is not None},
    }


def _same_job(key: JobKey) -> ColumnElement[bool]:
    return and_(
        JOBS.c.dag_id == key.dag_id,
        JOBS.c.run_id == key.run_id,
        JOBS.c.group_id == key.group,
        JOBS.c.map_index == key.map_index,
    )


def _select(connection: Connection, condition: ColumnElement[bool]) -> list[JobRow]:
    found = connection.execute(select(*COLUMNS).where(condition).order_by(JOBS.c.id))
    return [JobRow(**row) for row in found.mappings()]


def _of_attempt(connection: Connection, job: Job) -> JobRow | None:
    condition = and_(_same_job(job.key), JOBS.c.attempt == _attempt(job))
    return next(iter(_select(connection, condition)), None)


def _attempt(job: Job) -> str:
    return job.attempt or str(job.key.generation)


def _intent(connection: Connection, job: Job, now: datetime) -> Mapping[str, Any]:
    last = connection.scalar(select(func.max(JOBS.c.generation)).where(_same_job(job.key)))
    generation = max(job.key.generation, -1 if last is None else last + 1)
    key = JobKey(job.key.dag_id, job.key.run_id, job.key.group, job.key.map_index, generation)
    return {
        "token": token(key),
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "group_id": key.group,
        "map_index": key.map_index,
        "generation": generation,
        "attempt": _attempt(job),
        "request": job.request.model_dump(mode="json", round_trip=True),
        "decision_id": _decision_id(connection, job.key),
        "submitted_by": job.submitted_by,
        "runs_as": job.runs_as,
        "cluster": job.cluster,
        "partition": job.partition,
        "intent_at": now,
        "state": JobState.UNKNOWN,
        "run_dir": "",
        "reason": "",
        "sentence": "",
        "tasks": {},
        "node_names": (),
        "restarts": 0,
        **search_columns(job),
    }


def _decision_id(connection: Connection, key: JobKey) -> int | None:
    same = [
        DECISIONS.c.dag_id == key.dag_id,
        DECISIONS.c.run_id == key.run_id,
        DECISIONS.c.group_id == key.group,
        DECISIONS.c.map_index == key.map_index,
    ]
    newest = (DECISIONS.c.generation.desc(), DECISIONS.c.move.desc())
    return connection.scalar(select(DECISIONS.c.id).where(*same).order_by(*newest).limit(1))
