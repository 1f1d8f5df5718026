"""A lab of one cluster alone: it comes up, serves, hands over the way to itself, and goes."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest
import yaml

from lab import container, processes, start
from lab.forwarding import forward
from lab.lab import Lab
from lab.layout import PROJECT
from lab.settings import ClusterName
from lab.testing import FAST, on_head_node, running_lab

pytestmark = pytest.mark.lab
BOTH: tuple[ClusterName, ...] = ("onprem", "azure")
OTHER = {"onprem": "azure", "azure": "onprem"}


@pytest.fixture(scope="module", params=BOTH)
def alone(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with running_lab(f"only-{request.param}", replace(FAST, only=request.param)) as lab:
        yield lab
        folder, port = lab.folder, lab.layout.base_port
    assert not folder.exists()
    assert [each for each in range(port, port + 40) if processes.listens(each)] == []


@pytest.fixture
def name(alone: Lab) -> str:
    return str(alone.settings.only)


@pytest.fixture
def shared(alone: Lab, tmp_path: Path) -> Path:
    """What Airflow's containers are given."""
    container.share(alone.layout, alone.connections(), tmp_path / "lab", None)
    return tmp_path / "lab"


@pytest.fixture
def ways(shared: Path) -> dict[str, Any]:
    lines = (shared / "connections.env").read_text().splitlines()
    return {name: json.loads(way) for name, way in (line.split("=", 1) for line in lines)}


def test_nothing_of_the_other_cluster_runs(alone: Lab, name: str) -> None:
    running = [each for each in processes.names(alone.folder) if processes.alive(alone.folder, each)]
    assert sorted(running) == sorted(start.expected(alone.layout))
    assert not [each for each in running if each.startswith(OTHER[name])]
    assert ("cyclecloud" in running) == (name == "azure")
    assert not (alone.folder / OTHER[name]).exists()


def test_it_has_only_its_own_connections_and_clusters(alone: Lab, name: str) -> None:
    cloud = {"cyclecloud"} if name == "azure" else set()
    assert alone.connections().keys() == {f"hpc_{name}"} | cloud
    assert yaml.safe_load((alone.folder / "clusters.yaml").read_text())["clusters"].keys() == {name}
    addresses = json.loads((alone.folder / "lab.json").read_text())
    assert addresses["clusters"].keys() == {name}
    assert ("cyclecloud" in addresses) == (name == "azure")


def test_its_status_is_told_and_it_is_found_running(alone: Lab, name: str) -> None:
    before = {
        each: (alone.folder / "pid" / f"{each}.pid").read_text() for each in start.expected(alone.layout)
    }
    alone.up()
    after = {
        each: (alone.folder / "pid" / f"{each}.pid").read_text() for each in start.expected(alone.layout)
    }
    assert before == after
    argv = [sys.executable, "-m", "lab", "status", "--folder", str(alone.folder)]
    told = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    assert (name in told.stdout, OTHER[name] in told.stdout) == (True, False)
    assert ("CycleCloud" in told.stdout) == (name == "azure")


def test_its_accounting_knows_no_other_cluster(alone: Lab, name: str) -> None:
    answer = on_head_node(alone, name, "sacctmgr -n -P show cluster format=cluster")
    assert answer.stdout.split() == [name]


def test_a_cluster_that_it_has_not_is_told(alone: Lab, name: str) -> None:
    argv = [sys.executable, "-m", "lab", "ssh", "--folder", str(alone.folder), OTHER[name], "true"]
    told = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert told.stdout == f"lab: there is no cluster {OTHER[name]}; this lab has {name}.\n"


def test_every_file_that_is_handed_over_is_for_its_owner_only(shared: Path, name: str) -> None:
    files = sorted(path.name for path in shared.iterdir())
    assert files == [*(["ca.pem"] if name == "azure" else []), "connections.env", "id_ed25519"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in shared.iterdir()} == {0o600}
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700


def test_the_connections_name_the_container_and_files_where_airflow_sees_them(
    ways: dict[str, Any], name: str
) -> None:
    cloud = {"AIRFLOW_CONN_CYCLECLOUD"} if name == "azure" else set()
    assert ways.keys() == {f"AIRFLOW_CONN_HPC_{name.upper()}"} | cloud
    way = ways[f"AIRFLOW_CONN_HPC_{name.upper()}"]
    assert (way["host"], way["port"]) == (name, 22)
    assert way["extra"]["key_file"] == f"/opt/airflow/keys/lab-{name}/id_ed25519"
    for cyclecloud in (ways[each] for each in cloud):
        assert cyclecloud["host"] == "https://azure:443"
        assert cyclecloud["extra"]["ca_file"] == "/opt/airflow/keys/lab-azure/ca.pem"


async def test_its_head_node_is_reached_through_the_door_with_the_key_that_was_handed_over(
    alone: Lab, shared: Path, ways: dict[str, Any], name: str
) -> None:
    way = ways[f"AIRFLOW_CONN_HPC_{name.upper()}"]
    server = await forward("127.0.0.1", 0, container.doors(alone.layout)[way["port"]])
    try:
        async with asyncssh.connect(
            "127.0.0.1",
            server.sockets[0].getsockname()[1],
            username=way["login"],
            client_keys=[str(shared / "id_ed25519")],
            known_hosts=f"127.0.0.1 {way['extra']['host_key']}".encode(),
        ) as connection:
            answer = await connection.run("sinfo --version", check=True)
        assert str(answer.stdout).startswith("slurm")
    finally:
        server.close()


async def test_its_cyclecloud_is_trusted_by_the_name_of_the_container(
    alone: Lab, shared: Path, ways: dict[str, Any], name: str
) -> None:
    if name == "onprem":
        assert container.doors(alone.layout).keys() == {22}
        return
    way = ways["AIRFLOW_CONN_CYCLECLOUD"]
    server = await forward("127.0.0.1", 0, container.doors(alone.layout)[443])
    trust = ssl.create_default_context(cafile=shared / "ca.pem")
    login = (way["login"], way["password"])
    try:
        async with httpx.AsyncClient(verify=trust, auth=login, trust_env=False) as client:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/clusters/azure/status"
            answer = await client.get(url, extensions={"sni_hostname": "azure"})
        assert answer.status_code == 200
    finally:
        server.close()


def test_it_goes_down_without_a_trace_of_a_process_and_comes_back_with_its_jobs(
    alone: Lab, name: str
) -> None:
    job = on_head_node(alone, name, "sbatch --parsable --hold -o /dev/null --wrap true").stdout.strip()
    layout = alone.layout
    alone.down()
    assert [each for each in start.expected(layout) if processes.alive(alone.folder, each)] == []
    assert not processes.listens(layout.database_port)
    alone.up()
    assert on_head_node(alone, name, f"squeue -h -j {job} -o %i").stdout.strip() == job
