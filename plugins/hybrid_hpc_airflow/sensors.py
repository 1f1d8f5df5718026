"""Sensors that start in the triggerer and end from it: they never take a worker slot."""

from __future__ import annotations

from datetime import timedelta
from pkgutil import resolve_name
from typing import Any, ClassVar

from airflow.sdk import BaseSensorOperator, Context, Param
from airflow.sdk.exceptions import AirflowSensorTimeout
from airflow.triggers.base import StartTriggerArgs

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.waits import NodesWait, QueueWait


class ClusterSensor(BaseSensorOperator):
    """What the sensors share: the wait begins in the triggerer.

    The trigger is named by its class path: DAG files import sensors, and the trigger's module brings
    asyncssh, httpx and SQLAlchemy along.
    """

    start_from_trigger = True
    trigger: ClassVar[str]
    ends_after: timedelta | None = None  # Airflow then ends the wait; None: the trigger does, or nobody

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # A required param, though the run has a value for it, ends the whole triggerer, not only this wait:
        # Airflow 3.3.2 looks at the value that the DAG gives it, which is none.
        for name, param in list(self.params.items()):
            if param.resolve(suppress_exception=True) is None:
                self.params[name] = Param(None)

    def wait_with(self, **trigger_kwargs: Any) -> None:
        """Sets what the trigger is made with; a value that is a template must be a template field too."""
        self._trigger_kwargs = trigger_kwargs
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=self.trigger,
            trigger_kwargs=trigger_kwargs,
            next_method="execute_complete",
            timeout=self.ends_after,
        )

    def execute(self, context: Context) -> None:
        """Runs only where no scheduler is (``dag.test()``): hands the wait to the trigger."""
        kwargs = {name: getattr(self, name, value) for name, value in self._trigger_kwargs.items()}
        trigger = resolve_name(self.trigger)(**kwargs)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=self.ends_after)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """The trigger ends the task by itself, so nothing is left to do here."""
        return event


class JobSensor(ClusterSensor):
    """Waits for a job of this run: ``phase='start'`` until it has started, ``'end'`` until it has ended.

    Its result is ``{native_id, state, sentence, nodes}``. It is skipped when the job has left its cluster,
    unstarted, because that could not run it, or goes on elsewhere, because it lost its nodes there too often;
    ``moves_left``: how often it may still move on.
    """

    trigger = "hybrid_hpc_airflow.triggers.JobTrigger"
    template_fields = ("run_id", "map_index")
    ui_color = "#e6f1f2"

    def __init__(
        self, *, cluster: str, phase: str, group: str = "", moves_left: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = "{{ run_id }}"
        self.map_index = "{{ ti.map_index }}"
        self.wait_with(
            cluster=cluster,
            phase=phase,
            dag_id=self.dag_id,
            run_id=self.run_id,
            group=group,
            map_index=self.map_index,
            wait_task_id=self.task_id,
            moves_left=moves_left,
        )


class NodesGoneSensor(ClusterSensor):
    """Waits until an elastic cluster has no node left, and so keeps its idle nodes watched."""

    trigger = "hybrid_hpc_airflow.triggers.NodesTrigger"

    def __init__(self, *, cluster: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wait_with(cluster=cluster)


class QueueSensor(ClusterSensor):
    """Waits until the queue of a cluster is short, long, or leaves cores free; all that is given must hold.

    ``pending_below`` and ``pending_above`` count the jobs of everybody that wait to start (each task of an
    array; held ones are left out), ``free_cores_above`` the cores of nodes that take jobs now;
    ``partition``: only there. ``timeout`` (seconds, a week by default) and ``soft_fail`` are any sensor's.
    Its result is ``{pending, free_cores}``. Raises `Invalid` for arguments that cannot be right.
    """

    trigger = "hybrid_hpc_airflow.cluster_waits.QueueTrigger"

    def __init__(
        self,
        *,
        cluster: str,
        partition: str | None = None,
        pending_below: int | None = None,
        pending_above: int | None = None,
        free_cores_above: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        wait = QueueWait(partition, pending_below, pending_above, free_cores_above)
        wait.check(load_clusters().cluster(cluster))
        self.cluster = cluster
        self.wanted = wait.wanted
        self.ends_after = timedelta(seconds=self.timeout)
        self.wait_with(
            cluster=cluster,
            partition=partition,
            pending_below=pending_below,
            pending_above=pending_above,
            free_cores_above=free_cores_above,
        )

    def resume_execution(self, *args: Any, **kwargs: Any) -> Any:
        """Runs only when the time is over: says what was waited for."""
        try:
            return super().resume_execution(*args, **kwargs)
        except AirflowSensorTimeout as error:
            said = f"{self.cluster}: waited {self.ends_after} in vain for {self.wanted}"
            raise AirflowSensorTimeout(said) from error


class NodesReadySensor(ClusterSensor):
    """Has an elastic cluster scale out, and waits until ``count`` nodes of a nodearray are up.

    For a cluster with ``scaling: cyclecloud``. Nodes that are up already count, with or without jobs. They
    are not let go while it waits, and after that as any idle node. After ``timeout`` seconds it fails (with
    ``soft_fail``: is skipped), with Azure's own words in its log. Its result is ``{up, booting}``.
    Raises `Invalid` for arguments that cannot be right.
    """

    trigger = "hybrid_hpc_airflow.cluster_waits.NodesReadyTrigger"
    template_fields = ("waiter",)

    def __init__(
        self, *, cluster: str, nodearray: str, count: int = 1, timeout: float = 3600, **kwargs: Any
    ) -> None:
        super().__init__(timeout=timeout, **kwargs)
        NodesWait(nodearray, count).check(load_clusters().cluster(cluster))
        parts = ("dag_id", "run_id", "task_id", "map_index", "try_number")
        self.waiter = " ".join(f"{{{{ ti.{part} }}}}" for part in parts)
        self.wait_with(
            cluster=cluster,
            nodearray=nodearray,
            count=count,
            waiter=self.waiter,
            timeout_s=self.timeout,
            skips=self.soft_fail,
        )
