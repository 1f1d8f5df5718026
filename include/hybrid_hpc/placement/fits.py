"""Hard rules: what keeps a job off a partition or a cluster, each with its own sentence (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.placement.calendar import Room
from hybrid_hpc.placement.words import counted, duration
from hybrid_hpc.request import JobRequest
from hybrid_hpc.units import format_memory

ANY_CLUSTER = "auto"

# In the order in which they are looked at: who fails a later rule came nearer to fitting.
RULES = (
    "pinned",
    "account",
    "project",
    "no_gpus",
    "gpu_type",
    "gpus",
    "cores",
    "memory",
    "nodes",
    "walltime",
    "spot",
    "unavailable",
    "in_service",
    "quota",
    "cost",
    "budget",
    "kept",
    "deadline",
)
REMEDIES = {
    "pinned": "Leave the cluster to `auto`, or name another one.",
    "account": "Have an administrator add you to `people` in clusters.yaml, or leave the cluster to `auto`.",
    "project": "Name a project that may use this cluster.",
    "no_gpus": "Ask for no GPUs.",
    "gpus": "Ask for fewer GPUs on each node and more nodes, or for another GPU type.",
    "gpu_type": "Ask for a GPU type that a cluster has, or leave the type open.",
    "cores": "Ask for fewer cores on each node and more nodes.",
    "memory": "Ask for less memory on each node.",
    "nodes": "Ask for fewer nodes.",
    "walltime": "Ask for less walltime, and let the job continue from a checkpoint.",
    "spot": "Set spot to `allowed`, if the job may be evicted and start over.",
    "unavailable": "Wait until the cluster answers again.",
    "in_service": "Wait until its administrators bring more nodes back.",
    "quota": "Have the Azure quota raised, or ask for fewer nodes.",
    "cost": "Raise the cost limit, or ask for less walltime, fewer cores or fewer tasks.",
    "budget": "Ask for less, name another project, or have the budget raised in budgets.yaml.",
    "kept": "Choose the partition's cluster by name, or ask for a GPU.",
    "deadline": "Move the deadline.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a job is kept off.

    ``rule`` is one of `RULES`; ``why`` a clause that can follow a name and a colon; ``wanted`` the part
    of the job that is too much, ``have`` how much of it there is. ``waiting_helps``: it may fit later.
    """

    rule: str
    why: str
    wanted: str = ""
    have: float = 0
    waiting_helps: bool = False

    @property
    def reached(self) -> int:
        """How many rules were passed before this one."""
        return RULES.index(self.rule)


class Shape(NamedTuple):
    """What of a request decides where it fits and when it starts."""

    nodes: int
    room: Room  # on each node
    gpu_type: str
    walltime_s: int
    tasks: int
    at_once: int

    @property
    def core_h(self) -> float:
        """Core-hours at most, all tasks of an array together."""
        return self.tasks * self.nodes * self.room.cores * self.walltime_s / 3600


def shape_of(request: JobRequest) -> Shape:
    """The shape of a request; memory that is not asked for counts as none."""
    tasks = request.array_tasks
    return Shape(
        request.nodes,
        Room(request.cores_per_node, request.memory_per_node_mib or 0, request.gpus_per_node),
        (request.gpu_type or "").casefold() if request.gpus_per_node else "",
        request.walltime_s,
        tasks,
        min(tasks, request.array_limit or tasks),
    )


def not_admitted(request: JobRequest, cluster: Cluster) -> Refusal | None:
    """Why this cluster is out as a whole: another one is named, or the project or so many nodes may not."""
    if request.cluster not in (ANY_CLUSTER, cluster.name):
        return Refusal("pinned", f"the job asks for {request.cluster} by name")
    if not request.project and cluster.runs_as == "project":
        return Refusal("project", "each of its jobs runs as its project, and this one names none")
    if request.project and cluster.projects is not None and request.project not in cluster.projects:
        allowed = ", ".join(cluster.projects) or "none"
        return Refusal("project", f"project {request.project} may not use it (allowed: {allowed})")
    most = cluster.elastic.max_nodes if cluster.elastic else None
    if most is not None and request.nodes > most:
        why = f"its limit is {counted(most, 'node')}, the job needs {request.nodes}"
        return Refusal("nodes", why, f"{request.nodes} nodes", most)
    return None


def too_large(shape: Shape, partition: Partition) -> Refusal | None:
    """Why the job could not start on this partition even if the partition were empty."""
    cores, memory_mib, gpus = shape.room
    if gpus and (refusal := _lacks_gpus(gpus, shape.gpu_type, partition.gpus, partition.gpu_type or "")):
        return refusal
    if cores > partition.cores:
        return _too_many_cores(cores, partition.cores)
    if memory_mib > partition.memory_mib:
        return _too_much_memory(memory_mib, partition.memory_mib)
    if shape.nodes > partition.nodes:
        return _too_many_nodes(shape.nodes, partition.nodes)
    if shape.walltime_s > partition.walltime_s:
        return _too_long(shape.walltime_s, partition.walltime_s)
    return None


def partitions_that_fit(request: JobRequest, cluster: Cluster) -> list[Partition]:
    """The partitions that could hold this job if they were empty; none when it is not admitted."""
    if not_admitted(request, cluster):
        return []
    shape = shape_of(request)
    allowed = [part for part in cluster.partitions.values() if request.allows_spot or not part.spot]
    return [partition for partition in allowed if not too_large(shape, partition)]


# The same few sentences are needed thousands of times a second, so they are made once.
@lru_cache(maxsize=1024)
def _lacks_gpus(gpus: int, gpu_type: str, have: int, have_type: str) -> Refusal | None:
    wanted = f"{counted(gpus, 'GPU')} on one node"
    if not have:
        return Refusal("no_gpus", f"its nodes have no GPUs, the job needs {gpus}", wanted)
    if gpu_type and gpu_type != have_type.casefold():
        there = have_type or "of no known type"
        return Refusal("gpu_type", f"its GPUs are {there}, the job needs {gpu_type}", f"{gpu_type} GPUs")
    if gpus > have:
        return Refusal(
            "gpus", f"its largest node has {counted(have, 'GPU')}, the job needs {gpus}", wanted, have
        )
    return None


@lru_cache(maxsize=1024)
def _too_many_cores(cores: int, have: int) -> Refusal:
    why = f"its largest node has {counted(have, 'core')}, the job needs {cores}"
    return Refusal("cores", why, f"{counted(cores, 'core')} on one node", have)


@lru_cache(maxsize=1024)
def _too_much_memory(memory_mib: int, have: int) -> Refusal:
    wanted = format_memory(memory_mib)
    why = f"its largest node has {format_memory(have)} of memory, the job needs {wanted}"
    return Refusal("memory", why, f"{wanted} of memory on one node", have)


@lru_cache(maxsize=1024)
def _too_many_nodes(nodes: int, have: int) -> Refusal:
    why = f"it has {counted(have, 'large enough node')}, the job needs {nodes}"
    return Refusal("nodes", why, f"{nodes} nodes", have)


@lru_cache(maxsize=1024)
def _too_long(walltime_s: int, have: int) -> Refusal:
    wanted = duration(walltime_s)
    why = f"a job may run {duration(have)} there, this one asks for {wanted}"
    return Refusal("walltime", why, f"a walltime of {wanted}", have)
