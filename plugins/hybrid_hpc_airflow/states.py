"""What Airflow says of tasks, asked from a worker or from the triggerer."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance


def task_states(dag_id: str, run_id: str, map_index: int, task_ids: Sequence[str]) -> dict[str, str]:
    """State by task id; a task that was cleared, or is not there, is left out. It blocks."""
    answer = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, run_ids=[run_id], task_ids=list(task_ids), map_index=map_index
    )
    found = answer.get(run_id, {})
    suffix = "" if map_index < 0 else f"_{map_index}"  # Airflow's key of a mapped task
    states = {task_id: found.get(task_id + suffix) for task_id in task_ids}
    return {task_id: str(state) for task_id, state in states.items() if state}
