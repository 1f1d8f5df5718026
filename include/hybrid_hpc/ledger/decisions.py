"""The decisions in the ledger: written once per job, read back by every retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, select

from hybrid_hpc.budget_rules import Claim
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.reserving import one_budget_at_a_time, reserve
from hybrid_hpc.ledger.rows import DecisionRow, JobRow
from hybrid_hpc.request import JobRequest

DECISIONS = table(tables.Decision)
JOBS = table(tables.Job)


class Placed(Protocol):
    """What the ledger needs of a decision of `hybrid_hpc.placement`."""

    @property
    def cluster(self) -> str:
        """The chosen cluster's name."""

    @property
    def partition(self) -> str:
        """The chosen partition's name."""

    @property
    def sentence(self) -> str:
        """The decision for a person."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All of it; ``mode="json"``."""


class DecisionQueries(Database):
    """Every method is one transaction."""

    def record_decision(
        self,
        key: JobKey,
        *,
        request: JobRequest,
        decision: Placed,
        submitted_by: str = "",
        claim: Claim | None = None,
    ) -> DecisionRow:
        """The decision that stands for this key: the first one recorded, whoever came later.

        ``claim``: what it takes of a budget, written in the same step. Raises `BudgetTaken` when others were
        quicker at that, and writes nothing then.
        """
        self._record(key, request, decision, submitted_by, claim)
        row = self.decision(key)
        assert row  # noqa: S101  decisions are never deleted
        return row

    def record_move(self, left: JobRow, decision: Placed, claim: Claim | None = None) -> DecisionRow:
        """The decision where a job goes that has ``left`` its cluster: the first one recorded, as above."""
        before = self.latest_decision(left.key)
        assert before  # noqa: S101  a job is submitted only after a decision
        how = {"move": before.move + 1, "left_token": left.token}
        self._record(before.key, before.request, decision, before.submitted_by, claim, **how)
        row = self.move_from(left.token)
        assert row  # noqa: S101  as above
        return row

    def _record(
        self,
        key: JobKey,
        request: JobRequest,
        decision: Placed,
        submitted_by: str,
        claim: Claim | None,
        **how: object,
    ) -> None:
        values = {
            **_key_columns(key),
            "move": 0,
            **how,
            "request": request.model_dump(mode="json", round_trip=True),
            "decision": decision.model_dump(mode="json"),
            "cluster": decision.cluster,
            "partition": decision.partition,
            "sentence": decision.sentence,
            "submitted_by": submitted_by,
            "decided_at": self._now(),
        }
        with self._transaction() as connection:
            if claim and claim.standing:
                one_budget_at_a_time(connection, claim)
            new = insert(connection, DECISIONS).values(values).on_conflict_do_nothing()
            made = connection.scalar(new.returning(DECISIONS.c.id))
            if claim and made is not None:
                reserve(connection, key, made, claim, self._now())

    def decision(self, key: JobKey) -> DecisionRow | None:
        """The first decision of exactly this key, None when there is none."""
        exactly = and_(DECISIONS.c.generation == key.generation, DECISIONS.c.move == 0)
        return self._newest(and_(_same_job(key), exactly))

    def first_decision(self, key: JobKey) -> DecisionRow | None:
        """The newest decision for this job that is no move, whatever the key's generation."""
        return self._newest(and_(_same_job(key), DECISIONS.c.move == 0))

    def latest_decision(self, key: JobKey) -> DecisionRow | None:
        """The newest decision for this job, whatever the key's generation."""
        return self._newest(_same_job(key))

    def move_from(self, token: str) -> DecisionRow | None:
        """The decision where the job of this attempt goes, None when it has not been made."""
        return self._newest(DECISIONS.c.left_token == token)

    def decision_of(self, token: str) -> Mapping[str, Any] | None:
        """The whole decision that sent this attempt, as JSON; None when there is none."""
        chosen = JOBS.c.decision_id == DECISIONS.c.id
        statement = select(DECISIONS.c.decision).join(JOBS, chosen).where(JOBS.c.token == token)
        with self._transaction() as connection:
            found: Mapping[str, Any] | None = connection.scalar(statement)
        return found

    def _newest(self, condition: ColumnElement[bool]) -> DecisionRow | None:
        newest = (DECISIONS.c.generation.desc(), DECISIONS.c.move.desc())
        left = select(JOBS.c.attempt).where(JOBS.c.token == DECISIONS.c.left_token).scalar_subquery()
        statement = select(DECISIONS, left.label("left")).where(condition).order_by(*newest).limit(1)
        with self._transaction() as connection:
            found = connection.execute(statement).mappings().first()
        return None if found is None else _row(dict(found))


def _key_columns(key: JobKey) -> dict[str, Any]:
    return {
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "group_id": key.group,
        "map_index": key.map_index,
        "generation": key.generation,
    }


def _same_job(key: JobKey) -> ColumnElement[bool]:
    columns = {name: value for name, value in _key_columns(key).items() if name != "generation"}
    return and_(*(DECISIONS.c[name] == value for name, value in columns.items()))


def _row(found: dict[str, Any]) -> DecisionRow:
    names = ("dag_id", "run_id", "group_id", "map_index", "generation")
    return DecisionRow(
        key=JobKey(*(found[name] for name in names)),
        request=JobRequest.model_validate(found["request"]),
        **{name: found[name] for name in ("decision", "cluster", "partition", "sentence")},
        submitted_by=found["submitted_by"],
        decided_at=found["decided_at"],
        move=found["move"],
        left=found["left"] or "",
        id=found["id"],
    )
