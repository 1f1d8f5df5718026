"""What monitoring asks of the ledger: the newest sample of each cluster, and how requests for nodes ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime

from sqlalchemy import and_, func, select

from hybrid_hpc.ledger.cluster_usage import SAMPLES
from hybrid_hpc.ledger.database import Database
from hybrid_hpc.ledger.requests import SCALE
from hybrid_hpc.usage.samples import WHOLE, SampleRow


class MetricQueries(Database):
    """Every method is one transaction."""

    def newest_samples(self, since: datetime) -> list[SampleRow]:
        """The newest one of each whole cluster, by name; none for a cluster without one since then."""
        whole = and_(SAMPLES.c.partition == WHOLE, SAMPLES.c.moment >= since)
        of = (SAMPLES.c.cluster, func.max(SAMPLES.c.moment).label("moment"))
        newest = select(*of).where(whole).group_by(SAMPLES.c.cluster).subquery()
        same = and_(SAMPLES.c.cluster == newest.c.cluster, SAMPLES.c.moment == newest.c.moment, whole)
        columns = [SAMPLES.c[each.name] for each in fields(SampleRow)]
        statement = select(*columns).join(newest, same).order_by(SAMPLES.c.cluster)
        with self._transaction() as connection:
            return [SampleRow(*row) for row in connection.execute(statement)]

    def scale_outcomes(self, since: datetime) -> Mapping[tuple[str, str], int]:
        """How many requests for nodes since then ended how, by cluster and outcome.

        Outcomes: ``full``, ``partial``, ``none`` (no node was added), ``unanswered``.
        """
        asked = select(SCALE.c.cluster, SCALE.c.names, SCALE.c.added).where(SCALE.c.asked_at >= since)
        with self._transaction() as connection:
            return Counter(
                (cluster, _outcome(len(names), added)) for cluster, names, added in connection.execute(asked)
            )


def _outcome(asked: int, added: int | None) -> str:
    if added is None:
        return "unanswered"
    if added >= asked:
        return "full"
    return "partial" if added else "none"
