"""A job that was lost with its nodes is submitted anew, when its request says so and the site allows it.

The lost job is settled by evidence first; then the same request goes to the same cluster as another attempt,
with a token of its own. Both are steps that may be repeated: whoever finds the job half resubmitted goes on.
"""

from __future__ import annotations

from dataclasses import replace

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.collecting import settle
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.site import Site
from hybrid_hpc.submission import submit

NODES_FAILED = frozenset({JobState.NODE_FAIL, JobState.BOOT_FAIL, JobState.PREEMPTED})
AGAIN = "~"  # in a row's ``attempt``: ``azure.0.0~2`` is the second resubmission of ``azure.0.0``


def resubmissions(row: JobRow) -> int:
    """How often the job of this row had been resubmitted when this attempt was made."""
    return int(row.attempt.partition(AGAIN)[2] or 0)


def may_go_again(row: JobRow, state: JobState, limit: int) -> bool:
    """True when a job that ended in this state is to be submitted anew."""
    if state not in NODES_FAILED or row.cancel_wished or resubmissions(row) >= limit:
        return False
    return row.request.on_node_failure == "resubmit"


def lost_too_often(row: JobRow, state: JobState, limit: int) -> bool:
    """True when a job that ended in this state would go again, had it not done so as often as it may."""
    return not may_go_again(row, state, limit) and may_go_again(row, state, resubmissions(row) + 1)


def next_attempt(row: JobRow, cluster: Cluster) -> Job:
    """The attempt that follows this one: the same for whoever asks."""
    base, _, _ = row.attempt.partition(AGAIN)
    return Job(
        key=replace(row.key, generation=row.generation + 1),
        request=row.request,
        cluster=row.cluster,
        partition=row.partition,
        submitted_by=row.submitted_by,
        attempt=f"{base}{AGAIN}{resubmissions(row) + 1}",
        directives=cluster.directives,
    )


def interrupted(row: JobRow) -> bool:
    """True for a resubmission whose process died, or was cut off, before the job was released."""
    return bool(resubmissions(row)) and not row.released_at and not row.settled


def due(row: JobRow, limit: int) -> bool:
    """True when `go_again` has something to do for the newest attempt of a job."""
    return interrupted(row) or may_go_again(row, row.state, limit)


async def go_again(row: JobRow, *, site: Site, ledger: Ledger, limit: int) -> JobRow | None:
    """The attempt that takes the place of ``row``, submitted; None when the evidence or a wish forbids it.

    Raises what `hybrid_hpc.collecting.settle` and `hybrid_hpc.submission.submit` raise; call again then.
    """
    job = _as_it_was(row, site.cluster) if interrupted(row) else await _next(row, site, ledger, limit)
    if job is None:
        return None
    return await submit(job, scheduler=site.scheduler, head_node=site.head_node, ledger=ledger)


async def _next(row: JobRow, site: Site, ledger: Ledger, limit: int) -> Job | None:
    known, outcome, _ = await settle(row, site=site, ledger=ledger)
    return next_attempt(known, site.cluster) if may_go_again(known, outcome.state, limit) else None


def _as_it_was(row: JobRow, cluster: Cluster) -> Job:
    who = (row.key, row.request, row.cluster, row.partition, row.submitted_by, row.attempt)
    return Job(*who, directives=cluster.directives)
