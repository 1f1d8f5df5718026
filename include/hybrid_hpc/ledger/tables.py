"""The ledger's tables; those of the usage are in `usage_tables`.

`rows` has what comes back; `migrations` has how a database gets them.

Every moment is UTC. Moments with ``native_``, ``started_`` and ``ended_`` are the cluster's clock, all others
the clock of the process that wrote them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.types import Json, Names, State, UtcDateTime

BIG_ID = BigInteger().with_variant(Integer(), "sqlite")
BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")  # an index then answers "begins with"
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """What all tables share: constraint names that migrations can rely on, and column types."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy's own way to say it
        datetime: UtcDateTime,
        JobState: State,
        str: Text,
        float: Float,
        dict[str, Any]: Json,
        list[dict[str, Any]]: Json,
        tuple[str, ...]: Names,
    }


class Decision(Base):
    """One placement of one job; a retry reads it back, so it never flips clusters.

    A job that leaves its cluster has another one, with the number of the ``move`` and the attempt it left.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("dag_id", "run_id", "group_id", "map_index", "generation", "move"),
        UniqueConstraint("left_token"),
    )

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    dag_id: Mapped[str]
    run_id: Mapped[str]
    group_id: Mapped[str]
    map_index: Mapped[int]
    generation: Mapped[int]
    move: Mapped[int] = mapped_column(server_default="0")  # 0: the first placement of this generation
    left_token: Mapped[str | None]
    request: Mapped[dict[str, Any]]
    decision: Mapped[dict[str, Any]]
    cluster: Mapped[str]
    partition: Mapped[str]
    sentence: Mapped[str]
    submitted_by: Mapped[str]
    decided_at: Mapped[datetime]


class Job(Base):
    """One attempt at one job, from the intent to submit it to its settlement, which is for ever."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("token"),
        UniqueConstraint("dag_id", "run_id", "group_id", "map_index", "generation"),
        UniqueConstraint("dag_id", "run_id", "group_id", "map_index", "attempt"),
        Index("ix_jobs_cluster_native_id", "cluster", "native_id"),
        Index("ix_jobs_cluster_settled_at", "cluster", "settled_at"),
        Index("ix_jobs_search_name_id", "search_name", "id"),
        Index("ix_jobs_search_project_id", "search_project", "id"),
        Index("ix_jobs_search_person_id", "search_person", "id"),
        Index("ix_jobs_outcome_id", "outcome", "id"),
    )

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    token: Mapped[str]
    dag_id: Mapped[str]
    run_id: Mapped[str]
    group_id: Mapped[str]
    map_index: Mapped[int]
    generation: Mapped[int]
    attempt: Mapped[str]  # what tells a retry (equal) from a clear (another one)
    request: Mapped[dict[str, Any]]
    decision_id: Mapped[int | None] = mapped_column(BIG_ID, ForeignKey("decisions.id"), index=True)
    submitted_by: Mapped[str]
    cluster: Mapped[str]
    partition: Mapped[str]
    run_dir: Mapped[str]
    intent_at: Mapped[datetime]
    ambiguous_until: Mapped[datetime | None]  # a submission may still arrive until then
    native_id: Mapped[str | None]
    native_submitted_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    state: Mapped[JobState]
    state_seen_at: Mapped[datetime | None]
    unknown_since: Mapped[datetime | None]  # neither queue nor accounting has known it since then
    reason: Mapped[str]
    sentence: Mapped[str]
    tasks: Mapped[dict[str, Any]]  # of an array: how many tasks are in which state
    node_names: Mapped[tuple[str, ...]]
    restarts: Mapped[int]  # how often the scheduler ran it again under the same id
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    outcome: Mapped[JobState | None]
    evidence: Mapped[str | None]
    exit_code: Mapped[int | None]
    signal: Mapped[int | None]
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by: Mapped[str | None]
    cancel_why: Mapped[str | None]
    cancel_sent_at: Mapped[datetime | None]
    cancel_confirmed_at: Mapped[datetime | None]
    leave_requested_at: Mapped[datetime | None]  # its cluster cannot run it: it goes, unless it starts first
    leave_why: Mapped[str | None]
    runs_as: Mapped[str] = mapped_column(server_default="")  # `hybrid_hpc.identity`
    # What a page searches by, cut to what an index takes; the name in small letters.
    search_name: Mapped[str] = mapped_column(BYTEWISE, server_default="")
    search_project: Mapped[str] = mapped_column(server_default="")
    search_person: Mapped[str] = mapped_column(server_default="")


class ScaleRequest(Base):
    """One request for nodes of an elastic cluster, written before it is sent."""

    __tablename__ = "scale_requests"
    __table_args__ = (
        UniqueConstraint("request_id"),
        Index("ix_scale_requests_cluster_settled_at", "cluster", "settled_at"),
    )

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    request_id: Mapped[str]
    cluster: Mapped[str]
    nodearray: Mapped[str]
    names: Mapped[tuple[str, ...]]
    for_jobs: Mapped[tuple[str, ...]]  # native ids
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    added: Mapped[int | None]
    message: Mapped[str]  # why fewer came than were asked for
    settled_at: Mapped[datetime | None]
    outcome: Mapped[str]  # of hybrid_hpc.ledger.what_came; '' until it is settled
    came: Mapped[int | None]  # how many of its nodes took jobs


class NodeWish(Base):
    """Nodes that a task waits for, without a job; it repeats its wish while it waits."""

    __tablename__ = "node_wishes"
    __table_args__ = (Index("ix_node_wishes_cluster_ended_at", "cluster", "ended_at"),)

    waiter: Mapped[str] = mapped_column(primary_key=True)  # one try of one task
    cluster: Mapped[str]
    nodearray: Mapped[str]
    count: Mapped[int]
    wished_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # when it was repeated last
    ended_at: Mapped[datetime | None]


class NodeLife(Base):
    """One life of one node of an elastic cluster; ``seen_at`` is its lease, renewed by whoever watches it."""

    __tablename__ = "node_lives"
    __table_args__ = (
        UniqueConstraint("cluster", "node_id"),
        Index("ix_node_lives_cluster_gone_at", "cluster", "gone_at"),
        Index("ix_node_lives_cluster_nodearray_vm_size", "cluster", "nodearray", "vm_size"),
        Index("ix_node_lives_request_id", "request_id"),
    )

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    cluster: Mapped[str]
    node_id: Mapped[str]  # CycleCloud's: a name lives again and again; of an earlier life with /id after it
    name: Mapped[str]
    nodearray: Mapped[str]
    vm_size: Mapped[str]
    asked_at: Mapped[datetime]
    up_at: Mapped[datetime | None]  # first seen taking jobs
    last_busy_at: Mapped[datetime | None]
    seen_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]
    request_id: Mapped[str]  # of scale_requests; '': nobody here asked for it


class Breaker(Base):
    """The circuit breaker before one way to a cluster; no row: closed, and nothing has failed."""

    __tablename__ = "breakers"

    target: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]  # in a row
    why: Mapped[str]
    changed_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]  # when one caller may try again


class Alert(Base):
    """Something that a person must look at; raised once, seen again and again, cleared when it is over."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_cleared_at", "cleared_at"),)

    subject: Mapped[str] = mapped_column(primary_key=True)  # a job's token, or a way to a cluster
    kind: Mapped[str] = mapped_column(primary_key=True)
    cluster: Mapped[str]
    sentence: Mapped[str]
    raised_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]


class Reconciliation(Base):
    """One run of the comparison between ledger and queues, with all that it found."""

    __tablename__ = "reconciliations"
    __table_args__ = (Index("ix_reconciliations_began_at", "began_at"),)

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True)
    began_at: Mapped[datetime]
    seconds: Mapped[float]
    open_jobs: Mapped[int]
    findings: Mapped[list[dict[str, Any]]]


class Installation(Base):
    """One row: which ledger this is. Two installations may share a cluster's account."""

    __tablename__ = "installation"

    id: Mapped[str] = mapped_column(primary_key=True)
