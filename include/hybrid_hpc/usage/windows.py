"""Which time is to be collected, and which has been (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of time that begins at ``since`` and ends before ``until``, UTC."""

    since: datetime
    until: datetime

    def pieces(self, longest: timedelta) -> Iterator[Window]:
        """The same in pieces, the oldest first, each at most so long."""
        since = self.since
        while since < self.until:
            until = min(since + longest, self.until)
            yield Window(since, until)
            since = until

    def halves(self) -> tuple[Window, Window]:
        """Both on a whole second, which is all that a scheduler's clock tells."""
        middle = (self.since + (self.until - self.since) / 2).replace(microsecond=0)
        return Window(self.since, middle), Window(middle, self.until)

    def joined(self, other: Window) -> Window:
        """Both as one where they touch or overlap; else this one: what lies between is not there."""
        if self.until < other.since or other.until < self.since:
            return self
        return Window(min(self.since, other.since), max(self.until, other.until))


def due(collected: Window | None, now: datetime, *, first: timedelta, overlap: timedelta) -> Window:
    """What is to be collected now: what is missing, and once more the end of what is there.

    ``first``: how far it goes back when nothing is there. ``overlap``: how late the source may tell.
    """
    return Window(now - first if collected is None else min(collected.until, now) - overlap, now)
