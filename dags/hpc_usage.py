"""What the jobs of both clusters used and cost, side by side."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from hybrid_hpc_airflow.usage import UsageReportOperator

DOC = """
### Usage

Every job's accounting record goes to the ledger when the job ends. This DAG adds them up for the last thirty
days: jobs, core-hours, CPU-hours used, GPU-hours, money and waiting time, by cluster and project. The table
is in the log of its task.
"""

with DAG(
    "hpc_usage",
    dag_display_name="Usage of all clusters",
    description="Core-hours, money and waits by cluster and project",
    doc_md=DOC,
    schedule=CronTriggerTimetable("0 6 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["hpc", "admin"],
):
    UsageReportOperator(
        task_id="report",
        task_display_name="Add up usage",
        days=30,
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
