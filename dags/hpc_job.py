"""One HPC job, from the form to the result."""

from airflow.sdk import DAG

from hybrid_hpc_airflow.form import request_params
from hybrid_hpc_airflow.task_group import job_tasks

DOC = """
### Submit an HPC job

Fill in the form and press *Trigger*. Paste the batch script that you have: its `#SBATCH` lines are read,
and a field of the form that you fill in wins over them.

The job is placed on the cluster where its result comes soonest for the money; **the run's note and the log
of *Choose cluster* say why**. While it waits, the log of *Queue on …* says what it waits for.

* Only a name and the script are needed. Everything else has a default, or is in the script's `#SBATCH` lines.
* To stop the job, mark the run as failed: it is cancelled on the cluster.
* The end of the job's output is in the log of *Collect*, with what it used and what it cost.
"""

with DAG(
    "hpc_job",
    dag_display_name="Submit an HPC job",
    description="One job, placed on the on-premises cluster or on Azure, with the reason",
    doc_md=DOC,
    params=request_params(),
    schedule=None,
    catchup=False,
    render_template_as_native_obj=True,
    tags=["hpc"],
    max_active_runs=1000,
    max_active_tasks=1000,
):
    job_tasks()
