"""The usage of real clusters in the ledger, against the scheduler's and CycleCloud's own sums."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import UsageRow
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.usage.capacity import three_numbers
from hybrid_hpc.usage.collect import ACCOUNTING, SAMPLES, VM_HOURS, collect_usage
from hybrid_hpc.usage.frames import frame_of, jobs_frame, spread
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window
from lab.lab import Lab
from tests.lab.conftest import Run
from tests.lab.journey import Journey, journey

pytestmark = pytest.mark.lab
SUMS = "sacct --allusers --duplicates --allocations --noheader --parsable2 --starttime=now-1days"


def window() -> Window:
    """Wide enough for all that a lab has done, whatever its clock's zone."""
    now = utc_now()
    return Window(now - timedelta(days=2), now + timedelta(days=1))


def rows_of(way: Journey) -> list[UsageRow]:
    found = way.ledger.usage_between(window())
    return sorted(found, key=lambda row: (row.native_id, row.task, row.submitted_at))


async def collected_whole(way: Journey, jobs: int) -> None:
    """Collects until the accounting, which comes a moment later, has the ends of so many jobs."""
    async with asyncio.timeout(60):
        while sum(1 for row in rows_of(way) if row.ended_at) < jobs:
            brought = await collect_usage(way.site, way.ledger)
            assert not brought.trouble
            await asyncio.sleep(0.5)


async def test_the_jobs_of_everybody_are_in_the_ledger_with_the_schedulers_own_sums(
    lab: Lab, run: Run, tmp_path: Path
) -> None:
    async with journey(lab, "onprem", tmp_path) as way:
        ours = await way.run("batch", "#!/bin/bash\nsleep 2\n", cpus_per_task=4)
        run("onprem", "sbatch --wait --array=0-2 --cpus-per-task=2 --wrap='sleep 1'")
        run("onprem", "sbatch --wait --wrap='exit 3' || true")
        run("onprem", "scancel $(sbatch --parsable --begin=now+1hours --wrap=hostname)")
        await collected_whole(way, 5)
        rows = rows_of(way)
        sums = [line.split("|") for line in run("onprem", f"{SUMS} --format=CPUTimeRAW,State").split("\n")]
        ended = [(int(cpu_s), state) for cpu_s, state in sums if state not in ("RUNNING", "PENDING")]
        assert sum(row.core_h for row in rows) * 3600 == pytest.approx(sum(cpu_s for cpu_s, _ in ended))
        states = {row.name: row.state for row in rows}
        assert states[ours.row.token] is JobState.COMPLETED
        assert [row.token for row in rows if row.name == ours.row.token] == [ours.row.token]
        assert JobState.FAILED in {row.state for row in rows if not row.token}
        await collect_usage(way.site, way.ledger)
        assert rows_of(way) == rows, "collected twice is collected once"
        marks = {mark.source: mark for mark in way.ledger.watermarks()}
        assert marks[ACCOUNTING].collected
        assert not marks[ACCOUNTING].unreadable
        assert SAMPLES in marks


async def test_the_hours_of_vms_hold_those_of_the_jobs_on_them_and_their_boot(
    lab: Lab, tmp_path: Path
) -> None:
    async with journey(lab, "azure", tmp_path) as way:
        await way.run("htc", "#!/bin/bash\nsleep 3\n", cpus_per_task=16)
        await collected_whole(way, 1)
        brought = await collect_usage(way.site, way.ledger)
        assert VM_HOURS in brought.rows
        parts = spread(jobs_frame(rows_of(way)), [window()])
        hours = frame_of(VmHourRow, way.ledger.vm_hours_between(window()))
        lives = frame_of(LifeRow, way.ledger.lives_between(window()))
        azure = three_numbers(parts, hours, lives, window()).loc["azure"]
        assert azure["vm_core_h"] > azure["job_core_h"] > 0
        assert azure["vm_usd"] > 0
        assert azure["boot_core_h"] > 0
