"""Jobs a minute of a centre (Celery on Redis, FAB, two of everything) against Airflow on one machine.

    python benchmarks/centre.py [jobs]

Both shapes run on this machine, one after the other, with the same lab: what is compared is what the parts
between cost, not what more machines would bring. So many `hpc_job` runs are triggered at once; each job runs
``true`` on premises. Counted is the time from the first trigger to the end of the last run, the way through
placement, submission, waits and settling included. A few jobs before that are not counted.

Ends with 1 when the ratio is below the target.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.stacks import DAGS
from lab.airflow_api import FINISHED, AirflowApi
from lab.layout import PROJECT
from lab.shapes import CENTRE, ONE_MACHINE, Shape
from lab.stack import StackSettings
from lab.testing_stack import running_stack

TARGET = 0.5
JOBS = 30
WARM_UP = 4
JOB = "hpc_job"
CONF: dict[str, object] = {"name": "instant", "script": "true", "walltime": "1", "cluster": "onprem"}
PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many jobs took so many seconds."""

    jobs: int
    seconds: float

    @property
    def per_minute(self) -> float:
        """Jobs a minute."""
        return 60 * self.jobs / self.seconds


def measure(shape: Shape, jobs: int) -> Rate:
    """Bring the shape up with `hpc_job` alone and let the jobs run on it. Fails when one does not succeed."""
    (PROJECT / ".lab").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / ".lab", prefix="bench-dags-") as folder:
        (Path(folder) / f"{JOB}.py").symlink_to(DAGS / f"{JOB}.py")
        with running_stack("bench", StackSettings(dags=Path(folder), shape=shape)) as stack:
            api = stack.airflow.api()
            run_all(api, WARM_UP)
            rate = run_all(api, jobs)
            api.close()
    return rate


def run_all(api: AirflowApi, jobs: int) -> Rate:
    """Trigger so many runs at once and wait until the last has ended."""
    began_s = time.monotonic()
    runs = [f"centre-{number}-{time.time_ns()}" for number in range(jobs)]
    for run_id in runs:
        api.trigger(JOB, run_id, CONF)
    for run_id in runs:
        _end(api, run_id, began_s + PATIENCE_S)
    return Rate(jobs, time.monotonic() - began_s)


def _end(api: AirflowApi, run_id: str, deadline_s: float) -> None:
    while (state := api.run(JOB, run_id)["state"]) not in FINISHED:
        assert time.monotonic() < deadline_s, f"{run_id} is still {state}"
        time.sleep(0.5)
    assert state == "success", f"{run_id}: {state}"


def report(one: Rate, centre: Rate, console: Console) -> bool:
    """Print both rates and the ratio; True when the target is reached."""
    ratio = centre.per_minute / one.per_minute
    table = Table("", "jobs", "seconds", "jobs a minute", title="hpc_job with instant work, all at once")
    for name, rate in (("one machine", one), ("centre", centre)):
        table.add_row(name, str(rate.jobs), f"{rate.seconds:.0f}", f"{rate.per_minute:.1f}")
    console.print(table)
    console.print(
        f"a centre's parts on the same machine do {ratio:.2f} times as many jobs a minute; "
        f"target: at least {TARGET:g}: {'reached' if ratio >= TARGET else 'MISSED'}",
        style="green" if ratio >= TARGET else "red",
        highlight=False,
    )
    return ratio >= TARGET


def main() -> int:
    """Measure both shapes, print; 1 when the target is missed."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    one, centre = measure(ONE_MACHINE, jobs), measure(CENTRE, jobs)
    return 0 if report(one, centre, Console()) else 1


if __name__ == "__main__":
    sys.exit(main())
