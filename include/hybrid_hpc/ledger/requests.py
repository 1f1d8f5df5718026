"""The requests for nodes in the ledger: written before they are sent, answered, settled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, one_at_a_time, table
from hybrid_hpc.ledger.rows import ScaleRow

SCALE = table(tables.ScaleRequest)
UNDER_WAY = timedelta(minutes=1)  # an older request without an answer has died with its process
CLOCKS_DIFFER = timedelta(seconds=2)  # of the machines that ask
_COLUMNS = [column for column in SCALE.columns if column.name != "id"]


class ScaleQueries(Database):
    """Every method is one transaction."""

    def ask_for_nodes(
        self,
        *,
        request_id: str,
        cluster: str,
        nodearray: str,
        names: Sequence[str],
        for_jobs: Sequence[str] = (),
        looked_at: datetime | None = None,
        ours: Collection[str] = (),
    ) -> ScaleRow | None:
        """The row of this request, made when there is none: asking twice is asking once.

        None when another request for one of these nodes is under way, or came after the caller had looked
        (``looked_at``) which nodes there are: two processes that see the same need ask for it once. ``ours``:
        request ids of the caller's own, which knows how they ended.
        """
        values = {
            "request_id": request_id,
            "cluster": cluster,
            "nodearray": nodearray,
            "names": tuple(names),
            "for_jobs": tuple(for_jobs),
            "asked_at": self._now(),
            "message": "",
        }
        with self._transaction() as connection:
            one_at_a_time(connection, f"nodes of {cluster}")
            ours = {request_id, *ours}
            if looked_at and self._rivals(connection, cluster, ours, looked_at) & set(names):
                return None
            connection.execute(insert(connection, SCALE).values(values).on_conflict_do_nothing())
            found = connection.execute(select(*_COLUMNS).where(SCALE.c.request_id == request_id))
            return ScaleRow(**found.mappings().one())

    def _rivals(
        self, connection: Connection, cluster: str, ours: Collection[str], looked_at: datetime
    ) -> set[str]:
        """The nodes that others ask for, or have asked for since then."""
        under_way = and_(SCALE.c.answered_at.is_(None), SCALE.c.asked_at > self._now() - UNDER_WAY)
        since = SCALE.c.answered_at >= looked_at - CLOCKS_DIFFER
        others = and_(SCALE.c.cluster == cluster, SCALE.c.request_id.not_in(ours), or_(under_way, since))
        return {name for names in connection.scalars(select(SCALE.c.names).where(others)) for name in names}

    def asked_in_vain(self, cluster: str, within: timedelta) -> bool:
        """True when a request of the last while was answered with fewer nodes than it asked for."""
        lately = and_(SCALE.c.cluster == cluster, SCALE.c.answered_at > self._now() - within)
        statement = select(SCALE.c.names, SCALE.c.added).where(lately)
        with self._transaction() as connection:
            return any(added < len(names) for names, added in connection.execute(statement))

    def answer_nodes(self, request_id: str, *, added: int, message: str) -> bool:
        """Notes CycleCloud's answer; False when one was noted before."""
        unanswered = SCALE.c.answered_at.is_(None)
        return self._change_request(
            request_id, unanswered, answered_at=self._now(), added=added, message=message
        )

    def settle_nodes(self, request_id: str) -> bool:
        """Closes the request: its nodes have come, failed or gone. False when it was closed before."""
        return self._change_request(request_id, SCALE.c.settled_at.is_(None), settled_at=self._now())

    def open_scale_requests(self, cluster: str) -> list[ScaleRow]:
        """Every request of a cluster that is not settled, the oldest first."""
        condition = and_(SCALE.c.cluster == cluster, SCALE.c.settled_at.is_(None))
        statement = select(*_COLUMNS).where(condition).order_by(SCALE.c.id)
        with self._transaction() as connection:
            return [ScaleRow(**row) for row in connection.execute(statement).mappings()]

    def short_requests(self, within: timedelta) -> list[ScaleRow]:
        """The requests of the last while, on all clusters, that got fewer nodes than asked; newest first."""
        lately = SCALE.c.answered_at > self._now() - within
        statement = select(*_COLUMNS).where(lately).order_by(SCALE.c.id.desc())
        with self._transaction() as connection:
            rows = [ScaleRow(**row) for row in connection.execute(statement).mappings()]
        return [row for row in rows if (row.added or 0) < len(row.names)]

    def times_asked(self, cluster: str, names: Sequence[str]) -> int:
        """How many *answered* requests asked for exactly these nodes.

        One without an answer does not count, so that the same request id is used again for it.
        """
        same = and_(SCALE.c.cluster == cluster, SCALE.c.names == tuple(names))
        statement = select(func.count()).where(same, SCALE.c.answered_at.is_not(None))
        with self._transaction() as connection:
            return connection.scalar(statement) or 0

    def _change_request(self, request_id: str, condition: ColumnElement[bool], **values: Any) -> bool:
        statement = update(SCALE).where(SCALE.c.request_id == request_id, condition).values(values)
        with self._transaction() as connection:
            return connection.execute(statement).rowcount == 1
