"""What came of a request for nodes, read from the lives of its nodes (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hybrid_hpc.ledger.rows import LifeRow, ScaleRow

CERTAIN = timedelta(minutes=1)  # one short answer of CycleCloud's, or one that is late, ends no request


class WhatCame(StrEnum):
    """How a request for nodes ended."""

    CAME = "came"  # every node has taken jobs
    IN_PART = "in part"
    REFUSED = "refused"  # CycleCloud added none
    FAILED = "failed"  # it did, and none took a job; or nobody knows whether it did, and none is there


@dataclass(frozen=True, slots=True)
class Came:
    """What came of one request: how many of its nodes took jobs, and why no more, where nobody said it."""

    outcome: WhatCame
    nodes: int
    why: str = ""


def what_came(request: ScaleRow, lives: Sequence[LifeRow], now: datetime) -> Came | None:
    """What came of a request; None while a node of it may still come. ``lives``: those of its nodes."""
    came = len({life.name for life in lives if life.up_at})
    if came == len(request.names):
        return Came(WhatCame.CAME, came)
    if any(_may_come(life, now) for life in lives) or _some_unseen(request, lives, now):
        return None
    if came:
        return Came(WhatCame.IN_PART, came, _lost(request, lives))
    if request.added == 0:
        return Came(WhatCame.REFUSED, 0, "CycleCloud added none and gave no reason")
    return Came(WhatCame.FAILED, 0, _lost(request, lives))


def _may_come(life: LifeRow, now: datetime) -> bool:
    return not life.up_at and (life.gone_at is None or now - life.gone_at < CERTAIN)


def _some_unseen(request: ScaleRow, lives: Sequence[LifeRow], now: datetime) -> bool:
    """True when nodes may be on their way that no look has found yet."""
    promised = len(request.names) if request.added is None else request.added
    return len(lives) < promised and now - (request.answered_at or request.asked_at) < CERTAIN


def _lost(request: ScaleRow, lives: Sequence[LifeRow]) -> str:
    if not lives and request.answered_at is None:
        return "CycleCloud did not answer, and has no node of it"
    missing = len(request.names) - len({life.name for life in lives if life.up_at})
    return f"{missing} of {len(request.names)} nodes never took a job"
