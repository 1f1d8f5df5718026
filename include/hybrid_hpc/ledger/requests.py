"""The requests for nodes in the ledger: written before they are sent, answered, settled by what came."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, one_at_a_time, table
from hybrid_hpc.ledger.rows import LifeRow, ScaleRow
from hybrid_hpc.ledger.what_came import Came, what_came

SCALE = table(tables.ScaleRequest)
LIVES = table(tables.NodeLife)
UNDER_WAY = timedelta(minutes=1)  # an older request without an answer has died with its process
CLOCKS_DIFFER = timedelta(seconds=2)  # of the machines that ask
SETTLED_AT_ONCE = 500
_COLUMNS = [column for column in SCALE.columns if column.name != "id"]
_LIFE = [column for column in LIVES.columns if column.name != "id"]


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
            "outcome": "",
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
        """Notes CycleCloud's answer; False when one was noted before.

        A request that was settled without an answer, and was sent once more, is open again.
        """
        unanswered = SCALE.c.answered_at.is_(None)
        answer = {"answered_at": self._now(), "added": added, "message": message}
        return self._change_request(request_id, unanswered, **answer, settled_at=None, outcome="", came=None)

    def explain_nodes(self, request_id: str, why: str) -> None:
        """Adds to the request why nodes of it do not come; what was said before is not said twice."""
        this = SCALE.c.request_id == request_id
        with self._transaction() as connection:
            said = connection.scalar(select(SCALE.c.message).where(this).with_for_update())
            if said is not None and why not in said:
                message = "; ".join(filter(None, (said, why)))
                connection.execute(update(SCALE).where(this).values(message=message))

    def settle_requests(self, cluster: str) -> int:
        """Closes the requests of a cluster of which no node can come any more; gives how many.

        What came of each is read from the lives of its nodes, as far as they are known.
        """
        with self._transaction() as connection:
            found = connection.execute(self._open_requests(cluster).limit(SETTLED_AT_ONCE)).mappings()
            rows = [ScaleRow(**row) for row in found]
            lives = self._lives_of(connection, [row.request_id for row in rows])
            ended = {row: what_came(row, lives.get(row.request_id, ()), self._now()) for row in rows}
            settled = [(row, came) for row, came in ended.items() if came]
            for row, came in settled:
                self._settle(connection, row, came)
            return len(settled)

    def _settle(self, connection: Connection, row: ScaleRow, came: Came) -> None:
        values = {"outcome": came.outcome, "came": came.nodes, "settled_at": self._now()}
        changes = {**values, "message": row.message or came.why}
        connection.execute(update(SCALE).where(SCALE.c.request_id == row.request_id).values(changes))

    def _lives_of(self, connection: Connection, request_ids: Sequence[str]) -> dict[str, list[LifeRow]]:
        lives: dict[str, list[LifeRow]] = {}
        for row in connection.execute(select(*_LIFE).where(LIVES.c.request_id.in_(request_ids))).mappings():
            lives.setdefault(row["request_id"], []).append(LifeRow(**row))
        return lives

    def open_scale_requests(self, cluster: str) -> list[ScaleRow]:
        """Every request of a cluster that is not settled, the oldest first."""
        with self._transaction() as connection:
            found = connection.execute(self._open_requests(cluster)).mappings()
            return [ScaleRow(**row) for row in found]

    def scale_requests(self, cluster: str, limit: int = 100) -> list[ScaleRow]:
        """The newest requests of a cluster, settled or not, the newest first."""
        newest = select(*_COLUMNS).where(SCALE.c.cluster == cluster).order_by(SCALE.c.id.desc())
        with self._transaction() as connection:
            return [ScaleRow(**row) for row in connection.execute(newest.limit(limit)).mappings()]

    def _open_requests(self, cluster: str) -> Select[Any]:
        still_open = and_(SCALE.c.cluster == cluster, SCALE.c.settled_at.is_(None))
        return select(*_COLUMNS).where(still_open).order_by(SCALE.c.id)

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
