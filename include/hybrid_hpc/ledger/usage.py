"""The usage in the ledger: a row per life of a job, replaced when the accounting says more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.usage.collect import UsageRow

USAGE = table(tables.Usage)
_FIELDS = tuple(each.name for each in fields(UsageRow))
_KEY = tuple(column.name for column in USAGE.primary_key)


class UsageQueries(Database):
    """Every method is one transaction."""

    def save_usage(self, rows: Sequence[UsageRow]) -> None:
        """Writes the rows, all or none; a row of the same job, task and submit time is replaced."""
        if not rows:
            return
        with self._transaction() as connection:
            statement = insert(connection, USAGE)
            newer = {name: statement.excluded[name] for name in _FIELDS if name not in _KEY}
            upsert = statement.on_conflict_do_update(index_elements=list(_KEY), set_=newer)
            connection.execute(upsert, [_values(row) for row in rows])

    def usage_of(self, token: str) -> list[UsageRow]:
        """What one job used, a row for every life and array task, in the order of submission."""
        order = (USAGE.c.submitted_at, USAGE.c.task)
        statement = select(USAGE).where(USAGE.c.token == token).order_by(*order)
        with self._transaction() as connection:
            return [UsageRow(**row) for row in connection.execute(statement).mappings()]

    def usage_since(self, moment: datetime) -> list[UsageRow]:
        """What every job used that ended at this moment or later."""
        statement = select(USAGE).where(USAGE.c.ended_at >= moment).order_by(USAGE.c.ended_at)
        with self._transaction() as connection:
            return [UsageRow(**row) for row in connection.execute(statement).mappings()]


def _values(row: UsageRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS}
