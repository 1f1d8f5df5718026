"""Promises about the whole stack: loopback only, kept alive, who may do what, ended without a trace."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lab import proc, processes
from lab.errors import LabError
from lab.layout import PROJECT
from lab.shapes import ONE_MACHINE
from lab.stack import PORTS, Stack, StackSettings
from lab.testing_stack import listening, processes_of, readable_files_with

pytestmark = pytest.mark.e2e


def pid_of(folder: Path, name: str) -> int:
    return int((folder / "pid" / f"{name}.pid").read_text().split()[0])


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    where = listening(stack)
    assert {address for address, _ in where} == {"127.0.0.1"}
    assert {stack.base_port, stack.postgres.port} <= {port for _, port in where}


def test_all_of_it_stays_in_its_block_of_ports(stack: Stack) -> None:
    block = range(stack.base_port, stack.base_port + PORTS)
    strays = {port for _, port in listening(stack)} - set(block)
    assert strays == set()


def test_bringing_it_up_again_starts_nothing_anew(stack: Stack) -> None:
    before = {name: pid_of(stack.airflow.folder, name) for name in ONE_MACHINE.components}
    stack.up()
    assert {name: pid_of(stack.airflow.folder, name) for name in ONE_MACHINE.components} == before


@pytest.mark.parametrize("name", ["scheduler", "triggerer"])
def test_a_component_that_is_killed_is_started_again_and_leaves_no_workers(stack: Stack, name: str) -> None:
    killed = pid_of(stack.airflow.folder, name)
    os.kill(killed, signal.SIGKILL)
    processes.wait_until(
        lambda: processes.alive(stack.airflow.folder, name) and pid_of(stack.airflow.folder, name) != killed,
        deadline_s=30,
        what=f"a new {name}",
    )
    groups = [status.group for pid in proc.marked(stack.folder) if (status := proc.status(pid))]
    assert killed not in groups


def test_a_scientist_may_trigger_and_a_viewer_may_only_look(stack: Stack) -> None:
    viewer = stack.airflow.api("viewer")
    assert viewer.parsed_at("hpc_job")
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        viewer.trigger("hpc_job", "not-allowed", {"name": "x", "script": "true"})
    viewer.close()


def test_no_file_with_a_secret_can_be_read_by_others(stack: Stack) -> None:
    secrets = [*stack.airflow.keys.passwords.values(), stack.airflow.keys.fernet_key]
    assert readable_files_with(stack, secrets) == []


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own, down, whose only DAG cannot be imported."""
    (tmp_path / "broken.py").write_text("# a dag of airflow's\nimport no_such_module\n")
    stack = Stack(
        PROJECT / ".lab" / f"broken-{os.getpid()}", StackSettings(dags=tmp_path, dag_ids=("broken",))
    )
    yield stack
    stack.down()
    stack.forget()


def test_a_broken_dag_is_named_with_its_error_and_nothing_outlives_a_killed_stack(broken: Stack) -> None:
    with pytest.raises(LabError, match=r"broken\.py(.|\n)*no_such_module"):
        broken.up()
    password = broken.airflow.keys.passwords["admin"]
    os.kill(pid_of(broken.airflow.folder, "airflow"), signal.SIGKILL)
    Stack(broken.folder, broken.settings).down()
    assert processes_of(broken) == []
    assert not any(map(processes.listens, range(broken.base_port, broken.base_port + PORTS)))
    assert json.loads((broken.folder / "airflow" / "passwords.json").read_text())["admin"] == password
