"""Promises about the lab in a container, as far as they need no engine: its doors, and what it hands over."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest

from lab import compose, container
from lab.forwarding import forward
from lab.lab import Lab


@pytest.fixture
def shared(lab: Lab, tmp_path: Path) -> Path:
    """What Airflow's containers are given."""
    container.share(lab.layout, lab.connections(), tmp_path / "lab", None)
    return tmp_path / "lab"


@pytest.fixture
def ways(shared: Path) -> dict[str, Any]:
    lines = (shared / "connections.env").read_text().splitlines()
    return {name: json.loads(way) for name, way in (line.split("=", 1) for line in lines)}


def test_every_file_is_for_its_owner_only(shared: Path) -> None:
    files = sorted(path.name for path in shared.iterdir())
    assert files == ["ca.pem", "connections.env", "id_ed25519"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in shared.iterdir()} == {0o600}


def test_the_connections_name_the_container_and_files_where_airflow_sees_them(ways: dict[str, Any]) -> None:
    assert ways.keys() == {"AIRFLOW_CONN_HPC_ONPREM", "AIRFLOW_CONN_HPC_AZURE", "AIRFLOW_CONN_CYCLECLOUD"}
    onprem, azure = ways["AIRFLOW_CONN_HPC_ONPREM"], ways["AIRFLOW_CONN_HPC_AZURE"]
    assert {onprem["host"], azure["host"]} == {"lab"}
    assert onprem["port"] != azure["port"]
    assert onprem["extra"]["key_file"] == "/opt/airflow/keys/lab/id_ed25519"
    assert ways["AIRFLOW_CONN_CYCLECLOUD"]["host"] == "https://lab:8443"
    assert "${KEYS_FOLDER:-./keys}:/opt/airflow/keys:ro" in compose.render()


@pytest.mark.parametrize("cluster", ["onprem", "azure"])
async def test_a_head_node_is_reached_through_its_door_with_the_key_that_was_handed_over(
    lab: Lab, shared: Path, ways: dict[str, Any], cluster: str
) -> None:
    way = ways[f"AIRFLOW_CONN_HPC_{cluster.upper()}"]
    server = await forward("127.0.0.1", 0, container.doors(lab.layout)[way["port"]])
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


async def test_cyclecloud_is_trusted_by_the_name_of_the_container(
    lab: Lab, shared: Path, ways: dict[str, Any]
) -> None:
    way = ways["AIRFLOW_CONN_CYCLECLOUD"]
    server = await forward("127.0.0.1", 0, container.doors(lab.layout)[8443])
    trust = ssl.create_default_context(cafile=shared / "ca.pem")
    login = (way["login"], way["password"])
    try:
        async with httpx.AsyncClient(verify=trust, auth=login, trust_env=False) as client:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/clusters/azure/status"
            answer = await client.get(url, extensions={"sni_hostname": "lab"})
        assert answer.status_code == 200
    finally:
        server.close()
