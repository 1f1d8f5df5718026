"""Who waits for nodes, in the ledger: every triggerer reads it, so none lets go what another waits for."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select, update

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.rows import WishRow

WISHES = table(tables.NodeWish)
KEPT = timedelta(days=30)  # a wait that goes on after a shorter outage goes on with what is left of its time


class WishQueries(Database):
    """Every method is one transaction."""

    def wish_for_nodes(self, waiter: str, *, cluster: str, nodearray: str, count: int) -> WishRow:
        """Makes the wish of this waiter, or repeats it, also one that was ended: ``wished_at`` stays."""
        now = self._now()
        values = {"waiter": waiter, "cluster": cluster, "nodearray": nodearray, "count": count}
        with self._transaction() as connection:
            new = insert(connection, WISHES).values(**values, wished_at=now, seen_at=now)
            again = {"seen_at": now, "ended_at": None, "count": count}
            connection.execute(new.on_conflict_do_update(index_elements=["waiter"], set_=again))
            found = connection.execute(select(WISHES).where(WISHES.c.waiter == waiter))
            return WishRow(**found.mappings().one())

    def end_node_wish(self, waiter: str) -> bool:
        """Ends the wish; False when it was ended before."""
        standing = WISHES.c.waiter == waiter, WISHES.c.ended_at.is_(None)
        with self._transaction() as connection:
            ended = connection.execute(update(WISHES).where(*standing).values(ended_at=self._now()))
            return ended.rowcount == 1

    def forget_node_wishes(self) -> int:
        """Deletes the wishes that nobody has repeated for a month; gives how many."""
        old = WISHES.c.seen_at < self._now() - KEPT
        with self._transaction() as connection:
            return connection.execute(delete(WISHES).where(old)).rowcount

    def wished_nodes(self, cluster: str, lease_s: float) -> dict[str, int]:
        """How many nodes somebody waits for, by nodearray: the most of all wishes that stand.

        A wish that was not repeated for ``lease_s`` stands no more.
        """
        since = self._now() - timedelta(seconds=lease_s)
        standing = WISHES.c.cluster == cluster, WISHES.c.ended_at.is_(None), WISHES.c.seen_at >= since
        most = select(WISHES.c.nodearray, func.max(WISHES.c.count)).where(*standing)
        with self._transaction() as connection:
            found = connection.execute(most.group_by(WISHES.c.nodearray))
            return {row[0]: row[1] for row in found}
