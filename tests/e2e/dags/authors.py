"""DAGs as pipeline authors write them around `hpc_job(...)`; the end-to-end tests run them on airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, chain, task, task_group

from hybrid_hpc_airflow.task_group import hpc_job

SAY = "#!/bin/bash\necho {} > said.txt\n"


def saying(words: str, **fields: Any) -> dict[str, Any]:
    """A small job on premises that writes the words to a file."""
    script = SAY.format(words)
    return {"name": "says", "script": script, "outputs": ["said.txt"], "cluster": "onprem", **fields}


with DAG(
    "authors_pipeline",
    schedule=None,
    params={"word": Param(type="string", description="required: it has no default")},
):

    @task
    def prepare() -> dict[str, Any]:
        return {"cores": 3}

    @task
    def publish(result: dict[str, Any]) -> str:
        return f"{result['state']}: {Path(result['files'][0]).read_text().strip()}"

    prepared = prepare()
    simulate = hpc_job(
        "simulate",
        request=saying(
            "{{ params.word }} on $SLURM_CPUS_PER_TASK cores",
            cpus_per_task=prepared["cores"],  # type: ignore[index]
            nodes="{{ 2 - 1 }}",
            walltime="{{ 5 * 2 }}",
        ),
    )
    publish(simulate.result)  # type: ignore[arg-type]

with DAG("authors_groups", schedule=None):
    with TaskGroup("left"):
        left = hpc_job("says", request=saying("left"))
    with TaskGroup("right"):
        right = hpc_job("says", request=saying("right"))
    after = hpc_job(
        "after", request=saying("after {{ ti.xcom_pull(task_ids='left.says.collect')['token'] }}")
    )
    chain([left, right], after)

with DAG("authors_sweep", schedule=None):

    @task_group
    def sweep(temperature: str) -> None:
        """One job a temperature."""
        hpc_job("melts", request=saying("$TEMPERATURE", environment={"TEMPERATURE": temperature}))

    sweep.expand(temperature=["1.5", "2.5"])

with DAG("authors_choice", schedule=None):

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def is_wanted() -> bool:
        return False

    is_wanted() >> hpc_job("only_if_wanted", request=saying("never"))
