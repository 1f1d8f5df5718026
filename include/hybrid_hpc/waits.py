"""What a task of anybody's may wait for on a cluster: its queue, or nodes that are up (pure).

Both are checked when a DAG is parsed: every mistake at once, with the argument's name and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.jobs import JobState
from hybrid_hpc.problems import did_you_mean, shown
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a wait stands: over or not, a sentence about it, and what was counted."""

    over: bool
    text: str
    counted: dict[str, int]


@dataclass(frozen=True, slots=True)
class QueueWait:
    """Conditions on the queue of a cluster, or of one of its partitions; all that are given must hold.

    ``pending_*`` count jobs that wait to start, each task of an array, without held ones;
    ``free_cores_above`` counts cores of nodes that take jobs now.
    """

    partition: str | None = None
    pending_below: int | None = None
    pending_above: int | None = None
    free_cores_above: int | None = None

    def check(self, cluster: Cluster) -> None:
        """Raises `Invalid` for what is missing, unknown, or can never be."""
        problems = [*_partition_problems(self.partition, cluster), *self._number_problems()]
        if problems := problems or self._never(cluster):
            raise Invalid(problems)

    def look(self, load: Load) -> Standing:
        """Where the wait stands in this look at the cluster."""
        pending = sum(job.array_tasks for job in load.jobs if self._is_pending(job))
        free = sum(node.cores_free for node in load.nodes if self.partition in (None, *node.partitions))
        over = (
            (self.pending_below is None or pending < self.pending_below)
            and (self.pending_above is None or pending > self.pending_above)
            and (self.free_cores_above is None or free > self.free_cores_above)
        )
        counts = [f"{_number(pending, 'job')} pending"] if self._counts_jobs else []
        counts += [f"{_number(free, 'core')} free"] if self.free_cores_above is not None else []
        return Standing(over, " and ".join(counts), {"pending": pending, "free_cores": free})

    @property
    def wanted(self) -> str:
        """What is waited for: ``fewer than 5 pending jobs and more than 64 free cores``."""
        said = (
            ("fewer than", self.pending_below, "pending job"),
            ("more than", self.pending_above, "pending job"),
            ("more than", self.free_cores_above, "free core"),
        )
        return " and ".join(f"{how} {_number(value, what)}" for how, value, what in said if value is not None)

    @property
    def _counts_jobs(self) -> bool:
        return self.pending_below is not None or self.pending_above is not None

    def _is_pending(self, job: QueuedJob) -> bool:
        here = self.partition is None or self.partition in job.partition.split(",")
        return here and job.state is JobState.PENDING

    def _number_problems(self) -> list[Problem]:
        limits = {
            "pending_below": self.pending_below,
            "pending_above": self.pending_above,
            "free_cores_above": self.free_cores_above,
        }
        given = {name: value for name, value in limits.items() if value is not None}
        if not given:
            remedy = f"Give {', '.join(list(limits)[:-1])} or {list(limits)[-1]}."
            return [Problem("pending_below", "nothing is given to wait for", remedy)]
        least = {"pending_below": 1}
        found = (_whole(name, value, least.get(name, 0)) for name, value in given.items())
        return [problem for problem in found if problem]

    def _never(self, cluster: Cluster) -> list[Problem]:
        """Waits that would last for ever."""
        problems = []
        below, above, free = self.pending_below, self.pending_above, self.free_cores_above
        if below is not None and above is not None and above + 1 >= below:
            what = f"more than {above} and fewer than {below} pending jobs can never be"
            problems.append(Problem("pending_above", what, "Leave one of the two out, or widen the gap."))
        parts = [part for name, part in cluster.partitions.items() if self.partition in (None, name)]
        cores = sum(part.nodes * part.cores for part in parts)
        if free is not None and free >= cores:
            what = f"there can never be more than {free} free cores: there are {cores} in all"
            problems.append(Problem("free_cores_above", what, f"Give less than {cores}."))
        return problems


@dataclass(frozen=True, slots=True)
class NodesWait:
    """So many nodes of a nodearray that are up, as the scheduler sees them, whether they have jobs or not."""

    nodearray: str
    count: int

    def check(self, cluster: Cluster) -> None:
        """Raises `Invalid` for a cluster whose nodes are not ours to ask for, and for what can never be."""
        if problems := self._problems(cluster):
            raise Invalid(problems)

    def look(self, load: Load, cluster: Cluster) -> Standing:
        """Where the wait stands in this look at the cluster."""
        nodes = nodes_of(load, cluster, self.nodearray)
        up = sum(node.status is NodeStatus.UP for node in nodes)
        booting = sum(node.status is NodeStatus.BOOTING for node in nodes)
        text = f"{up} of {self.count} up" + (f", {booting} on the way" if booting else "")
        return Standing(up >= self.count, text, {"up": up, "booting": booting})

    def _problems(self, cluster: Cluster) -> list[Problem]:
        if cluster.elastic is None:
            what = f"{cluster.name} is not elastic: all of its nodes are there always"
            return [Problem("cluster", what, "Name an elastic cluster, or wait with QueueSensor.")]
        if cluster.elastic.scaling != "cyclecloud":
            what = f"{cluster.name} is scaled by its own scheduler (scaling: scheduler): nodes come for jobs"
            return [Problem("cluster", what, "Submit the job itself; it brings its nodes.")]
        parts = partitions_of_array(cluster, self.nodearray)
        if not parts:
            known = {part.nodearray for part in cluster.partitions.values() if part.nodearray}
            what = f"{cluster.name} has no nodearray {shown(self.nodearray)}"
            return [Problem("nodearray", what, did_you_mean(str(self.nodearray), known))]
        if problem := _whole("count", self.count, 1):
            return [problem]
        most = sum(part.nodes for part in parts)
        what = f"{cluster.name} can never have more than {most} nodes of {self.nodearray}"
        return [Problem("count", what, f"Give {most} or less.")] if self.count > most else []


def partitions_of_array(cluster: Cluster, nodearray: str) -> list[Partition]:
    """The partitions whose nodes are of this nodearray."""
    return [part for part in cluster.partitions.values() if part.nodearray == nodearray]


def nodes_of(load: Load, cluster: Cluster, nodearray: str) -> Sequence[NodeState]:
    """The nodes of a nodearray, those that do not exist now among them."""
    names = {part.name for part in partitions_of_array(cluster, nodearray)}
    return [node for node in load.nodes if names.intersection(node.partitions)]


def _partition_problems(partition: str | None, cluster: Cluster) -> Iterable[Problem]:
    if partition is not None and partition not in cluster.partitions:
        what = f"{cluster.name} has no partition {shown(partition)}"
        yield Problem("partition", what, did_you_mean(str(partition), cluster.partitions))


def _whole(name: str, value: object, least: int) -> Problem | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return None
    remedy = f"Write digits only, {least} or more."
    return Problem(name, f"needs a whole number of at least {least}, not {shown(value)}", remedy)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
