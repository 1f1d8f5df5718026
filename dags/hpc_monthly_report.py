"""What each month was, as one file that can be mailed."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from hybrid_hpc_airflow.monthly import MONTH_PARAMS, MonthlyReportOperator

DOC = """
### Monthly report

On the first of each month, in the morning, the report of the month before is written: usage by cluster,
project and person, money, waits, efficiency, failures, forecasts against what came, and what was not
collected. It is one HTML file without a script, of some ten kB; its pictures are in it. Path and sums are in
the log.

It goes into the folder that the Airflow variable `hybrid_hpc_reports` names, else into `reports` below the
Airflow home. Files are kept until somebody removes them. Started by hand with *Month*, that month's file is
written anew.
"""

with DAG(
    "hpc_monthly_report",
    dag_display_name="Monthly report",
    description="What each month used and cost, as one HTML file",
    doc_md=DOC,
    # Late enough for the last day's records and for CycleCloud's last hours, which hpc_usage collects later.
    schedule=CronTriggerTimetable("0 6 1 * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=MONTH_PARAMS,
    tags=["hpc", "admin"],
):
    MonthlyReportOperator(
        task_id="write_report",
        task_display_name="Write the report",
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
