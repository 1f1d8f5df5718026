"""Promises about the lab's clusters in containers, each in a network of its own, by docker-compose.yaml.

The programs of both containers run in namespaces, with the addresses, names and rights that an engine would
give them; a worker's namespace is in both networks, by the keys and connections that were handed over.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import compose
from lab.layout import PROJECT
from lab.processes import wait_until
from tests.lab import compose_networks
from tests.lab.compose_networks import AS_IN_A_CONTAINER, Container, Networks, running

pytestmark = pytest.mark.lab
CLUSTERS = ("onprem", "azure")
AIRFLOW_UID = 50000
KEYS = "${KEYS_FOLDER:-./keys}"
PYTHONPATH = os.pathsep.join(str(PROJECT / name) for name in ("include", "plugins", "."))
LISTEN = "import socket, time; s = socket.create_server(('', 5432)); time.sleep(1e6)"
ASK_CYCLECLOUD = """
import base64, http.client, os, ssl, sys, urllib.parse
address, ca_file = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
trust = ssl.create_default_context(cafile=ca_file)
connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=10, context=trust)
login = base64.b64encode(os.environ["LOGIN"].encode()).decode()
connection.request("GET", "/clusters/azure/status", headers={"Authorization": f"Basic {login}"})
print(connection.getresponse().status)
"""


@dataclass(frozen=True)
class Composed:
    """The containers that are up, and what they handed over into the folder of keys."""

    file: dict[str, Any]
    networks: Networks
    containers: dict[str, Container]
    keys: Path

    def health(self, name: str) -> int:
        """The exit status of a service's health check."""
        kind, python, *words = self.file["services"][name]["healthcheck"]["test"]
        assert (kind, python) == ("CMD", ".venv/bin/python")
        container = self.containers[name]
        argv = [sys.executable, *words, "--folder", str(_folder(name))]
        return container.run(*argv, PYTHONPATH=PYTHONPATH).returncode

    def wait_for(self, name: str) -> None:
        """Wait until a service is healthy, as ``docker compose up --wait`` does."""
        log = self.containers[name].log
        wait_until(lambda: self.health(name) == 0, deadline_s=60, what=f"{name}'s health", log=log, step_s=1)

    @property
    def environment(self) -> dict[str, str]:
        """What a worker has in its environment of the lab, its own folder of keys being this one."""
        files = [each["path"].replace(KEYS, str(self.keys)) for each in self._env_files]
        lines = [line for file in files for line in Path(file).read_text().splitlines()]
        return dict(line.replace("/opt/airflow/keys", str(self.keys)).split("=", 1) for line in lines)

    @property
    def _env_files(self) -> list[dict[str, Any]]:
        return [each for each in self.file["services"]["worker"]["env_file"] if KEYS in each["path"]]

    def way(self, conn_id: str) -> dict[str, Any]:
        """A connection of the lab."""
        found: dict[str, Any] = json.loads(self.environment[f"AIRFLOW_CONN_{conn_id.upper()}"])
        return found

    def reaches(self, name: str, address: str, port: int) -> bool:
        """Whether a service's container can connect to that port."""
        probe = ("timeout", "3", "bash", "-c", f"</dev/tcp/{address}/{port}")
        return self.containers[name].run(*probe).returncode == 0

    def on_head_node(self, cluster: str, command: str) -> str:
        """What a command writes on a head node, asked by a worker with OpenSSH's client."""
        way = self.way(f"hpc_{cluster}")
        known = self.keys / f"known_{cluster}"
        known.write_text(f"{way['host']} {way['extra']['host_key']}\n")
        options = {"UserKnownHostsFile": known, "StrictHostKeyChecking": "yes", "BatchMode": "yes"}
        argv = ["ssh", "-F", "none", "-i", way["extra"]["key_file"], "-p", str(way["port"])]
        argv += [f"-o{name}={value}" for name, value in options.items()]
        answer = self.containers["worker"].run(*argv, f"{way['login']}@{way['host']}", command)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()


def _folder(cluster: str) -> Path:
    return PROJECT / ".lab" / f"test-{cluster}-{os.getpid()}"


def _program(service: dict[str, Any], cluster: str, keys: Path) -> list[str]:
    (volume,) = service["volumes"]
    outside, inside = re.fullmatch(r"(.*):(/\w+)", volume).groups()  # type: ignore[union-attr]
    share = outside.replace(KEYS, str(keys))
    command = [share if word == inside else word for word in service["command"]]
    python = [*AS_IN_A_CONTAINER, sys.executable, "-m", "lab.container"]
    return [*python, *command, "--folder", str(_folder(cluster))]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    if reason := compose_networks.why_not():
        pytest.skip(reason)
    file = yaml.safe_load(compose.FILE.read_text())
    keys, logs = tmp_path_factory.mktemp("keys"), tmp_path_factory.mktemp("logs")
    programs = {name: ["sleep", "infinity"] for name in ("worker", "triggerer", "api-server")}
    programs["postgres"] = [sys.executable, "-c", LISTEN]
    programs |= {name: _program(file["services"][name], name, keys) for name in CLUSTERS}
    networks = Networks.of(file, list(programs))
    env = {"PYTHONPATH": PYTHONPATH, "AIRFLOW_UID": str(AIRFLOW_UID)}
    try:
        with running(networks, programs, logs, **env) as containers:
            composed = Composed(file, networks, containers, keys)
            for name in CLUSTERS:
                composed.wait_for(name)
            yield composed
    finally:
        for name in CLUSTERS:
            shutil.rmtree(_folder(name), ignore_errors=True)


@pytest.mark.parametrize(
    ("cluster", "partitions"), [("onprem", "batch* gpu"), ("azure", "hpc* htc spot gpu")]
)
def test_a_worker_logs_in_at_each_head_node_and_asks_its_slurm(
    composed: Composed, cluster: str, partitions: str
) -> None:
    assert composed.on_head_node(cluster, "sinfo -h -o %P").split() == partitions.split()
    assert composed.on_head_node(cluster, "sacctmgr -n -P show cluster format=cluster") == cluster


def test_a_job_runs_in_a_container_and_is_in_its_accounting(composed: Composed) -> None:
    job = composed.on_head_node("onprem", "sbatch --parsable -W -N2 -o /dev/null --wrap true")
    assert composed.on_head_node("onprem", f"sacct -n -X -P -j {job} -o state,nnodes") == "COMPLETED|2"
    # with no more rights than an engine leaves
    assert "no namespaces can be made here" in composed.containers["onprem"].log.read_text()


def test_a_worker_trusts_cyclecloud_by_the_name_of_its_container(composed: Composed) -> None:
    way = composed.way("cyclecloud")
    ask = (sys.executable, "-c", ASK_CYCLECLOUD, way["host"], way["extra"]["ca_file"])
    answer = composed.containers["worker"].run(*ask, LOGIN=f"{way['login']}:{way['password']}")
    assert answer.stdout == "200\n", answer.stderr


def test_the_doctor_in_a_worker_finds_both_clusters_well(composed: Composed, tmp_path: Path) -> None:
    home = {"AIRFLOW_HOME": str(tmp_path), "HYBRID_HPC_CLUSTERS": str(PROJECT / "include/clusters.yaml")}
    doctor = (sys.executable, "-m", "hybrid_hpc", "doctor")
    answer = composed.containers["worker"].run(*doctor, PYTHONPATH=PYTHONPATH, **composed.environment, **home)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("service", ["worker", "triggerer"])
def test_who_talks_to_clusters_reaches_both_and_the_databases(composed: Composed, service: str) -> None:
    ports = [("onprem", 22), ("azure", 22), ("azure", 443), ("postgres", 5432)]
    assert [each for each in ports if not composed.reaches(service, *each)] == []


@pytest.mark.parametrize(
    ("service", "other", "port"),
    [
        ("onprem", "azure", 22),
        ("onprem", "azure", 443),
        ("azure", "onprem", 22),
        ("onprem", "postgres", 5432),
        ("azure", "postgres", 5432),
        ("api-server", "onprem", 22),
        ("api-server", "azure", 443),
    ],
)
def test_nobody_else_reaches_a_cluster_and_a_cluster_nobody_else(
    composed: Composed, service: str, other: str, port: int
) -> None:
    assert not composed.reaches(service, other, port)  # the name
    assert not [each for each in composed.networks.addresses(other) if composed.reaches(service, each, port)]


def test_what_is_handed_over_is_for_airflows_user_only(composed: Composed) -> None:
    found = {path: path.stat() for path in composed.keys.glob("lab-*/*")}
    names = [f"{path.parent.name}/{path.name}" for path in sorted(found)]
    files = ("connections.env", "id_ed25519")
    expected = ["lab-azure/ca.pem", *(f"lab-{name}/{file}" for name in ("azure", "onprem") for file in files)]
    assert names == expected
    assert {stat.S_IMODE(each.st_mode) for each in found.values()} == {0o600}
    folders = [(composed.keys / f"lab-{name}").stat() for name in CLUSTERS]
    assert {stat.S_IMODE(each.st_mode) for each in folders} == {0o700}
    assert {each.st_uid for each in (*found.values(), *folders)} == {AIRFLOW_UID}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_container_that_is_told_to_end_takes_its_cluster_down(composed: Composed, cluster: str) -> None:
    """The last of this file: nothing comes after it."""
    assert (_folder(cluster) / "lab.json").is_file()
    assert composed.containers[cluster].stop() == 0, composed.containers[cluster].log.read_text()
    assert not (_folder(cluster) / "lab.json").exists()
