"""The ledger's tables of the usage: what jobs used, what clusters looked like, what VMs cost, and until when.

What comes back is in `hybrid_hpc.usage`: `UsageRow`, `SampleRow`, `VmHourRow`.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.tables import Base


class UsageJob(Base):
    """What one life of anybody's job, or array task, used. The key is the accounting's own identity."""

    __tablename__ = "usage_jobs"
    __table_args__ = (
        Index("ix_usage_jobs_ended_at", "ended_at"),  # what runs has none, and is found by that
        Index("ix_usage_jobs_person_ended_at", "person", "ended_at"),
        Index("ix_usage_jobs_project_ended_at", "project", "ended_at"),
        Index(
            "ix_usage_jobs_token",
            "token",
            postgresql_where=text("token <> ''"),
            sqlite_where=text("token <> ''"),
        ),
    )

    cluster: Mapped[str] = mapped_column(primary_key=True)
    native_id: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    submitted_at: Mapped[datetime] = mapped_column(primary_key=True)
    token: Mapped[str]
    name: Mapped[str]
    user: Mapped[str]
    person: Mapped[str]
    project: Mapped[str]
    partition: Mapped[str]
    state: Mapped[JobState]
    exit_code: Mapped[int | None]
    nodes: Mapped[int]
    cores: Mapped[int]
    gpus: Mapped[int]
    eligible_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    elapsed_s: Mapped[float]
    walltime_s: Mapped[int | None]
    memory_asked_mib: Mapped[int | None]
    cpu_s: Mapped[float]
    max_rss_mib: Mapped[float | None]
    node_names: Mapped[tuple[str, ...]]
    cost_usd: Mapped[float]


class UsageSample(Base):
    """One partition, or with '' the whole cluster, at one moment."""

    __tablename__ = "usage_samples"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    moment: Mapped[datetime] = mapped_column(primary_key=True)
    partition: Mapped[str] = mapped_column(primary_key=True)
    nodes_up: Mapped[int]
    nodes_booting: Mapped[int]
    nodes_off: Mapped[int]
    nodes_draining: Mapped[int]
    nodes_down: Mapped[int]
    cores: Mapped[int]
    cores_busy: Mapped[int]
    cores_free: Mapped[int]
    gpus: Mapped[int]
    gpus_busy: Mapped[int]
    jobs_running: Mapped[int]
    jobs_waiting: Mapped[int]
    jobs_held: Mapped[int]
    cores_waiting: Mapped[int]


class UsageVmHour(Base):
    """The VMs of one kind in one hour, as CycleCloud counts and estimates them."""

    __tablename__ = "usage_vm_hours"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    vm_size: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[str] = mapped_column(primary_key=True)
    core_h: Mapped[float]
    node_h: Mapped[float | None]
    cost_usd: Mapped[float | None]


class Watermark(Base):
    """Which time one source of one cluster has been collected for, and what keeps it from going on."""

    __tablename__ = "watermarks"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime | None]
    until: Mapped[datetime | None]  # both None: never
    unreadable: Mapped[int]  # lines that the last collection left out
    trouble: Mapped[str]  # why it has not gone on; '': it has
    trouble_since: Mapped[datetime | None]
