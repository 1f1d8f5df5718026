"""Submissions that are killed at a random step each: every job runs once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from hybrid_hpc import breaker_rules
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.submission import Patience
from lab.lab import Lab
from lab.layout import PROJECT
from lab.postgres import Postgres
from lab.processes import free_ports
from tests.chaos.lab_world import (
    ONPREM,
    Known,
    Way,
    cancel_all,
    known,
    new_job,
    place,
    site,
    token_of,
)
from tests.chaos.proxy import Proxy
from tests.chaos.submitter import AGAIN, Try, attempt
from tests.crash_points import POINTS

pytestmark = pytest.mark.lab

SEED = 20261125
MOST_TRIES = 12
REST_S = 120
ONE_AT_A_TIME = threading.Lock()


@dataclass
class Fate:
    """One job, its death and what became of its tries."""

    job: Job
    death: str
    exits: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def died(self) -> bool:
        return -signal.SIGKILL in self.exits


@pytest.fixture
def shared_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Ledger]]:
    """A PostgreSQL, for several processes write at once."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), free_ports(1), databases=("ledger",))
    server.up()
    ledger = Ledger(server.url("ledger"))
    ledger.migrate()
    yield server.url("ledger"), ledger
    ledger.close()
    server.down()


@pytest.mark.timeout(280)
async def test_twenty_five_submissions_that_are_killed_run_once_each(
    lab: Lab, shared_ledger: tuple[str, Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a doubt of 4 s instead of 150: sbatch does not repeat by itself here."""
    patience = Patience(doubt_s=4.0, look_every_s=0.5)
    await _all_run_once(lab, shared_ledger, tmp_path, monkeypatch, count=25, patience=patience)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_two_hundred_submissions_that_are_killed_run_once_each(
    lab: Lab, shared_ledger: tuple[str, Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _all_run_once(lab, shared_ledger, tmp_path, monkeypatch, count=200, patience=Patience())


async def _all_run_once(
    lab: Lab,
    shared_ledger: tuple[str, Ledger],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    count: int,
    patience: Patience,
) -> None:
    url, ledger = shared_ledger
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}:{PROJECT / 'include'}:{PROJECT / 'plugins'}")
    fates = await asyncio.to_thread(_try_all, lab, url, tmp_path, count, patience)
    unfinished = [fate for fate in fates if fate.exits[-1] != 0]
    assert not unfinished, [(fate.death, fate.exits) for fate in unfinished]
    way = Way(lab, site(lab, ONPREM, ledger), ledger)
    try:
        jobs = await _brought_to_rest(way, [token_of(fate.job) for fate in fates], tmp_path)
        _show(way, fates, jobs)
        _assert_once_each(way, fates, jobs)
    finally:
        await way.site.close()
        cancel_all(way.layout, [token_of(fate.job) for fate in fates])


def _try_all(lab: Lab, url: str, tmp_path: Path, count: int, patience: Patience) -> list[Fate]:
    """Each in processes of its own, forked from one that has imported everything and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([attempt.__module__])
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    chance = random.Random(SEED)  # noqa: S311

    def one(number: int) -> tuple[Fate, Try]:
        job = new_job()
        what = Try(lab.folder, url, job, patience, deaths)
        if number % 2:  # at a named step
            point = chance.choice(POINTS)
            (deaths / f"{job.key.run_id}.{point}").touch()
            return Fate(job, point), what
        after_s = chance.uniform(
            0.0, 0.7 * usual_s
        )  # whatever it does then: in sbatch, in SFTP, in the ledger
        return Fate(job, "any moment"), Try(lab.folder, url, job, patience, deaths, after_s)

    def run(planned: tuple[Fate, Try]) -> Fate:
        fate, what = planned
        began = time.monotonic()
        for _ in range(MOST_TRIES):
            fate.exits.append(_exit_status_of(context.Process(target=attempt, args=(what,))))
            if fate.exits[-1] not in (-signal.SIGKILL, AGAIN):
                break
            what = Try(lab.folder, url, what.job, patience, deaths)  # nothing kills it again
        fate.seconds = time.monotonic() - began
        return fate

    at_once = min(16, 4 + count // 10)
    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(2):  # the first time everything is imported
            usual = list(pool.map(run, [_undisturbed(lab, url, patience, deaths) for _ in range(at_once)]))
        usual_s = sorted(fate.seconds for fate in usual)[at_once // 2]
        return list(pool.map(run, [one(number) for number in range(count)]))


def _exit_status_of(process: ForkServerProcess) -> int:
    """Starts it and waits for it. Starting one reads the status of all: one thread does so at a time."""
    with ONE_AT_A_TIME:
        process.start()
    wait([process.sentinel])
    with ONE_AT_A_TIME:
        process.join()
    return process.exitcode or 0


def _undisturbed(lab: Lab, url: str, patience: Patience, deaths: Path) -> tuple[Fate, Try]:
    job = new_job()
    return Fate(job, "none"), Try(lab.folder, url, job, patience, deaths)


async def _brought_to_rest(way: Way, tokens: list[str], tmp_path: Path) -> dict[str, Known]:
    """Until the ledger has settled every job, by evidence, and the cluster has none left in its queue."""
    watch = way.watch()
    told: list[str] = []

    def restless() -> list[JobRow]:
        return [row for row in way.ledger.jobs_named(tokens) if not row.state.final]

    try:
        async with asyncio.timeout(REST_S):
            async for poll in watch.polls():
                told.append(poll.trouble)
                if not restless():
                    break
    except TimeoutError:
        left = {row.token: known(way.layout, [row.token]) for row in restless()}
        raise AssertionError(f"not at rest: {restless()}\n{left}\n{told[-5:]}") from None
    for row in way.ledger.jobs_named(tokens):
        await way.collect(row, tmp_path / row.token)
    return known(way.layout, tokens)


def _assert_once_each(way: Way, fates: list[Fate], jobs: dict[str, Known]) -> None:
    for fate in fates:
        token = token_of(fate.job)
        job, row = jobs[token], way.ledger.job(token)
        assert fate.exits[-1] == 0, (fate, job)
        assert row, fate
        assert way.executions(token) == [row.native_id], (fate, job)
        assert job.recorded[str(row.native_id)] == ["COMPLETED"], (fate, job)
        assert (row.outcome, row.settled, row.evidence) == ("completed", True, "accounting"), fate
        assert job.held == [], (fate, job)
        assert job.ids == {row.native_id}, (fate, job)
    died = sum(fate.died for fate in fates)
    assert died > len(fates) / 2, f"only {died} of {len(fates)} died"


def _show(way: Way, fates: list[Fate], jobs: dict[str, Known]) -> None:
    """The figures, for the log of the run."""
    runs = {token: way.executions(token) for token in jobs}
    table = Table(title=f"{len(fates)} submissions with a SIGKILL each, seed {SEED}")
    for column in ("died at", "jobs", "died", "tries", "longest"):
        table.add_column(column)
    for death in (*POINTS, "any moment"):
        these = [fate for fate in fates if fate.death == death]
        if these:
            tries = sum(len(fate.exits) for fate in these)
            longest = f"{max(fate.seconds for fate in these):.1f} s"
            table.add_row(death, str(len(these)), str(sum(fate.died for fate in these)), str(tries), longest)
    console = Console(force_terminal=False, width=100)
    console.print(table)
    counts = Counter(len(ran) for ran in runs.values())
    held = sum(len(job.held) for job in jobs.values())
    console.print(
        f"executions {sum(map(len, runs.values()))}, doubles {sum(counts[n] for n in counts if n > 1)}, "
        f"lost {counts[0]}, held left behind {held}"
    )


# A head node that is away while many wait


async def test_a_head_node_that_is_away_for_half_a_minute_fails_none_of_a_hundred_jobs(
    way: Way, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open breaker lets somebody try after 8 s instead of 60; below it takes its own time."""
    monkeypatch.setattr(breaker_rules, "AGAIN", timedelta(seconds=8))
    await _away(way, proxy, "reset", away_s=30, most=9)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", ["reset", "silent"])
async def test_a_head_node_that_is_away_for_ten_minutes_fails_none_of_a_hundred_jobs(
    way: Way, proxy: Proxy, how: str
) -> None:
    await _away(way, proxy, how, away_s=600, most=29)


async def _away(way: Way, proxy: Proxy, how: str, *, away_s: float, most: int) -> None:
    rows = place(way.layout, way.ledger, 100, "--begin=now+1hour")
    watch = way.watch()
    poll = await watch.poll()
    assert poll.trouble == ""
    before, connections = _states(way, rows), proxy.connections
    assert set(before) == {"pending"}
    (proxy.silence if how == "silent" else proxy.reset)()
    back_at = time.monotonic() + away_s
    troubles: list[str] = []
    async with asyncio.timeout(away_s + 180):
        async for poll in watch.polls():
            if time.monotonic() < back_at:
                assert poll.trouble
                troubles.append(poll.trouble)
            elif proxy.mode != "open":
                tried = proxy.connections - connections
                assert _states(way, rows) == before
                proxy.heal()
            elif not poll.trouble:
                break
    assert {report.state for report in poll.reports.values()} == {"pending"}
    assert len(poll.reports) == 100
    assert not any(row.settled for row in way.ledger.jobs_named([row.token for row in rows]))
    console = Console(force_terminal=False, width=110)
    console.print(
        f"away for {away_s:.0f} s ({how}): {tried} connections tried, {len(troubles)} polls told of it"
    )
    assert 1 <= tried <= most


def _states(way: Way, rows: list[JobRow]) -> list[str]:
    return sorted(row.state for row in way.ledger.jobs_named([row.token for row in rows]))
