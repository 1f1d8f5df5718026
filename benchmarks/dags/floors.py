"""The graph of `hpc_job` with nothing in it: what Airflow alone needs for such a run.

``floor_python``: Python tasks that do nothing where `hpc_job` has a worker's task, and sensors that start in
the triggerer and end from it at once where `hpc_job` waits. ``floor_workers``: Python tasks in place of the
waits, too. ``floor_empty``: EmptyOperators everywhere, which the scheduler marks as done by itself.
"""

from collections.abc import Callable
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, TaskGroup, XComArg, task
from airflow.triggers.base import StartTriggerArgs

CLUSTERS = ("onprem", "azure")
CHOSEN = "onprem"
LONG_AGO = "2000-01-01T00:00:00+00:00"

Step = BaseOperator | XComArg
Make = Callable[[str], Step]


class AtOnce(BaseSensorOperator):
    """Waits in the triggerer for a moment that has passed."""

    start_from_trigger = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
            trigger_kwargs={"target_time": LONG_AGO, "end_from_trigger": True},
            next_method="execute_complete",
        )


def choose(task_id: str) -> Step:
    """A branch that has no choice."""
    return task.branch(task_id=task_id)(lambda: CHOSEN)()


def nothing(task_id: str) -> Step:
    """A task of a worker."""
    return task(task_id=task_id, trigger_rule="all_done" if task_id == "collect" else "all_success")(
        lambda: None
    )()


def wait(task_id: str) -> Step:
    """A task of the triggerer."""
    return AtOnce(task_id=task_id)


def empty(task_id: str) -> Step:
    """A task of nobody."""
    return EmptyOperator(task_id=task_id, trigger_rule="all_done" if task_id == "collect" else "all_success")


def graph(first: Make, step: Make, pause: Make) -> None:
    """The tasks and edges of `hpc_job`."""
    begin, end = first("choose_cluster"), step("collect")
    for cluster in CLUSTERS:
        with TaskGroup(cluster) as branch:
            step("submit") >> pause("wait_in_queue") >> pause("wait_for_completion")
        begin >> branch >> end


with DAG("floor_python", schedule=None, catchup=False):
    graph(choose, nothing, wait)

with DAG("floor_workers", schedule=None, catchup=False):
    graph(choose, nothing, nothing)

with DAG("floor_empty", schedule=None, catchup=False):
    graph(empty, empty, empty)
