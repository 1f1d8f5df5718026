"""How far the usage of each cluster is collected, source by source, and why not further."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, select

from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.usage_tables import Watermark
from hybrid_hpc.usage.windows import Window

WATERMARKS = table(Watermark)


@dataclass(frozen=True, slots=True)
class WatermarkRow:
    """One source of one cluster; ``collected`` None: nothing yet. ``trouble`` '': it goes on.

    From the end of ``collected`` on there is a gap, not a zero.
    """

    cluster: str
    source: str
    collected: Window | None
    unreadable: int
    trouble: str
    trouble_since: datetime | None


class WatermarkQueries(Database):
    """Every method is one transaction."""

    def watermark(self, cluster: str, source: str) -> WatermarkRow | None:
        """None: nobody has tried."""
        with self._transaction() as connection:
            return _found(connection, cluster, source)

    def watermarks(self) -> list[WatermarkRow]:
        """All of them, by cluster and source."""
        statement = select(WATERMARKS).order_by(WATERMARKS.c.cluster, WATERMARKS.c.source)
        with self._transaction() as connection:
            return [_row(*found) for found in connection.execute(statement)]

    def note_collected(self, cluster: str, source: str, window: Window, unreadable: int = 0) -> None:
        """A window is whole: what is collected grows by it where they touch, and what troubled is over.

        ``unreadable``: how many lines this collection has left out so far.
        """
        with self._transaction() as connection:
            before = _found(connection, cluster, source)
            whole = before.collected.joined(window) if before and before.collected else window
            _write(connection, WatermarkRow(cluster, source, whole, unreadable, "", None))

    def note_trouble(self, cluster: str, source: str, why: str) -> None:
        """Nothing could be collected: what is there stays, and the gap has a reason and a beginning."""
        with self._transaction() as connection:
            before = _found(connection, cluster, source)
            since = before.trouble_since if before and before.trouble_since else self._now()
            collected, unreadable = (before.collected, before.unreadable) if before else (None, 0)
            _write(connection, WatermarkRow(cluster, source, collected, unreadable, why, since))


def _found(connection: Connection, cluster: str, source: str) -> WatermarkRow | None:
    this = and_(WATERMARKS.c.cluster == cluster, WATERMARKS.c.source == source)
    found = connection.execute(select(WATERMARKS).where(this).with_for_update()).first()
    return _row(*found) if found else None


def _row(
    cluster: str,
    source: str,
    since: datetime | None,
    until: datetime | None,
    unreadable: int,
    trouble: str,
    trouble_since: datetime | None,
) -> WatermarkRow:
    collected = Window(since, until) if since and until else None
    return WatermarkRow(cluster, source, collected, unreadable, trouble, trouble_since)


def _write(connection: Connection, row: WatermarkRow) -> None:
    changes = {
        "since": row.collected and row.collected.since,
        "until": row.collected and row.collected.until,
        "unreadable": row.unreadable,
        "trouble": row.trouble,
        "trouble_since": row.trouble_since,
    }
    statement = insert(connection, WATERMARKS).values(cluster=row.cluster, source=row.source, **changes)
    key = ["cluster", "source"]
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changes))
