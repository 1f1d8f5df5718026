"""Many rows into a table at once: new ones are inserted, known ones replaced where they have changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select, tuple_
from sqlalchemy import table as named
from sqlalchemy.dialects import postgresql, sqlite

from hybrid_hpc.ledger.database import insert
from hybrid_hpc.ledger.types import Names, State

Insert = postgresql.Insert | sqlite.Insert
Unless = Callable[[Table, Any], ColumnElement[bool]]
COPY_FROM = 500  # rows, from which on a table of their own costs less than it saves


def upsert(connection: Connection, into: Table, rows: Sequence[Any], unless: Unless | None = None) -> None:
    """Writes rows whose attributes are called like the columns; of equal keys the last one counts.

    ``unless(known, incoming)`` is true where the known row is to stay. A row that says nothing new makes no
    new version of what is there, which the database would have to clear away.
    """
    key_of = attrgetter(*(column.name for column in into.primary_key))
    rows = list({key_of(row): row for row in rows}.values())
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        _copy_in(connection, into, rows)
        incoming = named(_incoming(into), *(column._copy() for column in into.columns))
        statement = insert(connection, into).from_select([*into.columns.keys()], select(*incoming.columns))
        connection.execute(_replacing(statement, into, unless))
    elif rows:
        names = into.columns.keys()
        values = [{name: getattr(row, name) for name in names} for row in rows]
        connection.execute(_replacing(insert(connection, into), into, unless), values)


def _replacing(statement: Insert, into: Table, unless: Unless | None) -> Insert:
    key = [column.name for column in into.primary_key]
    names = [column.name for column in into.columns if column.name not in key]
    newer = {name: statement.excluded[name] for name in names}
    changed = tuple_(*(into.c[name] for name in names)).is_distinct_from(tuple_(*newer.values()))
    where = and_(changed, ~unless(into, statement.excluded)) if unless else changed
    return statement.on_conflict_do_update(index_elements=key, set_=newer, where=where)


def _copy_in(connection: Connection, into: Table, rows: Iterable[Any]) -> None:
    """The rows into a table of this transaction's own, by PostgreSQL's fastest way."""
    quote = connection.dialect.identifier_preparer.quote
    name = quote(_incoming(into))
    columns = ", ".join(quote(column.name) for column in into.columns)
    cursor = connection.connection.cursor()
    cursor.execute(f"CREATE TEMPORARY TABLE {name} (LIKE {quote(into.name)}) ON COMMIT DROP")
    with cursor.copy(f"COPY {name} ({columns}) FROM STDIN") as copy:
        for values in copied(into, rows):
            copy.write_row(values)


def copied(of: Table, rows: Iterable[Any]) -> Iterator[list[Any]]:
    """What COPY takes for each row: the values of all columns, those as text that it does not know."""
    values_of = attrgetter(*of.columns.keys())
    texts = [
        (place, _TEXTS[type(column.type)])
        for place, column in enumerate(of.columns)
        if type(column.type) in _TEXTS
    ]
    for row in rows:
        values = list(values_of(row))
        for place, text in texts:
            values[place] = text(values[place])
        yield values


@lru_cache(maxsize=1024)
def _json(names: tuple[str, ...]) -> str:
    return json.dumps(names)


_TEXTS: dict[type, Callable[[Any], str]] = {State: str, Names: _json}


def _incoming(into: Table) -> str:
    return f"incoming_{into.name}"
