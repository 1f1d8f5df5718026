"""Reconciling on a real cluster: what it ends there, and what it leaves alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.findings import Action, Finding
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.reconciling import Report, reconcile
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers.base import Submission
from hybrid_hpc.site import Site
from hybrid_hpc.submission import submit
from lab.lab import Lab
from tests.lab.journey import Journey, _head_node, journey, started
from tests.unit.submission_fakes import Killed

SLEEP = "#!/bin/bash\nsleep 600\n"
REQUEST = read_request({"name": "orphan", "script": SLEEP, "walltime": "20"})
OLD = timedelta(minutes=20)


@dataclass
class House:
    """One cluster, a ledger, and a word on which runs are alive."""

    way: Journey
    lab: Lab
    living: set[tuple[str, str]] = field(default_factory=set)

    def job(self) -> Job:
        key = JobKey("house", uuid.uuid4().hex)
        self.living.add((key.dag_id, key.run_id))
        return Job(key, REQUEST, self.way.site.cluster.name, "batch")

    async def submit(self, dies: str = "") -> JobRow:
        """Submits a job; the process that does it dies at this point."""
        job, site = self.job(), self.way.site

        def crash(point: str) -> None:
            if point == dies:
                raise Killed(point)

        with suppress(Killed):
            await submit(
                job, scheduler=site.scheduler, head_node=site.head_node, ledger=self.way.ledger, crash=crash
            )
        row = self.way.ledger.attempted(job)
        assert row
        return row

    def aged(self, row: JobRow) -> JobRow:
        """As if it had happened twenty minutes ago."""
        moments = {
            name: getattr(row, name) for name in ("intent_at", "recorded_at", "released_at", "settled_at")
        }
        older = {name: moment - OLD for name, moment in moments.items() if moment}
        with self.way.ledger._engine.begin() as connection:
            connection.execute(update(JOBS).where(JOBS.c.token == row.token).values(older))
        return self.known(row)

    def known(self, row: JobRow) -> JobRow:
        fresh = self.way.ledger.job(row.token)
        assert fresh
        return fresh

    async def send(self, token: str, owner: str = "") -> str:
        """Submits a held job of that name behind the ledger's back; ``owner`` is in its run directory."""
        head_node, scheduler = self.way.site.head_node, self.way.site.scheduler
        run_dir = f"{await head_node.storage()}/{token}"
        await head_node.make_dir(run_dir)
        if owner:
            await head_node.write(f"{run_dir}/ledger", f"{owner}\n")
        await head_node.write(f"{run_dir}/script", SLEEP, mode=0o700)
        answer = await head_node.run(scheduler.submit_command(Submission(token, REQUEST, "batch", run_dir)))
        return scheduler.read_submit(answer)

    async def states(self, token: str) -> dict[str, JobState]:
        """What the cluster itself has of this name, by native id."""
        site = self.way.site
        found = site.scheduler.read_find(await site.head_node.run(site.scheduler.find_command(token)), token)
        return {job.native_id: job.state for job in found}

    async def until_cancelled(self, token: str, native_id: str) -> None:
        async with asyncio.timeout(30):
            while True:
                if (await self.states(token))[native_id] is JobState.CANCELLED:
                    return
                await asyncio.sleep(0.5)

    async def reconcile(self) -> Report:
        async def open_site(cluster: Cluster) -> Site:
            return Site(cluster, self.way.site.scheduler, _head_node(self.lab, cluster))

        def alive(runs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
            return self.living.intersection(runs)

        clusters = [self.way.site.cluster]
        return await reconcile(clusters, ledger=self.way.ledger, open_site=open_site, living=alive)

    async def about(self, token: str) -> list[Finding]:
        report = await self.reconcile()
        return [finding for finding in report.findings if finding.token == token]


@pytest.fixture
async def house(lab: Lab, tmp_path: Path) -> AsyncIterator[House]:
    async with journey(lab, "onprem", tmp_path) as way:
        made = House(way, lab)
        yield made
        made.living.clear()
        await made.reconcile()  # nothing is left for the next test


async def test_a_held_job_of_a_dead_submission_is_adopted_and_runs(house: House) -> None:
    row = house.aged(await house.submit(dies="after_send"))
    assert row.native_id is None
    [adopted] = await house.about(row.token)
    assert adopted.action is Action.ADOPT
    assert list(await house.states(row.token)) == [house.known(row).native_id]
    house.aged(house.known(row))
    [released] = await house.about(row.token)
    assert (released.action, released.result) == (Action.RELEASE, "released")
    await house.way.until(house.known(row), started, "the start of the job")
    assert await house.about(row.token) == []


async def test_a_held_job_of_a_dead_submission_is_cancelled_with_its_run(house: House) -> None:
    row = await house.submit(dies="after_send")
    house.living.clear()
    [finding] = await house.about(row.token)
    assert finding.action is Action.CANCEL
    settled = house.known(row)
    assert (settled.outcome, settled.evidence) == (JobState.CANCELLED, "accounting")
    assert list((await house.states(row.token)).values()) == [JobState.CANCELLED]


async def test_a_second_held_job_of_one_name_is_cancelled_and_the_first_runs_on(house: House) -> None:
    row = await house.submit()
    await house.way.until(row, started, "the start of the job")
    double = await house.send(row.token)
    [finding] = await house.about(row.token)
    assert (finding.action, finding.native_id, finding.result) == (Action.CANCEL_STRAY, double, "cancelled")
    await house.until_cancelled(row.token, double)
    assert (await house.states(row.token))[str(row.native_id)] is JobState.RUNNING
    assert not house.known(row).cancel_wished


async def test_a_running_job_of_a_deleted_run_is_cancelled_and_settled_with_evidence(house: House) -> None:
    row = await house.submit()
    await house.way.until(row, started, "the start of the job")
    house.living.clear()
    [finding] = await house.about(row.token)
    assert finding.action is Action.CANCEL
    assert "cancelled by hpc_reconcile: its DAG run has ended or was deleted" in finding.result
    settled = house.known(row)
    assert (settled.outcome, settled.evidence) == (JobState.CANCELLED, "accounting")
    assert house.way.ledger.usage_of(row.token)


async def test_a_job_that_was_taken_after_its_row_was_settled_is_cancelled(house: House) -> None:
    row = await house.submit(dies="after_intent")
    house.living.clear()
    await house.reconcile()
    assert house.aged(house.known(row)).outcome is JobState.CANCELLED
    late = await house.send(row.token)
    [finding] = await house.about(row.token)
    assert (finding.action, finding.native_id, finding.result) == (Action.CANCEL_STRAY, late, "cancelled")
    await house.until_cancelled(row.token, late)


async def test_the_held_job_of_another_installation_is_left_alone_and_one_of_ours_is_not(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("hybrid_hpc.reconcile.STRAY_AGE_S", -60.0)
    other = Ledger(f"sqlite:///{tmp_path}/other.db")
    other.migrate()
    theirs, ours = "hh-aaaaaaaaaaa2", "hh-aaaaaaaaaaa3"
    await house.send(theirs, other.installation())
    await house.send(ours, house.way.ledger.installation())
    report = await house.reconcile()
    told = {finding.token: finding for finding in report.findings}
    assert (told[ours].action, told[ours].result) == (Action.CANCEL_STRAY, "cancelled")
    assert told[theirs].action is Action.REPORT
    assert "another installation?" in told[theirs].why
    assert list((await house.states(theirs)).values()) == [JobState.HELD]
    await _clear_away(house, theirs)
    other.close()


async def _clear_away(house: House, token: str) -> None:
    site = house.way.site
    [native_id] = await house.states(token)
    site.scheduler.read_cancel(await site.head_node.run(site.scheduler.cancel_command(native_id, token)))


async def test_a_submission_says_in_its_run_directory_whose_it_is(house: House) -> None:
    row = await house.submit()
    told = await house.way.site.head_node.read_small(f"{row.run_dir}/ledger", 100)
    assert told == house.way.ledger.installation() + "\n"
