"""The routes of the page *Usage*, of its jobs and downloads, and of the same as JSON below ``/hpc/api``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, status
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse
from pydantic import BaseModel

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.ended_usage import Place
from hybrid_hpc_airflow.web import usage_reading
from hybrid_hpc_airflow.web.dependencies import ClustersDep, LedgerDep, NowDep
from hybrid_hpc_airflow.web.headers import POLICY
from hybrid_hpc_airflow.web.usage_access import Asked, AskedDep
from hybrid_hpc_airflow.web.usage_cursor import place_at
from hybrid_hpc_airflow.web.usage_files import Rows, csv_lines, parquet_pieces
from hybrid_hpc_airflow.web.usage_rendering import usage_html, usage_jobs_html
from hybrid_hpc_airflow.web.usage_views import LineView, UsageJobsView, UsageJobView, UsageView

PLOTLY = version("plotly")
# plotly writes its rules into style elements of its own; these are all that it makes, by their hashes.
STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",
)
CHARTS_POLICY = "; ".join([*POLICY, " ".join(["style-src 'self'", *STYLES])])
KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}  # its address has its version
FILES: dict[str, tuple[str, Callable[[type[BaseModel], Iterable[Rows]], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", csv_lines),
    "parquet": ("application/vnd.apache.parquet", parquet_pieces),
}
Kind = Literal["csv", "parquet"]

page = APIRouter()
api = APIRouter(prefix="/api")


def _own_jobs(asked: AskedDep) -> Asked:
    """403 for the jobs of the whole cluster by somebody who may not see whose they are."""
    if not asked.names_persons:
        sentence = "you may see your own jobs only: ask for 'whose=mine'"
        raise HTTPException(status.HTTP_403_FORBIDDEN, sentence)
    return asked


def _place(after: Annotated[str, Query(max_length=2_000)] = "") -> Place | None:
    """422 for what no list has told."""
    try:
        return place_at(after) if after else None
    except ValueError as error:
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error


OwnJobsDep = Annotated[Asked, Depends(_own_jobs)]
PlaceDep = Annotated[Place | None, Depends(_place)]


@page.get("/usage", response_class=HTMLResponse)
def show(ledger: LedgerDep, clusters: ClustersDep, asked: AskedDep, now: NowDep) -> HTMLResponse:
    """The page."""
    shown = usage_reading.read_usage(ledger, clusters, asked, now)
    return HTMLResponse(usage_html(shown, asked, PLOTLY), headers={"Content-Security-Policy": CHARTS_POLICY})


@page.get("/usage/jobs", response_class=HTMLResponse)
def jobs(ledger: LedgerDep, asked: OwnJobsDep, after: PlaceDep, now: NowDep) -> HTMLResponse:
    """The jobs of the selection that have ended, a page of them."""
    shown = usage_reading.read_usage_jobs(ledger, asked, after)
    return HTMLResponse(usage_jobs_html(shown, asked, now))


@page.get("/usage/table.{kind}")
def table_file(ledger: LedgerDep, asked: AskedDep, kind: Kind) -> StreamingResponse:
    """The table of the page, whole."""
    return _file(f"usage by {asked.filter.by}", kind, LineView, [usage_reading.read_lines(ledger, asked)])


@page.get("/usage/jobs.{kind}")
def jobs_file(ledger: LedgerDep, asked: OwnJobsDep, kind: Kind) -> StreamingResponse:
    """All jobs of the selection that have ended."""
    return _file("jobs", kind, UsageJobView, _all_jobs(ledger, asked))


@page.get(f"/static/plotly-{PLOTLY}.min.js")
def plotly() -> FileResponse:
    """The library that draws, from its own package."""
    found = find_spec("plotly")
    assert found  # noqa: S101  its version has been read above
    assert found.origin  # noqa: S101
    file = Path(found.origin).parent / "package_data" / "plotly.min.js"
    return FileResponse(file, media_type="text/javascript", headers=KEPT)


@api.get("/usage")
def usage(ledger: LedgerDep, clusters: ClustersDep, asked: AskedDep, now: NowDep) -> UsageView:
    """What the page tells."""
    return usage_reading.read_usage(ledger, clusters, asked, now)


@api.get("/usage/jobs")
def usage_jobs(
    ledger: LedgerDep, asked: OwnJobsDep, after: PlaceDep, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> UsageJobsView:
    """The jobs of the selection that have ended; ``after`` of the answer asks for those that follow."""
    return usage_reading.read_usage_jobs(ledger, asked, after, limit)


def _all_jobs(ledger: Ledger, asked: Asked) -> Iterator[Rows]:
    for rows in ledger.all_ended_lives(asked.filter.selection.extract):
        yield [UsageJobView.of(row) for row in rows]


def _file(name: str, kind: Kind, of: type[BaseModel], pieces: Iterable[Rows]) -> StreamingResponse:
    media_type, written = FILES[kind]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return StreamingResponse(written(of, pieces), media_type=media_type, headers=headers)
