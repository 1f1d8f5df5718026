"""Several VM sizes a nodearray and placement groups, at the lab's CycleCloud and with real nodes of Slurm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import Node
from hybrid_hpc.ledger import JobRow, what_came
from lab import cloud, processes, slurm
from lab.lab import Lab
from tests.chaos.lab_world import cancel_all, layout_of
from tests.lab.empty_azure import empty_azure
from tests.lab.journey import Journey, ended, says, started

pytestmark = pytest.mark.lab

E16, D16 = "Standard_E16s_v5", "Standard_D16s_v5"  # the lab has other ones, whose failures are remembered
GROUP_SIZE = 3
NOW = " in this region at the moment"
ONE_SIZE = ("vm_size", "vcpus", "pcpus", "gpus", "memory_gib", "infiniband", "boot_s", "usd_per_hour")
HELLO = "#!/bin/bash\nhostname\n"
HERE = '#!/bin/bash\necho "$SLURM_JOB_NODELIST"\nuntil [ -e go ]; do sleep 0.2; done\n'


@pytest.fixture
def sizes(lab: Lab) -> Iterator[None]:
    """The server has a second VM size for htc meanwhile, and small placement groups."""
    file = lab.layout.cyclecloud / "config.json"
    usual = file.read_text()
    told = json.loads(usual)
    told["nodearrays"] = [_with_sizes(array) for array in told["nodearrays"]]
    _restart(lab, json.dumps(told))
    yield
    _restart(lab, usual)


def _with_sizes(array: dict[str, Any]) -> dict[str, Any]:
    array["max_placement_group_size"] = GROUP_SIZE
    if array["name"] != "htc":
        return array
    own = {key: array.pop(key) for key in ONE_SIZE}
    further = own | {"vm_size": D16, "memory_gib": 64, "usd_per_hour": 0.8}
    return {**array, "sizes": [own | {"vm_size": E16}, further]}


def _restart(lab: Lab, config: str) -> None:
    processes.stop(lab.folder, cloud.NAME)
    (lab.layout.cyclecloud / "config.json").write_text(config)
    cloud.start(lab.layout)
    cloud.wait(lab.layout)


def two_sizes(cluster: Cluster) -> Cluster:
    """As a site's clusters.yaml names them, the second one a little dearer."""
    htc = cluster.partitions["htc"].model_copy(update={"vm_size": E16, "vm_sizes": {D16: 0.8}})
    return cluster.model_copy(update={"partitions": {**cluster.partitions, "htc": htc}})


@pytest.fixture(autouse=True)
def _certain_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a node is gone is certain after a minute; here it is at once."""
    monkeypatch.setattr(what_came, "CERTAIN", timedelta(0))


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path, sizes: None, faults: httpx.AsyncClient) -> AsyncIterator[Journey]:
    """The elastic cluster without a node, before and after."""
    async with empty_azure(lab, tmp_path, faults, two_sizes) as way:
        yield way


async def test_a_job_of_more_nodes_than_either_size_has_left_gets_both(
    azure: Journey, faults: httpx.AsyncClient
) -> None:
    (await faults.post("/lab/faults", json={"quotas": {E16: 16, D16: 32}})).raise_for_status()
    row = await azure.submit("htc", HELLO, nodes=3, cpus_per_task=16)
    await azure.until(row, ended, "the end of the job")
    assert (await azure.collect(row)).succeeded
    assert sorted(node.machine_type for node in await nodes(azure, "htc")) == [D16, D16, E16]


@dataclass(frozen=True)
class BadSize:
    """What is wrong with the cheaper size, and what comes of the requests, the newest first."""

    faults: dict[str, Any]
    requests: list[tuple[str, str]]


BAD = {
    "quota": BadSize({"quotas": {E16: 0}}, [("came", "")]),
    "failed boot": BadSize(
        {"boot_fail": {f"htc/{E16}": "no route to /sched"}},
        [("came", ""), ("failed", "Azure says: no route to /sched")],
    ),
    "no capacity": BadSize(
        {"no_capacity": [f"htc/{E16}"]},
        [("came", ""), ("failed", f"Azure says: AllocationFailed: no capacity for {E16}{NOW}")],
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_vm_size_that_cannot_be_had_stops_nothing_the_next_fitting_one_is_asked_for(
    azure: Journey, faults: httpx.AsyncClient, bad: BadSize
) -> None:
    (await faults.post("/lab/faults", json=bad.faults)).raise_for_status()
    row = await azure.submit("htc", HELLO, cpus_per_task=16)
    other = await azure.submit("hpc", HELLO, cpus_per_task=100)
    await azure.until(row, says(f"({D16})"), "that its node is of the next size")
    for each in (row, other):
        await azure.until(each, ended, "the end of the job")
        assert (await azure.collect(each)).succeeded
    assert [node.machine_type for node in await nodes(azure, "htc")] == [D16]
    asked = azure.ledger.scale_requests("azure")
    assert [(each.outcome, each.message) for each in asked if each.nodearray == "htc"] == bad.requests
    assert [each.outcome for each in asked if each.nodearray == "hpc"] == ["came"]


async def test_tightly_coupled_jobs_each_run_in_one_placement_group_and_one_too_large_is_told(
    lab: Lab, azure: Journey
) -> None:
    large = await azure.submit("hpc", HELLO, nodes=4, cpus_per_task=100)
    why = f"a placement group in Azure holds at most {GROUP_SIZE} nodes, and it needs 4 in one"
    await azure.until(large, says(f"pending: {why}"), why)
    cancel_all(layout_of(lab, "azure"), [large.token])
    first = await on_its_nodes(azure, nodes=2)
    second = await on_its_nodes(azure, nodes=3)
    group_of = {node.name: node.placement_group_id for node in await nodes(azure, "hpc")}
    groups = [{group_of[name] for name in nodes_of(lab, row)} for row in (first, second)]
    assert groups == [{"hpc-Standard_HB120rs_v3-pg0"}, {"hpc-Standard_HB120rs_v3-pg1"}]
    assert len(group_of) == 5


async def on_its_nodes(azure: Journey, **fields: Any) -> JobRow:
    """A tightly coupled job that runs on."""
    row = await azure.submit("hpc", HERE, cpus_per_task=100, **fields)
    await azure.until(row, started, "the start of the job")
    return row


def nodes_of(lab: Lab, row: JobRow) -> list[str]:
    """The nodes that Slurm itself says the job has."""
    layout = layout_of(lab, "azure")
    hosts = slurm.ask(layout, "squeue", "-h", "-j", str(row.native_id), "-o", "%N").strip()
    return slurm.ask(layout, "scontrol", "show", "hostnames", hosts).split()


async def nodes(azure: Journey, nodearray: str) -> list[Node]:
    """Those that are there or on their way."""
    assert azure.site.cloud
    return [node for node in await azure.site.cloud.nodes() if node.wanted and node.nodearray == nodearray]
