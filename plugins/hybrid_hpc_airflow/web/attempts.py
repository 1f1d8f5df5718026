"""Every attempt at one job: why each was made, and what became of it (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from hybrid_hpc.ledger.rows import JobRow, clears
from hybrid_hpc_airflow.web.views import JobView, View

FIRST = "the first"


class AttemptView(View):
    """One attempt; ``why`` it was made, ``here``: the page is about it."""

    job: JobView
    why: str
    here: bool
    begun_at: datetime


def attempts_of(rows: Sequence[JobRow], token: str) -> tuple[AttemptView, ...]:
    """Every attempt, the oldest first; ``token`` is the one that the page is about."""
    reasons = [FIRST, *(_why(before, row) for before, row in pairwise(rows))]
    return tuple(
        AttemptView(job=JobView.of(row), why=why, here=row.token == token, begun_at=row.intent_at)
        for row, why in zip(rows, reasons, strict=False)
    )


def _why(before: JobRow, row: JobRow) -> str:
    if row.attempt.partition("~")[0] == before.attempt.partition("~")[0]:
        return "sent anew, because its nodes were lost"
    if _moves(row) > _moves(before):
        return f"moved here: {before.leave_why or before.sentence or 'its cluster could not run it'}"
    return "a person cleared it in Airflow"


def _moves(row: JobRow) -> int:
    counts = clears(row.attempt)
    return counts[2] if counts else 0
