"""What the demo shows: on a terminal a live table, else a line for each thing that happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lab.demo_jobs import DemoJob, outcome
from lab.demo_samples import Chart

GOOD, BAD, BUSY = "green", "red", "yellow"
BAR = 40
COLUMNS = {"Job": 22, "Cluster": 7, "Job id": 6, "State": 10, "Queued": 6}  # heading to width
STORY = "How it fares, and why there"
HEADER_LINES = 4


class View(AbstractContextManager["View"]):
    """Shows steps and jobs. Between enter and exit the last lines of a terminal are its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._step = ""
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def step(self, text: str) -> None:
        """Tell what is being done from now on."""
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        if not self._console.is_terminal:
            self._tell(line)
            return
        self._tell(self._step)
        self._step = line
        self._live.update(Spinner("dots", Text(line)), refresh=True)

    def jobs(self, jobs: Sequence[DemoJob]) -> None:
        """Show where all jobs stand."""
        if self._console.is_terminal:
            self._tell(self._step)
            self._step = ""
            self._live.update(table(jobs, datetime.now(UTC), *self._console.size), refresh=True)
            return
        for job in jobs:
            line = _line(job)
            if self._told.get(job.sample.name) != line:
                self._told[job.sample.name] = line
                self._tell(f"{time.monotonic() - self._began:6.1f} s  {line}")

    def _tell(self, line: str) -> None:
        if line:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def table(jobs: Sequence[DemoJob], now: datetime, width: int = 160, height: int = 100) -> Table:
    """All jobs as a table, a row each, that fits a terminal of that many columns and lines."""
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), width=width)
    for heading, columns in COLUMNS.items():
        grid.add_column(heading, width=columns, no_wrap=heading != "Job")
    grid.add_column(STORY)
    lines = max(1, (height - HEADER_LINES) // max(1, len(jobs)))
    letters = lines * max(20, width - sum(COLUMNS.values()) - len(COLUMNS) - 3)
    for job in jobs:
        story = _story(job)
        story.truncate(letters - 8 * lines, overflow="ellipsis")  # words do not fill their lines
        grid.add_row(*_cells(job, now), story)
    return grid


def bars(chart: Chart, points: dict[float, float]) -> RenderableType:
    """A bar for each point, its length by y; the longest has `BAR` signs."""
    top = max(points.values(), default=1.0) or 1.0
    lines = [f"  {x:6.2f}  {'█' * round(BAR * y / top):<{BAR}}  {y:.3f}" for x, y in points.items()]
    return Group(Text(chart.title), *map(Text, lines))


def _cells(job: DemoJob, now: datetime) -> tuple[RenderableType, ...]:
    queued = job.queued_s(now)
    return (
        job.sample.title,
        _cluster(job),
        (job.row and job.row.native_id) or "",
        Text(_state(job), style=_style(job)),
        "" if queued is None else f"{queued:.0f} s",
    )


def _cluster(job: DemoJob) -> str:
    if job.row:
        return job.row.cluster
    return job.decision.cluster if job.decision else ""


def _state(job: DemoJob) -> str:
    if not job.run_state:
        return "not yet"
    if job.row is None:
        return "failed" if job.run_state == "failed" else "placing"
    if job.row.settled:
        return outcome(job).value
    return job.row.state.value if job.row.native_id else "submitting"


def _style(job: DemoJob) -> str:
    if not job.finished:
        return BUSY if job.run_state else "dim"
    return GOOD if outcome(job) is job.sample.expect.state else BAD


def _story(job: DemoJob) -> Text:
    """How it fares, if anybody can say, then why it is where it is; before both, what it is to show."""
    if job.decision is None:
        return Text(job.sample.shows, style="dim")
    fares = f"{job.row.sentence}; " if job.row and job.row.sentence else ""
    return Text.assemble(fares, (job.decision.sentence, "dim" if fares else ""))


def _line(job: DemoJob) -> str:
    parts = [job.sample.title, _cluster(job), _state(job)]
    if job.row and job.row.native_id:
        parts.append(f"job {job.row.native_id}")
    if job.row and job.row.settled:
        parts.append(job.row.sentence)
    elif job.decision and not (job.row and job.row.native_id):
        parts.append(job.decision.sentence)
    return " | ".join(str(part) for part in parts if part)
