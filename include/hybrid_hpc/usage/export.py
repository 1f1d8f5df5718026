"""The month's exports, read from the ledger."""

from __future__ import annotations

from collections.abc import Iterator

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.usage.export_charges import Charge, charges
from hybrid_hpc.usage.export_focus import focus_csv
from hybrid_hpc.usage.frames import frame_of, pieces_of
from hybrid_hpc.usage.selection import Selection, usage_by
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window


def focus_export(ledger: Ledger, clusters: Clusters, month: Window) -> Iterator[str]:
    """FOCUS rows of the month as pieces of a CSV file; all is read before the first piece is given."""
    found = month_charges(ledger, clusters, month)
    return focus_csv(found, clusters.clusters, month)


def month_charges(ledger: Ledger, clusters: Clusters, month: Window) -> list[Charge]:
    """The charges of each day of the month, the days in order."""
    jobs = usage_by(ledger, Selection(month), ["day", "cluster", "partition", "project"]).reset_index()
    vm_hours = frame_of(VmHourRow, ledger.vm_hours_between(month))
    lives = frame_of(LifeRow, ledger.lives_between(month))
    return [
        charge
        for day in pieces_of(month, "day")
        for charge in charges(jobs[jobs["day"] == day.since], vm_hours, lives, clusters.clusters, day)
    ]
