"""From the roll-up to the page *Usage*; every function blocks for as long as the ledger takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.ended_usage import Place, place_of
from hybrid_hpc.ledger.findings import Finding
from hybrid_hpc.ledger.watermarks import WatermarkRow
from hybrid_hpc.usage.collect import ACCOUNTING
from hybrid_hpc.usage.days import DAY
from hybrid_hpc.usage.frames import pieces_of
from hybrid_hpc.usage.rollup import roll_up
from hybrid_hpc.usage.selection import (
    COLUMNS,
    PERIODS,
    Selection,
    failures_by,
    rolled_usage,
    sums_by,
    utilisation_by,
)
from hybrid_hpc.usage.windows import Window
from hybrid_hpc_airflow.web import usage_charts
from hybrid_hpc_airflow.web.usage_access import Asked
from hybrid_hpc_airflow.web.usage_capacity import capacity_of
from hybrid_hpc_airflow.web.usage_cursor import cursor_of
from hybrid_hpc_airflow.web.usage_views import (
    ChartView,
    FoundView,
    GapView,
    LineView,
    TotalsView,
    UsageJobsView,
    UsageJobView,
    UsageView,
)

AT_ONCE = 14  # days of clusters that a reader waits for; more are left to hpc_usage, and told
LATE = timedelta(minutes=30)  # hpc_usage collects every ten minutes
JOBS = 100  # on one page
MOST_ADVICE = 20


def read_usage(ledger: Ledger, clusters: Clusters, asked: Asked, now: datetime) -> UsageView:
    """All of it, in the same few queries however many jobs there are."""
    wanted = asked.filter.selection
    to_roll_up = _rolled_up(ledger, wanted)
    capacity = capacity_of(ledger, wanted, now)
    marks = [mark for mark in ledger.watermarks() if mark.cluster in clusters.clusters]
    gaps = gaps_of(marks, wanted, now)
    by_cluster = sums_by(ledger, wanted, ["cluster"])
    elastic = [name for name, each in clusters.clusters.items() if each.elastic]
    return UsageView(
        now=now,
        first=asked.filter.first.isoformat(),
        last=asked.filter.last.isoformat(),
        totals=TotalsView(**_plain(rolled_usage(ledger, wanted, []))[0]),
        elastic_share=_share(by_cluster["core_h"], elastic),
        elastic_usd_share=_share(by_cluster["cost_usd"], elastic),
        lines=read_lines(ledger, asked),
        capacity=capacity,
        charts=(*_charts(ledger, asked, gaps, now), usage_charts.side_by_side(capacity)),
        gaps=gaps,
        to_roll_up=to_roll_up,
        found=_found(ledger.findings(), asked),
        names=_names(ledger, asked),
    )


def read_lines(ledger: Ledger, asked: Asked) -> tuple[LineView, ...]:
    """The table: a period's lines in the order of time, all others' by core-hours."""
    by = asked.filter.by
    table = rolled_usage(ledger, asked.filter.selection, [by])
    if by not in PERIODS:
        table = table.sort_values("core_h", ascending=False, kind="stable")
    names = [str(name.date()) if by in PERIODS else str(name) for name in table.index]
    return tuple(LineView(name=name, **row) for name, row in zip(names, _plain(table), strict=True))


def read_usage_jobs(ledger: Ledger, asked: Asked, after: Place | None, limit: int = JOBS) -> UsageJobsView:
    """One page of the jobs that ended in the time that is asked for."""
    rows = ledger.ended_lives(asked.filter.selection.extract, limit + 1, after)
    more = cursor_of(place_of(rows[limit - 1])) if len(rows) > limit else ""
    return UsageJobsView(jobs=tuple(map(UsageJobView.of, rows[:limit])), after=more)


def gaps_of(marks: Sequence[WatermarkRow], wanted: Selection, now: datetime) -> tuple[GapView, ...]:
    """Where the accounting of a cluster has nothing, and what else has stopped being collected."""
    here = [mark for mark in marks if not wanted.cluster or mark.cluster in wanted.cluster]
    found = [gap for mark in here for gap in _gaps_of(mark, wanted.window, now)]
    return tuple(gap for gap in found if gap.since < gap.until)


def _gaps_of(mark: WatermarkRow, window: Window, now: datetime) -> list[GapView]:
    until, who = min(now, window.until), {"cluster": mark.cluster, "source": mark.source}
    if mark.collected is None:
        return [GapView(**who, since=window.since, until=until, why=mark.trouble or "never collected")]
    begins, ends = mark.collected.since, max(mark.collected.until, window.since)
    why = mark.trouble or "it has not been collected since: does hpc_usage run?"
    after = [GapView(**who, since=ends, until=until, why=why)] if ends < until - LATE else []
    before = GapView(
        **who, since=window.since, until=min(begins, until), why="nothing before has been collected"
    )
    return [before, *after] if mark.source == ACCOUNTING else after


def _rolled_up(ledger: Ledger, wanted: Selection) -> int:
    """Rolls up what takes no longer than a reader waits; gives how many days are left."""
    days = (wanted.extract.first, wanted.extract.after)
    marks = ledger.marks(*days)
    if 0 < len(marks) <= AT_ONCE:
        roll_up(ledger, *days)
        return 0
    return sum(mark.span == DAY for mark in marks)


def _charts(ledger: Ledger, asked: Asked, gaps: Sequence[GapView], now: datetime) -> tuple[ChartView, ...]:
    wanted, period = asked.filter.selection, asked.filter.period
    pieces = pieces_of(Window(wanted.window.since, min(wanted.window.until, _midnight_after(now))), period)
    if not pieces:
        return ()
    missing = [gap for gap in gaps if gap.source == ACCOUNTING]
    used = sums_by(ledger, wanted, [period, "cluster"])
    each_s = {pd.Timestamp(each.since): _seconds(each, now) for each in pieces}
    up = utilisation_by(ledger, wanted, [period, "cluster"], 1.0)
    up["seen"] = up["seen"] / [each_s[piece] for piece in up.index.get_level_values(0)]
    told = {"unit": "core-hours", "title": "Core-hours of jobs"}
    return (
        usage_charts.stacked(used, "core_h", pieces, missing, id="core-hours", **told),
        usage_charts.stacked(
            used, "cost_usd", pieces, missing, id="money", unit="USD", title="Cost of jobs, an estimate"
        ),
        usage_charts.waits(rolled_usage(ledger, wanted, [period]), pieces, missing),
        usage_charts.utilisation(up, pieces, missing),
        usage_charts.failures(failures_by(ledger, wanted, [period]), pieces, missing),
    )


def _midnight_after(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _seconds(piece: Window, now: datetime) -> float:
    return max((min(piece.until, now) - piece.since).total_seconds(), 1.0)


def _found(findings: Mapping[str, Finding], asked: Asked) -> FoundView | None:
    """Advice for those whose names the reader may see, and who are asked for."""
    if not findings:
        return None
    rows = {kind: list(each.found) for kind, each in findings.items()}
    window = next(iter(findings.values())).window
    advice = [each["sentence"] for each in rows.get("advice", ()) if _is_for(each, asked)]
    charts = (
        usage_charts.elsewhere(rows.get("elsewhere", [])),
        usage_charts.forecasts(rows.get("forecasts", [])),
    )
    return FoundView(
        since=window.since,
        until=window.until,
        advice=tuple(advice[:MOST_ADVICE]),
        charts=tuple(chart for chart in charts if not chart.empty),
    )


def _is_for(advice: Mapping[str, Any], asked: Asked) -> bool:
    wanted = {name: getattr(asked.filter, name) for name in ("cluster", "project", "person")}
    seen = asked.by_whom.sees_everybody or advice["person"] == asked.by_whom.name
    return seen and all(not value or advice[name] == value for name, value in wanted.items())


def _names(ledger: Ledger, asked: Asked) -> dict[str, tuple[str, ...]]:
    """What there is in the whole time, so that a filter can be changed for another one."""
    who = asked.by_whom
    own = {} if asked.names_persons and who.sees_everybody else {"person": {asked.filter.person} - {""}}
    extract = asked.filter.selection.extract
    everything = replace(extract, only=own)
    columns = [each for each in COLUMNS if each != "person" or who.sees_everybody]
    return {column: tuple(ledger.rolled_names(everything, column)) for column in columns}


def _share(figures: pd.Series, elastic: Sequence[str]) -> float | None:
    whole = float(figures.sum())
    return float(figures[figures.index.isin(elastic)].sum()) / whole if whole else None


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A line each; None for what is not known."""
    plain = table.astype(object)
    return [
        {str(name): value for name, value in row.items()}
        for row in plain.where(plain.notna(), None).to_dict("records")
    ]
