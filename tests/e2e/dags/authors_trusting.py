"""The DAG of an author who hands on whatever a run's conf holds, as tests of hostile input want it."""

from __future__ import annotations

from airflow.sdk import DAG

from hybrid_hpc.request import JobRequest
from hybrid_hpc_airflow.task_group import hpc_job

with DAG("authors_trusting", schedule=None, render_template_as_native_obj=True):
    hpc_job("job", request={field: f"{{{{ dag_run.conf['{field}'] }}}}" for field in JobRequest.model_fields})
