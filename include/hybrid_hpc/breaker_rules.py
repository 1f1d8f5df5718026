"""The rules of a circuit breaker, and its sentences (pure): when it opens, who may try, what is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, Self

from hybrid_hpc.errors import AccessDenied, HybridHpcError, Unavailable, Unreadable

OPENS_AFTER = 5  # failures in a row
AGAIN = timedelta(seconds=60)
# CycleCloud locks an account for five minutes after five wrong logins less than a minute apart.
DENIED_AGAIN = timedelta(seconds=300)
WHY_LENGTH = 300
CYCLECLOUD = "CycleCloud"  # the way whose breaker is that of "<cluster> CycleCloud"

UNANSWERED = "has not answered"
DENIED = "has not let us in"
_TO_DO = {
    UNANSWERED: "It is tried again once a minute; its jobs go on, and new ones go elsewhere. Look whether it"
    " is up and can be reached from here.",
    DENIED: "It is tried again every five minutes, so that the account is not locked. An administrator must"
    " look: `python -m hybrid_hpc doctor {cluster}` tries at once and says what to correct.",
}


class Row(Protocol):
    """What is kept of a breaker: `hybrid_hpc.ledger.rows.BreakerRow`."""

    @property
    def failures(self) -> int: ...  # noqa: D102
    @property
    def why(self) -> str: ...  # noqa: D102
    @property
    def opened_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def probe_at(self) -> datetime | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class State:
    """Closed while ``opened_at`` is None; open, the next try is due at ``probe_at``."""

    failures: int = 0
    why: str = ""  # one of the two phrases above, ': ' and the last error
    opened_at: datetime | None = None
    probe_at: datetime | None = None

    @classmethod
    def of(cls, row: Row | None) -> Self:
        """What the ledger says."""
        return cls(row.failures, row.why, row.opened_at, row.probe_at) if row else cls()

    @property
    def pause(self) -> timedelta:
        """How long after a try the next one comes."""
        return DENIED_AGAIN if self.why.startswith(DENIED) else AGAIN

    def due(self, now: datetime) -> bool:
        """True when somebody may try an open way."""
        return self.opened_at is not None and (self.probe_at is None or self.probe_at <= now)

    def lasting(self, now: datetime) -> str:
        """Since when it is open, and why; the same at every look between two tries."""
        phrase, _, error = self.why.partition(": ")
        since = self.opened_at or now
        day = "" if since.date() == now.date() else f"{since:%Y-%m-%d} "
        return f"{phrase} since {day}{since:%H:%M} UTC: {error}"

    def alert(self, target: str, cluster: str, now: datetime) -> str:
        """What a person is told."""
        to_do = _TO_DO[DENIED if self.why.startswith(DENIED) else UNANSWERED]
        return f"{target} {self.lasting(now).rstrip('.')}. {to_do.format(cluster=cluster)}"


def is_failure(error: HybridHpcError) -> bool:
    """Whether it says something about the way; any other no is an answer, and so a success of the way."""
    return isinstance(error, AccessDenied) or (
        isinstance(error, Unavailable) and not isinstance(error, Unreadable)
    )


def opening(failures: int, opened_at: datetime | None, *, denied: bool, now: datetime) -> dict[str, Any]:
    """What a failure changes beside the count. A failed probe changes nothing: its claim has set the next."""
    if denied:
        return {"opened_at": opened_at or now, "probe_at": now + DENIED_AGAIN}
    if opened_at is None and failures >= OPENS_AFTER:
        return {"opened_at": now, "probe_at": now + AGAIN}
    return {}


def why(error: HybridHpcError, prefix: str = "") -> str:
    """What is kept of a failure; ``prefix`` is the cluster's name, which every sentence has anyway."""
    said = " ".join(str(error).removeprefix(prefix).split())[:WHY_LENGTH]
    return f"{DENIED if isinstance(error, AccessDenied) else UNANSWERED}: {said}"
