"""The jobs of a selection, one page after the other: each begins where the one before ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, select, tuple_

from hybrid_hpc.ledger.database import Database
from hybrid_hpc.ledger.usage import USAGE
from hybrid_hpc.usage.days import Extract, midnight
from hybrid_hpc.usage.rows import UsageRow

AT_ONCE = 5_000  # rows of one transaction, where all are wanted


class Place(NamedTuple):
    """Where a page ended: the last row's end, then its key."""

    ended_at: Any
    cluster: str
    native_id: str
    task: str
    submitted_at: Any


class EndedUsageQueries(Database):
    """Lives that ended in an extract, the latest first; an index gives them in this order."""

    def ended_lives(self, extract: Extract, limit: int, after: Place | None = None) -> list[UsageRow]:
        """At most so many, those that follow ``after``; one transaction."""
        columns = [USAGE.c[each.name] for each in fields(UsageRow)]
        wanted = and_(_ended(extract), _following(after))
        statement = select(*columns).where(wanted).order_by(*(each.desc() for each in _PLACE)).limit(limit)
        with self._transaction() as connection:
            return [UsageRow(*row) for row in connection.execute(statement)]

    def all_ended_lives(self, extract: Extract, at_once: int = AT_ONCE) -> Iterator[list[UsageRow]]:
        """All of them, piece by piece, each in a transaction of its own."""
        rows = self.ended_lives(extract, at_once)
        while rows:
            yield rows
            rows = self.ended_lives(extract, at_once, place_of(rows[-1])) if len(rows) == at_once else []


def place_of(row: UsageRow) -> Place:
    """Where a page ends that ends with this row."""
    return Place(*(getattr(row, name) for name in Place._fields))


_PLACE = [USAGE.c[name] for name in Place._fields]


def _following(after: Place | None) -> ColumnElement[bool]:
    """The first of the two conditions follows from the other; an index takes only that one."""
    if after is None:
        return USAGE.c.ended_at.is_not(None)
    earlier = tuple_(*_PLACE) < tuple_(*after, types=[column.type for column in _PLACE])
    return and_(USAGE.c.ended_at <= after.ended_at, earlier)


def _ended(extract: Extract) -> ColumnElement[bool]:
    since, until = midnight(extract.first), midnight(extract.after)
    only = [USAGE.c[name].in_(sorted(names)) for name, names in extract.only.items() if names]
    return and_(USAGE.c.ended_at >= since, USAGE.c.ended_at < until, *only)
