"""When the last task of an array ends, its tasks running in waves of as many as fit side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf

from hybrid_hpc.placement.calendar import Calendar, Room
from hybrid_hpc.placement.fits import Shape

MOMENTS = 4  # moments looked at, spread over the growth of a partition's free cores

Crowd = list[tuple[int, Room]]  # so many nodes with so much room for good, most cores first


class Waves:
    """How much room a partition has for good, from a few moments on.

    Only what is free for good from a moment on counts, and a moment is waited for by all tasks: so the end
    that is told is never too early for what the forecast knows.
    """

    __slots__ = ("_moments",)

    def __init__(self, calendars: Sequence[Calendar]) -> None:
        grown = [list(reversed(list(_lasting(calendar)))) for calendar in calendars]
        self._moments = [(at_s, _crowd(grown, at_s)) for at_s in _moments(grown)]

    def end(self, shape: Shape, start_s: float) -> float:
        """Seconds until the last one-node task of the array ends, the first starting at ``start_s``."""
        _, room, _, length_s, tasks, at_once = shape
        all_free_s, crowd = self._moments[-1]
        fewest = _waves(tasks, min(at_once, _slots(crowd, room)))
        best = max(all_free_s, start_s) + fewest * length_s
        for from_s, crowd in self._moments[:-1]:
            begin = max(from_s, start_s)
            if begin + fewest * length_s >= best:
                break
            best = min(best, begin + _waves(tasks, min(at_once, _slots(crowd, room))) * length_s)
        return best


def end_of_waves(lasting: Sequence[float], shape: Shape, start_s: float) -> float:
    """The same for tasks of several nodes; ``lasting``: since when each node is free for good."""
    nodes, _, _, length_s, tasks, at_once = shape
    most = min(at_once, len(lasting) // nodes)
    shortest = _waves(tasks, most) * length_s
    best = max(lasting[most * nodes - 1], start_s) + shortest
    for side_by_side in range(1, most):
        begin = max(lasting[side_by_side * nodes - 1], start_s)
        if begin + shortest >= best:
            break
        best = min(best, begin + _waves(tasks, side_by_side) * length_s)
    return best


def _waves(tasks: int, side_by_side: int) -> float:
    return -(-tasks // side_by_side) if side_by_side else inf


def _slots(crowd: Crowd, room: Room) -> int:
    cores, memory_mib, gpus = room
    slots = 0
    for nodes, (free_cores, free_memory, free_gpus) in crowd:
        if free_cores < cores:
            break
        fit = free_cores // cores
        if memory_mib and free_memory < fit * memory_mib:
            fit = free_memory // memory_mib
        if gpus and free_gpus < fit * gpus:
            fit = free_gpus // gpus
        slots += nodes * fit
    return slots


def _lasting(calendar: Calendar) -> Iterator[tuple[float, Room]]:
    """From the last piece to the first: what is free from its begin on for good."""
    least = Room(*calendar.pieces[-1][1:])
    for from_s, *free in reversed(calendar.pieces):
        least = Room(*map(min, least, free))
        yield from_s, least


def _moments(grown: Sequence[Sequence[tuple[float, Room]]]) -> list[float]:
    """The first, those at which another quarter of the cores that will ever be free is, and the last."""
    more: Counter[float] = Counter()
    for steps in grown:
        before = 0
        for from_s, room in steps:
            more[from_s] += room.cores - before
            before = room.cores
    share = sum(more.values()) / MOMENTS
    last = max((from_s for from_s, cores in more.items() if cores), default=0.0)
    total, chosen = 0, list[float]()
    for from_s in sorted(more):
        total += more[from_s]
        if total > len(chosen) * share or from_s == last:
            chosen.append(from_s)
    return chosen


def _crowd(grown: Sequence[Sequence[tuple[float, Room]]], at_s: float) -> Crowd:
    rooms: Counter[Room] = Counter()
    for steps in grown:
        free = [room for from_s, room in steps if from_s <= at_s]
        if free and free[-1].cores:
            rooms[free[-1]] += 1
    return [(nodes, room) for room, nodes in sorted(rooms.items(), reverse=True)]
