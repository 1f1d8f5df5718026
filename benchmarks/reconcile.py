"""A reconciliation of 10,000 open jobs, all in one queue, as a ratio to reading the ledger's rows alone.

    python benchmarks/reconcile.py [jobs]

The ledger is a real PostgreSQL. The head node is in memory and gives what squeue and scontrol print, which
is read as always; Airflow says that every run is alive, in as many questions as its URLs need. So nothing is
to be done, which is what a reconciliation finds nearly always. Each figure is the best of three. Ends with 1
when the whole takes more than twice as long as reading the rows.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import insert

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobKey, JobState, token
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.living import living_runs
from hybrid_hpc.reconcile import Run, compare
from hybrid_hpc.reconciling import Report, reconcile
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.schedulers.slurm_queue import SEPARATOR
from hybrid_hpc.site import Site
from lab.postgres import Postgres
from lab.processes import free_base_port

OPEN_JOBS = 10_000
ROUNDS = 3
MOST = 2.0
NONCE = "0123456789ab"
NODE = (
    "NodeName=node01 CPUAlloc=16 CPUTot=16 RealMemory=64000 AllocMem=0 State=ALLOCATED Partitions=batch "
    "CfgTRES=cpu=16,mem=64000M,billing=16 AllocTRES=cpu=16"
)
DAG = "hpc_job"
CLUSTER = load_clusters().cluster("onprem")
BEGAN_AT = datetime.now(UTC) - timedelta(hours=3)


@dataclass(frozen=True)
class HeadNodeInMemory:
    """Gives one answer, to whatever it is asked."""

    answer: Answer

    async def run(self, _command: Command) -> Answer:
        """The same answer as ever."""
        return self.answer

    async def close(self) -> None:
        """Nothing was opened."""


@contextmanager
def filled_ledger(jobs: int) -> Iterator[Ledger]:
    """A PostgreSQL of its own with so many open jobs; it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder) / "postgres", free_base_port(1), databases=("ledger",))
        server.up()
        ledger = Ledger(server.url("ledger"))
        try:
            ledger.migrate()
            with ledger._engine.begin() as connection:
                connection.execute(insert(JOBS), [job_values(number) for number in range(jobs)])
            yield ledger
        finally:
            ledger.close()
            server.down()


def job_values(number: int) -> dict[str, Any]:
    """A job that was released and waits."""
    key = JobKey(DAG, f"manual__2026-03-29T01:30:00.{number:06}+00:00")
    script = "#!/bin/bash\n" + "echo a usual script has some lines\n" * 20
    return {
        "token": token(key),
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "group_id": key.group,
        "map_index": key.map_index,
        "generation": key.generation,
        "attempt": "0",
        "request": {"name": f"job {number}", "script": script, "walltime": "02:00:00"},
        "submitted_by": "ada",
        "cluster": CLUSTER.name,
        "partition": "batch",
        "run_dir": f"/scratch/hybrid-hpc/{token(key)}",
        "intent_at": BEGAN_AT,
        "native_id": str(1000 + number),
        "recorded_at": BEGAN_AT,
        "released_at": BEGAN_AT,
        "state": JobState.PENDING,
        "reason": "Priority",
        "sentence": "pending",
        "tasks": {},
        "node_names": (),
        "restarts": 0,
    }


def queue_answer(rows: Sequence[JobRow]) -> Answer:
    """What the head node says when all of them wait."""
    lines = "\n".join(_line(row) for row in rows)
    sections = {"clock": str(int(time.time())), "nodes": NODE, "jobs": lines, "end": ""}
    closed = [f"{text}\nhh-{NONCE} {name} 0\n" for name, text in sections.items()]
    return Answer(0, f"hh-begin {NONCE}\n" + "".join(closed), "")


def _line(row: JobRow) -> str:
    submitted_at = int(BEGAN_AT.timestamp())
    tres = "cpu=4,mem=8000M,node=1,billing=4"
    fields = (
        *(str(row.native_id), "N/A", "hpc", "lab", "batch", "PENDING", "Priority", "1", tres, "2:00:00"),
        *("4294901755", str(submitted_at), "N/A", "", row.token),
    )
    return SEPARATOR.join(fields) + SEPARATOR


def living(runs: Collection[Run]) -> set[Run]:
    """All of them, asked as Airflow is asked."""
    return {(DAG, run_id) for run_id in living_runs(sorted(run_id for _, run_id in runs), len)}


async def whole(ledger: Ledger, answer: Answer) -> Report:
    """One reconciliation."""

    async def open_site(cluster: Cluster) -> Site:
        return Site(cluster, Slurm(), cast("HeadNode", HeadNodeInMemory(answer)))

    return await reconcile([CLUSTER], ledger=ledger, open_site=open_site, living=living)


async def best_s(act: Callable[[], Awaitable[object]]) -> float:
    """Seconds, the least of three rounds."""
    seconds: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.perf_counter()
        await act()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


async def measure(jobs: int) -> dict[str, float]:
    """Seconds by what was done."""
    with filled_ledger(jobs) as ledger:
        rows = ledger.open_jobs()
        answer = queue_answer(rows)
        load = Slurm().read_load(answer)
        alive = living({(row.dag_id, row.run_id) for row in rows})
        assert len(rows) == len(load.jobs) == len(alive) == jobs
        assert (await whole(ledger, answer)).findings == ()

        async def read() -> None:
            ledger.open_jobs()

        async def compared() -> None:
            compare(CLUSTER.name, rows, (), alive, load, datetime.now(UTC))

        return {
            "reading the open rows": await best_s(read),
            "compare() alone": await best_s(compared),
            "the whole reconciliation": await best_s(lambda: whole(ledger, answer)),
        }


def main() -> None:
    """Prints the table; ends with 1 when the whole is too slow beside its floor."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else OPEN_JOBS
    print(f"{jobs:,} open jobs in the ledger, {jobs:,} lines in the queue.\n")
    print(f"{'':28}{'seconds':>10}{'of reading':>12}")
    seconds = asyncio.run(measure(jobs))
    floor_s, *_, whole_s = seconds.values()
    for what, spent_s in seconds.items():
        print(f"{what:28}{spent_s:10.3f}{spent_s / floor_s:11.2f}x")
    reached = whole_s <= MOST * floor_s
    print(f"\ntarget: at most {MOST:g} times reading the rows: {'reached' if reached else 'MISSED'}")
    sys.exit(not reached)


if __name__ == "__main__":
    main()
