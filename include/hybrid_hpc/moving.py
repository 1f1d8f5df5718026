"""A job leaves a cluster that cannot run it: only before it has started, confirmed, and to go elsewhere.

The wish stands in the ledger first, so whoever finds it half done goes on. Then the job's run directory is
claimed in the place of its script: if that has begun, the job stays; else it never will, and is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.collecting import settle
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.rows import clears
from hybrid_hpc.on_demand import gave_up_spot, instead_of_spot
from hybrid_hpc.ownership import fresh_row
from hybrid_hpc.resubmission import lost_too_often, resubmissions
from hybrid_hpc.schedulers.base import QueuedJob
from hybrid_hpc.site import Site

_WAITS = frozenset({JobState.PENDING, JobState.CONFIGURING})
LOOKS = 10
LOOK_AGAIN_S = 1.0


def why_it_stays(row: JobRow, report: JobReport, moves_left: int) -> str:
    """Why a blocked job waits on where it is, in words; '' for one that is to leave."""
    if row.request.on_blocked == "wait":
        return "its request says so"
    if not waits_whole(row, report):
        return "a part of it has begun"
    return why_not_elsewhere(row, moves_left) if row.request.on_blocked == "move" else ""


def why_not_elsewhere(row: JobRow, moves_left: int) -> str:
    """Why no other cluster may have the job, in words; '' when one may."""
    if row.request.on_blocked != "move":
        return "its request says so"
    if row.request.cluster != "auto":
        return "it was given to this cluster"
    return "" if moves_left > 0 else "it has moved as often as the site allows"


def gives_up_spot(row: JobRow, report: JobReport, clusters: Clusters) -> bool:
    """True for a blocked job that is to have nodes that stay instead, whatever its `on_blocked` says."""
    return waits_whole(row, report) and instead_of_spot(row, clusters.cluster(row.cluster)) is not None


def waits_whole(row: JobRow, report: JobReport) -> bool:
    """True while all of the job waits for room or for its nodes; of an array, no task may have begun."""
    waiting = sum(report.tasks.values()) == row.request.array_tasks
    return waiting and set(report.tasks) <= _WAITS and row.started_at is None


def why_it_left(row: JobRow, clusters: Clusters) -> str:
    """Why this attempt was the last on its cluster; '' when it was not.

    It left before it began, and not only its spot nodes, or lost its nodes once more than the policy of
    ``clusters`` allows.
    """
    if gave_up_spot(row, clusters):
        return ""
    if row.left:
        return row.leave_why or "no reason is known"
    if row.outcome and lost_too_often(row, row.outcome, clusters):
        runs = resubmissions(row) + 1
        return f"its nodes were lost {'once' if runs == 1 else f'{runs} times'}: {row.sentence}"
    return ""


def left_before(row: JobRow, attempts: Sequence[JobRow], clusters: Clusters) -> dict[str, str]:
    """The clusters that the job has left since its cluster was last chosen afresh, and why."""
    chosen = clears(row.attempt)[:1]
    since = [each for each in attempts if clears(each.attempt)[:1] == chosen]
    return {each.cluster: why for each in since if (why := why_it_left(each, clusters))}


async def leave(row: JobRow, why: str, *, site: Site, ledger: Ledger) -> JobRow | None:
    """The row, settled as gone from its cluster; None when the job stays: it has begun, or is to end.

    Harmless when repeated. Raises `Unavailable` when the cluster or the ledger does not answer; the wish
    stands, and perhaps the claim that keeps the job from ever beginning there, so call again.
    """
    await asyncio.to_thread(ledger.request_leave, row.token, why)
    row = await fresh_row(ledger, row.token)
    if row.settled or row.cancel_wished or row.native_id is None:
        return row if row.left else None
    command = site.scheduler.withdraw_command(row.native_id, row.token, row.run_dir)
    if not site.scheduler.read_withdraw(await site.head_node.acting_as(row.runs_as).run(command)):
        await asyncio.to_thread(ledger.stay, row.token)
        return None
    await _until_gone(row, site)
    await settle(row, site=site, ledger=ledger)
    row = await fresh_row(ledger, row.token)
    return row if row.left else None


async def _until_gone(row: JobRow, site: Site) -> None:
    """Raises `Unavailable` when it is in the queue for long after it was told to go."""
    for _ in range(LOOKS):
        if not await _lines(row, site):
            return
        await asyncio.sleep(LOOK_AGAIN_S)
    raise Unavailable(f"{row.cluster}: job {row.native_id} is in the queue though it was told to go")


async def _lines(row: JobRow, site: Site) -> list[QueuedJob]:
    load = site.scheduler.read_load(await site.head_node.run(site.scheduler.load_command()))
    return [job for job in load.jobs if job.native_id == row.native_id and job.name == row.token]
