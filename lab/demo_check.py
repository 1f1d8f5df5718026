"""Whether the demo's jobs ended as they should (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from hybrid_hpc.jobs import JobState
from lab.demo_jobs import Collected, DemoJob, outcome
from lab.demo_samples import Chart


def problems(job: DemoJob, left: Collected) -> list[str]:
    """Say in sentences what is not as the sample expects; empty when all is well."""
    return [
        f"{job.sample.title}: {problem}." for problem in (*_ended(job), *_told(job, left), *_drawn(job, left))
    ]


def points(chart: Chart, files: tuple[Path, ...]) -> dict[float, float]:
    """Read what the chart's files hold: y by x, in the order of x; what is no such JSON is left out."""
    found = [_point(chart, path) for path in files if fnmatch(path.name, chart.files)]
    return dict(sorted(point for point in found if point))


def _ended(job: DemoJob) -> Iterator[str]:
    expect = job.sample.expect
    if not job.finished:
        yield "it has not ended in time"
        return
    wanted = "success" if expect.state is JobState.COMPLETED else "failed"
    seen = {
        "run": (job.run_state, wanted),
        "cluster": (job.row.cluster if job.row else None, expect.cluster),
        "state": (outcome(job).value, expect.state.value),
        "exit code": (job.row.exit_code if job.row else None, expect.exit_code),
    }
    for what, (is_, should) in seen.items():
        if is_ != should:
            yield f"its {what} is {is_}, not {should}"


def _told(job: DemoJob, left: Collected) -> Iterator[str]:
    expect, decision = job.sample.expect, job.decision.sentence if job.decision else ""
    if expect.output not in left.output:
        yield f"its output lacks '{expect.output}'"
    if not re.search(expect.decision, decision):
        yield f"its decision '{decision}' does not say '{expect.decision}'"
    if expect.failure and not (expect.failure in left.failure and expect.output in left.failure):
        yield f"its failure does not say '{expect.failure}' and '{expect.output}': '{left.failure}'"


def _drawn(job: DemoJob, left: Collected) -> Iterator[str]:
    if job.sample.chart is None:
        return
    drawn = points(job.sample.chart, left.files)
    for x, (low, high) in job.sample.chart.between.items():
        if not low <= drawn.get(x, float("nan")) <= high:
            yield f"at {x} the result is {drawn.get(x, 'missing')}, not between {low} and {high}"


def _point(chart: Chart, path: Path) -> tuple[float, float] | None:
    try:
        values = json.loads(path.read_text())
        return float(values[chart.x]), float(values[chart.y])
    except (OSError, ValueError, KeyError, TypeError):
        return None
