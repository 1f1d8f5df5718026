"""What a decision knows beyond clusters.yaml: how long boots really take, and what the limits leave."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import ClusterStatus, Node
from hybrid_hpc.learnt import with_boots
from hybrid_hpc.schedulers.base import NodeStatus
from hybrid_hpc.site import _creatable
from tests.unit.placement_world import azure, decided, full, load, nodes, onprem, view
from tests.unit.scaling_world import bucket, htc_only, status
from tests.unit.test_demand_limits import limited

HTC = ("htc", "Standard_htc")
SIZE, OTHER = "Standard_F16s_v2", "Standard_D16s_v5"


def test_a_decision_counts_with_the_boot_time_that_was_learnt() -> None:
    where = with_boots(azure(), {HTC: [400.0, 900.0, 500.0]})
    offer = decided(view(where), cluster="azure").verdicts[0].best
    assert offer
    assert (offer.partition, offer.starts_in_s, offer.note) == ("htc", 500.0, "nodes boot first")


def test_two_boots_teach_nothing() -> None:
    assert with_boots(azure(), {HTC: [400.0, 900.0]}).partitions == azure().partitions


def test_slow_boots_keep_a_job_where_the_queue_is_shorter() -> None:
    busy = view(onprem(), full(onprem(), ends_in_s=3600))
    fast, slow = (with_boots(azure(), {HTC: [boot_s] * 3}) for boot_s in (60.0, 7200.0))
    assert decided(busy, view(fast), walltime="1:00:00").cluster == "azure"
    assert decided(busy, view(slow), walltime="1:00:00").cluster == "onprem"


def there(*names: str) -> list[Node]:
    values = {"Template": "htc", "TargetState": "Started", "Status": "Ready", "MachineType": SIZE}
    return [Node.model_validate({"Name": name, "NodeId": name, **values}) for name in names]


def cloud(*names: str, **left: int) -> ClusterStatus:
    """A status with these nodes, and how many more of each VM size could be made."""
    sizes = {SIZE: left.get("own", 0), OTHER: left.get("other", 0)}
    found = status(*(bucket(name, availableCount=count) for name, count in sizes.items()))
    return found.model_copy(update={"nodes": tuple(there(*names))})


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, 5),
        ({"max_nodes": 4}, 2),
        ({"max_nodes": 1}, 0),
        ({"max_usd_per_hour": 1.0}, 1),  # a node costs 0.32 USD an hour
        ({"max_usd_per_hour": 0.1}, 0),
    ],
)
def test_a_decision_knows_what_the_clusters_own_limits_leave(limits: dict[str, Any], left: int) -> None:
    where = limited(htc_only(SIZE), **limits)
    assert _creatable(where, cloud("htc-1", "htc-2", own=5)) == {"htc": left}


def test_every_vm_size_of_a_partition_counts() -> None:
    assert _creatable(htc_only(SIZE, OTHER), cloud(own=2, other=3)) == {"htc": 5}


def test_every_partition_of_a_nodearray_can_have_what_it_can_make() -> None:
    own = htc_only(SIZE).partitions["htc"]
    where = azure(partitions={"htc": own, "long": own.model_copy(update={"name": "long"})})
    assert _creatable(where, cloud(own=5)) == {"htc": 5, "long": 5}
    assert _creatable(limited(where, max_nodes=3), cloud("htc-1", own=5)) == {"htc": 2, "long": 2}


def test_a_job_for_which_the_limit_leaves_no_node_goes_elsewhere_with_the_reason() -> None:
    where: Cluster = limited(azure(), max_usd_per_hour=0.1)
    empty = load(nodes(where, NodeStatus.OFF))
    decision = decided(view(where, empty, creatable=_creatable(where, cloud(own=5))), view(onprem()))
    refusal = decision.verdicts[0].refusal
    assert decision.cluster == "onprem"
    assert refusal
    assert refusal.why == "Azure's quotas and the limits here let it have 0 nodes now, the job needs 1"
