"""The doctor tells of every check in one line: well, or what was found and what to do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from hybrid_hpc import doctor
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.errors import (
    AccessDenied,
    Invalid,
    Problem,
    Refused,
    Shut,
    Unavailable,
    Unreachable,
    Unreadable,
)
from hybrid_hpc.schedulers.base import NodeState, NodeStatus
from hybrid_hpc.site import Site
from tests.unit.doctor_world import CHECKS, FakeHeadNode, World


@pytest.mark.parametrize(("name", "more"), [("onprem", []), ("azure", ["CycleCloud"])])
async def test_a_healthy_cluster_is_well_in_every_check(name: str, more: list[str]) -> None:
    found = await World(name).findings()
    assert list(found) == [*CHECKS, *more]
    assert all(finding.well for finding in found.values()), found


async def test_where_jobs_run_as_somebody_else_each_who_is_named_is_tried() -> None:
    world = World()
    connections = {"alpha": "hpc_alpha", "beta": "hpc_beta"}
    world.cluster = world.cluster.model_copy(update={"runs_as": "project", "ssh_connections": connections})
    world.head_node.others = {f"project:{project}": FakeHeadNode() for project in connections}
    assert (await world.findings())["accounts"].found == "project:alpha, project:beta"
    world.head_node.others["project:beta"].trouble["storage"] = AccessDenied("onprem as beta: denied")
    finding = (await world.findings())["accounts"]
    assert (finding.well, finding.found) == (False, "onprem as beta: denied")
    assert "ssh_connections" in finding.remedy


async def test_a_table_that_is_kept_for_jobs_sent_before_is_a_warning_with_when_to_take_it_out() -> None:
    world = World()
    world.cluster = world.cluster.model_copy(update={"ssh_connections": {"alpha": "hpc_alpha"}})
    (finding,) = [each async for each in doctor.examine(world.cluster, world.open_site) if each.remedy]
    assert (finding.well, finding.check) == (True, "accounts")
    assert finding.found == "runs_as is service: ssh_connections is only for jobs that were sent by it before"
    assert finding.remedy == "Take ssh_connections out when they have ended."


@pytest.mark.parametrize(
    ("trouble", "remedy"),
    [
        (Unreachable("onprem: no SSH connection: refused"), "Correct host and port of .* hpc_onprem"),
        (AccessDenied("onprem: Permission denied"), "Correct login, key and host_key of .* hpc_onprem"),
        (AccessDenied("onprem: Host key is not trusted"), "what `cat /etc/ssh/.*` prints on the head node"),
        (
            Refused("Airflow has no connection hpc_onprem"),
            "Make or correct the Airflow connection hpc_onprem",
        ),
        (ValueError("port is no number"), "Make or correct .* hpc_onprem"),
    ],
)
async def test_a_head_node_that_cannot_be_reached_is_told_once_with_its_own_remedy(
    trouble: Exception, remedy: str
) -> None:
    world = World()
    world.head_node.trouble["hostname"] = trouble
    found = await world.findings()
    assert list(found) == ["connection"]
    assert str(trouble) in found["connection"].found
    assert re.search(remedy, found["connection"].remedy)


async def test_a_key_file_that_is_missing_is_no_matter_of_host_and_port() -> None:
    world = World()
    trouble = Unreachable("onprem: no SSH connection: [Errno 2] No such file: '/keys/id'")
    trouble.__cause__ = FileNotFoundError("/keys/id")
    world.head_node.trouble["hostname"] = trouble
    assert (await world.findings())["connection"].remedy.startswith("Correct login, key")


async def test_a_head_node_that_was_left_alone_and_answers_again_is_told_so() -> None:
    world = World()
    lasting = "has not let us in since 10:42 UTC: Permission denied"
    world.head_node.open = Shut("onprem: not tried again for 40 s", lasting=lasting, retry_after_s=40)
    found = (await world.findings())["connection"]
    assert found.well
    assert found.found.endswith(f"everybody may use it again: it {lasting}")


async def test_cyclecloud_is_asked_though_the_head_node_is_silent() -> None:
    world = World("azure")
    world.head_node.trouble["hostname"] = Unreachable("azure: no SSH connection")
    found = await world.findings()
    assert [(name, finding.well) for name, finding in found.items()] == [
        ("connection", False),
        ("CycleCloud", True),
    ]


async def test_connections_that_cannot_be_made_are_named_both() -> None:
    async def refuse(_: Cluster) -> Site:
        raise Invalid([Problem("CycleCloud URL", "it is no web address", "give https://host:port")])

    found = await World("azure").findings(refuse)
    assert list(found) == ["connections"]
    assert "hpc_azure of type ssh, cyclecloud of type cyclecloud" in found["connections"].remedy


Spoil = Callable[[World], None]


def no_version(world: World) -> None:
    world.head_node.trouble["version"] = Unavailable("sbatch: command not found")


def no_partition(world: World) -> None:
    world.scheduler.nodes = [node for node in world.scheduler.nodes if node.partitions == ("batch",)]


def no_nodes(world: World) -> None:
    world.scheduler.nodes = []


def too_few_nodes(world: World) -> None:
    world.scheduler.nodes = world.scheduler.nodes[1:]


def small_nodes(world: World) -> None:
    shape = (8, 0, 32000, 0)
    batch = [NodeState(f"n{n}", ("batch",), NodeStatus.UP, *shape) for n in range(4)]
    world.scheduler.nodes = [*batch, NodeState("g", ("gpu",), NodeStatus.UP, 32, 0, 256000, 0, gpus=2)]


def no_records(world: World) -> None:
    world.scheduler.keeps_records = False


def late(world: World) -> None:
    world.scheduler.skew_s = -95


def early(world: World) -> None:
    world.scheduler.skew_s = 95


def no_folder(world: World) -> None:
    world.head_node.trouble["storage"] = Refused("onprem: /scratch/hh can be written by others (mode 777)")


def forgetful_folder(world: World) -> None:
    world.head_node.keeps = False


def unreadable_folder(world: World) -> None:
    world.head_node.trouble["read"] = Unreadable("onprem: cannot read")


@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        (no_version, "scheduler", "sbatch: command not found"),
        (no_partition, "partitions", "the scheduler has no gpu; it has batch"),
        (no_nodes, "partitions", "the scheduler has no batch; it has no nodes at all"),
        (too_few_nodes, "partitions", "batch has 3 nodes, not 4"),
        (small_nodes, "partitions", "a node of batch has 8 cores, not 16"),
        (small_nodes, "partitions", "a node of batch has 32000M of memory, not 64000"),
        (small_nodes, "partitions", "a node of gpu has 2 GPUs, not 4"),
        (no_records, "accounting", "the scheduler keeps no records"),
        (late, "clock", "-95 s from here"),
        (early, "clock", "+95 s from here"),
        (no_folder, "run directory", "can be written by others"),
        (forgetful_folder, "run directory", "does not keep what is written to it"),
        (unreadable_folder, "run directory", "cannot read"),
    ],
)
async def test_one_thing_that_is_not_well_is_named_and_the_rest_is_looked_at(
    spoil: Spoil, check: str, said: str
) -> None:
    world = World()
    spoil(world)
    found = await world.findings()
    assert list(found) == CHECKS
    assert [name for name, finding in found.items() if not finding.well] == [check]
    assert said in found[check].found
    assert world.head_node.files == {}, "the probe was left behind"


async def test_a_nodearray_that_cyclecloud_does_not_have_is_named() -> None:
    world = World("azure")
    assert world.cloud
    world.cloud.lacks = {"htc"}
    cloud = (await world.findings())["CycleCloud"]
    assert cloud.found == "cluster azure has no nodearray htc with Standard_F16s_v2"
    assert "the Airflow connection cyclecloud" in cloud.remedy


async def test_a_refused_login_at_cyclecloud_is_told_in_its_words() -> None:
    world = World("azure")
    assert world.cloud
    world.cloud.trouble = AccessDenied("https://cc answers 401 Unauthorized")
    assert "401" in (await world.findings())["CycleCloud"].found


async def test_a_check_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECK_TIMEOUT_S", 0.05)
    world = World()
    world.head_node.trouble["version"] = asyncio.Event()
    found = await world.findings()
    assert not found["scheduler"].well
    assert found["accounting"].well


async def test_what_programs_say_stays_on_one_line_and_steers_no_terminal() -> None:
    world = World()
    world.head_node.trouble["version"] = Unavailable("one\r\n\ttwo\x1b[31mred\x07")
    assert (await world.findings())["scheduler"].found == "one two [31mred"
