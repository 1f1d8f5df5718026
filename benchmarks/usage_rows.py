"""A million rows of sacct into the ledger: read and upserted, beside COPY of what they come to.

    python benchmarks/usage_rows.py [rows]

The ledger is a real PostgreSQL. The answers of the head node are made here, for each life of a job a row of
its own and one of its batch step, and are not in the time; reading, pricing, looking for our own jobs and
upserting are. The floor is COPY of the same lives into a table with the same columns and no key. Ends with 1
when it takes in less than 25,000 rows a second, or when the memory of the process grows with how many there
are.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.commands import Answer
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.bulk import copied
from hybrid_hpc.ledger.usage import USAGE
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.schedulers.slurm_history import FORMAT
from hybrid_hpc.usage.collect import save_records
from hybrid_hpc.usage.rows import usage_row
from lab.postgres import Postgres
from lab.processes import free_base_port

ROWS = 1_000_000
ROWS_A_LIFE = 2
A_WINDOW = 25_000  # lives in one answer
LEAST = 25_000.0  # rows of sacct a second
MORE_MIB = 64  # by which the process may grow after its first windows
NONCE = "0123456789ab"
COLUMNS = FORMAT.split(",")
CLUSTER = load_clusters().cluster("onprem")
SLURM = Slurm()
BEGAN = 1_774_000_000


@dataclass
class Taken:
    """How long it took to take in so many lives."""

    lives: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Rows of sacct a second."""
        return ROWS_A_LIFE * self.lives / self.seconds


def life(number: int) -> Iterator[str]:
    """A job's line and that of its batch step; users, projects, shapes and nodes vary as in a lab."""
    cores, node = 1 << number % 7, f"node{number % 64:02}"
    began = BEGAN + number
    tres = f"billing={cores},cpu={cores},mem={cores * 4}G,node=1"
    ran_s = 60 + number % 86_400
    common = {
        "State": "FAILED" if number % 17 == 0 else "COMPLETED",
        "ExitCode": "1:0" if number % 17 == 0 else "0:0",
        "Submit": str(began),
        "Eligible": str(began),
        "Start": str(began + number % 5000),
        "End": str(began + number % 5000 + ran_s),
        "ElapsedRaw": str(ran_s),
        "AllocTRES": tres,
        "AllocCPUS": str(cores),
        "NNodes": "1",
        "NodeList": node,
        "Account": f"proj-{number % 40}",
    }
    job = {
        "JobID": str(number),
        "TimelimitRaw": "2880",
        "TotalCPU": "00:00:00",
        "ReqTRES": tres,
        "User": f"user{number % 300}",
        "Partition": "batch",
        "JobName": f"analysis of sample {number}",
    }
    step = {"JobID": f"{number}.batch", "TotalCPU": "01:02:03", "MaxRSS": f"{number % 9_000_000}K"}
    for row in (job, step):
        yield NONCE.join({**common, **row}.get(name, "") for name in COLUMNS)


def answer(first: int, lives: int) -> Answer:
    """What the head node says about one window."""
    lines = (line for number in range(first, first + lives) for line in life(number))
    body = "\n".join(lines)
    return Answer(0, f"hh-begin {NONCE}\n{body}\nhh-{NONCE} records 0\nhh-{NONCE} end 0\n", "")


def windows(lives: int) -> Iterator[tuple[int, int]]:
    """The first number of each window, and how many lives it has."""
    for first in range(0, lives, A_WINDOW):
        yield first, min(A_WINDOW, lives - first)


@contextmanager
def empty_ledger() -> Iterator[Ledger]:
    """A PostgreSQL of its own; it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder) / "postgres", free_base_port(1), databases=("ledger",))
        server.up()
        ledger = Ledger(server.url("ledger"))
        try:
            ledger.migrate()
            yield ledger
        finally:
            ledger.close()
            server.down()


def take_in(ledger: Ledger, lives: int) -> tuple[Taken, list[float]]:
    """All windows, one after the other; the process's peak memory in MiB after each."""
    taken, peaks = Taken(), []
    for first, count in windows(lives):
        said = answer(first, count)
        began = time.perf_counter()
        taken.lives += save_records(SLURM.read_usage(said), CLUSTER, ledger)
        taken.seconds += time.perf_counter() - began
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return taken, peaks


def read_only(lives: int) -> Taken:
    """The part of it before the ledger: from text to rows."""
    taken = Taken()
    for first, count in windows(lives):
        said = answer(first, count)
        began = time.perf_counter()
        taken.lives += len([usage_row(record, CLUSTER) for record in SLURM.read_usage(said)])
        taken.seconds += time.perf_counter() - began
    return taken


def floor(ledger: Ledger, lives: int) -> Taken:
    """COPY of the same rows, a window at a time, into a table without a key."""
    taken = Taken()
    names = ", ".join(f'"{column.name}"' for column in USAGE.columns)
    with ledger._engine.begin() as connection:
        connection.execute(text("CREATE TABLE floor (LIKE usage_jobs)"))
    for first, count in windows(lives):
        rows = [usage_row(record, CLUSTER) for record in SLURM.read_usage(answer(first, count))]
        began = time.perf_counter()
        with ledger._engine.begin() as connection:
            cursor = connection.connection.cursor()
            with cursor.copy(f"COPY floor ({names}) FROM STDIN") as copy:
                for values in copied(USAGE, rows):
                    copy.write_row(values)
        taken.lives += count
        taken.seconds += time.perf_counter() - began
    return taken


def main() -> None:
    """Measures, prints the table and whether the target is reached."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    lives = rows // ROWS_A_LIFE
    with empty_ledger() as ledger:
        new, peaks = take_in(ledger, lives)
        again, more_peaks = take_in(ledger, lives)
        copied_only = floor(ledger, lives)
    figures = {
        "read and upserted, new": new,
        "the same once more": again,
        "only read": read_only(min(lives, 4 * A_WINDOW)),
        "COPY of the same lives": copied_only,
    }
    print(f"{rows:,} rows of sacct, {lives:,} lives of jobs, {A_WINDOW:,} of them in an answer\n")
    print(f"{'':28}{'rows a second':>16}{'lives':>10}{'against COPY':>14}")
    for what, taken in figures.items():
        ratio = copied_only.rate / taken.rate
        print(f"{what:28}{taken.rate:16,.0f}{taken.rate / ROWS_A_LIFE:10,.0f}{ratio:13.2f}x")
    grown = max(more_peaks) - peaks[min(3, len(peaks) - 1)]
    print(f"\nmemory: {peaks[0]:.0f} MiB after the first answer, {max(more_peaks):.0f} MiB at most")
    reached = new.rate >= LEAST and grown <= MORE_MIB
    print(f"target: {LEAST:,.0f} rows a second in bounded memory: {'reached' if reached else 'MISSED'}")
    sys.exit(not reached)


if __name__ == "__main__":
    main()
