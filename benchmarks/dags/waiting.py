"""Nothing but the wait of `hpc_job`: for a job that was submitted before, under this run's id."""

from airflow.sdk import DAG

from hybrid_hpc_airflow.sensors import JobSensor

with DAG("waiting", schedule=None, catchup=False, max_active_runs=1000, max_active_tasks=1000):
    JobSensor(task_id="wait", cluster="onprem", phase="start")
