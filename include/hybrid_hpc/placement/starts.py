"""Earliest starts in one partition: asked thousands of times of one snapshot, so answered from memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import accumulate
from math import inf

from hybrid_hpc.placement.calendar import Calendar, Room


class Starts:
    """Starts of jobs that take the same room on each of their nodes.

    ``lasting``: since when each node has that room for good, ascending.
    """

    __slots__ = ("_longest", "_windows", "lasting")

    def __init__(self, room: Room, calendars: Sequence[Calendar]) -> None:
        self._windows = sorted(window for calendar in calendars for window in calendar.windows(room))
        self.lasting = [begin for begin, end in self._windows if end == inf]
        self._longest: dict[int, tuple[list[float], list[float]]] = {}

    def earliest(self, nodes: int, length_s: float) -> float:
        """Seconds from the snapshot until ``nodes`` nodes are free at once for ``length_s``.

        ``nodes`` is at most ``len(lasting)``: more nodes never have this room.
        """
        begins, longest = self._longest.get(nodes) or self._together(nodes)
        return begins[bisect_left(longest, length_s)]

    def _together(self, nodes: int) -> tuple[list[float], list[float]]:
        """Begins, ascending, and the longest time that so many nodes have had together by then.

        From a begin on they are together until the ``nodes``-th latest end of all windows begun so far:
        windows of one node never overlap, and one that is over has an end before this begin.
        """
        latest_ends: list[float] = []
        begins: list[float] = []
        lengths: list[float] = []
        for begin, end in self._windows:
            heappush(latest_ends, end)
            if len(latest_ends) > nodes:
                heappop(latest_ends)
            if len(latest_ends) == nodes:
                begins.append(begin)
                lengths.append(latest_ends[0] - begin)
        self._longest[nodes] = begins, list(accumulate(lengths, max))
        return self._longest[nodes]


class _Family:
    """The `Starts` of all rooms of the same cores and GPUs, by memory."""

    __slots__ = ("levels", "starts")

    def __init__(self, cores: int, gpus: int, calendars: Sequence[Calendar]) -> None:
        self.levels = sorted(
            {
                memory_mib
                for calendar in calendars
                for _, free_cores, memory_mib, free_gpus in calendar.pieces
                if free_cores >= cores and free_gpus >= gpus
            }
        )
        self.starts: list[Starts | None] = [None] * len(self.levels)


class StartIndex:
    """The `Starts` of a partition by room, each made when it is first needed.

    Rooms between two amounts that ever are free have the same starts: a request is rounded up to the next
    such amount, so that a thousand different wishes share a few dozen answers.
    """

    __slots__ = ("_calendars", "_families", "_levels")

    def __init__(self, calendars: Sequence[Calendar]) -> None:
        self._calendars = calendars
        self._levels = sorted({piece[1] for calendar in calendars for piece in calendar.pieces})
        self._families: dict[tuple[int, int], _Family] = {}

    def starts(self, room: Room) -> Starts | None:
        """None: no node ever has this room."""
        cores, memory_mib, gpus = room
        place = bisect_left(self._levels, cores)
        if place == len(self._levels):
            return None
        rounded = self._levels[place]
        family = self._families.get((rounded, gpus)) or self._new_family(rounded, gpus)
        level = bisect_left(family.levels, memory_mib)
        if level == len(family.levels):
            return None
        return family.starts[level] or self._new_starts(family, level, rounded, gpus)

    def _new_family(self, cores: int, gpus: int) -> _Family:
        family = _Family(cores, gpus, self._calendars)
        self._families[cores, gpus] = family
        return family

    def _new_starts(self, family: _Family, level: int, cores: int, gpus: int) -> Starts:
        starts = Starts(Room(cores, family.levels[level], gpus), self._calendars)
        family.starts[level] = starts
        return starts
