"""``python -m hybrid_hpc doctor``: a line a check, an exit status, and a sentence when it cannot begin."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from hybrid_hpc.__main__ import app
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.site import Site
from tests.unit.doctor_world import CHECKS, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The only cluster that the command finds healthy or not; azure is always healthy."""
    world, azure = World(), World("azure")

    async def open_site(cluster: Cluster) -> Site:
        return await (world if cluster.name == "onprem" else azure).open_site(cluster)

    monkeypatch.setitem(sys.modules, "fake_connections", cast(Any, SimpleNamespace(open_site=open_site)))
    monkeypatch.setenv("HYBRID_HPC_CONNECTIONS", "fake_connections")
    monkeypatch.delenv("HYBRID_HPC_CLUSTERS", raising=False)
    monkeypatch.delenv("HYBRID_HPC_BUDGETS", raising=False)
    return world


def run_doctor(*names: str) -> tuple[int, list[str]]:
    """Without what it says of prices, which is `test_doctor_prices`."""
    result = CliRunner().invoke(app, ["doctor", *names])
    return result.exit_code, [line for line in result.output.splitlines() if not line.startswith("warn")]


@pytest.mark.usefixtures("world")
def test_the_command_says_ok_once_a_check_and_ends_well() -> None:
    status, lines = run_doctor()
    assert status == 0
    assert len(lines) == 2 * len(CHECKS) + 2
    assert all(line.startswith("ok ") for line in lines)


@pytest.mark.usefixtures("world")
def test_the_command_looks_at_the_named_cluster_only() -> None:
    status, lines = run_doctor("azure")
    assert status == 0
    assert {line.split()[1] for line in lines} == {"azure"}


def test_a_failed_check_is_one_line_with_its_remedy_and_the_exit_status_is_1(world: World) -> None:
    world.head_node.trouble["version"] = Unavailable("[bold]sbatch[/bold] says [Errno 111] [/]")
    status, lines = run_doctor()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert status == 1
    assert len(lines) == 2 * len(CHECKS) + 2
    assert len(failed) == 1
    assert "[bold]sbatch[/bold] says [Errno 111] [/] => Log in as the same user" in failed[0]


@pytest.mark.usefixtures("world")
def test_a_cluster_that_is_not_there_is_refused_with_those_that_are() -> None:
    status, lines = run_doctor("onperm")
    assert status == 1
    assert "onprem" in lines[0]


def test_a_wrong_clusters_file_is_told_with_its_line(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "clusters.yaml").write_text("clusters: [a]\n")
    monkeypatch.setenv("HYBRID_HPC_CLUSTERS", str(tmp_path / "clusters.yaml"))
    status, lines = run_doctor()
    assert status == 1
    assert "clusters.yaml:1 clusters" in lines[0]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("projects:\n  proj-alpha: {usd: 1}\n", 0, "ok   budgets    projects       1 project with a budget"),
        (
            "projects:\n  proj-alhpa: {usd: 1}\n",
            1,
            "FAIL budgets    projects       no cluster lets proj-alhpa in",
        ),
        (
            "default: {usd: 1, when_spent: ask}\n",
            0,
            "ok   budgets    approvers      whoever may answer for a DAG",
        ),
        ("default: {usd: 1, when_spent: ask, approvers: [ada]}\n", 0, "approvers      ada may approve"),
        ("default: {}\n", 1, "budgets.yaml:1 default: limits nothing"),
    ],
)
def test_the_budgets_are_looked_at_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, status: int, said: str
) -> None:
    (tmp_path / "budgets.yaml").write_text(text)
    monkeypatch.setenv("HYBRID_HPC_BUDGETS", str(tmp_path / "budgets.yaml"))
    ended, lines = run_doctor()
    assert (ended, said in "\n".join(lines)) == (status, True)


def test_without_a_source_of_connections_the_command_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_HPC_CONNECTIONS", "no_such_module")
    status, lines = run_doctor()
    assert status == 1
    assert "put the project's plugins folder on PYTHONPATH" in lines[0]
