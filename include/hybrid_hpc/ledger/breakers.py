"""The circuit breakers in the ledger, shared by all processes; `hybrid_hpc.breaker` has the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.rows import BreakerRow

BREAKERS = table(tables.Breaker)


class BreakerQueries(Database):
    """Every method is one transaction."""

    def breaker(self, target: str) -> BreakerRow | None:
        """The breaker's row; None: closed, and nothing has failed since the last success."""
        return next((row for row in self.breakers() if row.target == target), None)

    def breakers(self) -> list[BreakerRow]:
        """Every way that has failed since its last success, by name."""
        with self._transaction() as connection:
            found = connection.execute(select(BREAKERS).order_by(BREAKERS.c.target))
            return [BreakerRow(**row) for row in found.mappings()]

    def claim_probe(self, target: str, due: datetime, again_at: datetime) -> bool:
        """True for the one caller who may try an open way that was ``due`` for it."""
        statement = update(BREAKERS).where(BREAKERS.c.target == target, BREAKERS.c.probe_at == due)
        with self._transaction() as connection:
            return connection.execute(statement.values(probe_at=again_at)).rowcount == 1

    def note_failure(
        self, target: str, why: str, next_state: Callable[[int, datetime | None], dict[str, Any]]
    ) -> BreakerRow:
        """Counts a failure; ``next_state(failures, opened_at)`` gives what else becomes of the row."""
        nothing = {"target": target, "failures": 0, "why": why, "changed_at": self._now()}
        with self._transaction() as connection:
            connection.execute(insert(connection, BREAKERS).values(nothing).on_conflict_do_nothing())
            here = BREAKERS.c.target == target
            row = connection.execute(select(BREAKERS).where(here).with_for_update()).mappings().one()
            failures = row["failures"] + 1
            values = {"failures": failures, "why": why, "changed_at": self._now()}
            values |= next_state(failures, row["opened_at"])
            connection.execute(update(BREAKERS).where(here).values(values))
            return BreakerRow(**connection.execute(select(BREAKERS).where(here)).mappings().one())

    @contextmanager
    def turn(self, target: str) -> Iterator[bool]:
        """True for one caller at a time, until it is left; holds a connection meanwhile."""
        lock = select(func.pg_try_advisory_xact_lock(func.hashtext(f"hybrid_hpc {target}")))
        with self._transaction() as connection:
            alone = connection.dialect.name == "sqlite"  # which is for one process
            yield alone or bool(connection.execute(lock).scalar())

    def close_breaker(self, target: str) -> bool:
        """Forgets all failures; False when there were none."""
        with self._transaction() as connection:
            return connection.execute(delete(BREAKERS).where(BREAKERS.c.target == target)).rowcount == 1
