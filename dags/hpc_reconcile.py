"""Finds what nobody owns: jobs to adopt, release, cancel, settle or report, and nodes that nobody watches."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc_airflow.assets import we_scale
from hybrid_hpc_airflow.reconciling import ReconcileOperator, WatchNodesOperator

DOC = """
### Reconcile

Every five minutes, and at once when Airflow starts after it has missed that, the ledger is compared with
every cluster's queue and with the runs that are alive:

* a job whose run has ended or was deleted, or that somebody wished away, is cancelled and settled;
* a job whose submission died halfway is recorded, and released when Airflow does not do it in ten minutes;
* a held job that nothing stands for is cancelled;
* what only a person can judge is reported, and is an alert where a job is concerned.

The table is in the log of `reconcile`. A cluster that does not answer is looked at the next time. The other
tasks start the watch of an elastic cluster's nodes anew when its run was lost, and end idle nodes themselves
when nobody has looked at them for four minutes; they are skipped otherwise.
"""

with DAG(
    "hpc_reconcile",
    dag_display_name="Reconcile jobs and runs",
    description="Adopts, releases, cancels, settles or reports jobs that nobody owns",
    doc_md=DOC,
    # The last tick is due at once when the DAG is new. Later the scheduler runs the one that it has missed.
    schedule=CronTriggerTimetable("*/5 * * * *", timezone="UTC", run_immediately=True),
    catchup=False,
    max_active_runs=1,
    tags=["hpc", "admin"],
):
    ReconcileOperator(
        task_id="reconcile",
        task_display_name="Compare ledger, runs and queues",
        retries=1,
        retry_delay=timedelta(seconds=30),
    )
    for cluster in filter(we_scale, load_clusters().clusters.values()):
        WatchNodesOperator(
            task_id=f"watch_nodes_{cluster.name}",
            task_display_name=f"See that the nodes of {cluster.title} are watched",
            cluster=cluster,
            retries=1,
            retry_delay=timedelta(seconds=30),
        )
