"""The server as a process with real VM processes, and the client against it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hybrid_hpc.cyclecloud import CycleCloudClient, Node, NodeSet
from hybrid_hpc.errors import AccessDenied, Unreachable
from lab import proc, processes
from lab.vm import descendants
from tests.cyclecloud_world import AT_ONCE, HPC, PASSWORD, USER

PROJECT = Path(__file__).parents[2]
# what a slurmd does: it stays, and starts job steps that leave for sessions of their own
VM_COMMAND = ["sh", "-c", 'echo "$0 up"; setsid sleep 1000 & exec sleep 1000', "%n"]
DEADLINE_S = 20


class Server:
    """``python -m lab.cyclecloud`` in a folder of its own."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "password").write_text(PASSWORD + "\n")
        told: dict[str, Any] = {
            "port": 0,
            "username": USER,
            "password_file": "password",
            "folder": ".",
            "vm_command": VM_COMMAND,
            "nodearrays": [HPC | {"boot_s": 0.3}],
        }
        (folder / "cloud.json").write_text(json.dumps(told | changes))
        self.start()

    def start(self) -> None:
        self.process = self.run()
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.search(r"https?://127\.0\.0\.1:\d+", line)
        assert found, line + self.log()
        self.url = found[0]

    def run(self) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "lab.cyclecloud", "--config", str(self.folder / "cloud.json")]
        with (self.folder / "server.log").open("a") as log:
            return subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, stderr=log, text=True)

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def client(self, **more: Any) -> CycleCloudClient:
        return CycleCloudClient(self.url, USER, PASSWORD, "azure", patience=AT_ONCE, **more)

    def vm_pid(self, name: str) -> int:
        return int((self.folder / "pid" / f"vm-{name}.pid").read_text().split()[0])

    def clean_up(self) -> list[int]:
        """End everything; give what should not have been there any more."""
        self.stop()
        if self.process.stdout:
            self.process.stdout.close()
        return processes.sweep(self.folder)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "run")
    yield running
    assert running.clean_up() == []


@pytest.fixture
async def client(server: Server) -> AsyncIterator[CycleCloudClient]:
    async with server.client() as connected:
        yield connected


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)


async def ready(client: CycleCloudClient, count: int, request_id: str = "r1") -> tuple[Node, ...]:
    await client.create_nodes(request_id, [NodeSet(count=count, nodearray="hpc")])

    async def are_ready() -> bool:
        nodes = await client.nodes()
        return len(nodes) == count and all(node.ready for node in nodes)

    await until(are_ready)
    return await client.nodes()


async def has_nodes(client: CycleCloudClient, *names: str) -> None:
    async def so() -> bool:
        return [node.name for node in await client.nodes()] == list(names)

    await until(so)


async def step_of(pid: int) -> list[int]:
    """Wait for what the VM's command starts; give all processes below the VM."""

    async def started() -> bool:
        return len(descendants(pid)) >= 3

    await until(started)
    return descendants(pid)


def alive(pid: int) -> bool:
    now = proc.status(pid)
    return now is not None and not now.zombie


def shown(pids: list[int]) -> str:
    """What anybody on this machine who may look at a process sees of it."""
    files = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ")]
    return "".join(file.read_text() for file in files)


async def are_gone(pids: list[int]) -> None:
    async def gone() -> bool:
        return not any(map(alive, pids))

    await until(gone)


async def test_vms_are_processes_that_run_the_command_of_their_node_and_end_with_it(
    server: Server, client: CycleCloudClient
) -> None:
    nodes = await ready(client, 2)
    assert [node.name for node in nodes] == ["azure-hpc-1", "azure-hpc-2"]
    pids = [server.vm_pid(node.name) for node in nodes]
    below = [each for pid in pids for each in await step_of(pid)]
    assert "azure-hpc-2 up" in (server.folder / "log" / "vm-azure-hpc-2.log").read_text()
    await client.terminate_nodes(names=[node.name for node in nodes])
    await has_nodes(client)
    await are_gone([*pids, *below])
    assert not list((server.folder / "pid").glob("vm-*"))


async def test_a_vm_whose_process_dies_vanishes_with_its_node_and_all_below(
    server: Server, client: CycleCloudClient
) -> None:
    await ready(client, 2)
    pid = server.vm_pid("azure-hpc-1")
    below = await step_of(pid)
    os.kill(pid, signal.SIGKILL)
    await has_nodes(client, "azure-hpc-2")
    await are_gone(below)
    async with httpx.AsyncClient(auth=(USER, PASSWORD), trust_env=False) as http:
        log = (await http.get(f"{server.url}/lab/log")).json()["events"]
    reasons = [event["reason"] for event in log if event["what"] == "NodeTerminated"]
    assert reasons == ["VMDisappeared"]


async def test_stopping_the_server_ends_its_vms_and_leaves_nothing(
    server: Server, client: CycleCloudClient
) -> None:
    await ready(client, 2)
    pids = [server.vm_pid("azure-hpc-1"), server.vm_pid("azure-hpc-2")]
    below = [each for pid in pids for each in await step_of(pid)]
    assert server.stop() == 0
    assert not any(map(alive, [*pids, *below]))
    assert not list((server.folder / "pid").iterdir())


async def test_a_server_that_was_killed_finds_its_vms_again_and_ends_those_of_nobody(
    server: Server, client: CycleCloudClient
) -> None:
    before = await ready(client, 2)
    pid = server.vm_pid("azure-hpc-1")
    server.stop(signal.SIGKILL)
    assert alive(pid)
    state = json.loads((server.folder / "cyclecloud-state.json").read_text())
    del state["nodes"]["azure-hpc-2"]
    (server.folder / "cyclecloud-state.json").write_text(json.dumps(state))
    orphan = server.vm_pid("azure-hpc-2")
    server.start()
    async with server.client() as again:
        assert await again.nodes() == before[:1]
        await are_gone([orphan])
        assert server.vm_pid("azure-hpc-1") == pid
        assert (await again.create_nodes("r1", [NodeSet(count=2, nodearray="hpc")])).already_asked
        await again.terminate_nodes(names=["azure-hpc-1"])
        await has_nodes(again)
        await are_gone([pid])


async def test_a_second_server_in_the_same_folder_refuses_and_touches_nothing(
    server: Server, client: CycleCloudClient
) -> None:
    await ready(client, 1)
    second = server.run()
    assert second.wait(DEADLINE_S) == 2
    assert second.stdout
    second.stdout.close()
    assert "another CycleCloud server" in server.log()
    assert [node.ready for node in await client.nodes()] == [True]


async def test_a_server_that_is_gone_is_unreachable(server: Server, client: CycleCloudClient) -> None:
    await client.nodes()
    server.stop()
    with pytest.raises(Unreachable):
        await client.create_nodes("r1", [NodeSet(nodearray="hpc")])


async def test_no_password_is_in_the_log_or_on_a_command_line(
    server: Server, client: CycleCloudClient
) -> None:
    await ready(client, 1)
    with pytest.raises(AccessDenied):
        await CycleCloudClient(server.url, USER, "wr0ng", "azure", patience=AT_ONCE).nodes()
    seen = server.log() + shown([server.process.pid, server.vm_pid("azure-hpc-1")])
    assert PASSWORD not in seen
    assert "wr0ng" not in seen


def test_a_port_that_is_taken_is_a_sentence(server: Server, tmp_path: Path) -> None:
    told = json.loads((server.folder / "cloud.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "password").write_text("x")
    (other / "cloud.json").write_text(json.dumps(told | {"port": int(server.url.rsplit(":", 1)[1])}))
    argv = [sys.executable, "-m", "lab.cyclecloud", "--config", str(other / "cloud.json")]
    answer = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert answer.returncode == 2
    assert "cannot be had" in answer.stderr
    assert "Traceback" not in answer.stderr


TLS = {"certificate_file": "tls/server.pem", "key_file": "tls/server.key", "ca_file": "tls/ca.pem"}


async def test_with_a_ca_of_its_own_the_server_is_trusted_by_those_who_know_it_and_nobody_else(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path / "run", tls=TLS)
    try:
        assert server.url.startswith("https://")
        async with server.client(ca_file=tmp_path / "run" / "tls" / "ca.pem") as trusting:
            assert await trusting.nodes() == ()
        async with server.client() as strict:
            with pytest.raises(AccessDenied, match=r"not trusted .* give the CA file of its issuer"):
                await strict.nodes()
    finally:
        assert server.clean_up() == []


def test_a_certificate_that_is_missing_is_a_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    told = {"port": 0, "username": USER, "password_file": "password", "folder": ".", "nodearrays": [HPC]}
    tls = {"certificate_file": "nowhere.pem", "key_file": "nowhere.key"}
    (tmp_path / "cloud.json").write_text(json.dumps(told | {"tls": tls}))
    argv = [sys.executable, "-m", "lab.cyclecloud", "--config", str(tmp_path / "cloud.json")]
    answer = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert answer.returncode == 2
    assert "nowhere.pem is missing; name a ca_file" in answer.stderr


async def test_a_request_whose_answer_never_comes_holds_its_connection_and_nobody_elses(
    server: Server, client: CycleCloudClient
) -> None:
    async with httpx.AsyncClient(base_url=server.url, auth=(USER, PASSWORD), trust_env=False) as http:
        (await http.post("/lab/faults", json={"stall_after_effect": 1})).raise_for_status()
    async with server.client(timeout_s=1) as hasty:
        created = await hasty.create_nodes("r1", [NodeSet(count=1, nodearray="hpc")])
    assert (created.added, created.already_asked) == (1, True)
    await has_nodes(client, "azure-hpc-1")
    assert "without" not in server.log()
