"""The alerts in the ledger: raised once, cleared when it is over."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, case, select, update

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.rows import AlertRow

ALERTS = table(tables.Alert)


class AlertQueries(Database):
    """Every method is one transaction."""

    def raise_alert(self, subject: str, kind: str, sentence: str, *, cluster: str = "") -> AlertRow:
        """The alert, raised now unless it stands already; the newest sentence is kept."""
        now = self._now()
        values = {
            "subject": subject,
            "kind": kind,
            "cluster": cluster,
            "sentence": sentence,
            "raised_at": now,
            "seen_at": now,
            "cleared_at": None,
        }
        with self._transaction() as connection:
            new = insert(connection, ALERTS).values(values)
            stands = ALERTS.c.cleared_at.is_(None)
            again = new.on_conflict_do_update(
                index_elements=["subject", "kind"],
                set_={
                    **{name: new.excluded[name] for name in ("cluster", "sentence", "seen_at", "cleared_at")},
                    "raised_at": case((stands, ALERTS.c.raised_at), else_=new.excluded.raised_at),
                },
            )
            connection.execute(again)
            same = and_(ALERTS.c.subject == subject, ALERTS.c.kind == kind)
            return AlertRow(**connection.execute(select(ALERTS).where(same)).mappings().one())

    def clear_alert(self, subject: str, kind: str) -> bool:
        """Ends the alert; False when none stands."""
        same = and_(ALERTS.c.subject == subject, ALERTS.c.kind == kind, ALERTS.c.cleared_at.is_(None))
        with self._transaction() as connection:
            return connection.execute(update(ALERTS).where(same).values(cleared_at=self._now())).rowcount == 1

    def alerts(self, kinds: Collection[str] = ()) -> list[AlertRow]:
        """Every alert that stands, of these kinds or of all, the oldest first."""
        stands = ALERTS.c.cleared_at.is_(None)
        condition = and_(stands, ALERTS.c.kind.in_(list(kinds))) if kinds else stands
        statement = select(ALERTS).where(condition).order_by(ALERTS.c.raised_at, ALERTS.c.subject)
        with self._transaction() as connection:
            return [AlertRow(**row) for row in connection.execute(statement).mappings()]
