"""What monitoring asks of the ledger, on both kinds of database."""

from __future__ import annotations

from datetime import timedelta

import pytest
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


@pytest.mark.parametrize(
    ("added", "outcome"), [(None, "unanswered"), (0, "none"), (1, "partial"), (2, "full"), (3, "full")]
)
def test_a_request_for_two_nodes_ends_as_what_was_added(
    ledger: Ledger, added: int | None, outcome: str
) -> None:
    request = {"cluster": "azure", "nodearray": "htc", "names": ("a", "b"), "for_jobs": (), "message": ""}
    rows = [
        {**request, "request_id": "1", "asked_at": NOW, "added": added},
        {**request, "request_id": "2", "asked_at": NOW - timedelta(days=9), "added": added},
    ]
    with ledger._transaction() as connection:
        connection.execute(insert(SCALE), rows)
    assert ledger.scale_outcomes(NOW - timedelta(days=1)) == {("azure", outcome): 1}
