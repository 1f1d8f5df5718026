"""Which VM sizes CycleCloud's status offers, and in which words it is told that there is none."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_hpc.clusters import Partition
from hybrid_hpc.cyclecloud import ClusterStatus
from hybrid_hpc.offers import Failure, supply_of
from hybrid_hpc.supply import Offer, Supply
from tests.unit.placement_world import partition
from tests.unit.scaling_world import bucket, status

OWN, TWIN, DEAR = "Standard_own", "Standard_twin", "Standard_dear"
PART = partition(
    "htc", nodearray="htc", vm_size=OWN, vm_sizes={TWIN: None, DEAR: 1.0}, memory_mib=31_000
)  # a node of its own size: 0.32 USD
NO_MACHINE = Failure(60, "Azure says: AllocationFailed in this zone")
INIT_FAILED = Failure(20, "Azure says: the cluster-init script failed")


def supply(found: ClusterStatus, part: Partition, failures: dict[str, Failure]) -> Supply:
    known = {f"Standard_{name}": failure for name, failure in failures.items()}
    return supply_of(part, found, known, again_s=60)


def offers(found: ClusterStatus, **failures: Failure) -> list[str]:
    return [offer.vm_size for offer in supply(found, PART, failures).offers]


def why(found: ClusterStatus, **failures: Failure) -> str:
    got = supply(found, PART.model_copy(update={"vm_sizes": {}}), failures)
    assert not got.offers
    return got.blocked


THREE = (bucket(DEAR), bucket(TWIN, availableCount=7), bucket(OWN))


def test_the_cheapest_comes_first_then_that_of_which_there_are_most() -> None:
    got = supply(status(*THREE), PART, {})
    assert got.offers == [Offer(TWIN, 7, 0.32), Offer(OWN, 5, 0.32), Offer(DEAR, 5, 1.0)]
    assert got.blocked == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"availableCount": 0},
        {"valid": False},
        {"lastCapacityFailure": 299.0},
        {"lastCapacityFailure": 0.0},
        {"virtualMachine": {"vcpuCount": 15}},
        {"virtualMachine": {"memory": 29.0}},
    ],
)
def test_a_size_that_cannot_be_had_or_is_too_small_is_passed_over(changes: dict[str, Any]) -> None:
    assert offers(status(bucket(OWN, **changes), bucket(TWIN), bucket(DEAR))) == [TWIN, DEAR]


def test_a_size_that_clusters_yaml_does_not_name_is_none() -> None:
    assert offers(status(bucket("Standard_other"), bucket(DEAR))) == [DEAR]


@pytest.mark.parametrize(
    ("failure", "left_out"),
    [
        (NO_MACHINE, True),
        (Failure(299, NO_MACHINE.why), True),
        (Failure(300, NO_MACHINE.why), False),
        (INIT_FAILED, True),
        (Failure(60, INIT_FAILED.why), False),
    ],
)
def test_a_size_that_failed_is_left_alone_for_five_minutes_when_azure_had_none_else_for_one(
    failure: Failure, left_out: bool
) -> None:
    assert (OWN not in offers(status(*THREE), own=failure)) == left_out


def test_when_every_size_failed_the_one_whose_failure_is_oldest_is_tried_again_after_a_minute() -> None:
    fails = {"own": NO_MACHINE, "twin": Failure(90, NO_MACHINE.why), "dear": INIT_FAILED}
    assert offers(status(*THREE), **fails) == [TWIN]
    assert offers(status(*THREE), own=INIT_FAILED, twin=INIT_FAILED, dear=INIT_FAILED) == []


def test_a_failure_is_told_in_azures_words() -> None:
    assert why(status(bucket(OWN)), own=INIT_FAILED) == "Azure says: the cluster-init script failed"
    alone = PART.model_copy(update={"vm_sizes": {}})
    last = status(bucket(OWN, lastCapacityFailure=20.0))
    assert supply_of(alone, last, {}, again_s=60).blocked == (
        "Azure had no Standard_own free less than five minutes ago"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"familyConsumedCoreCount": 150},
            "the Azure quota of the family of Standard_own is reached: "
            "150 of 160 cores are in use, a Standard_own takes 16",
        ),
        (
            {"regionalConsumedCoreCount": 1000},
            "the Azure quota of the region is reached: "
            "1000 of 1000 cores are in use, a Standard_own takes 16",
        ),
        ({"activeCount": 10}, "nodearray htc is at its limit in CycleCloud, 10 nodes"),
        ({}, "CycleCloud can make no Standard_own now and does not say why"),
    ],
)
def test_what_blocks_is_told_with_azures_numbers(changes: dict[str, Any], says: str) -> None:
    assert why(status(bucket(OWN, availableCount=0, **changes))) == says


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"regionalConsumedCoreCount": 960},
            "the Azure quota of the region is not enough: "
            "960 of 1000 cores are in use, a Standard_own takes 16",
        ),
        ({"activeCount": 8}, "nodearray htc is at its limit in CycleCloud, 10 nodes"),
        ({}, "CycleCloud can make no more Standard_own now and does not say why"),
    ],
)
def test_when_fewer_can_be_had_than_it_takes_it_is_told_which_limit_keeps_the_others_away(
    changes: dict[str, Any], says: str
) -> None:
    found = status(bucket(OWN, availableCount=2, **changes))
    got = supply(found, PART.model_copy(update={"vm_sizes": {}}), {})
    assert got.short(3) == f"it needs 3 more nodes and 2 can be had: {says}"
    assert got.short(2) == ""


def test_of_spot_nodes_the_family_quota_of_zero_means_nothing() -> None:
    spot = bucket(OWN, availableCount=0, familyQuotaCoreCount=0, regionalConsumedCoreCount=1000)
    assert why(status(spot, Interruptible=True)).startswith("the Azure quota of the region is reached")


def test_a_size_that_is_disabled_or_missing_is_told() -> None:
    disabled = bucket(OWN, valid=False, invalidReason="DisabledMachineType")
    assert why(status(disabled)) == "Azure gives no Standard_own to this subscription (DisabledMachineType)"
    assert why(status()) == "nodearray htc has no Standard_own in CycleCloud"


@pytest.mark.parametrize(
    ("infiniband", "said", "group_size"),
    [(True, None, 4), (False, None, 0), (False, True, 4), (True, False, 0)],
)
def test_nodes_with_infiniband_are_tightly_coupled_unless_clusters_yaml_says_otherwise(
    infiniband: bool, said: bool | None, group_size: int
) -> None:
    found = status(bucket(OWN, virtualMachine={"infiniband": infiniband}))
    part = PART.model_copy(update={"tightly_coupled": said, "vm_sizes": {}})
    assert supply_of(part, found, {}, again_s=60).offers == [Offer(OWN, 5, 0.32, group_size)]
