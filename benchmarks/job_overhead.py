"""What a job's way costs beside what Airflow alone costs: `hpc_job` with instant work against empty tasks.

    python benchmarks/job_overhead.py [repetitions]

On one stack, in one run, turn by turn, from the trigger to the end of the DAG run:

* ``hpc_job`` with a job that runs ``true`` on the idle on-premises cluster, from choosing the cluster to
  settling its accounts;
* ``floor_python``, the floor: the same tasks and edges, without those for a job that moves on, which
  `hpc_job` has and skips (so that skipping them counts); with Python tasks that do nothing on workers and,
  for the two waits, sensors that start in the triggerer and end from it at once. That is the least Airflow
  can do for this graph when each task works where it does in `hpc_job`: a wait for hours must not hold a
  worker, and the triggerer looks for work once a second, which is most of this floor;
* for honesty two lower floors: ``floor_workers``, with Python tasks in place of the waits, and
  ``floor_empty``, with EmptyOperators everywhere, which neither worker nor triggerer sees.

The first run of each is not counted. Ends with 1 when the ratio of the medians is above the target.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.stacks import DAGS, OUR_DAGS, benchmark_stack
from lab.airflow_api import FINISHED, AirflowApi, moment

TARGET = 3.0
REPETITIONS = 7
JOB, FLOOR = "hpc_job", "floor_python"
LOWER = {
    "floor_workers": "the same with Python tasks in place of the waits",
    "floor_empty": "EmptyOperators, which no worker runs",
}
WAY = (
    "choose_cluster",
    "onprem.submit",
    "onprem.wait_in_queue",
    "onprem.wait_for_completion",
    "collect",
)
BETWEEN = "between the tasks (Airflow)"
CONF: dict[str, object] = {"name": "instant", "script": "true", "walltime": "1", "cluster": "onprem"}
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Run:
    """One run: seconds from the trigger to its end, by task, and what lies between the tasks."""

    total_s: float
    parts_s: dict[str, float]
    gaps_s: dict[str, float]


def measure(api: AirflowApi, repetitions: int) -> dict[str, list[Run]]:
    """Runs of each DAG, taken turn by turn, without the first of each."""
    runs: dict[str, list[Run]] = {dag_id: [] for dag_id in (JOB, FLOOR, *LOWER)}
    for number in range(repetitions + 1):
        for dag_id, found in runs.items():
            found.append(run(api, dag_id, f"overhead-{number}-{time.time_ns()}"))
    return {dag_id: found[1:] for dag_id, found in runs.items()}


def run(api: AirflowApi, dag_id: str, run_id: str) -> Run:
    """One run, from the moment before the trigger to its end. Fails when it does not succeed."""
    triggered = datetime.now(UTC)
    api.trigger(dag_id, run_id, CONF if dag_id == JOB else {})
    ended = _end(api, dag_id, run_id)
    tasks = {task["task_id"]: task for task in api.tasks(dag_id, run_id)}
    assert set(WAY) <= tasks.keys(), f"{dag_id} is not the graph that is compared here: {sorted(tasks)}"
    return read_run(triggered, ended, [tasks[name] for name in WAY])


def _end(api: AirflowApi, dag_id: str, run_id: str) -> datetime:
    deadline = time.monotonic() + PATIENCE_S
    while (found := api.run(dag_id, run_id))["state"] not in FINISHED:
        assert time.monotonic() < deadline, f"{dag_id} {run_id} is still {found['state']}"
        time.sleep(LOOK_EVERY_S)
    assert found["state"] == "success", f"{dag_id} {run_id}: {found['state']}"
    return _moment(found, "end_date")


def read_run(triggered: datetime, ended: datetime, tasks: Sequence[dict[str, Any]]) -> Run:
    """The parts of a run, which add up to the whole, from its task instances in their order."""
    spans = [(_moment(task, "start_date"), _moment(task, "end_date")) for task in tasks]
    edges = [(triggered, triggered), *spans, (ended, ended)]
    names = [task["task_id"] for task in tasks]
    return Run(
        total_s=_seconds(triggered, ended),
        parts_s={name: _seconds(*span) for name, span in zip(names, spans, strict=True)},
        gaps_s={
            f"before {name}": _seconds(before[1], after[0])
            for name, (before, after) in zip([*names, "the end"], pairwise(edges), strict=True)
        },
    )


def _moment(found: dict[str, Any], name: str) -> datetime:
    when = moment(found[name])
    assert when, f"{found} has no {name}"
    return when


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def ratio(runs: dict[str, list[Run]], against: str) -> float:
    """The median of `hpc_job` over that of another DAG."""
    return _total(runs[JOB]) / _total(runs[against])


def _total(runs: Sequence[Run]) -> float:
    return median(run.total_s for run in runs)


def shares(runs: dict[str, list[Run]]) -> Table:
    """A row for each task and for each gap: median seconds, and their share of the whole."""
    runs = {dag_id: runs[dag_id] for dag_id in (JOB, FLOOR)}
    table = Table("", title=f"medians of {len(runs[JOB])} runs of each, turn by turn")
    for dag_id in runs:
        table.add_column(f"{dag_id}\nseconds", justify="right")
        table.add_column("\nshare", justify="right")
    for name in runs[JOB][0].parts_s:
        table.add_row(_short(name), *_cells(runs, [name]))
    table.add_section()
    gaps = list(runs[JOB][0].gaps_s)
    for name in gaps:
        table.add_row(_short(name), *_cells(runs, [name]), style="dim")
    table.add_row(BETWEEN, *_cells(runs, gaps))
    table.add_section()
    table.add_row("trigger to end", *_whole(runs), style="bold")
    return table


def _short(name: str) -> str:
    return name.replace("onprem.", "")


def _cells(runs: dict[str, list[Run]], names: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for found in runs.values():
        seconds = median(sum((run.parts_s | run.gaps_s)[name] for name in names) for run in found)
        cells += [f"{seconds:.2f}", f"{seconds / _total(found):.0%}"]
    return cells


def _whole(runs: dict[str, list[Run]]) -> list[str]:
    cells: list[str] = []
    for found in runs.values():
        totals = [run.total_s for run in found]
        cells += [f"{median(totals):.2f}", f"{min(totals):.1f}-{max(totals):.1f}"]
    return cells


def report(runs: dict[str, list[Run]], console: Console) -> bool:
    """Print the shares and the ratios; True when the target is reached."""
    reached = ratio(runs, FLOOR) <= TARGET
    console.print(shares(runs))
    console.print(
        f"{JOB} takes {ratio(runs, FLOOR):.2f} times what the same graph of empty Python tasks takes; "
        f"target: at most {TARGET:g}: {'reached' if reached else 'MISSED'}",
        style="green" if reached else "red",
        highlight=False,
    )
    for dag_id, what in LOWER.items():
        console.print(f"Against {what}: {ratio(runs, dag_id):.1f} times.", highlight=False)
    return reached


def main() -> int:
    """Bring a stack up, measure, print; 1 when the target is missed."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS
    console = Console()
    floors = dict.fromkeys((FLOOR, *LOWER), OUR_DAGS / "floors.py")
    with benchmark_stack({JOB: DAGS / "hpc_job.py", **floors}) as stack:
        api = stack.airflow.api()
        runs = measure(api, repetitions)
        api.close()
    return 0 if report(runs, console) else 1


if __name__ == "__main__":
    sys.exit(main())
