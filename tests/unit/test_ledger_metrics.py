"""What monitoring asks of the ledger, on both kinds of database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.requests import SCALE
from hybrid_hpc.usage.samples import SampleRow
from tests.unit.ledger_databases import NOW

pytest_plugins = ["tests.unit.ledger_fixtures"]


def sample(cluster: str, minutes_ago: int, partition: str = "", cores: int = 16) -> SampleRow:
    counts = dict.fromkeys(("nodes_up", "nodes_booting", "nodes_off", "nodes_draining", "nodes_down"), 0)
    counts |= dict.fromkeys(("cores_busy", "cores_free", "gpus", "gpus_busy", "cores_waiting"), 0)
    counts |= dict.fromkeys(("jobs_running", "jobs_waiting", "jobs_held"), 0)
    return SampleRow(cluster, NOW - timedelta(minutes=minutes_ago), partition, cores=cores, **counts)


def test_the_newest_sample_of_each_whole_cluster_is_found_if_it_is_new_enough(ledger: Ledger) -> None:
    ledger.save_samples(
        [
            sample("onprem", 20, cores=1),
            sample("onprem", 10, cores=2),
            sample("onprem", 5, "batch", cores=3),
            sample("azure", 29, cores=4),
            sample("old", 31, cores=5),
        ]
    )
    found = ledger.newest_samples(NOW - timedelta(minutes=30))
    assert [(row.cluster, row.partition, row.cores) for row in found] == [("azure", "", 4), ("onprem", "", 2)]


def test_requests_count_by_what_came_of_them_once_that_is_known(ledger: Ledger) -> None:
    request: dict[str, Any] = {
        "cluster": "azure",
        "nodearray": "htc",
        "names": ("a",),
        "for_jobs": (),
        "message": "",
    }
    open_: dict[str, Any] = {"outcome": "", "settled_at": None}
    ended: dict[str, Any] = {"outcome": "came", "settled_at": NOW}
    rows = [
        {**request, **ended, "request_id": "1", "asked_at": NOW},
        {**request, **ended, "request_id": "2", "asked_at": NOW - timedelta(days=9)},
        {**request, **open_, "request_id": "3", "asked_at": NOW},
    ]
    with ledger._transaction() as connection:
        connection.execute(insert(SCALE), rows)
    assert ledger.scale_outcomes(NOW - timedelta(days=1)) == {("azure", "came"): 1}
