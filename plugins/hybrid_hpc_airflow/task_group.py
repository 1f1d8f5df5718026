"""`hpc_job`: the life of one job as a task group, for any DAG.

::

    choose_cluster ──► azure:  submit ► wait_in_queue ► wait_for_completion ─┐
                   └─► onprem: submit ► wait_in_queue ► wait_for_completion ─┴─► collect

Where budgets.yaml has a budget that asks, ``approve`` stands between the choice and the submissions; it is
skipped for a job within its budget.

A job that its cluster cannot run leaves it: then the waits there are skipped, ``choose_again`` decides, and
the same three steps follow in the group ``moved``; for every other job these are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Label, TaskGroup, XComArg

from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc_airflow.assets import nodes_asset, we_scale
from hybrid_hpc_airflow.moving import MoveOperator
from hybrid_hpc_airflow.operators import CollectOperator, PlacementOperator, SubmitOperator
from hybrid_hpc_airflow.sensors import JobSensor

RETRIES: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
}


class HpcJob(TaskGroup):
    """The task group of one job; ``result`` is what ``collect`` returns, for tasks downstream."""

    result: XComArg


def hpc_job(group_id: str, request: Mapping[str, Any] | None = None) -> HpcJob:
    """One HPC job, placed on whichever cluster fits it, submitted once, waited for, collected.

    ``request`` holds the fields of `hybrid_hpc.request.JobRequest` as strings, numbers, lists, templates
    or XComs (a script with ``${#`` or ``{%`` in it wants ``airflow.sdk.literal`` around it, else Jinja reads
    it as a template); left out, the DAG run's params (the trigger form) are the request. The clusters are
    those of clusters.yaml when the DAG is parsed.
    """
    group = HpcJob(group_id)
    with group:
        group.result = job_tasks(request, group.group_id or "")
    return group


def job_tasks(request: Mapping[str, Any] | None = None, group: str = "") -> XComArg:
    """The tasks of `hpc_job` without a box around them, for the top level of a DAG: once per DAG.

    ``group`` is the id of the task group that is open. Gives what ``collect`` returns.
    """
    site_file = load_clusters()
    clusters = list(site_file.clusters.values())
    approve = _approve(group)
    choose = PlacementOperator(
        task_id="choose_cluster",
        task_display_name="Choose cluster",
        request=request,
        group=group,
        branches={cluster.name: _id(group, cluster.name) for cluster in clusters},
        approval=approve.task_id if approve else "",
        **RETRIES,
    )
    moves = site_file.policy.max_moves if len(clusters) > 1 else 0
    groups = _stage(choose, clusters, group, moves, approve)
    for number in range(1, moves + 1):
        groups += _moved(groups, number, clusters, group, moves - number)
    collect = CollectOperator(
        task_id="collect",
        task_display_name="Collect",
        chooser=choose.task_id,
        submitters=[f"{branch.group_id}.submit" for branch in groups],
        group=group,
        **RETRIES,
    )
    for branch in groups:
        branch >> collect
    return collect.output


def _approve(group: str) -> BaseOperator | None:
    """The task that asks a person; None where no budget has one asked."""
    if not load_budgets().ask:
        return None
    from hybrid_hpc_airflow.approving import ApproveBudgetOperator

    return ApproveBudgetOperator(
        task_id="approve", task_display_name="Approve what exceeds a budget", group=group, **RETRIES
    )


def _id(*names: str) -> str:
    return ".".join(filter(None, names))


def _moved(
    before: Sequence[TaskGroup], number: int, clusters: Sequence[Cluster], group: str, moves_left: int
) -> list[TaskGroup]:
    """Move ``number`` of a job: run only when the waits ``before`` are skipped because the job has left."""
    count = "" if number == 1 else f"_{number}"
    choose = MoveOperator(
        task_id=f"choose_again{count}",
        task_display_name="Choose again" if number == 1 else f"Choose again ({number})",
        group=group,
        branches={cluster.name: _id(group, f"moved{count}", cluster.name) for cluster in clusters},
        trigger_rule="all_skipped",
        **RETRIES,
    )
    for branch in before:
        branch >> choose
    with TaskGroup(f"moved{count}", group_display_name="Moved on", tooltip="What its cluster could not run"):
        return _stage(choose, clusters, group, moves_left, moved=True)


def _stage(
    choose: PlacementOperator,
    clusters: Sequence[Cluster],
    group: str,
    moves_left: int,
    approve: BaseOperator | None = None,
    *,
    moved: bool = False,
) -> list[TaskGroup]:
    """A branch for every cluster, of which ``choose`` chooses one; ``approve`` may hold it back."""
    rule = "none_failed_min_one_success" if approve else "all_success"  # approve may be skipped
    branches = [_on_cluster(cluster, group, moves_left, rule, moved=moved) for cluster in clusters]
    if approve:
        choose.set_downstream(approve, Label("over budget"))
        approve.set_downstream(branches)
    for cluster, branch in zip(clusters, branches, strict=True):
        # `choose >> Label(...) >> branch` would widen the edges to the group around both branches.
        choose.set_downstream(branch, Label(cluster.title))
    return branches


def _on_cluster(cluster: Cluster, group: str, moves_left: int, rule: str, *, moved: bool) -> TaskGroup:
    """The three steps on one cluster, the first by this trigger rule; only the chosen cluster's are run."""
    with TaskGroup(cluster.name, group_display_name=cluster.title, tooltip=cluster.title) as branch:
        submit = SubmitOperator(
            task_id="submit",
            task_display_name=f"Submit to {cluster.name}",
            cluster=cluster.name,
            group=group,
            moved=moved,
            trigger_rule=rule,
            outlets=[nodes_asset(cluster)] if we_scale(cluster) else [],
            **RETRIES,
        )
        queue = JobSensor(
            task_id="wait_in_queue",
            task_display_name=f"Queue on {cluster.name}",
            cluster=cluster.name,
            phase="start",
            group=group,
            moves_left=moves_left,
            **RETRIES,
        )
        completion = JobSensor(
            task_id="wait_for_completion",
            task_display_name=f"Run on {cluster.name}",
            cluster=cluster.name,
            phase="end",
            group=group,
            moves_left=moves_left,
            **RETRIES,
        )
        submit >> queue >> completion
    return branch
