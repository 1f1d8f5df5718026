"""What a person is asked about a job that would exceed its budget, and what is told of the answer (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from hybrid_hpc.budget_rules import NO_PROJECT
from hybrid_hpc.placement.words import one_line, usd

_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+.!|~-])")


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """A job that would exceed its project's budget; ``approved`` None: nobody has answered yet.

    ``answered_by`` is '' when nobody did in time. ``why`` says how much it takes and how much is left.
    """

    decision_id: int
    project: str
    month: str
    usd: float
    core_h: float
    why: str
    asked_at: datetime
    answered_at: datetime | None
    answered_by: str | None
    approved: bool | None
    dag_id: str
    run_id: str
    name: str
    cluster: str
    submitted_by: str


def asked_text(asked: ApprovalRow) -> tuple[str, str]:
    """Subject and body (Markdown) of the question."""
    project = asked.project or NO_PROJECT
    subject = f"{project}: {asked.name} would exceed its budget: at most {usd(asked.usd)}"
    who = asked.submitted_by or "somebody"
    body = (
        f"**{_plain(who)}** wants to run **{_plain(asked.name)}** on **{_plain(asked.cluster)}** for "
        f"**{_plain(project)}**: at most **{usd(asked.usd)}** and {asked.core_h:,.2f} core-hours.\n\n"
        f"{_plain(asked.why)}.\n\n"
        "*Approve* submits the job, and what it uses counts to this budget. *Refuse* ends the run, and "
        "nothing is sent."
    )
    return subject, body


def refused_text(asked: ApprovalRow) -> str:
    """Why the run ends, in a sentence."""
    if asked.answered_by:
        return f"refused by {asked.answered_by}: {asked.why}"
    return f"refused, because nobody answered in time: {asked.why}"


def _plain(text: str) -> str:
    """Other people's words without a meaning in Markdown."""
    return _MARKS.sub(r"\\\1", one_line(text))
