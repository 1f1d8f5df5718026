"""The tasks of ``hpc_reconcile``: jobs that nobody owns, and nodes that nobody watches.

Airflow tells nobody when a run is deleted; this is the guarantee behind ``on_kill``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc_airflow.assets import nodes_asset

if TYPE_CHECKING:
    from hybrid_hpc.reconcile import Run

LIVING_STATES = ["queued", "running"]


class ReconcileOperator(BaseOperator):
    """Compares the ledger with every queue and acts on what it finds; its result is counts by action.

    What could not be done stands in its table and is done the next time: neither a cluster that does not
    answer nor an action that fails makes it fail. Raises `AirflowException` without a ledger.
    """

    ui_color = "#f2e9e1"

    def execute(self, context: Context) -> dict[str, int]:
        """How many findings there were of each action."""
        from hybrid_hpc.placing import tidy_budgets
        from hybrid_hpc.reconcile_table import findings_table
        from hybrid_hpc.reconciling import reconcile
        from hybrid_hpc_airflow.connections import open_ledger, open_site

        ledger = open_ledger()
        clusters = list(load_clusters().clusters.values())
        living = partial(_living, context["ti"])
        try:
            report = asyncio.run(reconcile(clusters, ledger=ledger, open_site=open_site, living=living))
            freed = tidy_budgets(ledger, living)
        except HybridHpcError as error:
            raise AirflowException(f"nothing was reconciled: {error}") from error
        if freed:
            self.log.info("what budgets had reserved for %d jobs of ended runs is free", freed)
        if report.findings:
            self.log.info("%s\n%s", report.numbers(), findings_table(report.findings))
        else:
            self.log.info("%s: everything is as it should be", report.numbers())
        return report.counts()


def _living(ti: Any, runs: Collection[Run]) -> set[Run]:
    from hybrid_hpc.living import living_runs

    living: set[Run] = set()
    for dag_id in sorted({dag_id for dag_id, _ in runs}):
        run_ids = sorted(run_id for of_dag, run_id in runs if of_dag == dag_id)
        living |= {(dag_id, run_id) for run_id in living_runs(run_ids, partial(_count, ti, dag_id))}
    return living


def _count(ti: Any, dag_id: str, run_ids: Collection[str] | None = None) -> int:
    """How many runs, of these or of all, are alive."""
    return int(ti.get_dr_count(dag_id=dag_id, run_ids=run_ids and list(run_ids), states=LIVING_STATES))


class WatchNodesOperator(BaseOperator):
    """Sees that the nodes of an elastic cluster are watched: without that, nobody lets idle nodes go.

    The watch is a run which may fail or be deleted: then it is started anew, by its asset. It may also live
    and not look, while no triggerer works: nodes at which nobody has looked for as long as their lease are
    looked after here, and idle ones ended. Skipped, with the reason, when there is nothing to start.
    """

    ui_color = "#f2e9e1"

    def __init__(self, *, cluster: Cluster, **kwargs: Any) -> None:
        super().__init__(outlets=[nodes_asset(cluster)], **kwargs)
        self.cluster = cluster.name
        self.nodes_dag_id = f"hpc_nodes_{cluster.name}"

    def execute(self, context: Context) -> list[str]:
        """The names of the nodes that no run watched."""
        try:
            names, leaked = asyncio.run(self._look_after())
        except HybridHpcError as error:
            self.log.warning("what is there cannot be said: %s", error)
            raise AirflowSkipException("which nodes are there is not known: asked again next time") from error
        if not names:
            raise AirflowSkipException("there is no node to watch")
        if _count(context["ti"], self.nodes_dag_id):
            looks = "does not look at them: is a triggerer up?" if leaked else "watches the nodes"
            raise AirflowSkipException(f"a run of {self.nodes_dag_id} {looks}")
        self.log.warning("no run watches %s: a run of %s starts", ", ".join(names), self.nodes_dag_id)
        return names

    async def _look_after(self) -> tuple[list[str], list[str]]:
        from hybrid_hpc.leases import leased_out, tend
        from hybrid_hpc_airflow.connections import open_cloud, open_ledger_async, open_watch

        cluster = load_clusters().cluster(self.cluster)
        cloud = await open_cloud(cluster)
        if cloud is None:
            return [], []
        async with cloud:
            names, leaked = await leased_out(cluster, cloud, await open_ledger_async())
        if leaked:
            self.log.warning("nobody has looked at %s for long: idle nodes go now", ", ".join(leaked))
            watch = await open_watch(cluster)
            try:
                await tend(watch)
            finally:
                await watch.close()
        return names, leaked
