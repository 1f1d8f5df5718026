"""Waiting jobs packed into the nodes of an elastic cluster, and new nodes taken where they do not fit (pure).

The nodes that are up are filled first, then those on their way, then nodes that are off and can be made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from hybrid_hpc.placement.calendar import Room
from hybrid_hpc.placement.waiting import Need, natural, need_of, partitions_of, room_of
from hybrid_hpc.schedulers.base import NodeState, NodeStatus, QueuedJob
from hybrid_hpc.supply import Budget, Made, Offer, Supply, group_name


class Stage(IntEnum):
    """How soon a node takes a job; jobs are packed in this order."""

    UP = 0
    COMING = 1
    OFF = 2


@dataclass(slots=True)
class Bin:
    """A node while it is packed; ``vm_size`` and ``group`` are chosen when it is asked for."""

    name: str
    partitions: tuple[str, ...]
    stage: Stage
    free: Room
    order: tuple[tuple[int, str], ...]
    vm_size: str = ""
    group: str = ""
    jobs: list[str] = field(default_factory=list)

    def put(self, room: Room, times: int, job: str) -> None:
        """Takes so many times this room out of what is free."""
        self.free = Room(*(have - times * taken for have, taken in zip(self.free, room, strict=True)))
        self.jobs.append(job)

    def rank(self) -> tuple[Stage, Room, tuple[tuple[int, str], ...]]:
        """The fullest first, so that small jobs leave whole nodes for large ones."""
        return self.stage, self.free, self.order


@dataclass(frozen=True, slots=True)
class _Place:
    """The nodes for one task of a job, all of one partition.

    ``new``: for as many of the last ones, which have to be made, the offer and the placement group.
    """

    partition: str
    bins: Sequence[Bin]
    new: Sequence[tuple[Offer, str]] = ()


@dataclass(slots=True)
class Packing:
    """The nodes with the queue packed into them; ``opened``: those to ask for, by partition.

    ``held``: why jobs got no node, where that is known here; '' where all nodes of that shape are in use.
    """

    bins: list[Bin]
    supply: Mapping[str, Supply]  # by partition
    budget: Budget
    groups: dict[str, int] = field(default_factory=dict)  # placement group -> nodes in it
    opened: dict[str, list[Bin]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    _hopeless: dict[tuple[Need, str], str] = field(
        default_factory=dict
    )  # room only shrinks: once none, never

    def put(self, job: QueuedJob) -> None:
        """Packs as many of the job's tasks as there is room for."""
        need, tasks = need_of(job), job.array_tasks
        key = (need, job.partition)
        while tasks > 0 and key not in self._hopeless:
            found = self._find(need, partitions_of(job))
            if isinstance(found, _Place):
                tasks -= self._fill(found, need, tasks, job.native_id)
            else:
                self._hopeless[key] = found
        if tasks > 0:
            self.held[job.native_id] = self._hopeless[key]

    def wish(self, partitions: Sequence[str], count: int) -> str | None:
        """Takes new nodes until ``count`` are there or on their way, with jobs or without.

        None when that many were; else why there are no more, '' for nothing known.
        """
        ours = [bin_ for bin_ in self.bins if set(partitions) & set(bin_.partitions)]
        missing = count - sum(bin_.stage is not Stage.OFF for bin_ in ours)
        if missing <= 0:
            return None
        off = sorted((bin_ for bin_ in ours if bin_.stage is Stage.OFF), key=lambda bin_: bin_.order)
        for bin_ in off[:missing]:
            partition = next(name for name in partitions if name in bin_.partitions)
            bought = self._bought(self.supply.get(partition, Supply(())), 1)
            if isinstance(bought, str):
                return bought
            self._open(bin_, partition, bought[0], self._group_with_room(partition, bought[0]))
        return ""

    def _fill(self, place: _Place, need: Need, tasks: int, job: str) -> int:
        """Puts one task on several nodes, or as many tasks as fit on one; how many those are."""
        room = room_of(need)
        times = min(tasks, place.bins[0].free.times(room)) if need.nodes == 1 else 1
        new = place.bins[len(place.bins) - len(place.new) :]
        for bin_, (offer, group) in zip(new, place.new, strict=True):
            self._open(bin_, place.partition, offer, group)
        for bin_ in place.bins:
            bin_.put(room, times, job)
        return times

    def _open(self, bin_: Bin, partition: str, offer: Offer, group: str) -> None:
        bin_.stage, bin_.vm_size, bin_.group = Stage.COMING, offer.vm_size, group
        offer.left -= 1
        self.budget.take(offer.usd_per_hour)
        if group:
            self.groups[group] = self.groups.get(group, 0) + 1
        self.opened.setdefault(partition, []).append(bin_)

    def _find(self, need: Need, partitions: Sequence[str]) -> _Place | str:
        """The nodes for one task: nodes that are up before all others; else why there are none."""
        for partition in partitions:
            up = self._fitting(need, partition, Stage.UP)
            if len(up) >= need.nodes:
                return _Place(partition, up[: need.nodes])
        whys = []
        for partition in partitions:
            found = self._with_new(need, partition)
            if isinstance(found, _Place):
                return found
            whys.append(found)
        return next(filter(None, whys), "")

    def _with_new(self, need: Need, partition: str) -> _Place | str:
        here = self._fitting(need, partition, Stage.COMING)
        off = sorted(
            (bin_ for bin_ in self._fitting(need, partition, Stage.OFF) if bin_.stage is Stage.OFF),
            key=lambda bin_: bin_.order,
        )
        supply = self.supply.get(partition, Supply(()))
        if need.nodes > 1 and any(offer.group_size for offer in supply.offers):
            return self._together(need, partition, here, off)
        here = here[: need.nodes]
        missing = need.nodes - len(here)
        if not missing:
            return _Place(partition, here)
        if len(off) < missing:
            return ""
        chosen = self._bought(supply, missing)
        if isinstance(chosen, str):
            return chosen
        new = [(offer, self._group_with_room(partition, offer)) for offer in chosen]
        return _Place(partition, here + off[:missing], new)

    def _bought(self, supply: Supply, missing: int) -> list[Offer] | str:
        """New nodes of one VM size where that is possible, else of several; else why not."""
        offers = [offer for offer in supply.offers if offer.left > 0]
        mixed = [offer for offer in offers for _ in range(min(offer.left, missing))][:missing]
        if len(mixed) < missing:
            return supply.short(missing)
        for chosen in (*([offer] * missing for offer in offers if offer.left >= missing), mixed):
            if self.budget.allows([offer.usd_per_hour for offer in chosen]):
                return chosen
        return self.budget.sentence(missing)

    def _together(self, need: Need, partition: str, here: list[Bin], off: list[Bin]) -> _Place | str:
        """Nodes of one placement group only, which are of one VM size."""
        supply = self.supply[partition]
        most = max(offer.group_size for offer in supply.offers)
        if need.nodes > most:
            return f"a placement group in Azure holds at most {most} nodes, and it needs {need.nodes} in one"
        why = supply.short(need.nodes) if len(off) + len(here) >= need.nodes else ""
        for offer in supply.offers:
            for group in self._groups_of(partition, offer):
                inside = [bin_ for bin_ in here if bin_.group == group][: need.nodes]
                missing = need.nodes - len(inside)
                room = offer.group_size - self.groups.get(group, 0)
                if missing > min(offer.left if missing else 0, room, len(off)):
                    continue
                if self.budget.allows([offer.usd_per_hour] * missing):
                    return _Place(partition, inside + off[:missing], [(offer, group)] * missing)
                why = self.budget.sentence(missing)
        return why

    def _groups_of(self, partition: str, offer: Offer) -> Iterator[str]:
        """The placement groups that nodes of this offer are in, then a new one."""
        number = 0
        while (name := group_name(partition, offer.vm_size, number)) in self.groups:
            yield name
            number += 1
        yield name

    def _group_with_room(self, partition: str, offer: Offer) -> str:
        """A node that a job of one node needs joins the others: a job of several may use it later."""
        groups = self._groups_of(partition, offer) if offer.group_size else iter(())
        return next((name for name in groups if self.groups.get(name, 0) < offer.group_size), "")

    def _fitting(self, need: Need, partition: str, farthest: Stage) -> list[Bin]:
        room = room_of(need)
        fitting = (
            bin_
            for bin_ in self.bins
            if bin_.stage <= farthest and partition in bin_.partitions and bin_.free.holds(room)
        )
        return sorted(fitting, key=Bin.rank)


def bins_of(nodes: Sequence[NodeState], existing: Mapping[str, Made]) -> Iterator[Bin]:
    """A bin for every node that a job may have."""
    for node in nodes:
        stage = _stage(node, existing)
        if stage is not None:
            made = existing.get(node.name, Made())
            yield Bin(
                node.name, node.partitions, stage, _free(node), natural(node.name), made.vm_size, made.group
            )


def _stage(node: NodeState, existing: Mapping[str, Made]) -> Stage | None:
    """None: broken, draining or about to end, no place for a job."""
    if node.name in existing and existing[node.name].leaves:
        return None
    if node.status is NodeStatus.UP:
        return Stage.UP
    if node.status is NodeStatus.BOOTING:
        return Stage.COMING
    if node.status is NodeStatus.OFF:
        return Stage.COMING if node.name in existing else Stage.OFF
    return None


def _free(node: NodeState) -> Room:
    return Room(
        max(0, node.cores - node.cores_busy),
        max(0, node.memory_mib - node.memory_busy_mib),
        max(0, node.gpus - node.gpus_busy),
    )
