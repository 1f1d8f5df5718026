"""The lives of nodes in the ledger: begun when first seen, renewed as a lease, ended when gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, String, and_, cast, or_, select, update

from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.database import Database, insert, table
from hybrid_hpc.ledger.requests import SCALE
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.ledger.what_came import CERTAIN
from hybrid_hpc.usage.windows import Window

LIVES = table(tables.NodeLife)
BOOTS_REMEMBERED = 20
UP_AT_ONCE_S = 1.0  # one that was up when it was first seen: how long its boot took nobody knows
_COLUMNS = [column for column in LIVES.columns if column.name != "id"]


@dataclass(frozen=True, slots=True)
class NewLife:
    """A node that was not known before; ``request_id`` '': nobody here asked for it."""

    node_id: str
    name: str
    nodearray: str
    vm_size: str
    request_id: str = ""


class LifeQueries(Database):
    """Every method is one transaction."""

    def begin_lives(self, cluster: str, new: Sequence[NewLife]) -> None:
        """Writes nodes down that are not known yet, as asked for when their request was, else now.

        One that was gone for certain lives anew, asked for now: a VM that is deallocated keeps its ids.
        """
        if not new:
            return
        now = self._now()
        with self._transaction() as connection:
            again = self._close_lives(connection, cluster, [life.node_id for life in new])
            new = [replace(life, request_id="") if life.node_id in again else life for life in new]
            asked = select(SCALE.c.request_id, SCALE.c.asked_at).where(
                SCALE.c.request_id.in_({life.request_id for life in new if life.request_id})
            )
            asked_at: dict[str, datetime] = {
                row.request_id: row.asked_at for row in connection.execute(asked)
            }
            values = [
                {
                    "cluster": cluster,
                    "node_id": life.node_id,
                    "name": life.name,
                    "nodearray": life.nodearray,
                    "vm_size": life.vm_size,
                    "request_id": life.request_id,
                    "asked_at": asked_at.get(life.request_id, now),
                    "seen_at": now,
                }
                for life in new
            ]
            connection.execute(insert(connection, LIVES).values(values).on_conflict_do_nothing())

    def _close_lives(self, connection: Connection, cluster: str, node_ids: Sequence[str]) -> set[str]:
        """Gives earlier lives of these nodes an id of their own; which nodes had one."""
        gone = and_(LIVES.c.gone_at < self._now() - CERTAIN, LIVES.c.node_id.in_(node_ids))
        earlier = and_(LIVES.c.cluster == cluster, gone)
        found = set(connection.scalars(select(LIVES.c.node_id).where(earlier)))
        if found:
            own = LIVES.c.node_id + "/" + cast(LIVES.c.id, String)
            connection.execute(update(LIVES).where(earlier).values(node_id=own))
        return found

    def renew_lives(
        self,
        cluster: str,
        seen: Collection[str],
        *,
        up: Collection[str] = (),
        busy: Collection[str] = (),
        gone: Collection[str] = (),
    ) -> None:
        """Notes by node id which nodes were looked at, take jobs for the first time, are busy or are gone.

        One that was looked at is there, whatever was noted before: an answer of CycleCloud's may be short.
        """
        now, empty = self._now(), {"up": LIVES.c.up_at.is_(None), "gone": LIVES.c.gone_at.is_(None)}
        changes: Mapping[str, tuple[Collection[str], str]] = {
            "seen": (seen, "seen_at"),
            "up": (up, "up_at"),
            "busy": (busy, "last_busy_at"),
            "gone": (gone, "gone_at"),
        }
        with self._transaction() as connection:
            for kind, (node_ids, column) in changes.items():
                if node_ids:
                    these = and_(LIVES.c.cluster == cluster, LIVES.c.node_id.in_(sorted(node_ids)))
                    where = and_(these, empty[kind]) if kind in empty else these
                    there = {"gone_at": None} if kind == "seen" else {}
                    connection.execute(update(LIVES).where(where).values({column: now, **there}))

    def lives(self, cluster: str) -> list[LifeRow]:
        """Every node of a cluster that is there, as far as is known, the oldest first."""
        there = and_(LIVES.c.cluster == cluster, LIVES.c.gone_at.is_(None))
        with self._transaction() as connection:
            found = connection.execute(select(*_COLUMNS).where(there).order_by(LIVES.c.id)).mappings()
            return [LifeRow(**row) for row in found]

    def lives_of_nodes(self, cluster: str, names: Collection[str], window: Window) -> list[LifeRow]:
        """Every life of the nodes of these names that lay, at least in part, in the window; oldest first."""
        if not names:
            return []
        still = or_(LIVES.c.gone_at > window.since, LIVES.c.gone_at.is_(None))
        during = and_(LIVES.c.asked_at < window.until, still)
        these = and_(LIVES.c.cluster == cluster, LIVES.c.name.in_(sorted(names)), during)
        with self._transaction() as connection:
            found = connection.execute(select(*_COLUMNS).where(these).order_by(LIVES.c.id)).mappings()
            return [LifeRow(**row) for row in found]

    def boot_times_s(self, cluster: str) -> dict[tuple[str, str], list[float]]:
        """By nodearray and VM size, how long the last boots took, asking to taking jobs; newest first."""
        booted = and_(LIVES.c.cluster == cluster, LIVES.c.up_at.is_not(None))
        columns = (LIVES.c.nodearray, LIVES.c.vm_size, LIVES.c.asked_at, LIVES.c.up_at)
        newest = select(*columns).where(booted).order_by(LIVES.c.id.desc()).limit(50 * BOOTS_REMEMBERED)
        times: dict[tuple[str, str], list[float]] = {}
        with self._transaction() as connection:
            for nodearray, vm_size, asked_at, up_at in connection.execute(newest):
                took_s = (up_at - asked_at).total_seconds()
                if took_s < UP_AT_ONCE_S:
                    continue
                known = times.setdefault((nodearray, vm_size), [])
                if len(known) < BOOTS_REMEMBERED:
                    known.append(took_s)
        return times
