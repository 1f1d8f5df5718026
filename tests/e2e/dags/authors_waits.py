"""DAGs whose authors wait for a cluster itself, without a job; the end-to-end tests run them on airflow."""

from __future__ import annotations

from airflow.sdk import DAG, task

from hybrid_hpc_airflow.sensors import NodesReadySensor, QueueSensor

with DAG("authors_queue", schedule=None):

    @task
    def tell(counted: dict[str, int]) -> str:
        return f"{counted['pending']} pending"

    somebody = QueueSensor(task_id="wait_for_somebody", cluster="onprem", partition="gpu", pending_above=0)
    tell(somebody.output)  # type: ignore[arg-type]

with DAG("authors_nodes", schedule=None):
    NodesReadySensor(task_id="bring_nodes", cluster="azure", nodearray="gpu", count=2, timeout=200)

with DAG("authors_no_nodes", schedule=None):
    NodesReadySensor(task_id="bring_nodes", cluster="azure", nodearray="hpc", count=1, timeout=10)
