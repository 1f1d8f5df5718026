"""The usage of some time as text and as rows, from the ledger: what the last task of ``hpc_usage`` tells."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.ledger.watermarks import WatermarkRow
from hybrid_hpc.usage.advice import advice, advice_of
from hybrid_hpc.usage.aggregate import totals, usage_table
from hybrid_hpc.usage.capacity import three_numbers
from hybrid_hpc.usage.compare import cost_elsewhere, forecast_errors
from hybrid_hpc.usage.frames import frame_of, jobs_frame, spread
from hybrid_hpc.usage.placed import PlacedRow
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window

MOST_ADVICE = 20  # sentences: more, nobody reads


class UsageReport:
    """What was used in a window, read from the ledger at once."""

    def __init__(self, ledger: Ledger, window: Window) -> None:
        self._watermarks = ledger.watermarks()
        self._jobs = jobs_frame(ledger.usage_between(window))
        self._parts = spread(self._jobs, [window])
        self._placed = frame_of(PlacedRow, ledger.placements_between(window))
        vm_hours = frame_of(VmHourRow, ledger.vm_hours_between(window))
        lives = frame_of(LifeRow, ledger.lives_between(window))
        self._numbers = three_numbers(self._parts, vm_hours, lives, window)
        self._totals = totals(self._parts, ["cluster", "project"])

    def rows(self) -> list[dict[Hashable, Any]]:
        """The totals by cluster and project, a row each; None for what is not known."""
        return _records(self._totals)

    def findings(self, clusters: Iterable[Cluster]) -> dict[str, list[dict[Any, Any]]]:
        """What takes all jobs to find, as rows: ``advice``, cost ``elsewhere``, errors of ``forecasts``."""
        return {
            "advice": [asdict(each) for each in advice_of(self._parts)],
            "elsewhere": _records(cost_elsewhere(self._jobs, clusters)),
            "forecasts": _records(forecast_errors(self._placed)),
        }

    def text(self) -> str:
        """Tables for a log, and what is missing in them."""
        sections = {
            "jobs by cluster and project": usage_table(self._totals),
            "core-hours of jobs, core-hours of VMs, money": usage_table(self._numbers),
            "how far it is collected": "\n".join(map(_until, self._watermarks)) or "nothing",
            "what less could be asked for": _some(advice(self._parts)) or "nothing",
        }
        return "\n\n".join(f"{title}:\n{text}" for title, text in sections.items())


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """A row each, as JSON takes it."""
    plain = table.reset_index().astype(object)
    return plain.where(plain.notna(), None).to_dict(orient="records")


def _until(mark: WatermarkRow) -> str:
    until = f"until {mark.collected.until:%Y-%m-%d %H:%M} UTC" if mark.collected else "never"
    left_out = f", {mark.unreadable:,} lines could not be read" if mark.unreadable else ""
    gap = f", THEN A GAP: {mark.trouble}" if mark.trouble else ""
    return f"{mark.cluster} {mark.source}: {until}{left_out}{gap}"


def _some(sentences: Iterable[str]) -> str:
    told = list(sentences)
    more = [f"and {len(told) - MOST_ADVICE} more"] if len(told) > MOST_ADVICE else []
    return "\n".join([*told[:MOST_ADVICE], *more])
