"""A person fails a run between two of its tasks, where no wait hears of it: hpc_reconcile runs at once.

For the API server, which is where runs are marked. A run that is failed while one of its waits is on needs
none of this: see ``killed``.
"""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc_airflow.connections import open_ledger

if TYPE_CHECKING:
    from airflow.models import DagRun

log = logging.getLogger(__name__)

RECONCILE = "hpc_reconcile"
LATER_S = 10.0  # a wait that was on has told the cluster by then


class FailedRuns:
    """A listener of Airflow's; it only sets a timer, because Airflow waits for it."""

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Looks a little later whether the run's jobs have been told to end."""
        timer = threading.Timer(LATER_S, see_to, (dag_run.dag_id, dag_run.run_id))
        timer.daemon = True
        timer.start()


def see_to(dag_id: str, run_id: str) -> None:
    """Records the wish for each job of this run of which no cluster was told, and has it carried out."""
    try:
        ledger = open_ledger()
        untold = [row for row in ledger.open_jobs_of_runs([(dag_id, run_id)]) if not row.cancel_sent_at]
        for row in untold:
            ledger.request_cancel(row.token, by="a user", why="its run was failed")
        if untold:
            reconcile_now(dag_id, run_id)
    except HybridHpcError as error:  # the next reconciliation that is due finds it
        log.warning("whether run %s of %s has left a job is not known: %s", run_id, dag_id, error)
    except Exception:  # nobody else would hear of it: this is a thread's end
        log.exception("%s could not be started for run %s of %s", RECONCILE, run_id, dag_id)


def reconcile_now(dag_id: str, run_id: str) -> None:
    """Starts a run of hpc_reconcile; only the API server may."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    log.info("run %s of %s was failed and its job is open: %s starts", run_id, dag_id, RECONCILE)
    trigger_dag(
        dag_id=RECONCILE, run_id=f"failed_run__{uuid.uuid4()}", triggered_by=DagRunTriggeredByType.REST_API
    )
