"""What jobs used and what that costs, from accounting records (pure).

Cost, per life of a job: on premises its cores and GPUs, for as long as it ran; on an elastic cluster its
share of its nodes, the largest of cores, memory and GPUs, because whole nodes are paid for. Boot and idle
time of nodes belong to no job and are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.endings import duration_text, memory_text
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import JobRecord

if TYPE_CHECKING:
    from hybrid_hpc.ledger.rows import JobRow

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one life of one job, or of one array task, used."""

    cluster: str
    native_id: str
    task: str  # array index, '' when it is no array
    submitted_at: datetime
    token: str
    user: str
    project: str
    partition: str
    state: JobState
    exit_code: int | None
    nodes: int
    cores: int
    gpus: int
    started_at: datetime | None
    ended_at: datetime | None
    wait_s: float | None  # from the moment it could have started; None: never started
    elapsed_s: float
    walltime_s: int | None
    core_h: float
    cpu_h: float
    gpu_h: float
    memory_asked_mib: int | None  # all nodes
    max_rss_mib: float | None  # highest peak of a single task of a step
    cost_usd: float

    @property
    def cpu_efficiency(self) -> float | None:
        """Used part of the reserved core time, 0 to 1; None when nothing was reserved."""
        return self.cpu_h / self.core_h if self.core_h else None

    @property
    def memory_efficiency(self) -> float | None:
        """Highest peak against what was asked for on one node; None when either is not known."""
        if self.max_rss_mib is None or not self.memory_asked_mib:
            return None
        return self.max_rss_mib * max(self.nodes, 1) / self.memory_asked_mib

    @property
    def walltime_efficiency(self) -> float | None:
        """Run time against the walltime asked for; None without a limit."""
        return self.elapsed_s / self.walltime_s if self.walltime_s else None


def usage_rows(records: Sequence[JobRecord], row: JobRow, cluster: Cluster) -> list[UsageRow]:
    """The usage of one job of ours, a row for every life that the accounting has."""
    return [_usage_row(record, row.token, row.partition, cluster) for record in records]


def usage_text(rows: Sequence[UsageRow]) -> str:
    """One line for a log: ``used 0.53 core-hours (81 % busy), peak 1.2 GiB, waited 3 s, costs 0.02 USD``."""
    if not rows:
        return "its usage is not known: the accounting has no record of it"
    parts = [_core_hours_text(rows), _peak_text(rows), _wait_text(rows), f"costs {_money(rows)} USD"]
    return "used " + ", ".join(part for part in parts if part)


def _usage_row(record: JobRecord, token: str, partition_asked: str, cluster: Cluster) -> UsageRow:
    partition = cluster.partitions.get(record.partition) or cluster.partitions.get(partition_asked)
    return UsageRow(
        cluster=cluster.name,
        native_id=record.native_id,
        task=record.task,
        submitted_at=_submitted_at(record),
        token=token,
        user=record.user,
        project=record.project,
        partition=record.partition or partition_asked,
        state=record.state,
        exit_code=record.exit_code,
        nodes=record.nodes,
        cores=record.cores,
        gpus=record.gpus,
        started_at=_moment(record.started_at),
        ended_at=_moment(record.ended_at),
        wait_s=_wait_s(record),
        elapsed_s=record.elapsed_s,
        walltime_s=record.walltime_s,
        core_h=record.cores * record.elapsed_s / HOUR_S,
        cpu_h=record.cpu_s / HOUR_S,
        gpu_h=record.gpus * record.elapsed_s / HOUR_S,
        memory_asked_mib=record.memory_asked_mib,
        max_rss_mib=record.max_rss_mib,
        cost_usd=_cost_usd(record, partition, whole_nodes=cluster.elastic is not None),
    )


def _cost_usd(record: JobRecord, partition: Partition | None, *, whole_nodes: bool) -> float:
    """0 for a partition that clusters.yaml does not name: it has no price."""
    if partition is None:
        return 0.0
    share = _share_of_nodes(record, partition)
    cores = share * record.nodes * partition.cores if whole_nodes else record.cores
    gpus = share * record.nodes * partition.gpus if whole_nodes else record.gpus
    prices = partition.prices
    return (cores * prices.core_hour_usd + gpus * prices.gpu_hour_usd) * record.elapsed_s / HOUR_S


def _share_of_nodes(record: JobRecord, partition: Partition) -> float:
    """The largest part of its nodes' cores, memory or GPUs that it kept from others, at most 1."""
    nodes = max(record.nodes, 1)
    cores = record.cores / (nodes * partition.cores)
    memory = (record.memory_asked_mib or 0) / (nodes * partition.memory_mib)
    gpus = record.gpus / (nodes * partition.gpus) if partition.gpus else 0.0
    return min(max(cores, memory, gpus), 1.0)


def _submitted_at(record: JobRecord) -> datetime:
    """Part of the key, so never None; a record that lacks it is told apart by its other times."""
    known = (record.submitted_at, record.eligible_at, record.started_at, record.ended_at)
    return datetime.fromtimestamp(next((value for value in known if value is not None), 0.0), UTC)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _wait_s(record: JobRecord) -> float | None:
    """Time held back by us or by a start date is not waiting, so it counts from when it was eligible."""
    ready_at = record.submitted_at if record.eligible_at is None else record.eligible_at
    if record.started_at is None or ready_at is None:
        return None
    return max(record.started_at - ready_at, 0.0)


def _core_hours_text(rows: Sequence[UsageRow]) -> str:
    core_h, cpu_h, gpu_h = (sum(getattr(row, name) for row in rows) for name in ("core_h", "cpu_h", "gpu_h"))
    busy = f" ({cpu_h / core_h:.0%} busy)" if core_h else ""
    gpus = f", {_number(gpu_h)} GPU-hours" if gpu_h else ""
    return f"{_number(core_h)} core-hours{busy}{gpus}"


def _peak_text(rows: Sequence[UsageRow]) -> str:
    peaks = [row.max_rss_mib for row in rows if row.max_rss_mib is not None]
    return f"peak {memory_text(max(peaks))}" if peaks else ""


def _wait_text(rows: Sequence[UsageRow]) -> str:
    waits = [row.wait_s for row in rows if row.wait_s is not None]
    return f"waited {duration_text(min(waits))}" if waits else ""


def _money(rows: Sequence[UsageRow]) -> str:
    usd = sum(row.cost_usd for row in rows)
    return "under 0.01" if 0 < usd < 0.005 else f"{usd:.2f}"


def _number(value: float) -> str:
    """Two decimals, and two significant digits below a hundredth: 0.0042."""
    return f"{value:.2f}" if value >= 0.01 or not value else f"{value:.2g}"
