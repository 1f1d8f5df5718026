"""Promises about a job that its cluster cannot run: it leaves before it starts, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_hpc.jobs import JobReport
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.moving import leave, waits_whole
from lab import slurm
from lab.lab import Lab
from tests.chaos.lab_world import (
    COUNTED,
    ONPREM,
    Way,
    cancel_all,
    eventually,
    known,
    new_job,
    new_ledger,
    site,
)

WHY = "its partition is closed at the moment"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_ledger(tmp_path) as ledger:
        yield ledger


@pytest.fixture
async def onprem(lab: Lab, ledger: Ledger) -> AsyncIterator[Way]:
    way = Way(lab, site(lab, ONPREM, ledger), ledger)
    yield way
    cancel_all(way.layout, [row.token for row in ledger.open_jobs()])
    await way.site.close()


@contextmanager
def partition(way: Way, state: str, name: str = "batch") -> Iterator[None]:
    """The partition is DOWN meanwhile: it takes jobs, and starts none."""
    slurm.ask(way.layout, "scontrol", "update", f"PartitionName={name}", f"State={state}")
    try:
        yield
    finally:
        slurm.ask(way.layout, "scontrol", "update", f"PartitionName={name}", "State=UP")


async def _report(way: Way, row: JobRow) -> JobReport:
    """The first report that says why it waits."""
    async with asyncio.timeout(60):
        while True:
            poll = await way.watch().poll()
            report = poll.reports.get(row.token)
            if report and report.reason not in ("", "None"):
                return report
            await asyncio.sleep(0.3)


async def test_a_job_in_a_closed_partition_is_blocked_and_leaves_settled_as_cancelled_unstarted(
    onprem: Way,
) -> None:
    with partition(onprem, "DOWN"):
        row = await onprem.submit(new_job())
        report = await _report(onprem, row)
        assert report.blocked == WHY
        assert waits_whole(onprem.row(row), report)
        gone = await leave(row, report.blocked, site=onprem.site, ledger=onprem.ledger)
    assert gone, onprem.row(row)
    assert gone.left
    assert "could not run it" in gone.sentence
    assert list(known(onprem.layout, [row.token])[row.token].recorded.values()) == [["CANCELLED"]]
    assert onprem.executions(row.token) == []


async def test_a_job_that_has_started_stays_and_is_not_cancelled(onprem: Way) -> None:
    row = await onprem.start(f"{COUNTED}while [ ! -e go ]; do sleep 0.1; done\n")
    assert await leave(row, WHY, site=onprem.site, ledger=onprem.ledger) is None
    fresh = onprem.row(row)
    assert (fresh.leave_requested_at, fresh.settled) == (None, False)
    assert known(onprem.layout, [row.token])[row.token].queued[str(row.native_id)].startswith("RUNNING")


async def test_leaving_again_after_a_death_in_between_finds_it_gone(onprem: Way) -> None:
    with partition(onprem, "DOWN"):
        row = await onprem.submit(new_job())
        onprem.ledger.request_leave(row.token, WHY)  # and here the triggerer died
        first = await leave(onprem.row(row), "another reason", site=onprem.site, ledger=onprem.ledger)
        again = await leave(onprem.row(row), "another reason", site=onprem.site, ledger=onprem.ledger)
    assert first == again
    assert first
    assert (first.left, first.leave_why) == (True, WHY)


async def test_a_job_that_a_person_has_cancelled_does_not_leave(onprem: Way) -> None:
    with partition(onprem, "DOWN"):
        row = await onprem.submit(new_job())
        onprem.ledger.request_cancel(row.token, "ada", "wrong input")
        assert await leave(onprem.row(row), WHY, site=onprem.site, ledger=onprem.ledger) is None
        assert onprem.row(row).leave_requested_at is None


async def test_an_array_of_which_a_task_has_begun_may_not_leave(onprem: Way) -> None:
    row = await onprem.submit(new_job("#!/bin/bash\nsleep 600\n", array="0-3", cpus_per_task=16, nodes=2))
    await eventually(
        lambda: len(known(onprem.layout, [row.token])[row.token].queued) >= 2, "the start of its first tasks"
    )
    poll = await onprem.watch().poll()
    report = poll.reports[row.token]
    assert not waits_whole(onprem.row(row), report)
    assert not waits_whole(replace(onprem.row(row), started_at=None), report)
