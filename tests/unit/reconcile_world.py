"""Ledger rows and queue lines as a comparison reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hybrid_hpc.jobs import JobKey, JobState, token
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
CLOCK = 5_000_000.0  # the head node's, which is far from ours
NODE = NodeState("node01", ("batch",), NodeStatus.UP, 16, 16, 64_000, 0)
_UNSET: dict[str, Any] = {
    name: None
    for name in JobRow.__dataclass_fields__
    if name.endswith("_at")
    or name in ("ambiguous_until", "unknown_since", "native_id", "outcome", "evidence")
}
_UNSET |= dict.fromkeys(("exit_code", "signal", "cancel_requested_by", "cancel_why", "leave_why"))


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def name_of(run_id: str = "run") -> str:
    return token(JobKey("dag", run_id))


def row(run_id: str = "run", **values: Any) -> JobRow:
    """A job that was recorded as number 7 and released an hour ago, unless ``values`` say otherwise."""
    usual = {
        "token": name_of(run_id),
        "dag_id": "dag",
        "run_id": run_id,
        "group_id": "",
        "map_index": -1,
        "generation": 0,
        "attempt": "0",
        "request_json": {"name": "wing"},
        "submitted_by": "ada",
        "cluster": "onprem",
        "partition": "batch",
        "run_dir": "/scratch/run",
        "native_id": "7",
        "intent_at": ago(hours=1),
        "recorded_at": ago(hours=1),
        "released_at": ago(hours=1),
        "state": JobState.PENDING,
        "reason": "",
        "sentence": "",
        "tasks": {},
        "node_names": (),
        "restarts": 0,
    }
    return JobRow(**{**_UNSET, **usual, **values})


def wished(run_id: str = "run", *, age: timedelta = timedelta(minutes=2), **values: Any) -> JobRow:
    by = {"cancel_requested_at": NOW - age, "cancel_requested_by": "ada", "cancel_why": "wrong input"}
    return row(run_id, **by, **values)


def settled(run_id: str = "run", *, age: timedelta = timedelta(minutes=5), **values: Any) -> JobRow:
    return row(run_id, **{"settled_at": NOW - age, "outcome": JobState.COMPLETED, **values})


def line(
    name: str = "",
    native_id: str = "7",
    state: JobState = JobState.PENDING,
    *,
    age_s: float = 3600.0,
    user: str = "hpc",
    array_tasks: int = 1,
) -> QueuedJob:
    return QueuedJob(
        native_id=native_id,
        name=name or name_of(),
        user=user,
        project="",
        partition="batch",
        state=state,
        reason="",
        nodes=1,
        cores=1,
        memory_per_node_mib=1024,
        gpus_per_node=0,
        walltime_s=600,
        priority=1,
        submitted_at=CLOCK - age_s,
        starts_at=None,
        array_tasks=array_tasks,
    )


def load(*jobs: QueuedJob, unreadable: int = 0) -> Load:
    return Load(CLOCK, (NODE,), jobs, unreadable)
