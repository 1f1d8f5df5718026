"""A lab of one cluster alone: it comes up, serves, and goes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from lab import processes, start
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
