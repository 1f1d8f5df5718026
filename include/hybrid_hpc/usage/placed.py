"""What a placement forecast, beside what came of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """One placement; ``started_at`` and ``cost_usd`` are of all lives and tasks of its job together."""

    cluster: str
    partition: str
    decided_at: datetime
    starts_in_s: float | None  # forecast, from the decision on
    most_usd: float | None  # forecast: the most it can cost
    started_at: datetime | None  # the first of them
    cost_usd: float | None


def forecast_of(decision: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """``starts_in_s`` and ``most_usd`` of the chosen offer of a decision as JSON; None where it has none."""
    verdicts = decision.get("verdicts", ())
    chosen = [each["best"] for each in verdicts if each["cluster"] == decision.get("cluster")]
    offer: Mapping[str, Any] = (chosen[0] if chosen else None) or {}
    return offer.get("starts_in_s"), offer.get("cost_usd")
