"""What the pages show and the API answers: the ledger's rows, cut to what a reader needs (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.overview import OpenCount
from hybrid_hpc.ledger.rows import AlertRow, BreakerRow, JobRow

HEAD_NODE = "head node"
MayRead = Callable[[str], bool]  # of a DAG id: may this reader see its runs?


class View(BaseModel):
    """One answer; made from a row by its names."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Stage(StrEnum):
    """Where an open job stands, coarser than its state."""

    SUBMITTING = "submitting"
    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"  # it has ended, or is about to, and is to be settled
    UNKNOWN = "unknown"


_STAGES = {
    **dict.fromkeys((JobState.HELD, JobState.PENDING, JobState.CONFIGURING), Stage.WAITING),
    **dict.fromkeys((JobState.RUNNING, JobState.SUSPENDED), Stage.RUNNING),
}


def stage_of(state: JobState, *, recorded: bool) -> Stage:
    """The stage of an open job; ``recorded`` says whether the ledger has its native id."""
    if state is JobState.UNKNOWN:
        return Stage.UNKNOWN if recorded else Stage.SUBMITTING
    return _STAGES.get(state, Stage.ENDING)


class AlertView(View):
    """Something that a person must look at."""

    subject: str
    kind: str
    cluster: str
    sentence: str
    raised_at: datetime
    seen_at: datetime


class WayView(View):
    """One way to a cluster and the breaker before it; ``open``: nobody goes there until ``probe_at``."""

    target: str
    cluster: str
    way: str
    state: Literal["closed", "open"] = "closed"
    failures: int = 0  # in a row
    why: str = ""
    changed_at: datetime | None = None
    opened_at: datetime | None = None
    probe_at: datetime | None = None

    @classmethod
    def of(cls, target: str, row: BreakerRow | None) -> Self:
        """The way, well when nothing has failed there."""
        cluster, _, way = target.partition(" ")
        here = cls(target=target, cluster=cluster, way=way or HEAD_NODE)
        if row is None:
            return here
        known = {
            name: getattr(row, name) for name in ("failures", "why", "changed_at", "opened_at", "probe_at")
        }
        return here.model_copy(update={**known, "state": "closed" if row.opened_at is None else "open"})


class JobView(View):
    """One open job."""

    token: str
    dag_id: str
    run_id: str
    group_id: str
    map_index: int
    cluster: str
    partition: str
    native_id: str | None
    name: str
    project: str
    submitted_by: str
    state: JobState
    stage: Stage
    intent_at: datetime
    started_at: datetime | None
    state_seen_at: datetime | None
    unknown_since: datetime | None
    sentence: str
    outcome: JobState | None
    exit_code: int | None
    restarts: int
    cancel_requested_at: datetime | None
    cancel_requested_by: str | None
    cancel_why: str | None
    cancel_sent_at: datetime | None

    @classmethod
    def of(cls, row: JobRow) -> Self:
        """What the ledger has of it, and of its request only what is shown."""
        asked = row.request_json
        return cls(
            **{name: getattr(row, name) for name in _FROM_ROW},
            name=_text(asked, "name"),
            project=_text(asked, "project"),
            stage=stage_of(row.state, recorded=row.native_id is not None),
        )

    @property
    def state_word(self) -> str:
        """The state in words."""
        return "submitting" if self.stage is Stage.SUBMITTING else self.state.value.replace("_", " ")

    @property
    def unknown_from(self) -> datetime | None:
        """Since when nobody knows where it is; None when somebody does."""
        return (self.unknown_since or self.state_seen_at) if self.stage is Stage.UNKNOWN else None

    @property
    def run_path(self) -> str:
        """Where its DAG run is in Airflow's UI, below the UI's own address."""
        return f"dags/{quote(self.dag_id, safe='')}/runs/{quote(self.run_id, safe='')}"


_FROM_ROW = [name for name in JobView.model_fields if name not in ("name", "project", "stage")]


class Whose(View):
    """Whose jobs are shown: everybody's, or with ``mine`` those of ``person``, who looks at the page."""

    person: str
    mine: bool

    @property
    def by(self) -> str:
        """Who has submitted what is shown; '' for everybody."""
        return self.person if self.mine else ""

    @property
    def word(self) -> Literal["mine", "all"]:
        """As it stands in an address."""
        return "mine" if self.mine else "all"


EVERYBODY = Whose(person="", mine=False)


class JobsView(View):
    """The newest open jobs; ``total`` are all that are asked for, ``others`` those of other people.

    ``hidden`` are all that the reader may not see.
    """

    total: int
    others: int
    hidden: int
    jobs: tuple[JobView, ...]

    @property
    def more(self) -> int:
        """How many are left out."""
        return max(self.total - len(self.jobs), 0)


class FindingView(View):
    """One thing that a reconciliation found; '' and None where it did not say."""

    cluster: str
    token: str
    native_id: str
    name: str
    action: str
    why: str
    result: str
    age_s: float | None

    @classmethod
    def of(cls, finding: Mapping[str, Any]) -> Self:
        """Tolerant: it may have been written by another version."""
        words = {name: _text(finding, name) for name in cls.model_fields if name != "age_s"}
        age_s = finding.get("age_s")
        return cls(**words, age_s=age_s if isinstance(age_s, int | float) else None)


class ReconciliationView(View):
    """One run of hpc_reconcile; ``total`` are all its findings that the reader may see."""

    began_at: datetime
    seconds: float
    open_jobs: int
    total: int
    findings: tuple[FindingView, ...]


def alert_views(rows: Sequence[AlertRow]) -> tuple[AlertView, ...]:
    """The alerts, the oldest first."""
    return tuple(AlertView.model_validate(row) for row in rows)


def stages(counts: Sequence[OpenCount], cluster: str) -> dict[Stage, int]:
    """How many open jobs are at which stage on a cluster."""
    found = dict.fromkeys(Stage, 0)
    for count in counts:
        if count.cluster == cluster:
            found[stage_of(count.state, recorded=count.recorded)] += count.jobs
    return found


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "" if value is None else str(value)
