"""The usage of all clusters, side by side: collected into the ledger, and told."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc_airflow.assets import USAGE
from hybrid_hpc_airflow.usage import WINDOW_PARAMS, CollectUsageOperator, UsageReportOperator

DOC = """
### Usage

Every ten minutes, for every cluster: the accounting records of everybody's jobs that came since the last
time, a sample of its nodes and its queue, and what CycleCloud says of its VMs. A cluster that does not answer
fails its own task and leaves a gap, which the next run closes; the others' results stay. `report` rolls up
what came, for the page *Usage*, and tells jobs, core-hours, money and waiting times of the last seven days.

Started by hand with *Since* and *Until*, that piece of the past is collected, once more if need be, and told:
nothing is counted twice. What follows the asset `hpc://usage` runs after each collection.
"""

with DAG(
    "hpc_usage",
    dag_display_name="Usage of all clusters",
    description="What jobs and nodes used and cost, collected from every cluster",
    doc_md=DOC,
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=WINDOW_PARAMS,
    tags=["hpc", "admin"],
):
    collect = CollectUsageOperator.partial(
        task_id="collect",
        task_display_name="Collect usage",
        map_index_template="{{ task.cluster }}",
        retries=1,
        retry_delay=timedelta(seconds=30),
    ).expand(cluster=list(load_clusters().clusters))
    report = UsageReportOperator(
        task_id="report",
        task_display_name="Add up usage",
        days=7,
        trigger_rule="all_done_min_one_success",  # what one cluster does not tell keeps nobody's back
        outlets=[USAGE],
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
    collect >> report
