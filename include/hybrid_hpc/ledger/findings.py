"""What takes all jobs of some time to find, kept in the ledger as of the last report of ``hpc_usage``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.rollup_tables import UsageFinding
from hybrid_hpc.usage.windows import Window

FINDINGS = table(UsageFinding)


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of them; the rows of ``found`` are those of `hybrid_hpc.usage.report.UsageReport.findings`."""

    kind: str
    window: Window
    found: Sequence[Mapping[str, Any]]


class FindingQueries(Database):
    """Every method is one transaction."""

    def save_findings(self, window: Window, found: Mapping[str, Sequence[Mapping[Any, Any]]]) -> None:
        """Writes each kind in place of the one that was there."""
        times = {"since": window.since, "until": window.until}
        with self._transaction() as connection:
            for kind, rows in found.items():
                new = {**times, "found": list(rows)}
                statement = insert(connection, FINDINGS).values(kind=kind, **new)
                connection.execute(statement.on_conflict_do_update(index_elements=["kind"], set_=new))

    def findings(self) -> dict[str, Finding]:
        """By kind; none before the first report."""
        with self._transaction() as connection:
            rows = connection.execute(
                select(*(FINDINGS.c[name] for name in ("kind", "since", "until", "found")))
            )
            return {kind: Finding(kind, Window(since, until), found) for kind, since, until, found in rows}
