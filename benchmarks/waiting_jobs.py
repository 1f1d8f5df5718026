"""What it costs a head node that many jobs wait: one job against 200, all really in the cluster's queue.

    python benchmarks/waiting_jobs.py [jobs] [seconds of each window]

A job of somebody else's fills the partition. Our jobs are submitted as `hpc_job` submits them, and for each
a DAG run waits in the triggerer with `hpc_job`'s own sensor; the tasks before it are left out, for they
cost the same however many wait. Then, for a while:

* squeue calls: requests for the queue as slurmctld counts them itself, whoever asks;
* SSH connections: those that are open, and those that sshd lets in meanwhile;
* waits that were told: tasks whose log says where their job stands, for a poll that serves only some of them
  would be no feat.

Afterwards one watch without Airflow polls a few times, and its own head node counts. Ends with 1 when there
is more than one connection, or when 200 jobs cause more squeue calls than one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.stacks import OUR_DAGS, SeenThere, benchmark_stack
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import Job, Ledger
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers import scheduler
from hybrid_hpc.site import Site
from hybrid_hpc.submission import submit
from hybrid_hpc.watch import ClusterWatch
from lab.processes import wait_until
from lab.stack import Stack

DAG = "waiting"
JOBS, WINDOW_S = 200, 60.0
POLLS_ALONE = 5
AT_ONCE = 4  # as many as share an SSH connection
PATIENCE_S = 600.0
SLACK = 1  # a window of the same length may hold one poll more
REQUEST = read_request({"name": "waits", "script": "true", "walltime": "1"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in one window, and of a few polls of a watch alone."""

    jobs: int
    told: int
    squeue_calls: int
    connections: int
    commands_alone: int
    connections_alone: int
    cpu_ms_a_poll: float


class Waiting:
    """The jobs that wait, more and more of them."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.there = SeenThere(stack.lab)
        self._stack = stack
        self._console = console
        self._ledger = Ledger(stack.ledger_url)
        self._cluster = load_clusters(stack.lab.folder / "clusters.yaml").cluster("onprem")
        self._scheduler = scheduler(self._cluster.scheduler)
        self._runs: list[str] = []

    def fill_the_partition(self) -> None:
        """A job that takes every node of it."""
        self.there.run("sbatch", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 86400")

    def grow_to(self, jobs: int) -> None:
        """Submit what is missing, start the runs that wait, and see that each of them was told."""
        new = [f"waits-{number}" for number in range(len(self._runs), jobs)]
        with self._console.status(f"submitting until {jobs} jobs wait"):
            asyncio.run(self._submit(new))
        api = self._stack.airflow.api()
        for run_id in new:
            api.trigger(DAG, run_id, {})
        api.close()
        self._runs += new
        with self._console.status(f"until all {jobs} waiting tasks are told"):
            what = f"{jobs} waits that are told where their jobs stand"
            wait_until(lambda: self.told() == jobs, deadline_s=PATIENCE_S, what=what, step_s=1)

    def told(self) -> int:
        """How many tasks wait and have said where their job stands."""
        return sum(map(_waits, self._logs()))

    def watch_with(self, jobs: int, window_s: float) -> Seen:
        """Let so many wait, count for that long, then poll alone."""
        self.grow_to(jobs)
        calls, accepted = self.there.squeue_calls(), self.there.connections_accepted()
        open_before = self.there.connections_open()
        with self._console.status(f"{jobs} jobs wait: counting for {window_s:.0f} s"):
            time.sleep(window_s)
        calls = self.there.squeue_calls() - calls
        connections = open_before + self.there.connections_accepted() - accepted
        alone = asyncio.run(self._poll_alone())
        return Seen(jobs, self.told(), calls, connections, *alone)

    async def _submit(self, run_ids: Sequence[str]) -> None:
        head_node, turn = self.there.head_node(), asyncio.Semaphore(AT_ONCE)

        async def one(run_id: str) -> None:
            job = Job(JobKey(DAG, run_id), REQUEST, cluster=self._cluster.name, partition="batch")
            async with turn:
                await submit(job, scheduler=self._scheduler, head_node=head_node, ledger=self._ledger)

        await asyncio.gather(*map(one, run_ids))
        await head_node.close()

    async def _poll_alone(self) -> tuple[int, int, float]:
        head_node = self.there.head_node()
        watch = ClusterWatch(Site(self._cluster, self._scheduler, head_node), self._ledger)
        started = time.process_time()
        for _ in range(POLLS_ALONE):
            poll = await watch.poll()
            assert len(poll.reports) == len(self._runs), poll.trouble
        cpu_s = time.process_time() - started
        await watch.close()
        return head_node.commands_run.total(), head_node.connections_made, 1000 * cpu_s / POLLS_ALONE

    def _logs(self) -> list[Path]:
        return list((self._stack.folder / "airflow" / "logs" / f"dag_id={DAG}").rglob("*.log"))


def _waits(log: Path) -> bool:
    text = log.read_bytes()
    return b"pending: waits for" in text and b"Trigger fired event" not in text


def side_by_side(first: Seen, last: Seen) -> Table:
    """What was seen, with the last over the first."""
    table = Table("", title="windows of the same length, with one job waiting and with all of them")
    for seen in (first, last):
        table.add_column(f"{seen.jobs} waiting", justify="right")
    table.add_column("ratio", justify="right")
    for name, before, after in _lines(first, last):
        table.add_row(name, f"{before:.4g}", f"{after:.4g}", f"{after / before:.2f}" if before else "")
    return table


def _lines(first: Seen, last: Seen) -> list[tuple[str, float, float]]:
    return [
        ("through Airflow: waits that were told", first.told, last.told),
        ("through Airflow: squeue calls", first.squeue_calls, last.squeue_calls),
        ("through Airflow: SSH connections", first.connections, last.connections),
        (f"a watch alone, {POLLS_ALONE} polls: commands", first.commands_alone, last.commands_alone),
        ("a watch alone: SSH connections", first.connections_alone, last.connections_alone),
        ("a watch alone: our CPU ms a poll", first.cpu_ms_a_poll, last.cpu_ms_a_poll),
    ]


def shortfalls(first: Seen, last: Seen) -> list[str]:
    """What misses the target, in sentences."""
    found: list[str] = []
    if not 0 < last.squeue_calls <= first.squeue_calls + SLACK:
        found.append(f"{last.squeue_calls} squeue calls, with one job waiting {first.squeue_calls}")
    if last.connections != 1 or last.connections_alone != 1:
        found.append(f"{last.connections} SSH connections, {last.connections_alone} of a watch alone")
    if last.commands_alone != first.commands_alone:
        found.append(f"{last.commands_alone} commands in {POLLS_ALONE} polls, before {first.commands_alone}")
    if last.told != last.jobs:
        found.append(f"{last.told} of {last.jobs} waits were told")
    return found


def report(first: Seen, last: Seen, console: Console) -> bool:
    """Print the table and the verdict; True when the target is reached."""
    missed = shortfalls(first, last)
    console.print(side_by_side(first, last))
    target = "target: one SSH connection, and as many squeue calls as with one job"
    verdict = f"MISSED: {'; '.join(missed)}" if missed else "reached"
    console.print(f"{target}: {verdict}", style="red" if missed else "green", highlight=False)
    return not missed


def main() -> int:
    """Bring a stack up, measure, print; 1 when the target is missed."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else JOBS
    window_s = float(sys.argv[2]) if len(sys.argv) > 2 else WINDOW_S
    console = Console()
    with benchmark_stack({DAG: OUR_DAGS / "waiting.py"}) as stack:
        waiting = Waiting(stack, console)
        waiting.fill_the_partition()
        first = waiting.watch_with(1, window_s)
        last = waiting.watch_with(jobs, window_s)
    return 0 if report(first, last, console) else 1


if __name__ == "__main__":
    sys.exit(main())
