"""What goes into the ledger and what comes back: plain frozen values, never ORM objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from hybrid_hpc.budget_models import Budget
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.identity import SERVICE, identity_of
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.request import JobRequest

# As `Job.of` makes it: ``azure.0.1``, after a move ``onprem.0.1m1.0``; resubmission adds ``~1``.
_ATTEMPT = re.compile(r"[a-z0-9_]+\.([0-9]+)\.([0-9]+)(?:m([0-9]+)\.([0-9]+))?d?(?:~[0-9]+)?")


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One placement. ``decision`` is the whole of it as JSON, with every cluster's verdict.

    ``move`` is 0 for the first one, else the number of the move; ``left`` is the attempt it moves on from.
    """

    key: JobKey
    request: JobRequest
    decision: Mapping[str, Any]
    cluster: str
    partition: str
    sentence: str
    submitted_by: str
    decided_at: datetime
    move: int = 0
    left: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job that has been given to a cluster and is to be submitted there.

    ``attempt`` tells a retry (the same text) from a user's clear (another text); the ledger gives every
    attempt its own generation. ``runs_as`` is an identity (`hybrid_hpc.identity`). ``directives`` are the
    site's extra ones, ``evictable`` says that it is for spot nodes, ``within`` is the budget that must have
    its most left when an earlier attempt has ended; none of the three is kept.
    """

    key: JobKey
    request: JobRequest
    cluster: str
    partition: str
    submitted_by: str = ""
    attempt: str = ""
    directives: Mapping[str, str] = field(default_factory=dict)
    evictable: bool = False
    runs_as: str = SERVICE
    within: Budget | None = None

    @classmethod
    def of(
        cls, key: JobKey, decision: DecisionRow, cluster: Cluster, *, within: Budget | None = None
    ) -> Self:
        """The job of one try of a submit task; ``key.generation`` counts the clears of that task.

        Clearing the choice, or the submission on one of the clusters, each makes another attempt; so does
        a move to another cluster. Raises `InvalidRequest` when the cluster has no account for it.
        """
        before = f"{decision.key.generation}.{_submissions_cleared(decision.left)}m{decision.move}"
        where = before if decision.move else f"{decision.key.generation}"
        return cls(
            key=key,
            request=decision.request,
            cluster=cluster.name,
            partition=decision.partition,
            submitted_by=decision.submitted_by,
            attempt=f"{cluster.name}.{where}.{key.generation}",
            directives=cluster.directives,
            evictable=cluster.spot(decision.partition) is not None,
            runs_as=identity_of(cluster, project=decision.request.project, person=decision.submitted_by),
            within=within,
        )


def clears(attempt: str) -> tuple[int, ...]:
    """How often choice and submission had been cleared, and it had moved: the larger, the later."""
    found = _ATTEMPT.fullmatch(attempt)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def _submissions_cleared(attempt: str) -> int:
    return clears(attempt)[1] if clears(attempt) else 0


@dataclass(frozen=True, slots=True)
class JobRow:
    """One attempt at one job as the ledger knows it; moments are UTC, None when not reached."""

    token: str
    dag_id: str
    run_id: str
    group_id: str
    map_index: int
    generation: int
    attempt: str
    request_json: Mapping[str, Any]
    submitted_by: str
    cluster: str
    partition: str
    run_dir: str  # '' until it was first made
    intent_at: datetime
    ambiguous_until: datetime | None
    native_id: str | None
    native_submitted_at: datetime | None
    recorded_at: datetime | None
    released_at: datetime | None
    state: JobState  # last seen; unknown until a poll saw it
    state_seen_at: datetime | None
    unknown_since: datetime | None
    reason: str
    sentence: str
    tasks: Mapping[str, int]
    node_names: tuple[str, ...]
    restarts: int
    started_at: datetime | None
    ended_at: datetime | None
    settled_at: datetime | None
    outcome: JobState | None
    evidence: str | None
    exit_code: int | None
    signal: int | None
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    cancel_why: str | None
    cancel_sent_at: datetime | None
    cancel_confirmed_at: datetime | None
    leave_requested_at: datetime | None
    leave_why: str | None
    runs_as: str = SERVICE  # for ever, whatever clusters.yaml says later

    @property
    def key(self) -> JobKey:
        """Which job of which run it is."""
        return JobKey(self.dag_id, self.run_id, self.group_id, self.map_index, self.generation)

    @property
    def request(self) -> JobRequest:
        """What was asked for; read anew at each call."""
        return JobRequest.model_validate(self.request_json)

    @property
    def settled(self) -> bool:
        """True when its outcome stands for ever."""
        return self.settled_at is not None

    @property
    def cancel_wished(self) -> bool:
        """True when somebody wished it away, whether or not the cluster knows that yet."""
        return self.cancel_requested_at is not None

    @property
    def left(self) -> bool:
        """True when it went from its cluster, unstarted, because that could not run it."""
        return self.evidence == "withdrawn"

    def ambiguous(self, now: datetime) -> bool:
        """True while a submission whose answer was lost may still arrive at the scheduler."""
        return self.ambiguous_until is not None and now < self.ambiguous_until

    def state_age_s(self, now: datetime) -> float | None:
        """Seconds since the state was seen; None when no poll has seen the job."""
        return None if self.state_seen_at is None else (now - self.state_seen_at).total_seconds()


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """One request for nodes; ``answered_at`` None: nobody knows whether it arrived.

    ``outcome`` is one of `hybrid_hpc.ledger.what_came.WhatCame`, or '' while nodes may still come;
    ``came``: how many of its nodes took jobs; ``message``: why fewer than were asked for.
    """

    request_id: str
    cluster: str
    nodearray: str
    names: tuple[str, ...]
    for_jobs: tuple[str, ...]
    asked_at: datetime
    answered_at: datetime | None
    added: int | None
    message: str
    settled_at: datetime | None
    outcome: str
    came: int | None


@dataclass(frozen=True, slots=True)
class WishRow:
    """Nodes that one try of a task waits for, since ``wished_at``; ``seen_at``: repeated last."""

    waiter: str
    cluster: str
    nodearray: str
    count: int
    wished_at: datetime
    seen_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class LifeRow:
    """One life of one node; ``up_at`` None: never seen taking jobs; ``gone_at`` None: it is there."""

    cluster: str
    node_id: str
    name: str
    nodearray: str
    vm_size: str
    asked_at: datetime
    up_at: datetime | None
    last_busy_at: datetime | None
    seen_at: datetime
    gone_at: datetime | None
    request_id: str = ""  # which request made it; '': nobody here asked for it


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """The breaker before one way to a cluster; ``opened_at`` None: closed, after ``failures`` in a row."""

    target: str
    failures: int
    why: str
    changed_at: datetime
    opened_at: datetime | None
    probe_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """Something that a person must look at; ``subject`` is a job's token or a way to a cluster."""

    subject: str
    kind: str
    cluster: str
    sentence: str
    raised_at: datetime
    seen_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReconciliationRow:
    """One run of hpc_reconcile; ``findings`` are `hybrid_hpc.reconcile.Finding` as JSON."""

    began_at: datetime
    seconds: float
    open_jobs: int
    findings: Sequence[Mapping[str, Any]]


def moment(seconds: float) -> datetime:
    """A cluster's clock (unix seconds) as the ledger keeps it."""
    return datetime.fromtimestamp(seconds, UTC)
