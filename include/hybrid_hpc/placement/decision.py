"""The record of one placement: what was chosen, why, and what every cluster would have offered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from hybrid_hpc.budget_rules import Amount, Standing
from hybrid_hpc.clusters import Policy
from hybrid_hpc.errors import FitsNowhere, Problem, Unavailable
from hybrid_hpc.placement.fits import REMEDIES, Refusal
from hybrid_hpc.placement.outlook import PartitionVerdict
from hybrid_hpc.placement.table import table
from hybrid_hpc.placement.view import ClusterInputs


@dataclass(slots=True)
class Verdict:
    """What one cluster offers a job: the best of its partitions, or why it does not fit (``refusal``)."""

    cluster: str
    best: PartitionVerdict | None = None
    refusal: Refusal | None = None
    partitions: tuple[PartitionVerdict, ...] = ()

    @property
    def fits(self) -> bool:
        """True when the job can go to this cluster."""
        return self.best is not None

    @property
    def why(self) -> str:
        """Why it does not fit; '' when it does."""
        return self.refusal.why if self.refusal else ""


class Decision(BaseModel):
    """One placement, with all it was made from. ``cluster`` and ``partition`` are '' when none fits.

    ``core_h``: what the job takes at most. ``budget``: where its project stood, None without a budget;
    ``over_budget``: why a person must approve the job first, '' when nobody must.

    Safe to keep as JSON: ``Decision.model_validate_json(decision.model_dump_json()) == decision``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str
    partition: str
    sentence: str
    warnings: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...]
    inputs: tuple[ClusterInputs, ...]
    policy: Policy
    decided_at: datetime  # UTC
    core_h: float = 0.0
    budget: Standing | None = None
    over_budget: str = ""

    @property
    def placed(self) -> bool:
        """True when a cluster was found."""
        return bool(self.cluster)

    @property
    def waiting_helps(self) -> bool:
        """True when no cluster was found now, and the same request may find one later."""
        refusals = (verdict.refusal for verdict in self.verdicts)
        return not self.placed and any(refusal and refusal.waiting_helps for refusal in refusals)

    def chosen(self) -> PartitionVerdict | None:
        """The offer that was taken; None when none fits."""
        return next((verdict.best for verdict in self.verdicts if verdict.cluster == self.cluster), None)

    def cost(self) -> Amount:
        """What the job takes at most where it was placed; nothing when it fits nowhere."""
        offer = self.chosen()
        return Amount(offer.cost_usd or 0.0, self.core_h) if offer else Amount()

    def problems(self) -> list[Problem]:
        """For each cluster that does not fit: what does not, and what to do about it."""
        return [
            Problem(verdict.cluster, verdict.refusal.why, REMEDIES[verdict.refusal.rule])
            for verdict in self.verdicts
            if verdict.refusal
        ]

    def raise_if_unplaced(self) -> None:
        """Raises `FitsNowhere` when no cluster can ever hold the job, `Unavailable` when one may later."""
        if self.placed:
            return
        if self.waiting_helps:
            raise Unavailable(self.sentence)
        raise FitsNowhere(self.problems())

    def table(self) -> str:
        """Every partition's verdict as plain text, at most 110 characters wide, for a task's log."""
        return table(self)
