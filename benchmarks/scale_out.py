"""How soon a job runs on the elastic cluster when it has no node: submission to start, against a node's boot.

    python benchmarks/scale_out.py [repetitions]

On a whole stack, one `hpc_job` after the other, each pinned to the elastic cluster and begun when its last
node is gone. The way of each job is read from what the parts wrote down themselves:

* asked: from the moment at which the ledger knew that the scheduler had taken the job, until the request for
  its node was written down;
* start: from the same moment until the job ran, by the scheduler's own clock, which counts whole seconds.

Ends with 1 when the median of `start` is above 1.3 times a boot of the lab, plus five seconds.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.stacks import DAGS, benchmark_stack
from hybrid_hpc.ledger import JobRow, Ledger, ScaleRow
from lab.airflow_api import FINISHED, AirflowApi
from lab.processes import wait_until
from lab.stack import Stack

BOOTS, SLACK_S = 1.3, 5.0
REPETITIONS = 5
PATIENCE_S = 180.0
CONF: dict[str, object] = {"name": "scale-out", "script": "sleep 1", "walltime": "5", "cluster": "azure"}


@dataclass(frozen=True, slots=True)
class Way:
    """One job, in seconds after the scheduler had taken it."""

    asked_s: float
    start_s: float


def measure(stack: Stack, repetitions: int) -> list[Way]:
    """The ways of so many jobs; the first one, for which everything is loaded, is not counted."""
    api, ledger = stack.airflow.api(), Ledger(stack.ledger_url)
    try:
        return [one(api, ledger, f"scale-out-{number}") for number in range(repetitions + 1)][1:]
    finally:
        ledger.close()
        api.close()


def one(api: AirflowApi, ledger: Ledger, run_id: str) -> Way:
    """One job on a cluster without a node, which has none again at the end."""
    api.trigger("hpc_job", run_id, CONF)
    wait_until(
        lambda: api.run("hpc_job", run_id)["state"] in FINISHED,
        deadline_s=PATIENCE_S,
        what="the end of the run",
    )
    row = ledger.latest_job("hpc_job", run_id, "", -1)
    assert row
    asked = [each for each in ledger.scale_requests(row.cluster) if row.native_id in each.for_jobs]
    assert len(asked) == 1, f"{len(asked)} requests for one job"
    wait_until(
        lambda: not ledger.lives(row.cluster), deadline_s=PATIENCE_S, what="the last node gone", step_s=1
    )
    return way(row, asked[0], min(used.started_at for used in ledger.usage_of(row.token) if used.started_at))


def way(row: JobRow, asked: ScaleRow, started_at: datetime) -> Way:
    """The way of a job, from what the ledger holds of it."""
    assert row.recorded_at
    return Way(
        asked_s=(asked.asked_at - row.recorded_at).total_seconds(),
        start_s=(started_at - row.recorded_at).total_seconds(),
    )


def report(ways: list[Way], boot_s: float, console: Console) -> bool:
    """Print the medians and the ratio; True when the target is reached."""
    allowed_s = BOOTS * boot_s + SLACK_S
    start_s = median(each.start_s for each in ways)
    table = Table("", "median", "least", "most", title=f"{len(ways)} jobs, a boot takes {boot_s:g} s")
    for name, found in (
        ("until the node is asked for", [each.asked_s for each in ways]),
        ("until the job runs", [each.start_s for each in ways]),
    ):
        table.add_row(name, *(f"{how(found):.1f} s" for how in (median, min, max)))
    console.print(table)
    reached = start_s <= allowed_s
    console.print(
        f"A job runs after {start_s / allowed_s:.2f} of {BOOTS:g} boots and {SLACK_S:g} s; "
        f"target: at most 1: {'reached' if reached else 'MISSED'}",
        style="green" if reached else "red",
        highlight=False,
    )
    return reached


def main() -> int:
    """Bring a stack up, measure, print; 1 when the target is missed."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS
    files = {"hpc_job": DAGS / "hpc_job.py", "hpc_nodes_azure": DAGS / "hpc_nodes.py"}
    with benchmark_stack(files) as stack:
        began = time.monotonic()
        ways = measure(stack, repetitions)
        boot_s = stack.lab.settings.boot_s
    console = Console()
    console.print(f"measured in {time.monotonic() - began:.0f} s", style="dim")
    return 0 if report(ways, boot_s, console) else 1


if __name__ == "__main__":
    sys.exit(main())
