"""Jobs: what a scientist asks for, its states, and the name under which it is known everywhere."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. ``UNKNOWN`` is a state of its own: it is neither success nor failure."""

    HELD = "held"
    PENDING = "pending"
    CONFIGURING = "configuring"  # has nodes, and they boot
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    BOOT_FAIL = "boot_fail"
    DEADLINE = "deadline"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """True when nothing will happen to the job any more, by itself."""
        return self in _FINAL

    @property
    def started(self) -> bool:
        """True when the job runs or has run to one of its ends."""
        return self in _STARTED or self.final


_FINAL = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY,
        JobState.NODE_FAIL,
        JobState.PREEMPTED,
        JobState.BOOT_FAIL,
        JobState.DEADLINE,
    }
)
_STARTED = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})

TOKEN_PREFIX = "hh-"  # noqa: S105  a job name, no secret


@dataclass(frozen=True, slots=True)
class JobKey:
    """Which job of which run: the identity that Airflow gives us.

    ``group`` is the id of the task group that `hpc_job()` made, '' at the top level of a DAG.
    ``generation`` is 0 at first and grows when a user clears the task, never at a retry.
    """

    dag_id: str
    run_id: str
    group: str = ""
    map_index: int = -1
    generation: int = 0


def token(key: JobKey) -> str:
    """Our name for one attempt of one request, and the scheduler's job name: ``hh-`` + 12 characters.

    Deterministic, so that a retry after a crash finds the job of the try before it; lower-case
    letters and digits only, 15 characters, which the oldest PBS accepts as a job name.
    """
    parts = (key.dag_id, key.run_id, key.group, str(key.map_index), str(key.generation))
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return TOKEN_PREFIX + base64.b32encode(digest).decode().lower()[:12]


_TOKEN = re.compile(rf"{TOKEN_PREFIX}[a-z2-7]{{12}}")


def is_token(name: str) -> bool:
    """True for a job name that looks like a token, perhaps of another installation."""
    return name.startswith(TOKEN_PREFIX) and _TOKEN.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class JobReport:
    """A job of ours as one poll saw it; for an array, all its tasks folded into one state."""

    token: str
    native_id: str
    state: JobState
    reason: str = ""
    tasks: dict[JobState, int] = field(default_factory=dict)
    node_names: tuple[str, ...] = ()
    started_at: float | None = None
    stage: str = ""  # changes only when there is something new to tell
    sentence: str = ""  # where it stands, in words
    blocked: str = ""  # why its cluster cannot start it, when that is no matter of room
    given_up: bool = False  # neither queue nor accounting has known it for long: no use in waiting
