"""What clusters looked like and what their VMs cost, in the ledger; both are replaced when told again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC

from sqlalchemy import Column, ColumnElement, and_, case, func, or_, select

from hybrid_hpc.ledger.bulk import upsert
from hybrid_hpc.ledger.database import Database, table
from hybrid_hpc.ledger.lives import LIVES
from hybrid_hpc.ledger.rollup import mark_anew
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.ledger.usage_tables import UsageSample, UsageVmHour
from hybrid_hpc.usage.days import DAY
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window

SAMPLES = table(UsageSample)
VM_HOURS = table(UsageVmHour)


class ClusterUsageQueries(Database):
    """Every method is one transaction."""

    def save_samples(self, rows: Sequence[SampleRow]) -> None:
        """Writes the rows, all or none."""
        with self._transaction() as connection:
            for cluster in sorted({row.cluster for row in rows}):
                days = {row.moment.astimezone(UTC).date() for row in rows if row.cluster == cluster}
                mark_anew(connection, DAY, cluster, days)
            upsert(connection, SAMPLES, rows)

    def samples_between(self, window: Window) -> list[SampleRow]:
        """In the order of time."""
        during = and_(SAMPLES.c.moment >= window.since, SAMPLES.c.moment < window.until)
        columns = [SAMPLES.c[each.name] for each in fields(SampleRow)]
        statement = select(*columns).where(during).order_by(SAMPLES.c.moment, SAMPLES.c.cluster)
        with self._transaction() as connection:
            return [SampleRow(*row) for row in connection.execute(statement)]

    def save_vm_hours(self, rows: Sequence[VmHourRow]) -> None:
        """Writes the rows, all or none."""
        with self._transaction() as connection:
            upsert(connection, VM_HOURS, rows)

    def vm_hours_between(self, window: Window) -> list[VmHourRow]:
        """The hours that begin in the window, in the order of time."""
        during = and_(VM_HOURS.c.hour >= window.since, VM_HOURS.c.hour < window.until)
        columns = [VM_HOURS.c[each.name] for each in fields(VmHourRow)]
        statement = select(*columns).where(during).order_by(VM_HOURS.c.hour, VM_HOURS.c.cluster)
        with self._transaction() as connection:
            return [VmHourRow(*row) for row in connection.execute(statement)]

    def vm_sums_between(self, window: Window) -> list[VmHourRow]:
        """The same added up by cluster, category and VM size; with the last hour, without name and priority.

        What not every hour tells, no sum does.
        """
        during = and_(VM_HOURS.c.hour >= window.since, VM_HOURS.c.hour < window.until)
        keys = [VM_HOURS.c[name] for name in ("cluster", "category", "vm_size")]
        sums = [_whole_sum(VM_HOURS.c[name]) for name in ("core_h", "node_h", "cost_usd")]
        statement = select(*keys, func.max(VM_HOURS.c.hour), *sums).where(during).group_by(*keys)
        with self._transaction() as connection:
            return [
                VmHourRow(cluster, hour, category, "", vm_size, "", *figures)
                for cluster, category, vm_size, hour, *figures in connection.execute(statement)
            ]

    def lives_between(self, window: Window) -> list[LifeRow]:
        """Every life of a node that lay, at least in part, in the window."""
        gone = or_(LIVES.c.gone_at > window.since, LIVES.c.gone_at.is_(None))
        columns = [LIVES.c[each.name] for each in fields(LifeRow)]
        statement = select(*columns).where(and_(LIVES.c.asked_at < window.until, gone)).order_by(LIVES.c.id)
        with self._transaction() as connection:
            return [LifeRow(*row) for row in connection.execute(statement)]


def _whole_sum(column: Column[float]) -> ColumnElement[float]:
    return case((func.count(column) == func.count(), func.sum(column)))
