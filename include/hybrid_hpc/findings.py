"""What a comparison of ledger and queue can find, and the queue as it looks at it (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hybrid_hpc.jobs import TOKEN_PREFIX, JobState

if TYPE_CHECKING:
    from hybrid_hpc.schedulers.base import QueuedJob

UNKNOWN, CONFLICT = "unknown", "conflict"  # kinds of alerts

_TOKEN = re.compile(re.escape(TOKEN_PREFIX) + "[a-z2-7]{12}")


class Action(StrEnum):
    """What is to be done about a finding."""

    ADOPT = "adopt"  # write its native id to the ledger
    RELEASE = "release"
    CANCEL = "cancel"  # and settle it
    SETTLE = "settle"  # it is not in the queue any more
    CANCEL_STRAY = "cancel_stray"  # a held job that no ledger row stands for
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; ``result`` is what became of it, '' until somebody acted.

    ``age_s`` is how long it has been so. ``alert`` is the kind of alert to raise, '' for none. ``closes``:
    when nothing says how the job ended, its row may be closed as unknown.
    """

    cluster: str
    action: Action
    why: str
    token: str = ""
    native_id: str = ""
    name: str = ""
    age_s: float | None = None
    alert: str = ""
    closes: bool = False
    result: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the ledger and the pages."""
        return {**asdict(self), "action": self.action.value}


@dataclass(frozen=True, slots=True)
class InQueue:
    """A job in the queue, an array folded into one: it is held only when all of it is."""

    native_id: str
    token: str
    user: str
    state: JobState
    submitted_at: float

    @property
    def held(self) -> bool:
        """True when it was never released, as far as the queue tells."""
        return self.state is JobState.HELD


def in_queue(jobs: Iterable[QueuedJob]) -> dict[str, dict[str, InQueue]]:
    """The jobs that carry a token as their name, by token and native id."""
    found: dict[str, dict[str, InQueue]] = {}
    for job in jobs:
        if job.name.startswith(TOKEN_PREFIX) and not job.state.final and _TOKEN.fullmatch(job.name):
            same = found.setdefault(job.name, {})
            same[job.native_id] = _folded(job, same.get(job.native_id))
    return found


def _folded(job: QueuedJob, before: InQueue | None) -> InQueue:
    state, submitted_at = job.state, job.submitted_at
    if before:
        state = min(before.state, state, key=liveliness)
        submitted_at = max(before.submitted_at, submitted_at)
    return InQueue(job.native_id, job.name, job.user, state, submitted_at)


def liveliness(state: JobState) -> int:
    """0 for a job that runs, then what waits, then what is held."""
    if state.started:
        return 0
    return 2 if state is JobState.HELD else 1
