"""What jobs used and what it costs: hand-checked figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import JobRecord
from hybrid_hpc.usage.rows import UsageRow, is_usage, usage_row, usage_text

ONPREM = load_clusters().cluster("onprem")  # 0.02 USD a core-hour
AZURE = load_clusters().cluster("azure")  # hpc: 120 cores at 0.03; gpu: 24 cores at 0.01 and 1 GPU at 3.43


def record(**changes: Any) -> JobRecord:
    values: dict[str, Any] = {
        "native_id": "17",
        "task": "",
        "name": "hh-a",
        "state": JobState.COMPLETED,
        "exit_code": 0,
        "signal": None,
        "user": "alice",
        "project": "proj-alpha",
        "partition": "batch",
        "node_names": ("node01",),
        "nodes": 1,
        "cores": 8,
        "gpus": 0,
        "submitted_at": 1000.0,
        "eligible_at": 1010.0,
        "started_at": 1040.0,
        "ended_at": 2840.0,
        "elapsed_s": 1800.0,
        "walltime_s": 3600,
        "memory_asked_mib": 8192,
        "cpu_s": 10_800.0,
        "max_rss_mib": 2048.0,
    }
    return JobRecord(**{**values, **changes})


def used(cluster: Cluster = ONPREM, **changes: Any) -> UsageRow:
    return usage_row(record(**changes), cluster)


def test_half_an_hour_on_eight_cores_is_four_core_hours() -> None:
    found = used()
    assert (found.core_h, found.cpu_h, found.gpu_h) == (4.0, 3.0, 0.0)
    assert found.submitted_at == datetime(1970, 1, 1, 0, 16, 40, tzinfo=UTC)


def test_on_premises_the_cores_asked_for_are_paid() -> None:
    assert used().cost_usd == pytest.approx(4.0 * 0.02)


def test_gpus_on_premises_are_paid_beside_the_cores() -> None:
    found = used(partition="gpu", gpus=2)
    assert found.gpu_h == 1.0
    assert found.cost_usd == pytest.approx(4.0 * 0.02 + 1.0 * 0.90)


def test_on_an_elastic_cluster_a_job_pays_its_share_of_its_nodes() -> None:
    found = used(AZURE, partition="hpc", nodes=2, cores=24, memory_asked_mib=1000)
    assert found.core_h == 12.0, "what it used is what it asked for"
    assert found.cost_usd == pytest.approx(24 * 0.5 * 0.03)


def test_the_share_is_the_largest_of_cores_memory_and_gpus() -> None:
    node = 0.5 * (24 * 0.01 + 3.43)
    assert used(AZURE, partition="gpu", cores=1, gpus=1).cost_usd == pytest.approx(node)
    half = used(AZURE, partition="gpu", cores=1, gpus=0, memory_asked_mib=107_000)
    assert half.cost_usd == pytest.approx(node / 2)


def test_the_tasks_that_fill_a_node_pay_it_once_together() -> None:
    task = used(AZURE, partition="htc", cores=1, memory_asked_mib=1000)
    assert 16 * task.cost_usd == pytest.approx(16 * 0.5 * 0.042)


def test_a_partition_that_is_not_in_the_file_has_no_price() -> None:
    assert used(AZURE, partition="renamed").cost_usd == 0.0


def test_waiting_counts_from_when_the_job_could_have_started() -> None:
    assert used().wait_s == 30
    assert used(eligible_at=None).wait_s == 40
    assert used(started_at=None).wait_s is None
    assert used(eligible_at=1041.0).wait_s == 0


def test_the_start_that_slurm_gives_a_job_that_was_cancelled_while_it_waited_is_none() -> None:
    at_once: dict[str, Any] = {"started_at": 1040.0, "ended_at": 1040.0, "elapsed_s": 0.0}
    assert used(**at_once, state=JobState.CANCELLED).wait_s is None
    assert used(**at_once, state=JobState.FAILED).wait_s == 30


def test_a_job_that_never_ran_used_and_costs_nothing() -> None:
    found = used(started_at=None, ended_at=1050.0, elapsed_s=0.0, cpu_s=0.0, max_rss_mib=None)
    assert (found.core_h, found.cpu_h, found.cost_usd, found.wait_s) == (0, 0, 0, None)


def test_what_waits_is_no_usage_and_what_began_or_ended_is() -> None:
    waits = record(started_at=None, ended_at=None, state=JobState.PENDING)
    assert not is_usage(waits)
    assert is_usage(replace(waits, started_at=5.0))
    assert is_usage(replace(waits, ended_at=5.0))  # put back in the queue: this life is over


def test_a_text_that_no_index_takes_is_cut() -> None:
    tasks = f"[{','.join(map(str, range(0, 9999, 2)))}]"
    found = used(task=tasks, user="u" * 5000, project="p" * 5000)
    assert (len(found.task), found.task[-4:]) == (204, "...]")
    assert (len(found.user), len(found.project)) == (200, 200)


def test_a_record_without_a_submit_time_still_has_a_key() -> None:
    found = used(submitted_at=None, eligible_at=None, started_at=None, ended_at=None)
    assert found.submitted_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_text_tells_the_figures_of_all_lives_together() -> None:
    rows = [used(), used(task="1", eligible_at=1037.0)]
    assert usage_text(rows) == "used 8.00 core-hours (75% busy), peak 2.0 GiB, waited 3 s, costs 0.16 USD"


def test_the_text_shows_small_amounts_and_gpus() -> None:
    rows = [used(partition="gpu", gpus=4, elapsed_s=1.0, cpu_s=0.0, max_rss_mib=None)]
    assert usage_text(rows).startswith(
        "used 0.0022 core-hours (0% busy), 0.0011 GPU-hours, waited 30 s, costs "
    )


def test_without_a_record_the_text_says_so() -> None:
    assert usage_text([]) == "its usage is not known: the accounting has no record of it"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), st.integers(1, 128))
def test_the_usage_of_the_parts_adds_up_to_the_usage_of_the_whole(parts: list[float], cores: int) -> None:
    rows = [used(elapsed_s=part, cores=cores) for part in parts]
    whole = used(elapsed_s=sum(parts), cores=cores)
    assert sum(r.core_h for r in rows) == pytest.approx(whole.core_h)
    assert sum(r.cost_usd for r in rows) == pytest.approx(whole.cost_usd)
