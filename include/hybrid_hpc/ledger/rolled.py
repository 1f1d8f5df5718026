"""Questions to the roll-up: grouped and added up by the database, whatever is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    Float,
    Label,
    Select,
    Subquery,
    Table,
    and_,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
)

from hybrid_hpc.ledger.database import Database
from hybrid_hpc.ledger.rollup import ROLLED
from hybrid_hpc.usage.days import Extract

Found = list[dict[str, Any]]
Ranks = Mapping[str, tuple[str, float]]  # by name: of which measure, and which part of the lives lies below
PERIODS = ("day", "week", "month")
WHOLE = ""  # the partition of a sample of the whole cluster
_SQLITE = {"day": (), "week": ("'weekday 0'", "'-6 days'"), "month": ("'start of month'",)}


class RolledQueries(Database):
    """Every method is one transaction. ``by``: columns, and at most one of day, week (from Monday), month.

    A row for each group that there is, by column names; a period's value is the date on which it begins.
    """

    def rolled_sums(self, extract: Extract, by: Sequence[str]) -> Found:
        """All figures of `aggregate.SUMS`."""
        return self._sums(ROLLED["usage"], extract, by)

    def rolled_causes(self, extract: Extract, by: Sequence[str]) -> Found:
        """``lives`` by ``cause``, too."""
        return self._sums(ROLLED["causes"], extract, [*by, "cause"])

    def rolled_samples(self, extract: Extract, by: Sequence[str]) -> Found:
        """All figures of `capacity.STOOD`, of whole clusters."""
        only = {"cluster": extract.only.get("cluster", ()), "partition": [WHOLE]}
        return self._sums(ROLLED["samples"], Extract(extract.first, extract.after, only), by)

    def rolled_ranks(self, extract: Extract, by: Sequence[str], ranks: Ranks) -> Found:
        """For each rank the buckets ``… below`` and ``… above`` it, and of how many ``… lives``."""
        with self._transaction() as connection:
            return _found(connection, _ranked(connection, extract, by, ranks))

    def rolled_names(self, extract: Extract, column: str) -> list[str]:
        """What there is in a column, in order; '' is left out."""
        table = ROLLED["usage"]
        where = and_(_during(table, extract, ""), table.c[column] != "")
        statement = select(table.c[column]).where(where).distinct().order_by(table.c[column])
        with self._transaction() as connection:
            return list(connection.scalars(statement))

    def _sums(self, table: Table, extract: Extract, by: Sequence[str]) -> Found:
        figures = [func.sum(each).label(each.name) for each in table.columns if not each.primary_key]
        with self._transaction() as connection:
            keys = _keys(connection, table, by)
            statement = select(*keys, *figures).where(_during(table, extract, _period(by)))
            return _found(connection, statement.group_by(*keys))


def _found(connection: Connection, statement: Select[Any]) -> Found:
    return [dict(row) for row in connection.execute(statement).mappings()]


def _period(by: Sequence[str]) -> str:
    return next((each for each in by if each in PERIODS), "")


def _keys(connection: Connection, table: Table, by: Sequence[str]) -> list[Label[Any]]:
    return [
        (_beginning(connection, table, each) if each in PERIODS else table.c[each]).label(each) for each in by
    ]


def _beginning(connection: Connection, table: Table, period: str) -> ColumnElement[Any]:
    """The first day of the period that a row's day lies in."""
    if connection.dialect.name == "sqlite":
        return func.date(table.c.day, *map(literal_column, _SQLITE[period]), type_=Date)
    return cast(func.date_trunc(literal_column(f"'{period}'"), table.c.day), Date)


def _during(table: Table, extract: Extract, finest: str) -> ColumnElement[bool]:
    spans = [
        and_(table.c.span == span, table.c.day >= first, table.c.day < after)
        for span, first, after in extract.spans(finest)
    ]
    only = [table.c[name].in_(sorted(names)) for name, names in extract.only.items() if names]
    return and_(or_(false(), *spans), *only)


def _ranked(connection: Connection, extract: Extract, by: Sequence[str], ranks: Ranks) -> Select[Any]:
    counts = _counted(connection, extract, by)
    keys = [counts.c[each] for each in by]
    return select(*keys, *_places(counts, ranks)).group_by(*keys)


def _counted(connection: Connection, extract: Extract, by: Sequence[str]) -> Subquery:
    """By group, measure and bucket: how many lives there are up to it, and in all."""
    table = ROLLED["buckets"]
    keys = [*_keys(connection, table, by), table.c.measure, table.c.bucket]
    lives = func.sum(table.c.lives).label("lives")
    during = _during(table, extract, _period(by))
    counted = select(*keys, lives).where(during).group_by(*keys).subquery()
    group = [counted.c[each] for each in (*by, "measure")]
    upto = func.sum(counted.c.lives).over(partition_by=group, order_by=counted.c.bucket)
    every = func.sum(counted.c.lives).over(partition_by=group)
    running = (cast(upto, Float).label("upto"), cast(every, Float).label("every"))
    return select(*group, counted.c.bucket, *running).subquery()


def _places(counts: Subquery, ranks: Ranks) -> Iterator[Label[Any]]:
    """A rank lies at ``place`` among the lives, which are numbered from 0: between two of them, or on one."""
    for name, (measure, part) in ranks.items():
        place, here = part * (counts.c.every - 1), counts.c.measure == measure
        below, above = counts.c.upto > place, counts.c.upto - 1 >= place
        yield func.min(counts.c.bucket).filter(here, below).label(f"{name} below")
        yield func.min(counts.c.bucket).filter(here, above).label(f"{name} above")
        yield func.max(counts.c.every).filter(here).label(f"{name} lives")
