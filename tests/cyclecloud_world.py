"""A CycleCloud server in this process, whose time and machines a test moves by hand."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import httpx

from hybrid_hpc.cyclecloud import CycleCloudClient, Patience
from lab.cyclecloud.app import create_app
from lab.cyclecloud.auth import Account
from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.config import Config
from lab.cyclecloud.store import Store

URL = "https://cyclecloud.test"
USER, PASSWORD = "cc_admin", "pa:ss wörd"
START = 1_767_355_200.0  # 2026-01-02 12:00 UTC, a Friday
BOOT_S = 100.0
AT_ONCE = Patience(pause_s=0)

HPC: dict[str, Any] = {
    "name": "hpc",
    "vm_size": "Standard_HB120rs_v3",
    "vcpus": 120,
    "pcpus": 120,
    "memory_gib": 448,
    "infiniband": True,
    "max_count": 4,
    "node_name": "azure-hpc-%d",
    "boot_s": BOOT_S,
    "usd_per_hour": 3.6,
}
HTC: dict[str, Any] = {
    "name": "htc",
    "vm_size": "Standard_F16s_v2",
    "vcpus": 16,
    "pcpus": 8,
    "memory_gib": 32,
    "max_count": 8,
    "boot_s": BOOT_S,
}
GPU: dict[str, Any] = {
    "name": "gpu",
    "vm_size": "Standard_NC24ads_A100_v4",
    "vcpus": 24,
    "pcpus": 24,
    "gpus": 1,
    "memory_gib": 220,
    "interruptible": True,
    "max_count": 2,
    "boot_s": BOOT_S,
    "usd_per_hour": 2.4,
}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class FakeMachines:
    """Machines that run until they are switched off, killed by a test, or for ever when stubborn."""

    def __init__(self) -> None:
        self.running: dict[str, bool] = {}  # name: runs the command
        self.boots: list[tuple[str, float]] = []
        self.stubborn: set[str] = set()

    def start(self, name: str, boot_s: float, *, runs_command: bool) -> None:
        assert name not in self.running, f"{name} has a machine already"
        self.running[name] = runs_command
        self.boots.append((name, boot_s))

    def runs(self, name: str) -> bool:
        return name in self.running

    def switch_off(self, name: str) -> None:
        if name not in self.stubborn:
            self.running.pop(name, None)

    def force_off(self, names: Collection[str], *, grace_s: float = 10) -> None:  # noqa: ARG002
        for name in names:
            self.running.pop(name, None)

    def forget(self, name: str) -> None:
        pass

    def names(self) -> list[str]:
        return sorted(self.running)


def told(folder: Path, **changes: object) -> Config:
    """Give a configuration, with some keys changed."""
    values: dict[str, object] = {
        "port": 0,
        "username": USER,
        "password_file": folder / "password",
        "folder": folder,
        "nodearrays": [HPC, HTC, GPU],
    }
    return Config.model_validate(values | changes)


class World:
    """The server, its clock, its machines, and ways to talk to it."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.clock, self.machines = Clock(), FakeMachines()
        self.config = told(folder, **changes)
        self.store = Store(folder / "state.json")
        self.account = Account(USER, PASSWORD, clock=self.clock)
        self.start()

    def start(self) -> None:
        """Start the server, or another one after a crash of the first: machines and the file remain."""
        self.cloud = Cloud(self.config, self.machines, store=self.store, clock=self.clock)
        self.app = create_app(self.cloud, self.account)

    def pass_(self, seconds: float) -> None:
        """Let time pass, after everything that is due now has happened."""
        self.cloud.advance()
        self.clock.now += seconds
        self.cloud.advance()

    def http(self, password: str | None = PASSWORD) -> httpx.AsyncClient:
        """Give a bare HTTP client, with a password or without any."""
        auth = None if password is None else httpx.BasicAuth(USER, password)
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=URL, auth=auth)

    def client(
        self, transport: httpx.AsyncBaseTransport | None = None, *, timeout_s: float = 30
    ) -> CycleCloudClient:
        """Give the client of the project."""
        wire = transport or httpx.ASGITransport(self.app)
        return CycleCloudClient(
            URL, USER, PASSWORD, "azure", transport=wire, patience=AT_ONCE, timeout_s=timeout_s
        )

    async def get(self, path: str, **query: str) -> httpx.Response:
        """Ask something of the cluster, or of the server when the path begins with a slash."""
        async with self.http() as http:
            return await http.get(_url(path), params=query)

    async def post(self, path: str, body: object = None, **query: str) -> httpx.Response:
        """Send something to the cluster; a text goes as it is, of no particular type."""
        content = body if isinstance(body, str) else json.dumps(body)
        async with self.http() as http:
            return await http.post(_url(path), content=content, params=query)

    async def create(self, *sets: dict[str, Any], **more: object) -> dict[str, Any]:
        """Create nodes and give the answer."""
        response = await self.post("nodes/create", {"sets": list(sets), **more})
        assert response.status_code == 202, response.text
        result: dict[str, Any] = response.json()
        return result

    async def nodes(self, **query: str) -> dict[str, dict[str, Any]]:
        """Give the nodes by name."""
        response = await self.get("nodes", **query)
        assert response.status_code == 200, response.text
        return {node["Name"]: node for node in response.json()["nodes"]}

    async def states(self) -> dict[str, str]:
        """Give the status of each node by name."""
        return {name: node["Status"] for name, node in (await self.nodes()).items()}


def _url(path: str) -> str:
    return path if path.startswith("/") else f"/clusters/azure/{path}"
