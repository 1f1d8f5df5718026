"""The ledger's tables of the roll-up: days and months of usage, and what of it is to be made anew.

A row's ``span`` says how long the time is that begins at its ``day``: `DAY` or `MONTH` of
`hybrid_hpc.usage.days`. Its ``cut``, of `hybrid_hpc.usage.cuts`, says which columns are told apart; the
others are ''. So what lies in a time is there once for each cut.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from hybrid_hpc.ledger.tables import Base


class UsageRolled(Base):
    """What was used in one span: sums by whom; the columns of `aggregate.SUMS`.

    Then how many lives ended with a wait, and with a slowdown, in which of `hybrid_hpc.usage.buckets`.
    """

    __tablename__ = "usage_rolled"

    span: Mapped[str] = mapped_column(primary_key=True)
    cut: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    cluster: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int]
    failed: Mapped[int]
    memory_known: Mapped[int]
    core_h: Mapped[float]
    cpu_h: Mapped[float]
    gpu_h: Mapped[float]
    cost_usd: Mapped[float]
    used_core_h: Mapped[float]
    had_core_h: Mapped[float]
    memory: Mapped[float]
    waits: Mapped[bytes]
    slowdowns: Mapped[bytes]


class UsageRolledCause(Base):
    """How many lives ended in one span in one way but *completed*."""

    __tablename__ = "usage_rolled_causes"

    span: Mapped[str] = mapped_column(primary_key=True)
    cut: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    cluster: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[str] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    cause: Mapped[str] = mapped_column(primary_key=True)
    lives: Mapped[int]


class UsageRolledSample(Base):
    """What samples stood for in one span: the columns of `capacity.STOOD`; partition '' is the cluster."""

    __tablename__ = "usage_rolled_samples"

    span: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    cluster: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[str] = mapped_column(primary_key=True)
    seen_s: Mapped[float]
    cores_s: Mapped[float]
    cores_busy_s: Mapped[float]
    jobs_waiting_s: Mapped[float]


class UsageMark(Base):
    """A span of a cluster whose roll-up is older than its rows; each writer of rows counts ``marks`` up."""

    __tablename__ = "usage_marks"

    span: Mapped[str] = mapped_column(primary_key=True)
    cluster: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    marks: Mapped[int]


class UsageLongest(Base):
    """No life of the cluster is longer: so the lives that touch a day are found by when they ended."""

    __tablename__ = "usage_longest"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    longest_s: Mapped[float]


class UsageFinding(Base):
    """What takes all jobs to find, as of the last report: advice, cost elsewhere, errors of forecasts."""

    __tablename__ = "usage_findings"

    kind: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime]
    found: Mapped[list[dict[str, Any]]]
