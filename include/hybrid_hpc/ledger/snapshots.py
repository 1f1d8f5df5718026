"""The newest snapshot of each cluster and the ends of jobs' outputs in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from hybrid_hpc.ledger.database import Database, insert, one_at_a_time, table
from hybrid_hpc.ledger.page_tables import JobOutput, Snapshot
from hybrid_hpc.output_tail import clean_tail
from hybrid_hpc.snapshots import SnapshotRow

SNAPSHOTS = table(Snapshot)
OUTPUTS = table(JobOutput)
_COLUMNS = [SNAPSHOTS.c[each.name] for each in fields(SnapshotRow)]


class SnapshotQueries(Database):
    """Every method is one transaction."""

    def save_snapshot(self, rows: Sequence[SnapshotRow], *, unless_within: timedelta = timedelta(0)) -> bool:
        """Puts one cluster's rows in the place of those that there are; False when those stay.

        They do when they are as new, or less than ``unless_within`` older.
        """
        if not rows:
            return False
        cluster, seen_at = rows[0].cluster, rows[0].seen_at
        known = select(func.max(SNAPSHOTS.c.seen_at)).where(SNAPSHOTS.c.cluster == cluster)
        with self._transaction() as connection:
            one_at_a_time(connection, f"snapshot of {cluster}")  # two at once would insert the same keys
            newest: datetime | None = connection.scalar(known)
            if newest and newest >= seen_at - unless_within:
                return False
            connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.cluster == cluster))
            connection.execute(SNAPSHOTS.insert(), [asdict(row) for row in rows])
            return True

    def snapshots(self) -> list[SnapshotRow]:
        """The newest rows of every cluster, its whole first, then its partitions by name."""
        statement = select(*_COLUMNS).order_by(SNAPSHOTS.c.cluster, SNAPSHOTS.c.partition)
        with self._transaction() as connection:
            return [SnapshotRow(*row) for row in connection.execute(statement)]

    def save_output(self, token: str, tail: str) -> None:
        """Keeps the last lines of what a job wrote, cleaned and cut; told again, they are replaced."""
        values = {"token": token, "tail": clean_tail(tail), "kept_at": self._now()}
        with self._transaction() as connection:
            new = insert(connection, OUTPUTS).values(values)
            newer = {name: new.excluded[name] for name in ("tail", "kept_at")}
            connection.execute(new.on_conflict_do_update(index_elements=["token"], set_=newer))

    def output_of(self, token: str) -> str | None:
        """The last lines of what a job wrote, '' when that is nothing; None until it was collected."""
        with self._transaction() as connection:
            found: str | None = connection.scalar(select(OUTPUTS.c.tail).where(OUTPUTS.c.token == token))
            return found
