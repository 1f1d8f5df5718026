"""Promises about a job for which Azure gives no nodes, whoever asks for them: it leaves before it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.moving import leave, why_it_stays
from hybrid_hpc.watch import Poll
from lab import slurm
from lab.lab import Lab
from tests.chaos.lab_world import (
    COUNTED,
    eventually,
    known,
    layout_of,
    nodes_added,
    run_dir,
)
from tests.lab.empty_azure import empty_azure
from tests.lab.journey import Journey, Seen, ended

pytestmark = pytest.mark.lab

WHOLE_NODE = {"cpus_per_task": 16}
CAUSES: dict[str, tuple[dict[str, Any], str]] = {
    "quota": ({"quota_cores": 0}, "the Azure quota of the family of Standard_F16s_v2 is reached: 0 of 0"),
    "no capacity": ({"no_capacity": ["htc"]}, "Azure"),
    "failed boots": ({"boot_fail": {"htc": "no route to /sched"}}, "Azure says: no route to /sched"),
}
both_ways = pytest.mark.parametrize("lab", ["cyclecloud", "scheduler"], indirect=True)
by_slurm = pytest.mark.parametrize("lab", ["scheduler"], indirect=True)


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path, faults: httpx.AsyncClient) -> AsyncIterator[Journey]:
    """The elastic cluster, in the end without a job."""
    async with empty_azure(lab, tmp_path, faults) as way:
        yield way


def is_blocked(why: str) -> Seen:
    def seen(_poll: Poll, report: JobReport | None) -> bool:
        return report is not None and report.blocked.startswith(why)

    return seen


@both_ways
@pytest.mark.parametrize("cause", CAUSES)
async def test_a_job_for_which_azure_gives_no_nodes_leaves_with_azures_words_and_no_node_stays(
    lab: Lab, azure: Journey, faults: httpx.AsyncClient, cause: str
) -> None:
    how, why = CAUSES[cause]
    before = await nodes_added(lab)
    (await faults.post("/lab/faults", json=how)).raise_for_status()
    row = await azure.submit("htc", COUNTED, **WHOLE_NODE)
    report = (await azure.until(row, is_blocked(why), why))[-1][1]
    assert report
    waits = JobState.PENDING if lab.settings.scaling == "cyclecloud" else JobState.CONFIGURING
    assert report.state is waits
    assert why_it_stays(_row(azure, row), report, 1) == ""
    gone = await leave(row, report.blocked, site=azure.site, ledger=azure.ledger)
    assert gone
    assert (gone.left, gone.leave_why, gone.outcome) == (True, report.blocked, JobState.CANCELLED)
    assert gone.sentence == (
        f"cancelled by Hybrid HPC, because azure could not run it ({report.blocked}), before it started"
    )
    await _never_ran(lab, row)
    await _without_nodes(azure)
    assert len((await nodes_added(lab))[len(before) :]) <= (0 if cause == "quota" else 1)


@by_slurm
async def test_jobs_that_begin_while_they_are_told_to_leave_run_or_leave_and_never_both(
    lab: Lab, azure: Journey, faults: httpx.AsyncClient
) -> None:
    """Their nodes come one boot after they were chosen; somebody tells them to go before, then and after."""
    (await faults.post("/lab/faults", json={"boot_s": 4})).raise_for_status()

    async def told(after_s: float) -> tuple[JobRow, JobRow | None]:
        row = await azure.submit("htc", COUNTED, **WHOLE_NODE)
        await asyncio.sleep(after_s)
        return row, await leave(row, "no nodes", site=azure.site, ledger=azure.ledger)

    gone = await asyncio.gather(*(told(0.8 * number) for number in range(8)))
    assert gone[0][1], "the first was told before any node could boot"
    for row, left in gone:
        if left:
            assert left.left
            await _never_ran(lab, row)
        else:
            await azure.until(row, ended, "its end")
            assert (await azure.collect(row)).succeeded
            assert len(_runs(lab, row)) == 1


@by_slurm
async def test_a_job_whose_nodes_came_stays_though_it_was_blocked_for_long(lab: Lab, azure: Journey) -> None:
    row = await azure.submit("htc", f"{COUNTED}sleep 600\n", **WHOLE_NODE)
    await azure.until(row, lambda _poll, report: bool(report and report.state.started), "its start")
    assert await leave(row, "no nodes", site=azure.site, ledger=azure.ledger) is None
    stays = _row(azure, row)
    assert (stays.leave_requested_at, stays.settled) == (None, False)
    assert known(layout_of(lab, "azure"), [row.token])[row.token].queued[str(row.native_id)] == "RUNNING None"


def _row(azure: Journey, row: JobRow) -> JobRow:
    found = azure.ledger.job(row.token)
    assert found
    return found


def _runs(lab: Lab, row: JobRow) -> list[str]:
    file = run_dir(layout_of(lab, "azure"), row.token) / "ran"
    return file.read_text().split() if file.exists() else []


async def _never_ran(lab: Lab, row: JobRow) -> None:
    """So says the cluster, and so says the script."""
    asked = (
        "sacct",
        "-n",
        "-X",
        "-D",
        "-P",
        "-o",
        "state",
        "-j",
        str(row.native_id),
    )  # by time it hides some

    def recorded() -> set[str]:
        return {line.split()[0] for line in slurm.ask(layout_of(lab, "azure"), *asked).splitlines()}

    await eventually(recorded, "its record in the accounting", limit_s=10)
    assert recorded() <= {"CANCELLED", "FAILED"}
    assert _runs(lab, row) == []


async def _without_nodes(azure: Journey) -> None:
    async with asyncio.timeout(90):
        async for poll in azure.watch.polls():
            if poll.cloud and not poll.cloud.existing:
                return
