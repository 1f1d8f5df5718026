"""When nodes will be free: every node's calendar, with the whole queue laid on it (pure).

The model, honest about what a snapshot can tell:

* a running job ends at its time limit, not before (a job without a limit: at its partition's);
* what a node says is busy beyond the jobs that are seen on it stays busy as long as the last of them,
  and for the partition's limit where none is seen;
* a node that boots, or is off and may be made, is free after the partition's boot time; broken and
  draining nodes never are;
* the jobs that wait come before ours, each at its earliest start, in the scheduler's order; none delays
  one before it (conservative backfill), so ours may use a gap as the scheduler's backfill would;
* beyond the first `LAID_AT_MOST` reservations the rest of the queue counts as a fluid: so many seconds
  in which the nodes of its partition are full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.jobs import JobState
from hybrid_hpc.placement.calendar import Calendar, Room, occupied
from hybrid_hpc.placement.waiting import Need, natural, need_of, partitions_of, room_of, waiting_jobs
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob

LAID_AT_MOST = 1000
OVERTIME_S = 60.0  # a job past its limit is about to be ended
_ON_NODES = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.CONFIGURING, JobState.COMPLETING})


@dataclass(slots=True)
class PartitionNodes:
    """The nodes of a partition that a job can count on, and how many there are beside them."""

    calendars: list[Calendar] = field(default_factory=list)
    capacities: list[Room] = field(default_factory=list)
    beyond_quota: list[Room] = field(default_factory=list)  # off, and the cloud would not make them now
    existing: int = 0  # up, booting or draining
    listed: int = 0
    ahead: int = 0  # jobs that wait and name it


def forecast(load: Load, cluster: Cluster, creatable: Mapping[str, int]) -> dict[str, PartitionNodes]:
    """Every partition's nodes with the queue laid on their calendars.

    ``creatable``: how many more nodes of a partition can be made; a partition that is not in it has no
    such limit. A node in two partitions has one calendar.
    """
    taken = _taken(load, cluster)
    calendars: dict[str, Calendar] = {}
    found: dict[str, PartitionNodes] = {}
    for partition in cluster.partitions.values():
        nodes = sorted(
            (node for node in load.nodes if partition.name in node.partitions),
            key=lambda node: natural(node.name),
        )
        found[partition.name] = _partition_nodes(
            partition, nodes, creatable.get(partition.name, len(nodes)), taken, calendars
        )
    _lay_queue(load, cluster, found)
    return found


def _partition_nodes(
    partition: Partition,
    nodes: list[NodeState],
    creatable: int,
    taken: Mapping[str, list[tuple[float, Room]]],
    calendars: dict[str, Calendar],
) -> PartitionNodes:
    found = PartitionNodes(listed=len(nodes))
    for node in nodes:
        capacity = Room(node.cores, node.memory_mib, node.gpus)
        found.existing += node.status in (NodeStatus.UP, NodeStatus.BOOTING, NodeStatus.DRAINING)
        if node.status in (NodeStatus.DOWN, NodeStatus.DRAINING):
            continue
        if node.status is NodeStatus.OFF:
            creatable -= 1
            if creatable < 0:
                found.beyond_quota.append(capacity)
                continue
        if node.name not in calendars:
            calendars[node.name] = _calendar(node, capacity, partition, taken.get(node.name, []))
        found.calendars.append(calendars[node.name])
        found.capacities.append(capacity)
    return found


def _calendar(
    node: NodeState, capacity: Room, partition: Partition, taken: list[tuple[float, Room]]
) -> Calendar:
    if node.status is not NodeStatus.UP:
        return occupied(capacity, taken, partition.boot_s)
    seen = [sum(room[kind] for _, room in taken) for kind in range(3)]
    busy = (node.cores_busy, node.memory_busy_mib, node.gpus_busy)
    unseen = Room(*(max(0, total - known) for total, known in zip(busy, seen, strict=True)))
    if any(unseen):
        until_s = max((end_s for end_s, _ in taken), default=float(partition.walltime_s))
        taken = [*taken, (until_s, unseen)]
    return occupied(capacity, taken, 0.0)


def _taken(load: Load, cluster: Cluster) -> dict[str, list[tuple[float, Room]]]:
    """For each node, what the jobs on it hold and until when."""
    taken: dict[str, list[tuple[float, Room]]] = defaultdict(list)
    for job in load.jobs:
        if job.state in _ON_NODES:
            held = (_ends_in_s(job, load.now, cluster), _share(job))
            for name in job.node_names:
                taken[name].append(held)
    return taken


def _ends_in_s(job: QueuedJob, now: float, cluster: Cluster) -> float:
    if job.state is JobState.COMPLETING:
        return OVERTIME_S
    started = now if job.starts_at is None else min(job.starts_at, now)
    return max(started + _limit_s(job, cluster) - now, OVERTIME_S)


def _limit_s(job: QueuedJob, cluster: Cluster) -> float:
    if job.walltime_s is not None:
        return job.walltime_s
    limits = [
        cluster.partitions[name].walltime_s for name in partitions_of(job) if name in cluster.partitions
    ]
    return max(limits, default=max(partition.walltime_s for partition in cluster.partitions.values()))


def _share(job: QueuedJob) -> Room:
    nodes = max(1, len(job.node_names))
    return Room(-(-job.cores // nodes), job.memory_per_node_mib, job.gpus_per_node)


def _lay_queue(load: Load, cluster: Cluster, found: Mapping[str, PartitionNodes]) -> None:
    lanes: dict[tuple[str, Need], _Lane] = {}
    backlog_s: dict[str, float] = defaultdict(float)
    left = LAID_AT_MOST
    for job in waiting_jobs(load):
        names = [name for name in partitions_of(job) if name in found]
        if not names:
            continue
        for name in names:
            found[name].ahead += 1
        need = need_of(job)._replace(walltime_s=round(_limit_s(job, cluster)))
        key = (job.partition, need)
        if key not in lanes:
            lanes[key] = _Lane(need, _calendars(found, names))
        laid = 0
        while laid < min(job.array_tasks, left) and lanes[key].lay():
            laid += 1
        left -= laid
        if left <= 0:
            backlog_s[names[0]] += (job.array_tasks - laid) * _fluid_s(need, found[names[0]])
    _close(found, backlog_s)


def _calendars(found: Mapping[str, PartitionNodes], names: Iterable[str]) -> list[Calendar]:
    together = {id(calendar): calendar for name in names for calendar in found[name].calendars}
    return list(together.values())


def _fluid_s(need: Need, nodes: PartitionNodes) -> float:
    """Seconds for which one task of this need would keep the whole partition busy."""
    room = room_of(need)
    fitting = [capacity for capacity in nodes.capacities if capacity.holds(room)]
    if len(fitting) < need.nodes:
        return 0.0
    share = max(asked / total for asked, total in zip(room, fitting[0], strict=True) if total)
    return share * need.nodes * (need.walltime_s or 0) / len(nodes.capacities)


def _close(found: Mapping[str, PartitionNodes], backlog_s: Mapping[str, float]) -> None:
    for name, length_s in backlog_s.items():
        if length_s > 0:
            for calendar in found[name].calendars:
                calendar.close_for(length_s)


class _Lane:
    """The nodes where jobs of one need may go.

    Reservations only ever take room away, so starts only ever move on: ``_bounds`` is a heap of
    (lower bound, place), and a node is looked at again only when its bound comes to the top.
    """

    def __init__(self, need: Need, calendars: list[Calendar]) -> None:
        self._nodes = need.nodes
        self._length_s = float(need.walltime_s or 0)
        self._room = room_of(need)
        self._calendars = calendars
        self._bounds = [(0.0, place) for place in range(len(calendars))]
        self._from_s = 0.0

    def lay(self) -> bool:
        """Reserves one task at its earliest start; False when it can never start."""
        if self._nodes > len(self._calendars) or self._from_s == inf:
            return False
        places = self._places()
        for place in places:
            self._calendars[place].reserve(self._from_s, self._from_s + self._length_s, self._room)
        return bool(places)

    def _places(self) -> list[int]:
        """Moves ``_from_s`` on until enough nodes are free together; none when that never happens."""
        ready: list[int] = []
        while len(ready) < self._nodes:
            bound, place = heappop(self._bounds)
            if bound > self._from_s:
                self._back(ready)
                self._from_s, ready = bound, []
            if bound == inf:
                self._back([place])
                return []
            fit = self._calendars[place].first_fit(self._room, self._length_s, self._from_s)
            if fit == self._from_s:
                ready.append(place)
            else:
                heappush(self._bounds, (fit, place))
        self._back(ready)
        return ready

    def _back(self, places: list[int]) -> None:
        for place in places:
            heappush(self._bounds, (self._from_s, place))
