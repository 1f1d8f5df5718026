"""From aggregates to charts: one value for each piece of time, None where nothing is known (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hybrid_hpc.usage.costs import HOUR_S
from hybrid_hpc.usage.windows import Window
from hybrid_hpc_airflow.web.usage_views import CapacityView, ChartView, GapView, SeriesView

SEEN = 0.05  # of a piece of time: with fewer samples its utilisation is not told
WAITS = {"wait_p50_s": "half of the jobs", "wait_p90_s": "90 %", "wait_p95_s": "95 %"}
SIDE_BY_SIDE = {
    "job_core_h": "jobs",
    "boot_core_h": "boot",
    "idle_core_h": "idle",
    "head_core_h": "head node",
    "other_core_h": "other",
}
MINUTE_S = 60.0

Pieces = Sequence[Window]


def stacked(
    table: pd.DataFrame, figure: str, pieces: Pieces, gaps: Sequence[GapView], **chart: str
) -> ChartView:
    """Bars of one figure by cluster; the table's index is (piece, cluster)."""
    clusters = table.index.get_level_values(1).unique().sort_values()
    series = [
        SeriesView(name=name, values=_values(table.xs(name, level=1)[figure], pieces, _of(gaps, name)))
        for name in clusters
    ]
    return _over_time(pieces, series, gaps, kind="bars", **chart)


def waits(table: pd.DataFrame, pieces: Pieces, gaps: Sequence[GapView]) -> ChartView:
    """How long jobs waited; the table's index is the piece. No job, no wait."""
    unit, unit_s = _unit_of(table[list(WAITS)].max().max())
    series = [
        SeriesView(name=name, values=tuple(_known(table[column].reindex(_index(pieces)) / unit_s)))
        for column, name in WAITS.items()
    ]
    told = {"id": "waits", "title": "Waiting time", "unit": unit, "note": "at most"}
    return _over_time(pieces, series, gaps, kind="lines", **told)


def failures(table: pd.DataFrame, pieces: Pieces, gaps: Sequence[GapView]) -> ChartView:
    """How many lives ended in which way; the table's index is the piece, its columns are the causes."""
    series = [
        SeriesView(name=str(cause).replace("_", " "), values=_values(table[cause], pieces, gaps))
        for cause in table.columns
    ]
    told = {"id": "failures", "title": "Not completed, by cause", "unit": "jobs"}
    return _over_time(pieces, series, gaps, kind="bars", **told)


def utilisation(table: pd.DataFrame, pieces: Pieces, gaps: Sequence[GapView]) -> ChartView:
    """Busy cores against those that were up, percent; the table's index is (piece, cluster)."""
    seen = 100 * table["utilisation"].where(table["seen"] >= SEEN)
    series = [
        SeriesView(name=name, values=tuple(_known(seen.xs(name, level=1).reindex(_index(pieces)))))
        for name in table.index.get_level_values(1).unique().sort_values()
    ]
    told = {"id": "utilisation", "title": "Utilisation", "unit": "% of the cores that were up"}
    return _over_time(pieces, series, gaps, kind="lines", **told)


def side_by_side(capacity: Sequence[CapacityView]) -> ChartView:
    """What the VMs' core-hours went into, by cluster; where there are no VMs, those of jobs alone."""
    series = [
        SeriesView(name=name, values=tuple(getattr(each, column) for each in capacity))
        for column, name in SIDE_BY_SIDE.items()
    ]
    return ChartView(
        id="capacity",
        title="Core-hours of jobs and of VMs",
        note="what VMs did beside running jobs",
        kind="stacked rows",
        unit="core-hours",
        along=tuple(each.cluster for each in capacity),
        series=tuple(each for each in series if any(each.values)),
    )


def forecasts(rows: Sequence[Mapping[str, Any]]) -> ChartView:
    """How far forecast starts were from what came, in minutes."""
    columns = {
        "bias_s": "too hopeful by (median)",
        "error_p50_s": "off by (half)",
        "error_p90_s": "off by (90 %)",
    }
    return ChartView(
        id="forecasts",
        title="Forecast starts against what came",
        kind="rows",
        unit="minutes",
        along=tuple(f"{row['cluster']} {row['partition']}, {row['placements']} jobs" for row in rows),
        series=tuple(
            SeriesView(name=name, values=tuple(row[column] / MINUTE_S for row in rows))
            for column, name in columns.items()
        ),
    )


def elsewhere(rows: Sequence[Mapping[str, Any]]) -> ChartView:
    """What jobs cost, and would have cost on another cluster, of those that fit there."""
    columns = {"usd": "as it was", "usd_elsewhere": "elsewhere"}
    return ChartView(
        id="elsewhere",
        title="The same jobs elsewhere",
        note="of the jobs that fit there, at list prices, none on spot nodes",
        kind="rows",
        unit="USD",
        along=tuple(
            f"{row['cluster']} on {row['elsewhere']}, {row['fit']} of {row['jobs']} jobs" for row in rows
        ),
        series=tuple(
            SeriesView(name=name, values=tuple(row[column] for row in rows))
            for column, name in columns.items()
        ),
    )


def _unit_of(longest_s: float) -> tuple[str, float]:
    """In which unit a person reads times up to this one, and how many seconds it has."""
    if not longest_s > 2 * HOUR_S:
        return "minutes", MINUTE_S
    return ("hours", HOUR_S) if longest_s <= 72 * HOUR_S else ("days", 24 * HOUR_S)


def _over_time(
    pieces: Pieces, series: Sequence[SeriesView], gaps: Sequence[GapView], **chart: str
) -> ChartView:
    spans = {(gap.since.isoformat(), gap.until.isoformat()) for gap in gaps}
    times = {
        "along": tuple(piece.since.date().isoformat() for piece in pieces),
        "until": tuple(piece.until.date().isoformat() for piece in pieces),
    }
    return ChartView.model_validate({**chart, **times, "series": tuple(series), "gaps": sorted(spans)})


def _values(column: pd.Series, pieces: Pieces, gaps: Sequence[GapView]) -> tuple[float | None, ...]:
    """0 where nothing was used, None where nothing was collected."""
    found = column.to_dict()
    return tuple(
        float(found[each]) if each in found else None if _missing(piece, gaps) else 0.0
        for each, piece in zip(_index(pieces), pieces, strict=True)
    )


def _missing(piece: Window, gaps: Sequence[GapView]) -> bool:
    return any(gap.since <= piece.since and piece.until <= gap.until for gap in gaps)


def _of(gaps: Sequence[GapView], cluster: str) -> list[GapView]:
    return [gap for gap in gaps if gap.cluster == cluster]


def _index(pieces: Pieces) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([piece.since for piece in pieces]).as_unit("us")


def _known(values: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in values]
