"""The roll-up in the ledger: which days are to be made anew, and how a day and a month are written.

Whoever writes rows of usage marks their days in the same transaction. Whoever rolls up takes a day's mark
away together with writing it, unless it was marked again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, func, literal, or_, select

from hybrid_hpc.ledger.bulk import upsert
from hybrid_hpc.ledger.database import Database, insert, one_at_a_time, table
from hybrid_hpc.ledger.rollup_tables import (
    UsageLongest,
    UsageMark,
    UsageRolled,
    UsageRolledCause,
    UsageRolledSample,
)
from hybrid_hpc.ledger.usage_tables import UsageJob, UsageSample
from hybrid_hpc.usage.cuts import CUTS
from hybrid_hpc.usage.days import DAY, MONTH, Span, month_of, window_of
from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.windows import Window

JOBS, SAMPLES = table(UsageJob), table(UsageSample)
MARKS, LONGEST = table(UsageMark), table(UsageLongest)
ROLLED = {
    "usage": table(UsageRolled),
    "causes": table(UsageRolledCause),
    "samples": table(UsageRolledSample),
}

MakeDays = Callable[[Sequence[date], Iterable[UsageRow], Iterable[SampleRow]], Mapping[str, Sequence[Any]]]
MakeMonth = Callable[[date, Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One span of one cluster that is to be rolled up anew."""

    span: Span
    cluster: str
    day: date


class RollupQueries(Database):
    """Every method is one transaction."""

    def marks(self, first: date = date.min, after: date = date.max) -> list[Mark]:
        """What of the days from ``first`` to before ``after`` is to be rolled up, days before months."""
        touched = and_(MARKS.c.day >= month_of(first)[0], MARKS.c.day < after)
        days = or_(MARKS.c.span == MONTH, MARKS.c.day >= first)
        columns = [MARKS.c[each.name] for each in fields(Mark)]
        statement = select(*columns).where(touched, days).order_by(*columns)
        with self._transaction() as connection:
            return [Mark(*row) for row in connection.execute(statement)]

    def roll_up_days(self, cluster: str, days: Sequence[date], make_days: MakeDays) -> None:
        """Makes the days of a cluster anew from its rows, those whose marks nobody has taken away meanwhile.

        ``make_days`` is `hybrid_hpc.usage.daily.days_of_usage`, for this module knows no pandas.
        """
        with self._transaction() as connection:
            marked = _marked(connection, DAY, cluster, days)
            if marked:
                _write_days(connection, cluster, sorted(marked), make_days)
                mark_anew(connection, MONTH, cluster, {month_of(day)[0] for day in marked})
                _take_away(connection, DAY, cluster, marked)

    def roll_up_month(self, cluster: str, first: date, make_month: MakeMonth) -> None:
        """Makes a month of a cluster anew from its days, unless its mark is gone.

        ``make_month`` is `hybrid_hpc.usage.daily.month_of_usage`: no database adds up what is packed.
        """
        with self._transaction() as connection:
            marked = _marked(connection, MONTH, cluster, [first])
            if marked:
                _write_month(connection, cluster, first, make_month)
                _take_away(connection, MONTH, cluster, marked)


def _marked(connection: Connection, span: Span, cluster: str, days: Sequence[date]) -> dict[date, int]:
    """How often each of the days is marked. Read before the rows: who marks it later finds it still there."""
    one_at_a_time(connection, f"usage of {cluster}")
    found = select(MARKS.c.day, MARKS.c.marks).where(_of(MARKS, span, cluster), MARKS.c.day.in_(days))
    return {row.day: row.marks for row in connection.execute(found)}


def _take_away(connection: Connection, span: Span, cluster: str, marked: Mapping[date, int]) -> None:
    for day, marks in sorted(marked.items()):
        same = and_(_of(MARKS, span, cluster), MARKS.c.day == day, MARKS.c.marks == marks)
        connection.execute(delete(MARKS).where(same))


def mark_anew(connection: Connection, span: str, cluster: str, days: Collection[date]) -> None:
    """Part of the transaction that writes the rows; in the order of time, so that nobody waits in a ring."""
    statement = insert(connection, MARKS)
    more = statement.on_conflict_do_update(
        index_elements=["span", "cluster", "day"], set_={"marks": MARKS.c.marks + 1}
    )
    if days:
        values = [{"span": span, "cluster": cluster, "day": day, "marks": 1} for day in sorted(days)]
        connection.execute(more, values)


def note_longest(connection: Connection, cluster: str, longest_s: float) -> None:
    """Part of the transaction that writes the lives."""
    statement = insert(connection, LONGEST).values(cluster=cluster, longest_s=longest_s)
    longer = statement.excluded.longest_s > LONGEST.c.longest_s
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["cluster"], set_={"longest_s": statement.excluded.longest_s}, where=longer
        )
    )


def _write_days(connection: Connection, cluster: str, days: Sequence[date], make_days: MakeDays) -> None:
    here = (connection, cluster, Window(window_of(days[0]).since, window_of(days[-1]).until))
    made = make_days(days, _lives(*here), _samples(*here))
    for name, into in ROLLED.items():
        connection.execute(delete(into).where(_rolled(into, DAY, cluster), into.c.day.in_(days)))
        upsert(connection, into, made.get(name, ()))


def _lives(connection: Connection, cluster: str, window: Window) -> Iterable[UsageRow]:
    """Every life that touches the window: it ended there or soon after, or it has not."""
    longest_s = connection.scalar(select(LONGEST.c.longest_s).where(LONGEST.c.cluster == cluster)) or 0.0
    latest = window.until + timedelta(seconds=longest_s)
    ended = and_(JOBS.c.ended_at >= window.since, JOBS.c.ended_at <= latest)
    begun = or_(JOBS.c.started_at < window.until, JOBS.c.started_at.is_(None))
    touching = and_(JOBS.c.cluster == cluster, or_(ended, JOBS.c.ended_at.is_(None)), begun)
    columns = [JOBS.c[each.name] for each in fields(UsageRow)]
    return (UsageRow(*row) for row in connection.execute(select(*columns).where(touching)))


def _samples(connection: Connection, cluster: str, window: Window) -> Iterable[SampleRow]:
    here = and_(
        SAMPLES.c.cluster == cluster, SAMPLES.c.moment >= window.since, SAMPLES.c.moment < window.until
    )
    columns = [SAMPLES.c[each.name] for each in fields(SampleRow)]
    statement = select(*columns).where(here).order_by(SAMPLES.c.moment)
    return (SampleRow(*row) for row in connection.execute(statement))


def _write_month(connection: Connection, cluster: str, first: date, make_month: MakeMonth) -> None:
    for name, into in ROLLED.items():
        connection.execute(delete(into).where(_rolled(into, MONTH, cluster), into.c.day == first))
        if name == "usage":
            days = select(*into.columns).where(_days_of_month(into, cluster, first))
            upsert(connection, into, make_month(first, connection.execute(days).all()))
        else:
            names = into.columns.keys()
            connection.execute(insert(connection, into).from_select(names, _of_month(into, cluster, first)))


def _of_month(of: Table, cluster: str, first: date) -> Select[Any]:
    """The days of a month added up, with the columns of the table in their order."""
    said = {"span": literal(MONTH), "day": literal(first, of.c.day.type)}
    keys = [column for column in of.primary_key if column.name not in said]
    columns = [said.get(column.name, column) for column in of.primary_key]
    values = [func.sum(column) for column in of.columns if not column.primary_key]
    return select(*columns, *values).where(_days_of_month(of, cluster, first)).group_by(*keys)


def _days_of_month(of: Table, cluster: str, first: date) -> ColumnElement[bool]:
    _, after = month_of(first)
    return and_(_rolled(of, DAY, cluster), of.c.day >= first, of.c.day < after)


def _rolled(table: Table, span: Span, cluster: str) -> ColumnElement[bool]:
    """All cuts by name, for those of the index come before the days."""
    of = _of(table, span, cluster)
    return and_(of, table.c.cut.in_(CUTS)) if "cut" in table.c else of


def _of(table: Table, span: Span, cluster: str) -> ColumnElement[bool]:
    return and_(table.c.span == span, table.c.cluster == cluster)
