"""A ledger with six weeks of two clusters for tests of the page *Usage*: a gap, hostile names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger, UsageRow
from hybrid_hpc.usage.collect import ACCOUNTING, SAMPLES, VM_HOURS
from hybrid_hpc.usage.rollup import roll_up
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.vm_hours import HEAD_NODE, VmHourRow
from hybrid_hpc.usage.windows import Window
from tests.unit.usage_world import life

NOW = datetime(2026, 4, 14, 9, 30, tzinfo=UTC)
DAYS = 42
SINCE = NOW - timedelta(days=DAYS)
HOSTILE = '<img src=x onerror="document.title=1">=1+1'
PERSONS = ("alice", "bob", "vera", "chen", HOSTILE)
PROJECTS = ("proj-alpha", "proj-beta", "")
ENDS = (*[JobState.COMPLETED] * 12, JobState.FAILED, JobState.TIMEOUT, JobState.OUT_OF_MEMORY)
SILENT = timedelta(days=3)  # so long azure's accounting has not answered


def lives() -> Iterator[UsageRow]:
    """Twelve a day, fewer at weekends, on two clusters."""
    for number in range(DAYS * 12):
        began = SINCE + timedelta(hours=2 * number)
        cluster = "azure" if number % 3 == 0 else "onprem"
        if (began.weekday() >= 5 and number % 4) or (cluster == "azure" and began > NOW - SILENT):
            continue
        yield life(
            began,
            0.4 + number % 7 * (2.2 + math.sin(number / 40)),
            native_id=str(1000 + number),
            name=HOSTILE if number % 50 == 0 else f"wing-{number}",
            waited_s=30.0 * (number % 9) ** (4.5 if cluster == "onprem" else 2.5),
            cluster=cluster,
            partition="htc" if cluster == "azure" else "batch",
            person=PERSONS[number % 5],
            project=PROJECTS[number // 2 % 3],
            cores=1 << number % 6,
            gpus=number % 11 == 0,
            cost_usd=0.05 * (1 << number % 6) * (2 if cluster == "azure" else 1),
            state=ENDS[number % len(ENDS)],
            token=f"hh-{number}" if number % 2 else "",
        )


def samples() -> Iterator[SampleRow]:
    """Every twenty minutes of both clusters; three days in between are missing."""
    nothing = dict.fromkeys(SampleRow.__slots__[3:], 0)
    for number in range(DAYS * 72):
        moment = SINCE + timedelta(minutes=20 * number)
        if 20 <= (moment - SINCE).days < 23:
            continue
        busy = 20 + 12 * math.sin(number / 30) + 6 * math.sin(number / 7)
        for cluster, cores in (("onprem", 64), ("azure", 32 if number % 5 else 0)):
            seen = {**nothing, "cores": cores, "cores_busy": int(min(busy, cores))}
            yield SampleRow(cluster, moment, "", **seen)


def vm_hours() -> Iterator[VmHourRow]:
    """A nodearray that comes and goes, and the head node."""
    for number in range(DAYS * 24):
        hour = (SINCE + timedelta(hours=number)).replace(minute=0)
        core_h = 16.0 * max(0, round(2 + 3 * math.sin(number / 20)))
        yield VmHourRow("azure", hour, HEAD_NODE, "scheduler", "D4", "Regular", 4.0, 1.0, 0.2)
        if core_h:
            yield VmHourRow(
                "azure", hour, "nodearray", "htc", "F16", "Regular", core_h, core_h / 16, core_h / 20
            )


def fill(ledger: Ledger) -> Ledger:
    """All of it, collected but for the accounting of azure, rolled up, with what a report found."""
    ledger.save_usage(list(lives()))
    ledger.save_samples(list(samples()))
    ledger.save_vm_hours(list(vm_hours()))
    for cluster in ("onprem", "azure"):
        for source in (ACCOUNTING, SAMPLES, *([VM_HOURS] if cluster == "azure" else [])):
            late = SILENT if (cluster, source) == ("azure", ACCOUNTING) else timedelta(0)
            ledger.note_collected(cluster, source, Window(SINCE, NOW - late))
    ledger.note_trouble("azure", ACCOUNTING, "azure: connection refused")
    ledger.save_findings(Window(NOW - timedelta(days=7), NOW), FOUND)
    roll_up(ledger)
    return ledger


def _advice(person: str) -> dict[str, str]:
    used = "the largest process used 3.0 GiB at most in 40 jobs"
    told = f"onprem: {person} (proj-alpha) asked for 64.0 GiB, {used}"
    return {"cluster": "onprem", "project": "proj-alpha", "person": person, "sentence": told}


def _error(cluster: str, partition: str, **figures: float) -> dict[str, Any]:
    return {"cluster": cluster, "partition": partition, **figures}


FOUND: dict[str, list[dict[str, Any]]] = {
    "advice": [_advice(person) for person in PERSONS],
    "elsewhere": [
        {
            "cluster": "azure",
            "elsewhere": "onprem",
            "jobs": 40,
            "fit": 38,
            "usd": 61.0,
            "usd_elsewhere": 17.5,
        },
        {
            "cluster": "onprem",
            "elsewhere": "azure",
            "jobs": 90,
            "fit": 90,
            "usd": 44.0,
            "usd_elsewhere": 131.0,
        },
    ],
    "forecasts": [
        _error("azure", "htc", placements=31, bias_s=-40.0, error_p50_s=90.0, error_p90_s=400.0),
        _error("onprem", "batch", placements=77, bias_s=300.0, error_p50_s=600.0, error_p90_s=2600.0),
    ],
}
