"""A cluster at one moment, in numbers: what its nodes and its queue looked like (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob

WHOLE = ""  # the partition of the row about the whole cluster, in which a shared node counts once
_WAIT = frozenset({JobState.PENDING, JobState.CONFIGURING})


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One partition, or the whole cluster, at one moment of the head node's clock."""

    cluster: str
    moment: datetime
    partition: str
    nodes_up: int
    nodes_booting: int
    nodes_off: int
    nodes_draining: int
    nodes_down: int
    cores: int  # of nodes that are up or draining: what can compute
    cores_busy: int
    cores_free: int
    gpus: int
    gpus_busy: int
    jobs_running: int  # array tasks count each
    jobs_waiting: int  # that could start, if there was room
    jobs_held: int
    cores_waiting: int  # which the waiting jobs ask for


def samples_of(load: Load, cluster: str) -> list[SampleRow]:
    """One row for the whole cluster, and one for each partition that has a node or a job."""
    moment = datetime.fromtimestamp(load.now, UTC)
    names = {name for node in load.nodes for name in node.partitions}
    names |= {name for job in load.jobs for name in _partitions(job)}
    whole = _row(cluster, moment, WHOLE, load.nodes, load.jobs)
    return [whole, *(_of_partition(load, cluster, moment, name) for name in sorted(names - {WHOLE}))]


def _of_partition(load: Load, cluster: str, moment: datetime, name: str) -> SampleRow:
    """A job that may run in several partitions waits in each of them."""
    nodes = [node for node in load.nodes if name in node.partitions]
    jobs = [job for job in load.jobs if name in _partitions(job)]
    return _row(cluster, moment, name, nodes, jobs)


def _row(
    cluster: str, moment: datetime, partition: str, nodes: Sequence[NodeState], jobs: Sequence[QueuedJob]
) -> SampleRow:
    statuses = Counter(node.status for node in nodes)
    computing = [node for node in nodes if node.status in (NodeStatus.UP, NodeStatus.DRAINING)]
    waiting = [job for job in jobs if job.state in _WAIT]
    return SampleRow(
        cluster=cluster,
        moment=moment,
        partition=partition,
        nodes_up=statuses[NodeStatus.UP],
        nodes_booting=statuses[NodeStatus.BOOTING],
        nodes_off=statuses[NodeStatus.OFF],
        nodes_draining=statuses[NodeStatus.DRAINING],
        nodes_down=statuses[NodeStatus.DOWN],
        cores=sum(node.cores for node in computing),
        cores_busy=sum(node.cores_busy for node in computing),
        cores_free=sum(node.cores_free for node in computing),
        gpus=sum(node.gpus for node in computing),
        gpus_busy=sum(node.gpus_busy for node in computing),
        jobs_running=_tasks(job for job in jobs if job.state.started),
        jobs_waiting=_tasks(waiting),
        jobs_held=_tasks(job for job in jobs if job.state is JobState.HELD),
        cores_waiting=sum(job.cores * job.array_tasks for job in waiting),
    )


def _partitions(job: QueuedJob) -> list[str]:
    return job.partition.split(",")


def _tasks(jobs: Iterable[QueuedJob]) -> int:
    return sum(job.array_tasks for job in jobs)
