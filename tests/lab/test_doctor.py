"""The doctor on the real clusters: well when they are, and the right remedy when they are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.doctor import Finding, examine
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.site import Site
from lab import processes
from lab.lab import Lab
from lab.layout import PROJECT
from tests.lab.conftest import Run
from tests.lab.journey import journey

pytestmark = pytest.mark.lab
Connect = Callable[[], Awaitable[asyncssh.SSHClientConnection]]


@asynccontextmanager
async def real(lab: Lab, name: str, folder: Path) -> AsyncIterator[Site]:
    async with journey(lab, name, folder) as way:
        yield way.site


async def findings(site: Site) -> dict[str, Finding]:
    async def open_site(_: Cluster) -> Site:
        return site

    return {finding.check: finding async for finding in examine(site.cluster, open_site)}


def connect_with(lab: Lab, *, key: asyncssh.SSHKey | None = None, host_key: str = "") -> Connect:
    """Connects to onprem's head node, with another key or another host key."""
    connection = lab.connections()["hpc_onprem"]
    extra = connection["extra"]

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            connection["host"],
            connection["port"],
            username=connection["login"],
            client_keys=[key or extra["key_file"]],
            known_hosts=f"{connection['host']} {host_key or extra['host_key']}".encode(),
            config=None,
            agent_path=None,
        )

    return connect


async def onprem_findings(lab: Lab, folder: Path, connect: Connect) -> dict[str, Finding]:
    async with real(lab, "onprem", folder) as site:
        head_node = HeadNode("onprem", connect, storage_root=site.cluster.storage_root)
        return await findings(replace(site, head_node=head_node))


@pytest.mark.parametrize(("name", "checks"), [("onprem", 6), ("azure", 7)])
async def test_both_clusters_are_well_and_no_probe_is_left(
    lab: Lab, run: Run, tmp_path: Path, name: str, checks: int
) -> None:
    async with real(lab, name, tmp_path) as site:
        found = await findings(site)
    assert [finding for finding in found.values() if not finding.well] == []
    assert len(found) == checks
    assert run(name, "ls -A $SCRATCH/hybrid-hpc | grep doctor || echo none") == "none"


async def test_a_wrong_key_is_told_as_a_wrong_login(lab: Lab, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    found = await onprem_findings(lab, tmp_path, connect_with(lab, key=key))
    assert list(found) == ["connection"]
    assert "Permission denied" in found["connection"].found
    assert found["connection"].remedy.startswith("Correct login, key and host_key")


async def test_a_head_node_with_another_host_key_is_not_trusted(lab: Lab, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    found = await onprem_findings(lab, tmp_path, connect_with(lab, host_key=other))
    assert list(found) == ["connection"]
    assert "Host key is not trusted" in found["connection"].found


async def test_without_sshd_the_address_is_doubted_and_cyclecloud_is_still_asked(
    lab: Lab, tmp_path: Path
) -> None:
    async with real(lab, "azure", tmp_path) as site:
        os.kill(int((lab.folder / "pid" / "azure-sshd.pid").read_text().split()[0]), signal.SIGKILL)
        try:
            processes.wait_until(lambda: not lab.is_up(), deadline_s=10, what="the end of sshd")
            found = await findings(site)
        finally:
            lab.up()
    assert {check: finding.well for check, finding in found.items()} == {
        "connection": False,
        "CycleCloud": True,
    }
    assert found["connection"].remedy.startswith("Correct host and port")


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("/proc/hybrid-hpc", "cannot be made or entered"),
        ("$NOBODY_SET_THIS/hybrid-hpc", "a variable that is not set there"),
        ("$SCRATCH/open-to-all", "can be written by others (mode 777); run `chmod 700"),
    ],
)
async def test_a_storage_root_that_will_not_do_is_told_and_the_rest_is_well(
    lab: Lab, run: Run, tmp_path: Path, root: str, said: str
) -> None:
    run("onprem", "mkdir -p $SCRATCH/open-to-all && chmod 777 $SCRATCH/open-to-all")
    async with real(lab, "onprem", tmp_path) as site:
        head_node = HeadNode("onprem", connect_with(lab), storage_root=root)
        found = await findings(replace(site, head_node=head_node))
    assert [check for check, finding in found.items() if not finding.well] == ["run directory"]
    assert said in found["run directory"].found


async def test_a_partition_that_slurm_does_not_have_is_named_with_those_it_has(
    lab: Lab, tmp_path: Path
) -> None:
    async with real(lab, "onprem", tmp_path) as site:
        parts = {**site.cluster.partitions, "fat": site.cluster.partitions["batch"]}
        parts["fat"] = parts["fat"].model_copy(update={"name": "fat"})
        cluster = site.cluster.model_copy(update={"partitions": parts})
        found = await findings(replace(site, cluster=cluster))
    assert found["partitions"].found == "the scheduler has no fat; it has batch, gpu"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong"}, "401"),
        ({"ca_file": None}, "certificate is not trusted"),
    ],
)
async def test_a_wrong_password_or_ca_of_cyclecloud_is_told_with_the_remedy(
    lab: Lab, tmp_path: Path, change: dict[str, str | None], said: str
) -> None:
    connection = lab.connections()["cyclecloud"]
    way = {"password": connection["password"], "ca_file": connection["extra"]["ca_file"]} | change
    cloud = CycleCloudClient(connection["host"], connection["login"], cluster="azure", **way)
    async with real(lab, "azure", tmp_path) as site:
        assert site.cloud
        await site.cloud.aclose()
        found = await findings(replace(site, cloud=cloud))
    assert [check for check, finding in found.items() if not finding.well] == ["CycleCloud"]
    assert said in found["CycleCloud"].found
    assert "ca_file" in found["CycleCloud"].remedy


def test_the_command_finds_its_way_through_airflows_connections(lab: Lab) -> None:
    command = [sys.executable, "-m", "lab", "doctor", "--folder", str(lab.folder)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    checks = [line for line in lines if not line.startswith("warn azure      prices")]
    assert len(checks) == 14
    assert all(line.startswith("ok ") for line in checks)
