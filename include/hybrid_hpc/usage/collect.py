"""Collecting the usage of one cluster: its jobs, a sample of its nodes and queue, its VMs' hours.

Each source has a watermark, which moves when a window of time is whole in the ledger. What is collected
once more is the same rows again, so windows may overlap, be cut in pieces, or be collected by two at once. A
source that cannot be asked leaves a gap with its reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.errors import HybridHpcError, NoAccounting, TooLong
from hybrid_hpc.jobs import is_token
from hybrid_hpc.ledger import Ledger, UsageRow
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ledger.rows import moment
from hybrid_hpc.prices.current import with_costs
from hybrid_hpc.schedulers.base import JobRecord, JobRecords, Load
from hybrid_hpc.seen import keep_snapshot, with_known_nodes
from hybrid_hpc.site import Site
from hybrid_hpc.usage.rows import Ours, is_usage, usage_row
from hybrid_hpc.usage.samples import samples_of
from hybrid_hpc.usage.vm_hours import vm_hours_of
from hybrid_hpc.usage.windows import Window, due

log = logging.getLogger(__name__)

FIRST = timedelta(days=30)  # how far back the first collection goes
BATCH = 10_000  # rows in memory, and in one transaction

ACCOUNTING = "accounting"
ACCOUNTING_LAG = timedelta(hours=1)  # how late a record may come
ACCOUNTING_AT_ONCE = timedelta(hours=12)
ACCOUNTING_LEAST = timedelta(minutes=1)  # a shorter window is not cut again
ACCOUNTING_TIMEOUT_S = 180.0

SAMPLES = "samples"

VM_HOURS = "vm_hours"
VM_HOURS_LAG = timedelta(hours=2)  # the hour that was not over, and the one before it
VM_HOURS_AT_ONCE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CollectedUsage:
    """What one collection brought: rows by source, and the reason where a source did not bring all."""

    cluster: str
    rows: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)  # lines left out, by source
    trouble: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False  # something did not answer; a cluster without accounting has answered

    def sentence(self) -> str:
        """``onprem: 120 rows of accounting, 3 of samples``."""
        parts = [f"{count:,} rows of {source}" for source, count in self.rows.items()]
        lines = sum(self.unreadable.values())
        left_out = [f"{lines:,} lines could not be read"] if lines else []
        missing = [f"NO {source}: {why}" for source, why in self.trouble.items()]
        return f"{self.cluster}: " + ", ".join([*parts, *left_out, *missing])


async def collect_usage(
    site: Site, ledger: Ledger, window: Window | None = None, clock: Callable[[], datetime] = utc_now
) -> CollectedUsage:
    """Everything that is missing up to now; with a ``window``, that piece of the past only, without a sample.

    A source that fails keeps no other from being collected.
    """
    collector = _Collector(site, ledger, window)
    await collector.from_head_node()
    if site.cloud:
        await collector.from_cloud(site.cloud, clock())
    return collector.collected


class _Collector:
    """One collection of one cluster."""

    def __init__(self, site: Site, ledger: Ledger, window: Window | None) -> None:
        self._site = site
        self._ledger = ledger
        self._window = window
        self.collected = CollectedUsage(site.cluster.name)

    async def from_head_node(self) -> None:
        """The load first: it has the head node's clock, by which the accounting's windows are cut."""
        scheduler, load = self._site.scheduler, None
        async with self._noting(ACCOUNTING, *([] if self._window else [SAMPLES])):
            load = scheduler.read_load(await self._site.head_node.run(scheduler.load_command()))
        if load is None:
            return
        if self._window is None:
            await self._sample(load)
        async with self._noting(ACCOUNTING):
            await self._accounting(moment(load.now))

    async def from_cloud(self, cloud: CycleCloudClient, now: datetime) -> None:
        """CycleCloud widens a window to whole hours: the one that is not over is collected again later."""
        async with self._noting(VM_HOURS):
            window = await self._due(VM_HOURS, now, VM_HOURS_LAG)
            for piece in window.pieces(VM_HOURS_AT_ONCE):
                usage = await cloud.usage(piece.since, piece.until, "hourly")
                rows = vm_hours_of(usage, self._site.cluster.name)
                rows = await asyncio.to_thread(with_costs, rows, self._site.cluster, self._ledger)
                await asyncio.to_thread(self._ledger.save_vm_hours, rows)
                await self._note_collected(VM_HOURS, piece, len(rows))
            await self._note_collected(VM_HOURS, window)

    @asynccontextmanager
    async def _noting(self, *sources: str) -> AsyncIterator[None]:
        """Notes the trouble of these sources instead of raising it; the ledger's own is raised."""
        try:
            yield
        except HybridHpcError as error:
            for source in sources:
                await self._note_trouble(source, error)

    async def _sample(self, load: Load) -> None:
        """Its window has no holes for the watermark: a sample that is missing tells of itself."""
        load = await asyncio.to_thread(with_known_nodes, load, self._site.cluster, self._ledger)
        rows = samples_of(load, self._site.cluster.name)
        await asyncio.to_thread(self._ledger.save_samples, rows)
        await asyncio.to_thread(keep_snapshot, load, self._site.cluster, self._ledger)
        window = await self._due(SAMPLES, moment(load.now), timedelta(0))
        await self._note_collected(SAMPLES, window, len(rows), load.unreadable)

    async def _accounting(self, now: datetime) -> None:
        window = await self._due(ACCOUNTING, now, ACCOUNTING_LAG)
        for piece in window.pieces(ACCOUNTING_AT_ONCE):
            await self._accounting_of(piece)
        await self._note_collected(ACCOUNTING, window)

    async def _accounting_of(self, window: Window) -> None:
        """One window; two halves of it when its jobs are too many for one answer."""
        scheduler = self._site.scheduler
        command = scheduler.usage_command(window.since.timestamp(), window.until.timestamp())
        try:
            answer = await self._site.head_node.run(command, timeout_s=ACCOUNTING_TIMEOUT_S)
        except TooLong:
            if window.until - window.since <= ACCOUNTING_LEAST:
                raise
            for half in window.halves():
                await self._accounting_of(half)
            return
        records = scheduler.read_usage(answer)
        count = await asyncio.to_thread(save_records, records, self._site.cluster, self._ledger)
        await self._note_collected(ACCOUNTING, window, count, records.unreadable)

    async def _due(self, source: str, now: datetime, lag: timedelta) -> Window:
        if self._window:
            return replace(self._window, until=min(self._window.until, now))
        known = await asyncio.to_thread(self._ledger.watermark, self._site.cluster.name, source)
        return due(known.collected if known else None, now, first=FIRST, overlap=lag)

    async def _note_collected(self, source: str, window: Window, rows: int = 0, unreadable: int = 0) -> None:
        """A piece of the past may touch what is collected only as a whole, so that is noted too."""
        cluster, before = self._site.cluster.name, self.collected
        by_source = {**before.rows, source: before.rows.get(source, 0) + rows}
        left_out = {**before.unreadable, source: before.unreadable.get(source, 0) + unreadable}
        await asyncio.to_thread(self._ledger.note_collected, cluster, source, window, left_out[source])
        self.collected = replace(before, rows=by_source, unreadable=left_out)

    async def _note_trouble(self, source: str, error: HybridHpcError) -> None:
        cluster, why = self._site.cluster.name, str(error)
        log.warning("%s: %s: %s", cluster, source, why)
        await asyncio.to_thread(self._ledger.note_trouble, cluster, source, why)
        trouble = {**self.collected.trouble, source: why}
        silent = self.collected.silent or not isinstance(error, NoAccounting)
        self.collected = replace(self.collected, trouble=trouble, silent=silent)


def save_records(records: JobRecords, cluster: Cluster, ledger: Ledger) -> int:
    """Writes the lives that used something, a batch at a time, each while the next is read; how many."""
    count = 0
    with ThreadPoolExecutor(1, "usage") as writer:
        written = writer.submit(ledger.save_usage, [])
        for batch in _batches(filter(is_usage, records)):
            rows = _rows(batch, cluster, ledger)
            written.result()
            written = writer.submit(ledger.save_usage, rows)
            count += len(rows)
        written.result()
    return count


def _batches(records: Iterable[JobRecord]) -> Iterator[list[JobRecord]]:
    left = iter(records)
    while batch := list(islice(left, BATCH)):
        yield batch


def _rows(records: list[JobRecord], cluster: Cluster, ledger: Ledger) -> list[UsageRow]:
    ours = ledger.our_jobs(cluster.name, {record.name for record in records if is_token(record.name)})
    return [usage_row(record, cluster, _ours(record, ours)) for record in records]


def _ours(record: JobRecord, ours: Mapping[str, Ours]) -> Ours | None:
    """A stranger's job may have the name of one of ours."""
    known = ours.get(record.name)
    return known if known and known.native_id in (record.native_id, None) else None
