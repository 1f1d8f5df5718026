"""The ledger's tables that only pages read: each cluster's newest snapshot, the end of each job's output."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from hybrid_hpc.ledger.tables import Base


class Snapshot(Base):
    """One partition, or with '' the whole cluster, as last seen: `hybrid_hpc.snapshots.SnapshotRow`."""

    __tablename__ = "snapshots"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
    nodes_idle: Mapped[int]
    nodes_busy: Mapped[int]
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
    busy_usd_per_hour: Mapped[float]
    trouble: Mapped[str]


class JobOutput(Base):
    """The last lines of what one job wrote, cleaned: `hybrid_hpc.output_tail`."""

    __tablename__ = "job_outputs"

    token: Mapped[str] = mapped_column(primary_key=True)
    tail: Mapped[str]
    kept_at: Mapped[datetime]
