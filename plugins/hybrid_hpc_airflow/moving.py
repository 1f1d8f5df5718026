"""The task that decides again, where a job goes that its cluster could not run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc_airflow.keys import job_key
from hybrid_hpc_airflow.operators import PlacementOperator

if TYPE_CHECKING:
    from hybrid_hpc.ledger import DecisionRow, JobRow, Ledger


class MoveOperator(PlacementOperator):
    """Chooses the next cluster for a job that has left one, and returns the id of its task group there.

    It is run when no wait for an end has succeeded or failed (trigger rule ``all_skipped``), and is skipped,
    with what follows it, unless the job has left its cluster to move on, or lost its nodes there too often.
    The clusters that it has left are no choice any more. A retry reads the decision back. When no other
    cluster can take the job, it comes again until one does.
    """

    def _choose(self, context: Context) -> DecisionRow:
        from hybrid_hpc.moving import why_it_left
        from hybrid_hpc_airflow.connections import open_ledger

        key = job_key(context, self.group)
        ledger = open_ledger()
        row = ledger.latest_job(key.dag_id, key.run_id, key.group, key.map_index)
        why = why_it_left(row, load_clusters()) if row else ""
        if row is None or not why or row.request.on_blocked != "move":
            raise AirflowSkipException("no job is to move on")
        self.log.info("%s could not run it: %s", row.cluster, why)
        made = ledger.move_from(row.token) or self._move(row, ledger)
        self.log.info(made.sentence)
        self._tell(context, row, made, why)
        return made

    def _move(self, row: JobRow, ledger: Ledger) -> DecisionRow:
        from hybrid_hpc.placing import claim_of, tell_of_budget
        from hybrid_hpc_airflow.leaving import decide_elsewhere

        decision = asyncio.run(decide_elsewhere(row, ledger))
        self.log.info("placement\n%s", decision.table())
        decision.raise_if_unplaced()
        made = ledger.record_move(row, decision, claim_of(decision, row.request.project))
        tell_of_budget(decision, ledger)
        return made

    def _tell(self, context: Context, row: JobRow, made: DecisionRow, why: str) -> None:
        from hybrid_hpc_airflow.notes import write_note

        context["ti"].xcom_push(key="decision", value=dict(made.decision))
        said = f"Moved on from {row.cluster}, which could not run it ({why}). {made.sentence}"
        write_note(row.dag_id, row.run_id, said)
