"""What is free on one node from now on: the calendar that queued jobs are laid on.

Times are seconds from the moment of the snapshot. A calendar is a list of pieces
``(from_s, cores, memory_mib, gpus)``: each holds until the next one begins, the last for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

Piece = tuple[float, int, int, int]
Window = tuple[float, float]


class Room(NamedTuple):
    """Cores, MiB and GPUs, on one node."""

    cores: int
    memory_mib: int
    gpus: int

    def holds(self, other: Room) -> bool:
        """True when ``other`` fits in."""
        return self.cores >= other[0] and self.memory_mib >= other[1] and self.gpus >= other[2]

    def times(self, other: Room) -> int:
        """How often ``other`` fits in at once; ``other`` takes at least one core."""
        found = self.cores // other[0]
        if other[1]:
            found = min(found, self.memory_mib // other[1])
        return min(found, self.gpus // other[2]) if other[2] else found


@dataclass(slots=True)
class Calendar:
    """The pieces of one node, ascending; the first begins at 0."""

    pieces: list[Piece]

    def first_fit(self, room: Room, length_s: float, after_s: float = 0.0) -> float:
        """The earliest start from ``after_s`` on at which ``room`` is free for ``length_s``; inf: never."""
        cores, memory_mib, gpus = room
        start = inf
        for from_s, free_cores, free_memory, free_gpus in self.pieces:
            if free_cores >= cores and free_memory >= memory_mib and free_gpus >= gpus:
                if start == inf:
                    start = max(from_s, after_s)
            elif from_s - start >= length_s:
                return start
            else:
                start = inf
        return start

    def reserve(self, start_s: float, end_s: float, room: Room) -> None:
        """Takes ``room`` out from ``start_s`` until ``end_s``."""
        first, last = self._cut(start_s), self._cut(end_s)
        for place in range(first, last):
            from_s, cores, memory_mib, gpus = self.pieces[place]
            self.pieces[place] = (from_s, cores - room[0], memory_mib - room[1], gpus - room[2])

    def _cut(self, at_s: float) -> int:
        """Makes a piece begin at ``at_s``; its place."""
        place = bisect_left(self.pieces, (at_s,))
        if place == len(self.pieces) or self.pieces[place][0] != at_s:
            self.pieces.insert(place, (at_s, *self.pieces[place - 1][1:]))
        return place

    def close_for(self, length_s: float) -> None:
        """Nothing is free for ``length_s`` after the last thing laid here."""
        from_s, *room = self.pieces[-1]
        self.reserve(from_s, from_s + length_s, Room(*room))

    def windows(self, room: Room) -> list[Window]:
        """The spans in which ``room`` is free without a break; the last one ends at inf."""
        cores, memory_mib, gpus = room
        found: list[Window] = []
        start = inf
        for from_s, free_cores, free_memory, free_gpus in self.pieces:
            fits = free_cores >= cores and free_memory >= memory_mib and free_gpus >= gpus
            if fits and start == inf:
                start = from_s
            elif not fits and start != inf:
                found.append((start, from_s))
                start = inf
        if start != inf:
            found.append((start, inf))
        return found


def occupied(capacity: Room, taken: Iterable[tuple[float, Room]], blocked_s: float) -> Calendar:
    """The calendar of a node of ``capacity`` that is blocked until ``blocked_s``.

    ``taken``: what is taken from 0 until each end. A node on which more is taken than it has (the
    scheduler may share cores, and lines of a queue may lag) has nothing free, never less than nothing.
    """
    ends = sorted((end_s, room) for end_s, room in taken if end_s > blocked_s)
    left = [sum(room[kind] for _, room in ends) for kind in range(3)]
    pieces: list[Piece] = [(0.0, 0, 0, 0)] if blocked_s > 0 else []
    for from_s, gone in [(blocked_s, Room(0, 0, 0)), *ends]:
        left = [have - freed for have, freed in zip(left, gone, strict=True)]
        cores, memory_mib, gpus = (max(0, total - busy) for total, busy in zip(capacity, left, strict=True))
        piece = (max(0.0, from_s), cores, memory_mib, gpus)
        if pieces and pieces[-1][0] == piece[0]:
            pieces[-1] = piece
        else:
            pieces.append(piece)
    return Calendar(pieces)
