"""What a month was, for one page that is mailed and printed: read from the ledger at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.months import month_name
from hybrid_hpc.usage.advice import advice
from hybrid_hpc.usage.aggregate import cloud_share, failures
from hybrid_hpc.usage.capacity import three_numbers
from hybrid_hpc.usage.compare import forecast_errors
from hybrid_hpc.usage.export_charts import Chart, bar_chart
from hybrid_hpc.usage.frames import frame_of, jobs_frame, pieces_of, spread
from hybrid_hpc.usage.placed import PlacedRow
from hybrid_hpc.usage.selection import By, Selection, usage_by
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window

MOST_PROJECTS, MOST_PERSONS, MOST_ADVICE = 40, 25, 25
Row = dict[Hashable, Any]  # None: not known


@dataclass(frozen=True, slots=True)
class MonthReport:
    """All of the page. ``persons`` None: they were not asked for, and no advice names one.

    The rows have the columns of `aggregate.totals`, `three_numbers` and `forecast_errors`; ``failures`` are
    cluster, cause and number. ``gaps``: why something may be missing.
    """

    month: str
    window: Window
    made_at: datetime
    clusters: Sequence[Row]
    projects: Sequence[Row]
    persons: Sequence[Row] | None
    numbers: Sequence[Row]
    failures: Sequence[tuple[str, str, int]]
    forecasts: Sequence[Row]
    cloud: Row
    advice: Sequence[str]
    gaps: Sequence[str]
    charts: Sequence[Chart]

    def summary(self) -> str:
        """A line for each cluster, for a log."""
        used = "{cluster}: {jobs:,} jobs, {core_h:,.1f} core-hours, {cost_usd:,.2f} USD"
        lines = [used.format(**{str(name): value for name, value in row.items()}) for row in self.clusters]
        return "\n".join([f"{self.month}:", *(lines or ["nothing was used"])])


def month_report(
    ledger: Ledger, clusters: Clusters, month: Window, now: datetime, *, persons: bool = False
) -> MonthReport:
    """The report of one month; of the current one as far as it is collected."""
    window = Window(month.since, min(month.until, max(now, month.since)))
    parts = spread(jobs_frame(ledger.usage_between(window)), [window])
    return MonthReport(
        month=month_name(month.since),
        window=window,
        made_at=now,
        clusters=_rows(_usage(ledger, month, "cluster")),
        projects=_rows(_usage(ledger, month, "cluster", "project").nlargest(MOST_PROJECTS, "core_h")),
        persons=_rows(_usage(ledger, month, "person").nlargest(MOST_PERSONS, "core_h")) if persons else None,
        numbers=_rows(_numbers(ledger, parts, window)),
        failures=_causes(failures(parts, ["cluster"])),
        forecasts=_rows(forecast_errors(frame_of(PlacedRow, ledger.placements_between(window)), ["cluster"])),
        cloud=_cloud(parts, clusters),
        advice=_some(advice(parts)) if persons else [],
        gaps=_gaps(ledger, clusters, window),
        charts=_charts(_usage(ledger, month, "day", "cluster"), month),
    )


def _usage(ledger: Ledger, month: Window, *by: By) -> pd.DataFrame:
    return usage_by(ledger, Selection(month), by)


def _rows(table: pd.DataFrame) -> list[Row]:
    """A row each, with the index; None for what is not known."""
    plain = table.reset_index().astype(object)
    return plain.where(plain.notna(), None).to_dict(orient="records")


def _numbers(ledger: Ledger, parts: pd.DataFrame, window: Window) -> pd.DataFrame:
    vm_hours = frame_of(VmHourRow, ledger.vm_hours_between(window))
    return three_numbers(parts, vm_hours, frame_of(LifeRow, ledger.lives_between(window)), window)


def _causes(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Cluster, cause and how many, the most first."""
    found = [
        (str(cluster), str(cause), int(number))
        for cause in table.columns
        for cluster, number in table[cause].items()
        if number
    ]
    return sorted(found, key=lambda each: -each[2])


def _cloud(parts: pd.DataFrame, clusters: Clusters) -> Row:
    """The part of all that went to elastic clusters; {} when nothing was used."""
    elastic = [cluster.name for cluster in clusters.clusters.values() if cluster.elastic]
    shares = _rows(cloud_share(parts.assign(all="all"), elastic, ["all"]))
    return shares[0] if shares else {}


def _some(sentences: Sequence[str]) -> list[str]:
    """Those that somebody reads, and how many more there are."""
    more = len(sentences) - MOST_ADVICE
    return [*sentences[:MOST_ADVICE], *([f"and {more} more"] if more > 0 else [])]


def _gaps(ledger: Ledger, clusters: Clusters, window: Window) -> list[str]:
    """What had not been collected of the window when the report was made, of the clusters that there are."""
    return [
        f"{mark.cluster}: {mark.source} {_until(mark.collected)}"
        + (f": {mark.trouble}" if mark.trouble else "")
        for mark in ledger.watermarks()
        if mark.cluster in clusters.clusters
        and (mark.collected is None or mark.collected.until < window.until)
    ]


def _until(collected: Window | None) -> str:
    return f"is collected until {collected.until:%Y-%m-%d %H:%M} UTC" if collected else "was never collected"


def _charts(days: pd.DataFrame, month: Window) -> list[Chart]:
    pieces = [piece.since for piece in pieces_of(month, "day")]
    titles = {"core_h": "Core-hours of jobs by day", "cost_usd": "USD of jobs by day"}
    return [bar_chart(title, pieces, _series(days[column], pieces)) for column, title in titles.items()]


def _series(values: pd.Series, days: Sequence[datetime]) -> dict[str, list[float]]:
    """By cluster, a value a day."""
    table = values.unstack("cluster").reindex(list(days))
    return {str(cluster): table[cluster].tolist() for cluster in table.columns}
