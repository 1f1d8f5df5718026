"""Every page over a ledger of a million jobs: how long 200 requests of each take, and why the slowest does.

    python benchmarks/page_speed.py [jobs] [requests]

The ledger is a real PostgreSQL with a year of two clusters, 200 people and 40 projects, most jobs of few
people; waits are log-normal. It is rolled up as hpc_usage does it, and how long that takes is told. The
requests go through the app as Airflow mounts it, one after the other, as an administrator who sees everybody.
Ends with 1 when the median of one page is 300 ms or more. PostgreSQL explains the slowest query of all.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Connection, event, text

from benchmarks.usage_rows import empty_ledger
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ledger.rollup import mark_anew, note_longest
from hybrid_hpc.request import JobRequest
from hybrid_hpc.usage.days import DAY
from hybrid_hpc.usage.rollup import roll_up
from hybrid_hpc.usage.windows import Window

JOBS = 1_000_000
REQUESTS = 200
MOST_MS = 300.0
DAYS = 365
OPEN = 200
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SINCE = NOW - timedelta(days=DAYS)
CLUSTERS = ("onprem", "azure")
LONGEST_S = 12 * 3600.0

# The power makes a tenth of the people run most of the jobs; everybody works on two projects.
MADE = """
INSERT INTO usage_jobs
SELECT cluster, n::text, '', began - make_interval(secs => waited_s), CASE WHEN n = 1 THEN :token ELSE '' END,
  'analysis of sample ' || n, 'hpc', 'user' || who, 'proj-' || (who + n % 2) % 40,
  CASE WHEN cluster = 'azure' THEN 'htc' WHEN n % 9 = 0 THEN 'large' ELSE 'batch' END,
  CASE WHEN n % 17 = 0 THEN 'failed' WHEN n % 41 = 0 THEN 'timeout' ELSE 'completed' END, 0,
  1, cores, CASE WHEN n % 20 = 0 THEN 1 ELSE 0 END,
  began - make_interval(secs => waited_s), began, began + make_interval(secs => ran_s), ran_s, 43200,
  cores * 4096, cores * ran_s * 0.7, 900 + n % 3000, '[]', cores * ran_s / 3600 * 0.04
FROM (
  SELECT n, CASE WHEN n % 3 = 0 THEN 'azure' ELSE 'onprem' END AS cluster, 1 << (n % 7) AS cores,
    floor(200 * power(random(), 3))::int AS who, round(60 + 43000 * power(random(), 4)) AS ran_s,
    round(exp(5 + 2.5 * sqrt(-2 * ln(1 - random())) * cos(6.283 * random()))) AS waited_s,
    CAST(:since AS timestamptz) + make_interval(secs => CAST(:seconds AS float) * n / :jobs) AS began
  FROM generate_series(1, :jobs) AS n
) AS drawn
"""
SAMPLED = """
INSERT INTO usage_samples
SELECT cluster, moment, partition, 8, 0, 0, 0, 0, 256, 100 + (random() * 150)::int, 6, 0, 0, 20, 5, 0, 4
FROM generate_series(:since ::timestamptz, :until ::timestamptz, interval '10 minutes') AS moment,
  unnest(ARRAY['onprem', 'azure']) AS cluster, unnest(ARRAY['', 'a', 'b']) AS partition
"""
RENTED = """
INSERT INTO usage_vm_hours
SELECT 'azure', hour, 'nodearray', name, 'Standard_F16', 'Regular', 160, 10, 8
FROM generate_series(:since ::timestamptz, :until ::timestamptz, interval '1 hour') AS hour,
  unnest(ARRAY['htc', 'hpc']) AS name
"""


@dataclass
class Asked:
    """Requests of one page."""

    path: str
    walls_ms: list[float] = field(default_factory=list)
    cpus_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Half of the requests took no longer."""
        return statistics.median(self.walls_ms)

    @property
    def p95_ms(self) -> float:
        """95 of 100 took no longer."""
        return sorted(self.walls_ms)[int(0.95 * (len(self.walls_ms) - 1))]


def fill(ledger: Ledger, jobs: int) -> str:
    """Jobs, samples and VM hours of a year, and some open jobs; gives the token of one of the latter."""
    token = [_open_job(ledger, number) for number in range(OPEN)][-1]
    times = {"since": SINCE, "until": NOW, "seconds": DAYS * 86_400 - LONGEST_S}
    with ledger._engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(MADE), {**times, "jobs": jobs, "token": token})
        for made in (SAMPLED, RENTED):
            connection.execute(text(made), times)
        days = [SINCE.date() + timedelta(days=number) for number in range(DAYS + 1)]
        for cluster in CLUSTERS:
            mark_anew(connection, DAY, cluster, days)
            note_longest(connection, cluster, LONGEST_S)
    with ledger._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
    for cluster in CLUSTERS:
        for source in ("accounting", "samples"):
            ledger.note_collected(cluster, source, Window(SINCE, NOW))
    return token


def _open_job(ledger: Ledger, number: int) -> str:
    request = JobRequest(name=f"job-{number}", script="hostname")
    row = ledger.intend(Job(JobKey("hpc_job", f"run-{number}"), request, "onprem", "batch", "user1"))
    ledger.record_native_id(row.token, str(10**7 + number), NOW, run_dir="/scratch/1")
    ledger.observe([JobReport(row.token, str(10**7 + number), JobState.RUNNING)])
    return row.token


@contextmanager
def client(ledger: Ledger) -> Iterator[TestClient]:
    """The app for an administrator, with the parts of Airflow that it asks."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update({"AIRFLOW_HOME": home, "AIRFLOW__CORE__UNIT_TEST_MODE": "True"})
        logging.disable(logging.INFO)  # else the table drowns in a line for each request
        from airflow.api_fastapi import app as airflow_app  # noqa: PLC0415  after the environment is set
        from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import (  # noqa: PLC0415
            SimpleAuthManager,
        )
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: PLC0415
        from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415

        from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415
        from hybrid_hpc_airflow.web.app import make_app  # noqa: PLC0415

        airflow_app._AuthManagerState.instance = SimpleAuthManager()  # type: ignore[no-untyped-call]
        app = make_app()
        app.dependency_overrides[dependencies.ledger] = lambda: ledger
        app.dependency_overrides[utc_now] = lambda: NOW
        app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="user1", role="admin")
        with TestClient(app) as made:
            yield made


def paths(token: str) -> dict[str, str]:
    """Every page, by what it is."""
    year = f"/usage?from={date(2025, 7, 1)}&to={NOW.date()}"
    return {
        "Now": "/",
        "Job": f"/jobs/{token}",
        "Usage, 30 days": "/usage",
        "Usage, 30 days by person": "/usage?by=person",
        "Usage, a year by project": year,
        "Usage, a year by person": f"{year}&by=person",
        "Usage, a year of one project": f"{year}&project=proj-3&by=month",
        "Usage, a year of one person": f"{year}&person=user7&by=month",
        "Jobs of 30 days": "/usage/jobs",
        "Jobs of one person": "/usage/jobs?person=user7",
    }


def ask(asking: TestClient, path: str, requests: int) -> Asked:
    """That many requests, one after the other, after one that fills caches."""
    asked = Asked(path)
    for number in range(requests + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = asking.get(path)
        took = (time.perf_counter() - wall, time.process_time() - cpu)
        assert answer.status_code == 200, (path, answer.text[:300])
        if number:
            asked.walls_ms.append(1000 * took[0])
            asked.cpus_ms.append(1000 * took[1])
    return asked


@contextmanager
def slowest_query(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Keeps the statement that took longest, with its values, while it goes on."""
    found: dict[str, Any] = {"ms": 0.0}

    def before(connection: Connection, *_: Any) -> None:
        connection.info["began"] = time.perf_counter()

    def after(connection: Connection, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        took_ms = 1000 * (time.perf_counter() - connection.info["began"])
        if took_ms > found["ms"]:
            found.update(ms=took_ms, statement=statement, values=values)

    event.listen(ledger._engine, "before_cursor_execute", before)
    event.listen(ledger._engine, "after_cursor_execute", after)
    yield found
    event.remove(ledger._engine, "before_cursor_execute", before)
    event.remove(ledger._engine, "after_cursor_execute", after)


def explain(ledger: Ledger, query: dict[str, Any]) -> str:
    """What PostgreSQL says of it."""
    with ledger._engine.connect() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, COSTS OFF) {query['statement']}", query["values"]
        )
        return "\n".join(line for (line,) in plan)


def main() -> None:
    """Measures, prints the table and whether the target is reached."""
    jobs, requests = ([*map(int, sys.argv[1:]), *(JOBS, REQUESTS)[len(sys.argv) - 1 :]])[:2]
    with empty_ledger() as ledger:
        token = fill(ledger, jobs)
        began = time.perf_counter()
        days = roll_up(ledger)
        took_s = time.perf_counter() - began
        print(f"{jobs:,} jobs of {DAYS} days; {days} days of clusters rolled up in {took_s:.0f} s,", end=" ")
        print(f"{jobs / took_s:,.0f} jobs a second\n")
        with client(ledger) as asking, slowest_query(ledger) as query:
            found = {name: ask(asking, path, requests) for name, path in paths(token).items()}
        print(f"{f'{requests} requests each':32}{'median':>10}{'p95':>10}{'our CPU':>10}")
        for name, asked in found.items():
            cpu_ms = statistics.median(asked.cpus_ms)
            print(f"{name:32}{asked.median_ms:7.0f} ms{asked.p95_ms:7.0f} ms{cpu_ms:7.0f} ms")
        print(f"\nthe slowest query took {query['ms']:.0f} ms:\n{query['statement']}\n")
        print(explain(ledger, query))
    reached = all(asked.median_ms < MOST_MS for asked in found.values())
    print(f"\ntarget: every median below {MOST_MS:.0f} ms: {'reached' if reached else 'MISSED'}")
    sys.exit(not reached)


if __name__ == "__main__":
    main()
