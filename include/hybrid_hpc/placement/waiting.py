"""Which jobs of a queue wait for nodes, in which order, and what each wants of a node (pure).

`hybrid_hpc.demand` and the forecast of the placement read a queue in the same way: here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hybrid_hpc.jobs import JobState
from hybrid_hpc.placement.calendar import Room
from hybrid_hpc.schedulers.base import Load, QueuedJob

# The scheduler's reason codes of a job that would start if there were nodes for it. Every other reason
# (held, dependency, begin time, a limit of its user, project or array) is one that nodes do not cure.
_ROOM = frozenset({"", "None", "Resources", "Priority", "NodeDown"})
_NODES = re.compile(r"\(?(ReqNodeNotAvail|Nodes[ _]required[ _]for[ _]job)")


class Need(NamedTuple):
    """What one task of a job takes: so much on each of ``nodes`` different nodes, for ``walltime_s``.

    ``walltime_s`` is None for a job without a limit.
    """

    nodes: int
    cores: int
    memory_mib: int
    gpus: int
    walltime_s: int | None


def waits_for_nodes(job: QueuedJob) -> bool:
    """True for a pending job that nothing but missing room keeps from starting."""
    return job.state is JobState.PENDING and _room_would_help(job.reason)


@lru_cache(maxsize=256)
def _room_would_help(reason: str) -> bool:
    return reason in _ROOM or _NODES.match(reason) is not None


def waiting_jobs(load: Load) -> list[QueuedJob]:
    """The jobs that wait for nodes, in the order in which the scheduler looks at them."""
    waiting = [job for job in load.jobs if waits_for_nodes(job)]
    return sorted(waiting, key=lambda job: (-job.priority, job.submitted_at))


def need_of(job: QueuedJob) -> Need:
    """What one task of this line of the queue wants of each of its nodes, cores rounded up."""
    nodes = max(1, job.nodes)
    cores = max(1, -(-job.cores // nodes))
    return Need(nodes, cores, job.memory_per_node_mib, job.gpus_per_node, job.walltime_s)


def room_of(need: Need) -> Room:
    """What it takes of each of its nodes."""
    return Room(need.cores, need.memory_mib, need.gpus)


def partitions_of(job: QueuedJob) -> tuple[str, ...]:
    """The partitions where it may run; the scheduler joins several with commas."""
    return tuple(job.partition.split(","))


@lru_cache(maxsize=65536)
def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts ``htc-2`` before ``htc-10``."""
    parts = re.split(r"([0-9]+)", name)  # text and digits by turns
    return tuple((int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts))
