"""What monitoring asks of the ledger: the newest sample of each cluster, and how requests for nodes ended."""

from __future__ import annotations

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
        """How many of the requests for nodes since then ended in which way, by cluster and `WhatCame`."""
        ended = and_(SCALE.c.asked_at >= since, SCALE.c.settled_at.is_not(None))
        of = [SCALE.c.cluster, SCALE.c.outcome]
        statement = select(*of, func.count()).where(ended).group_by(*of)
        with self._transaction() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(statement)}
