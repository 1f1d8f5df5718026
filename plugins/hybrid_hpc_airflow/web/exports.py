"""The routes of what is taken away: cost rows as CSV, and the report of a month as one file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, status
from fastapi.responses import HTMLResponse, StreamingResponse

from hybrid_hpc.errors import Invalid
from hybrid_hpc.months import month_name, month_window
from hybrid_hpc.usage.export import focus_export
from hybrid_hpc.usage.export_report import month_report
from hybrid_hpc.usage.windows import Window
from hybrid_hpc_airflow.web.dependencies import ClustersDep, LedgerDep, NowDep
from hybrid_hpc_airflow.web.rendering import report_html

exports = APIRouter()
MonthQuery = Annotated[str | None, Query(description="Such as 2026-03; left out: this month so far.")]
MonthPath = Annotated[str, Path(description="Such as 2026-03.")]


@exports.get("/exports/focus.csv")
def focus(
    ledger: LedgerDep, clusters: ClustersDep, now: NowDep, month: MonthQuery = None
) -> StreamingResponse:
    """The month's cost rows, FOCUS 1.2. All is read before the first line: an error is no cut file."""
    name = month or month_name(now)
    pieces = focus_export(ledger, clusters, _window(name))
    return StreamingResponse(pieces, media_type="text/csv", headers=_saved_as(f"focus-{name}.csv"))


@exports.get("/reports/{month}.html")
def report(ledger: LedgerDep, clusters: ClustersDep, now: NowDep, month: MonthPath) -> HTMLResponse:
    """The month's report without persons, to be saved: its style is in it, which no page of ours may have."""
    made = month_report(ledger, clusters, _window(month), now)
    return HTMLResponse(report_html(made), headers=_saved_as(f"hpc-{month}.html"))


def _window(month: str) -> Window:
    try:
        return month_window(month)
    except Invalid as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error


def _saved_as(name: str) -> dict[str, str]:
    """Names hold only what `month_window` lets pass."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}
