"""Which job of which run a task works for."""

from __future__ import annotations

from airflow.sdk import Context

from hybrid_hpc.jobs import JobKey


def job_key(context: Context, group: str) -> JobKey:
    """The key of this task's job. A retry has the same key; a user's *clear* makes a new generation.

    Airflow raises ``max_tries`` to the tries used so far plus ``retries`` when a user clears a task, and
    leaves it alone at a retry.
    """
    ti = context["ti"]
    generation = (ti.max_tries or 0) - (ti.task.retries or 0)
    return JobKey(ti.dag_id, ti.run_id, group, ti.map_index if ti.map_index is not None else -1, generation)
