"""What one job used, as the ledger keeps it, from its accounting record (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.endings import duration_text, memory_text
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import JobRecord
from hybrid_hpc.usage.costs import HOUR_S, Held, cost_usd, whole_nodes_paid

MOST_LETTERS = 200  # of what is in an index, which takes no longer text


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one life of one job, or of one array task, used so far; anybody's, not only ours."""

    cluster: str
    native_id: str
    task: str  # as in `JobRecord`, '' when it is no array
    submitted_at: datetime  # with the three above it the accounting's own identity of a life
    token: str  # '' when it is not ours
    name: str
    user: str  # the account it ran under, which is the same for all of ours
    person: str  # who submitted it through us, else the account
    project: str
    partition: str
    state: JobState  # pending for a life that has ended: the scheduler has put the job back in the queue
    exit_code: int | None
    nodes: int
    cores: int
    gpus: int
    eligible_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None  # None while it runs
    elapsed_s: float
    walltime_s: int | None
    memory_asked_mib: int | None  # all nodes
    cpu_s: float  # user and system, all steps
    max_rss_mib: float | None  # highest peak of a single process of a step
    node_names: tuple[str, ...]
    cost_usd: float  # at the prices of the day it was collected

    @property
    def core_h(self) -> float:
        """Core-hours it kept from others."""
        return self.cores * self.elapsed_s / HOUR_S

    @property
    def cpu_h(self) -> float:
        """Core-hours in which it computed."""
        return self.cpu_s / HOUR_S

    @property
    def gpu_h(self) -> float:
        """GPU-hours it kept from others."""
        return self.gpus * self.elapsed_s / HOUR_S

    @property
    def wait_s(self) -> float | None:
        """From the moment it could have started; None: it never did.

        Time held back by us or by a start date is not waiting. The start of a job that was cancelled while it
        waited is its end, by Slurm.
        """
        if self.started_at is None or (self.started_at == self.ended_at and self.state is JobState.CANCELLED):
            return None
        return max((self.started_at - (self.eligible_at or self.submitted_at)).total_seconds(), 0.0)


def is_usage(record: JobRecord) -> bool:
    """True for a life that has begun or ended.

    What waits has used nothing. The tasks of an array that wait share a record that changes its name with
    every task that starts: kept, it would wait for ever.
    """
    return record.started_at is not None or record.ended_at is not None


@dataclass(frozen=True, slots=True)
class Ours:
    """What the ledger knows of a job of ours; ``native_id`` is None until it is recorded."""

    token: str
    native_id: str | None
    submitted_by: str


def usage_row(record: JobRecord, cluster: Cluster, ours: Ours | None = None) -> UsageRow:
    """The usage of one life; ``ours``: it is one of that job."""
    return UsageRow(
        cluster=cluster.name,
        native_id=record.native_id,
        task=_task(record.task),
        submitted_at=_submitted_at(record),
        token=ours.token if ours else "",
        name=record.name,
        user=record.user[:MOST_LETTERS],
        person=((ours and ours.submitted_by) or record.user)[:MOST_LETTERS],
        project=record.project[:MOST_LETTERS],
        partition=record.partition,
        state=record.state,
        exit_code=record.exit_code,
        nodes=record.nodes,
        cores=record.cores,
        gpus=record.gpus,
        eligible_at=_moment(record.eligible_at),
        started_at=_moment(record.started_at),
        ended_at=_moment(record.ended_at),
        elapsed_s=record.elapsed_s,
        walltime_s=record.walltime_s,
        memory_asked_mib=record.memory_asked_mib,
        cpu_s=record.cpu_s,
        max_rss_mib=record.max_rss_mib,
        node_names=record.node_names,
        cost_usd=_cost_usd(record, cluster),
    )


def usage_text(rows: Sequence[UsageRow]) -> str:
    """One line for a log: ``used 0.53 core-hours (81 % busy), peak 1.2 GiB, waited 3 s, costs 0.02 USD``."""
    if not rows:
        return "its usage is not known: the accounting has no record of it"
    parts = [_core_hours_text(rows), _peak_text(rows), _wait_text(rows), f"costs {_money(rows)} USD"]
    return "used " + ", ".join(part for part in parts if part)


def _cost_usd(record: JobRecord, cluster: Cluster) -> float:
    """0 for a partition that clusters.yaml does not name: it has no price."""
    partition = cluster.partitions.get(record.partition)
    if partition is None:
        return 0.0
    held = Held(record.nodes, record.cores, record.gpus, record.memory_asked_mib or 0, record.elapsed_s)
    return float(cost_usd(held, partition, whole_nodes=whole_nodes_paid(cluster)))


def _task(text: str) -> str:
    """The tasks of an array that never started may be named in a text of any length."""
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}...]"


def _submitted_at(record: JobRecord) -> datetime:
    """Part of the key, so never None; a record that lacks it is told apart by its other times."""
    if record.submitted_at is not None:
        return datetime.fromtimestamp(record.submitted_at, UTC)
    others = (record.eligible_at, record.started_at, record.ended_at)
    return datetime.fromtimestamp(next((value for value in others if value is not None), 0.0), UTC)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


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
