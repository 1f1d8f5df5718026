"""A job that was lost with its nodes is submitted anew, when its request says so and the site allows it.

The lost job is settled by evidence first; then the same request goes to the same cluster as another attempt,
with a token of its own. Both are steps that may be repeated: whoever finds the job half resubmitted goes on.

Who allows spot nodes accepts evictions: such a job goes again without another word, on spot nodes for
`spot_tries` runs in all, then on nodes of the same cluster that stay. One for which no spot node can be had
was withdrawn from them, and goes to those nodes at once (`hybrid_hpc.on_demand`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybrid_hpc.clusters import Cluster, Clusters
from hybrid_hpc.collecting import settle
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.on_demand import gave_up_spot
from hybrid_hpc.placement import cheapest_on_demand
from hybrid_hpc.site import Site
from hybrid_hpc.submission import submit

NODES_FAILED = frozenset({JobState.NODE_FAIL, JobState.BOOT_FAIL, JobState.PREEMPTED})
AGAIN = "~"  # in a row's ``attempt``: ``azure.0.0~2`` is the second resubmission of ``azure.0.0``
ON_DEMAND = "d"  # ``azure.0.0d~1``: what follows ``azure.0.0~1``, for which there was no spot node


def resubmissions(row: JobRow) -> int:
    """How often the job of this row had been resubmitted when this attempt was made."""
    return int(row.attempt.partition(AGAIN)[2] or 0)


def may_go_again(row: JobRow, state: JobState, clusters: Clusters) -> bool:
    """True when a job that ended in this state, or was withdrawn from spot nodes, is to be submitted anew."""
    lost = _wants_again(row, state, clusters) and not _went_often_enough(row, clusters)
    return lost or gave_up_spot(row, clusters)


def lost_too_often(row: JobRow, state: JobState, clusters: Clusters) -> bool:
    """True when a job that ended in this state would go again, had it not done so as often as it may."""
    return _wants_again(row, state, clusters) and _went_often_enough(row, clusters)


def _wants_again(row: JobRow, state: JobState, clusters: Clusters) -> bool:
    if state not in NODES_FAILED or row.cancel_wished or row.left:
        return False
    return row.request.on_node_failure == "resubmit" or _evicted(row, clusters)


def _went_often_enough(row: JobRow, clusters: Clusters) -> bool:
    return resubmissions(row) >= clusters.policy.max_resubmissions


def _evicted(row: JobRow, clusters: Clusters) -> bool:
    """True for a lost job whose nodes were spot nodes; of an array, the scheduler starts lost tasks over."""
    return _on_spot(row, clusters) and row.request.allows_spot and not row.request.array


def _on_spot(row: JobRow, clusters: Clusters) -> bool:
    cluster = clusters.clusters.get(row.cluster)
    return cluster is not None and cluster.spot(row.partition) is not None


def next_partition(row: JobRow, clusters: Clusters) -> str:
    """Where a lost job goes: to its partition again, or when it was evicted too often, where nodes stay.

    On spot nodes it stays, too, when no other partition of the cluster holds it at a cost that it allows.
    """
    on_spot_again = resubmissions(row) + 1 < clusters.policy.spot_tries and not row.left
    if on_spot_again or not (row.left or _evicted(row, clusters)):
        return row.partition
    return cheapest_on_demand(row.request, clusters.cluster(row.cluster)) or row.partition


def next_attempt(row: JobRow, clusters: Clusters) -> Job:
    """The attempt that follows this one: the same for whoever asks."""
    follows = replace(
        row,
        generation=row.generation + 1,
        partition=next_partition(row, clusters),
        attempt=_next_name(row),
    )
    return _job_of(follows, clusters.cluster(row.cluster))


def _next_name(row: JobRow) -> str:
    """A job that was withdrawn from spot nodes was not lost, and is not counted as such."""
    base, again, losses = row.attempt.partition(AGAIN)
    return f"{base}{ON_DEMAND}{again}{losses}" if row.left else f"{base}{AGAIN}{resubmissions(row) + 1}"


def told(attempts: Sequence[JobRow], clusters: Clusters) -> str:
    """Why the newest of a job's attempts was made, and what it is: a line for its log."""
    lost, anew = attempts[-2:]
    if lost.left:
        why = lost.leave_why or "no reason is known"
        return f"no spot node can be had ({why}); {_sent(anew, clusters)}, as job {anew.native_id}"
    if _evicted(lost, clusters):
        return f"{_loss(lost)}; {_sent(anew, clusters)}, as job {anew.native_id}"
    run, most = resubmissions(anew) + 1, clusters.policy.max_resubmissions + 1
    return f"lost its nodes; sent anew as job {anew.native_id}, run {run} of at most {most}"


def _loss(lost: JobRow) -> str:
    nodes, were = ("spot node", "was") if lost.request.nodes == 1 else ("spot nodes", "were")
    what = "did not come" if lost.outcome is JobState.BOOT_FAIL else f"{were} evicted"
    return f"its {nodes} {what}"


def _sent(anew: JobRow, clusters: Clusters) -> str:
    if not _on_spot(anew, clusters):
        return f"sent{' again' if resubmissions(anew) else ''} on demand in partition {anew.partition}"
    run = resubmissions(anew) + 1
    tries = min(clusters.policy.spot_tries, clusters.policy.max_resubmissions + 1)
    if run > tries:
        return "sent again on spot, where alone it can run"
    return f"sent again on spot (try {run} of {tries})"


def interrupted(row: JobRow) -> bool:
    """True for an attempt of ours whose process died, or was cut off, before the job was released."""
    base, again, _ = row.attempt.partition(AGAIN)
    ours = bool(again) or base.endswith(ON_DEMAND)
    return ours and not row.released_at and not row.settled


def due(row: JobRow, clusters: Clusters) -> bool:
    """True when `go_again` has something to do for the newest attempt of a job."""
    return due_at_start(row, clusters) or may_go_again(row, row.state, clusters)


def due_at_start(row: JobRow, clusters: Clusters) -> bool:
    """The same while its start is waited for: a job that lost its nodes then has ended, for that wait."""
    return interrupted(row) or gave_up_spot(row, clusters)


async def go_again(row: JobRow, *, site: Site, ledger: Ledger, clusters: Clusters) -> JobRow | None:
    """The attempt that takes the place of ``row``, submitted; None when the evidence or a wish forbids it.

    Raises what `hybrid_hpc.collecting.settle` and `hybrid_hpc.submission.submit` raise; call again then.
    """
    job = _job_of(row, site.cluster) if interrupted(row) else await _next(row, site, ledger, clusters)
    if job is None:
        return None
    return await submit(job, scheduler=site.scheduler, head_node=site.head_node, ledger=ledger)


async def _next(row: JobRow, site: Site, ledger: Ledger, clusters: Clusters) -> Job | None:
    known, outcome, _ = await settle(row, site=site, ledger=ledger)
    return next_attempt(known, clusters) if may_go_again(known, outcome.state, clusters) else None


def _job_of(row: JobRow, cluster: Cluster) -> Job:
    who = (row.key, row.request, row.cluster, row.partition, row.submitted_by, row.attempt)
    evictable = cluster.spot(row.partition) is not None
    return Job(*who, directives=cluster.directives, evictable=evictable, runs_as=row.runs_as)
