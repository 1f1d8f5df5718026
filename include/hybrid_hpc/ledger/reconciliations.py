"""What hpc_reconcile found, run after run; and which installation this ledger belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.rows import ReconciliationRow

RECONCILIATIONS = table(tables.Reconciliation)
INSTALLATION = table(tables.Installation)
KEPT = timedelta(days=30)


class ReconciliationQueries(Database):
    """Every method is one transaction."""

    def save_reconciliation(
        self, began_at: datetime, *, seconds: float, open_jobs: int, findings: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keeps one run's report, and forgets those that are older than a month."""
        row = {"began_at": began_at, "seconds": seconds, "open_jobs": open_jobs, "findings": list(findings)}
        with self._transaction() as connection:
            connection.execute(insert(connection, RECONCILIATIONS).values(row))
            old = RECONCILIATIONS.c.began_at < began_at - KEPT
            connection.execute(delete(RECONCILIATIONS).where(old))

    def reconciliations(self, limit: int = 1) -> list[ReconciliationRow]:
        """The newest reports, the newest first."""
        columns = [column for column in RECONCILIATIONS.columns if column.name != "id"]
        statement = select(*columns).order_by(RECONCILIATIONS.c.id.desc()).limit(limit)
        with self._transaction() as connection:
            return [ReconciliationRow(**row) for row in connection.execute(statement).mappings()]

    def installation(self) -> str:
        """Which ledger this is, for ever: 32 hexadecimal digits."""
        with self._transaction() as connection:
            return str(connection.execute(select(INSTALLATION.c.id)).scalar_one())
