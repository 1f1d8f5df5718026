"""Questions to the roll-up: grouped and added up by the database, whatever is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    Label,
    LargeBinary,
    Select,
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
from hybrid_hpc.usage.cuts import cut_for
from hybrid_hpc.usage.days import Extract

Found = list[dict[str, Any]]
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

    def rolled_waits(self, extract: Extract, by: Sequence[str]) -> Found:
        """The packed counts ``waits`` and ``slowdowns``: several rows for each group, to be added up."""
        table = ROLLED["usage"]
        with self._transaction() as connection:
            keys = _keys(connection, table, by)
            statement = select(*keys, table.c.waits, table.c.slowdowns).where(_during(table, extract, by))
            return _found(connection, statement)

    def rolled_names(self, extract: Extract, column: str) -> list[str]:
        """What there is in a column, in order; '' is left out."""
        table = ROLLED["usage"]
        where = and_(_during(table, extract, [column]), table.c[column] != "")
        statement = select(table.c[column]).where(where).distinct().order_by(table.c[column])
        with self._transaction() as connection:
            return list(connection.scalars(statement))

    def _sums(self, table: Table, extract: Extract, by: Sequence[str]) -> Found:
        figures = [func.sum(each).label(each.name) for each in table.columns if _is_figure(each)]
        with self._transaction() as connection:
            keys = _keys(connection, table, by)
            statement = select(*keys, *figures).where(_during(table, extract, by))
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


def _is_figure(column: Column[Any]) -> bool:
    return not column.primary_key and not isinstance(column.type, LargeBinary)


def _during(table: Table, extract: Extract, by: Sequence[str]) -> ColumnElement[bool]:
    """The rows to add up: of the longest spans and the coarsest cut that tell what is asked for."""
    spans = [
        and_(table.c.span == span, table.c.day >= first, table.c.day < after)
        for span, first, after in extract.spans(_period(by))
    ]
    wanted = {name: sorted(names) for name, names in extract.only.items() if names}
    only = [table.c[name].in_(names) for name, names in wanted.items()]
    cut = [table.c.cut == cut_for({*wanted, *by})] if "cut" in table.c else []
    return and_(or_(false(), *spans), *only, *cut)
