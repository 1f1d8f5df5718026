"""What docs/cyclecloud-server.md tells to do, done."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import processes
from lab.cyclecloud.config import Config, NodeArray, Size
from lab.cyclecloud.faults import FaultRequest

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "cyclecloud-server.md"
FENCE = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the page's `.lab/alone` is; whatever was started there is ended."""
    yield tmp_path / "alone"
    processes.stop_all(tmp_path / "alone")


def run(block: re.Match[str], output: Path) -> str:
    """Run a block of the page; gives what it printed."""
    kind, text = block.groups()
    argv = ["/bin/bash", "-euc", text] if kind == "bash" else [sys.executable, "-c", text]
    env = os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'include'}"}
    with output.open("w") as sink:  # a pipe would stay open as long as the server that bash leaves behind
        subprocess.run(argv, cwd=PROJECT, env=env, stdout=sink, stderr=sink, check=False, timeout=60)
    return output.read_text()


def test_every_command_of_the_page_does_what_the_page_says(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    here = {".lab/alone": str(folder), "8091": str(port), ".venv/bin/python": sys.executable}
    page = PAGE.read_text()
    for there, name in here.items():
        page = page.replace(there, name)
    start, talk, misbehave, stop = FENCE.finditer(page)
    run(start, tmp_path / "server.log")
    processes.wait_until(lambda: processes.listens(port), deadline_s=30, what="the server")
    assert run(talk, tmp_path / "talk.log") == "added 2\nready azure-hpc-1 azure-hpc-2\n"
    assert "I am azure-hpc-2" in (folder / "log" / "vm-azure-hpc-2.log").read_text()
    pid_file = folder / "pid" / "cyclecloud.pid"
    said = run(misbehave, tmp_path / "misbehave.log")
    assert said == "azure-hpc-1 UserInitiated\nazure-hpc-2 SpotEvicted\n"
    assert run(stop, tmp_path / "stop.log") == ""
    processes.wait_until(lambda: not pid_file.exists(), deadline_s=30, what="the server's end")
    assert processes.sweep(folder) == []


def test_every_fault_and_every_key_of_the_configuration_is_on_the_page() -> None:
    page = PAGE.read_text()
    faults = re.findall(r"^\| `(\w+)`:", page, re.MULTILINE)
    assert sorted(faults) == sorted(FaultRequest.model_fields)
    keys = {name for kind in (Config, NodeArray, Size) for name in kind.model_fields}
    assert [key for key in sorted(keys) if f"`{key}`" not in page and f'"{key}"' not in page] == []
