"""Slurm's power programs ask CycleCloud as azslurm does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab import certificates, power
from lab.layout import PROJECT
from lab.processes import free_base_port

NODEARRAYS = [
    {"name": "hpc", "vm_size": "Standard_HB120rs_v3", "node_name": "azure-hpc-%d"},
    {"name": "htc", "vm_size": "Standard_F16s_v2", "node_name": "azure-htc-%d"},
]


class Asked(power.Server):
    """A server that remembers what it was asked and has the nodes that it is told."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        super().__init__({"nodearrays": NODEARRAYS, "region": "westeurope"})
        self.had = list(nodes)
        self.asked: list[tuple[str, str, Any]] = []

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        if method == "GET":
            return 200, json.dumps({"nodes": self.had})
        self.asked.append((method, path, body))
        return 202, "{}"

    # dataclass(frozen=True) forbids the two attributes above
    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@pytest.mark.parametrize(
    ("hostlist", "names"),
    [
        ("azure-hpc-1", ["azure-hpc-1"]),
        ("azure-hpc-[1-3]", ["azure-hpc-1", "azure-hpc-2", "azure-hpc-3"]),
        ("azure-hpc-[1,3-4],azure-htc-7", ["azure-hpc-1", "azure-hpc-3", "azure-hpc-4", "azure-htc-7"]),
        ("node[08-10]", ["node08", "node09", "node10"]),
        ("rack[1-2]-ib", ["rack1-ib", "rack2-ib"]),
    ],
)
def test_a_hostlist_stands_for_its_names(hostlist: str, names: list[str]) -> None:
    assert power.expand(hostlist) == names


def test_resuming_asks_for_each_node_by_its_exact_name_in_its_own_set() -> None:
    server = Asked()
    power.resume(server, ["azure-hpc-2", "azure-htc-1"])
    assert server.asked == [
        (
            "POST",
            "nodes/create",
            {
                "sets": [
                    _set("hpc", "Standard_HB120rs_v3", "azure-hpc-2"),
                    _set("htc", "Standard_F16s_v2", "azure-htc-1"),
                ]
            },
        )
    ]


def test_suspending_names_ids_and_only_of_nodes_that_cyclecloud_has() -> None:
    server = Asked({"Name": "azure-hpc-1", "NodeId": "id-1"}, {"Name": "azure-hpc-9", "NodeId": "id-9"})
    power.suspend(server, ["azure-hpc-1", "azure-hpc-2"])
    assert server.asked == [("POST", "nodes/shutdown", {"ids": ["id-1"]})]


def test_suspending_what_is_gone_already_succeeds_without_asking() -> None:
    server = Asked()
    assert power.suspend(server, ["azure-hpc-1"])[0] == 200
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "short"),
    [
        ('{"sets": [{"added": 1}, {"added": 1}]}', False),
        ('{"sets": [{"added": 1}, {"added": 0, "message": "quota"}]}', True),
        ('{"operationId": "1", "nodes": []}', False),
        ("not json", False),
    ],
)
def test_fewer_nodes_than_asked_for_is_a_failure_although_the_answer_is_202(answer: str, short: bool) -> None:
    assert power._falls_short(answer, ["a", "b"]) is short


def test_a_server_that_does_not_answer_is_logged_and_gives_status_1(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    ca_file = tmp_path / "ca.pem"
    certificates.make(ca_file, tmp_path / "server.pem", tmp_path / "server.key")
    config = tmp_path / "config.json"
    values = {"port": free_base_port(1), "username": "u", "password_file": str(tmp_path / "password")}
    values |= {"cluster": "azure", "folder": str(tmp_path), "tls": {"ca_file": str(ca_file)}}
    config.write_text(json.dumps({**values, "nodearrays": NODEARRAYS}))
    argv = [
        sys.executable,
        "-S",
        "-E",
        str(PROJECT / "lab" / "power.py"),
        "resume",
        str(config),
        "azure-hpc-1",
    ]
    assert subprocess.run(argv, check=False, env={}).returncode == 1
    logged = json.loads((tmp_path / "power.log").read_text())
    assert (logged["verb"], logged["nodes"], logged["http"]) == ("resume", "azure-hpc-1", 0)


def _set(nodearray: str, vm_size: str, name: str) -> dict[str, Any]:
    return {"count": 1, "nodearray": nodearray, "definition": {"machineType": vm_size}, "nameFormat": name}
