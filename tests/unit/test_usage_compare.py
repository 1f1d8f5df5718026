"""What clusters had beside what jobs used, forecasts beside what came, and what to ask for less of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.usage.advice import advice
from hybrid_hpc.usage.capacity import three_numbers, utilisation
from hybrid_hpc.usage.compare import cost_elsewhere, forecast_errors, usd_on
from hybrid_hpc.usage.frames import frame_of, jobs_frame, spread
from hybrid_hpc.usage.placed import PlacedRow, forecast_of
from hybrid_hpc.usage.rows import UsageRow, usage_row
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window
from tests.unit.test_usage_rows import record
from tests.unit.usage_world import AZURE, NOON, ONPREM, life

HOUR = timedelta(hours=1)
FOUR_HOURS = Window(NOON, NOON + 4 * HOUR)
SAMPLE = SampleRow("onprem", NOON, "", 4, 0, 0, 0, 0, 64, 16, 48, 0, 0, 1, 2, 0, 8)


def row_of(table: Any, *key: str) -> Any:
    return table.loc[key]


def sampled(minutes: float, busy: int, **changes: Any) -> SampleRow:
    return replace(SAMPLE, moment=NOON + timedelta(minutes=minutes), cores_busy=busy, **changes)


def test_a_sample_stands_until_the_next_one() -> None:
    window = Window(NOON, NOON + timedelta(minutes=20))
    table = utilisation(frame_of(SampleRow, [sampled(0, 64), sampled(5, 0)]), window)
    found = row_of(table, "onprem", "")
    assert (found["utilisation"], found["cores"], found["seen"]) == (0.25, 64.0, 1.0)


def test_a_silence_is_a_gap_and_no_idle_time() -> None:
    table = utilisation(frame_of(SampleRow, [sampled(0, 64), sampled(220, 64)]), FOUR_HOURS)
    found = row_of(table, "onprem", "")
    assert found["utilisation"] == 1.0
    assert found["seen"] == pytest.approx(40 / 240)


def test_a_cluster_without_a_node_has_no_utilisation() -> None:
    found = utilisation(frame_of(SampleRow, [sampled(0, 0, cores=0)]), FOUR_HOURS)
    assert found["utilisation"].isna().all()
    assert utilisation(frame_of(SampleRow, []), FOUR_HOURS).empty


def node(asked: float, up: float | None, gone: float | None) -> LifeRow:
    """Hours after noon."""
    asked_at, up_at, gone_at = (None if each is None else NOON + each * HOUR for each in (asked, up, gone))
    assert asked_at
    return LifeRow("azure", "id", "htc-1", "htc", "F16", asked_at, up_at, None, FOUR_HOURS.until, gone_at)


def vm_hour(hour: int, core_h: float, category: str = "nodearray", usd: float | None = 1.0) -> VmHourRow:
    name, size, cores = ("htc", "F16", 16) if category == "nodearray" else ("scheduler", "D4", 4)
    return VmHourRow(
        "azure", NOON + hour * HOUR, category, name, size, "Regular", core_h, core_h / cores, usd
    )


def numbers(rows: list[UsageRow], hours: list[VmHourRow], nodes: list[LifeRow]) -> pd.DataFrame:
    frames = frame_of(VmHourRow, hours), frame_of(LifeRow, nodes)
    return three_numbers(spread(jobs_frame(rows), [FOUR_HOURS]), *frames, FOUR_HOURS)


def test_the_gap_between_vm_hours_and_job_hours_is_boot_idle_and_head_node() -> None:
    hours = [*(vm_hour(hour, 16.0) for hour in range(4)), *(vm_hour(hour, 4.0, "node") for hour in range(4))]
    jobs = [life(NOON + HOUR, 2, cluster="azure", cores=16, cost_usd=3.0), life(cost_usd=0.5)]
    table = numbers(jobs, hours, [node(0, 0.5, 3.75)])
    azure = table.loc["azure"]
    assert (azure["job_core_h"], azure["vm_core_h"]) == (32.0, 80.0)
    assert (azure["job_usd"], azure["vm_usd"]) == (3.0, 8.0)
    assert (azure["head_core_h"], azure["boot_core_h"], azure["idle_core_h"]) == (16.0, 8.0, 20.0)
    assert azure["other_core_h"] == 4.0
    onprem = table.loc["onprem"]
    assert (onprem["job_core_h"], onprem["job_usd"]) == (4.0, 0.5)
    assert onprem[["vm_core_h", "vm_usd", "head_core_h", "idle_core_h", "other_core_h"]].isna().all()


def test_vms_that_ran_for_no_job_are_seen() -> None:
    azure = numbers([], [vm_hour(0, 16.0)], [node(0, 0.25, 1)]).loc["azure"]
    assert (azure["job_core_h"], azure["boot_core_h"], azure["idle_core_h"]) == (0.0, 4.0, 12.0)


def test_a_node_that_never_came_up_only_booted() -> None:
    azure = numbers([], [vm_hour(0, 16.0)], [node(0, None, 1)]).loc["azure"]
    assert (azure["boot_core_h"], azure["idle_core_h"]) == (16.0, 0.0)


def test_one_price_that_is_not_known_leaves_the_money_unknown() -> None:
    azure = numbers([], [vm_hour(0, 16.0), vm_hour(1, 16.0, usd=None)], []).loc["azure"]
    assert pd.isna(azure["vm_usd"])
    assert azure["vm_core_h"] == 32.0


def test_without_anything_there_are_no_numbers_and_no_error() -> None:
    assert numbers([], [], []).empty


def placed(forecast_s: float | None, came_s: float | None, partition: str = "batch") -> PlacedRow:
    started_at = None if came_s is None else NOON + timedelta(seconds=came_s)
    return PlacedRow("onprem", partition, NOON, forecast_s, 1.0, started_at, 0.5)


def test_a_forecast_that_is_too_hopeful_has_a_bias_above_zero() -> None:
    rows = [placed(0, 60), placed(0, 120), placed(600, 600), placed(None, 5), placed(5, None)]
    table = forecast_errors(frame_of(PlacedRow, rows))
    found = row_of(table, "onprem", "batch")
    assert (found["placements"], found["bias_s"], found["error_p50_s"]) == (3, 60.0, 60.0)


def test_errors_in_both_ways_do_not_cancel_each_other() -> None:
    found = forecast_errors(frame_of(PlacedRow, [placed(100, 0), placed(0, 100)])).iloc[0]
    assert (found["bias_s"], found["error_p50_s"]) == (0.0, 100.0)


def test_the_forecast_is_that_of_the_chosen_cluster_or_none() -> None:
    def verdict(cluster: str, best: object) -> dict[str, object]:
        return {"cluster": cluster, "best": best}

    best = {"starts_in_s": 12.0, "cost_usd": 3.0}
    verdicts = [verdict("azure", {"starts_in_s": 1.0}), verdict("onprem", best)]
    assert forecast_of({"cluster": "onprem", "verdicts": verdicts}) == (12.0, 3.0)
    assert forecast_of({"cluster": "onprem", "verdicts": [verdict("onprem", None)]}) == (None, None)
    assert forecast_of({}) == (None, None)


def test_the_same_jobs_on_the_other_cluster_take_its_cheapest_partition_that_holds_them() -> None:
    rows = [
        life(
            cores=16, cost_usd=0.32, memory_asked_mib=31_000
        ),  # all of an htc node, and less money as a part of an hpc node
        life(native_id="18", cores=4, gpus=1, cost_usd=1.0, partition="gpu"),
        life(native_id="19", cores=4, gpus=4, cost_usd=9.0, partition="gpu"),  # no node has four
    ]
    found = row_of(cost_elsewhere(jobs_frame(rows), [ONPREM, AZURE]), "onprem", "azure")
    assert (found["jobs"], found["fit"]) == (3, 2)
    assert found["usd"] == pytest.approx(1.32)
    assert found["usd_elsewhere"] == pytest.approx(16 * 0.030 + 24 * 0.01 + 3.43)


@settings(deadline=None)
@given(
    nodes=st.integers(1, 4),
    cores=st.integers(1, 16),
    gpus=st.integers(0, 1),
    mib=st.integers(1, 30_000),
    elapsed_s=st.integers(0, 10**6),
    there=st.sampled_from(
        [(ONPREM, "batch"), (ONPREM, "gpu"), (AZURE, "hpc"), (AZURE, "htc"), (AZURE, "gpu")]
    ),
)
def test_a_job_costs_what_its_like_would_cost_elsewhere(
    nodes: int, cores: int, gpus: int, mib: int, elapsed_s: int, there: Any
) -> None:
    """One formula, for a single job and for a frame of many."""
    cluster, name = there
    row = usage_row(
        record(
            partition=name,
            nodes=nodes,
            cores=cores * nodes,
            gpus=gpus * nodes,
            memory_asked_mib=mib * nodes,
            elapsed_s=float(elapsed_s),
            walltime_s=60,
        ),
        cluster,
    )
    alone = cluster.model_copy(update={"partitions": {name: cluster.partitions[name]}})
    [there_usd] = usd_on(jobs_frame([row]), alone)
    part = cluster.partitions[name]
    if nodes <= part.nodes and gpus <= part.gpus:
        assert there_usd == pytest.approx(row.cost_usd)
    else:
        assert pd.isna(there_usd)


def alike(count: int, began: datetime = NOON, **changes: Any) -> pd.DataFrame:
    return jobs_frame([life(began, native_id=str(number), **changes) for number in range(count)])


def test_memory_that_was_asked_for_and_not_used_is_told() -> None:
    jobs = alike(40, memory_asked_mib=65_536, max_rss_mib=3072.0, cores=1, walltime_s=None)
    assert advice(jobs) == [
        "onprem: alice (proj-alpha) asked for 64.0 GiB, the largest process used 3.0 GiB at most in 40 jobs"
    ]


def test_a_job_of_many_processes_is_not_told_to_ask_for_the_memory_of_one() -> None:
    assert (
        advice(
            alike(40, memory_asked_mib=65_536, max_rss_mib=3072.0, cores=16, cpu_s=57_600, walltime_s=None)
        )
        == []
    )


def test_one_job_that_needed_it_silences_the_advice() -> None:
    little = alike(40, memory_asked_mib=65_536, max_rss_mib=3072.0, cores=1, walltime_s=None)
    much = jobs_frame(
        [life(native_id="x", memory_asked_mib=65_536, max_rss_mib=60_000.0, cores=1, walltime_s=None)]
    )
    assert advice(pd.concat([little, much])) == []


def test_cores_that_stood_still_and_walltime_that_was_not_needed_are_told() -> None:
    jobs = alike(5, cores=32, cpu_s=3600.0, walltime_s=172_800, memory_asked_mib=None)
    assert advice(jobs) == [
        "onprem: alice (proj-alpha) asked for 32 cores, 1.0 were busy at most in 5 jobs",
        "onprem: alice (proj-alpha) asked for 2 d, "
        "the longest of 5 jobs ran 1 h: with less they may start sooner",
    ]


def test_few_jobs_and_none_give_no_advice() -> None:
    assert advice(alike(4, cores=32, cpu_s=3600.0)) == []
    assert advice(jobs_frame([])) == []
