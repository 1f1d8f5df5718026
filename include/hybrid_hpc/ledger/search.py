"""What jobs are searched by: columns that an index takes, beside the request they come from (pure)."""

from __future__ import annotations

from hybrid_hpc.ledger.rows import Job

MOST_LETTERS = 200  # an index refuses a long text, and with it the job


def searched(text: str) -> str:
    """The text as it stands in a column to search by."""
    return text[:MOST_LETTERS]


def search_columns(job: Job) -> dict[str, str]:
    """The columns of one job."""
    return {
        "search_name": searched(job.request.name).lower(),
        "search_project": searched(job.request.project or ""),
        "search_person": searched(job.submitted_by),
    }
