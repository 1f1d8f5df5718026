"""Azure's nodes exist only when they were asked for, whoever asks."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from lab.lab import Lab
from lab.processes import wait_until
from tests.lab.empty_azure import empty_azure

pytestmark = pytest.mark.lab
Run = Callable[[str, str], str]
SUBMIT = "sbatch --parsable -p htc -N2 -n2 -o $SCRATCH/%j.out --wrap 'srun hostname; sleep {}'"


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path, faults: httpx.AsyncClient) -> AsyncIterator[None]:
    """Without a node of a test before, on which a job would run at once."""
    async with empty_azure(lab, tmp_path, faults):
        yield


@pytest.fixture
def cyclecloud(lab: Lab, azure: None) -> Iterator[httpx.Client]:
    """CycleCloud's REST API; every node is terminated at the end."""
    connection = lab.connections()["cyclecloud"]
    auth = (connection["login"], connection["password"])
    trust = ssl.create_default_context(cafile=connection["extra"]["ca_file"])
    url = f"{connection['host']}/clusters/azure"
    with httpx.Client(base_url=url, auth=auth, verify=trust) as client:
        yield client
        names = [node["Name"] for node in client.get("/nodes").json()["nodes"]]
        if names:
            client.post("/nodes/terminate", json={"names": names}).raise_for_status()
        wait_until(lambda: not client.get("/nodes").json()["nodes"], deadline_s=30, what="no nodes")


class TestWhenWeScale:
    """`scaling: cyclecloud`: Slurm has no power saving, somebody has to ask CycleCloud."""

    def test_a_job_waits_for_nodes_and_starts_when_they_have_booted(
        self, lab: Lab, run: Run, cyclecloud: httpx.Client
    ) -> None:
        job = run("azure", SUBMIT.format(0))
        wait_until(
            lambda: "DOWN" in _reason(run, job) or "Unavail" in _reason(run, job), deadline_s=20, what="why"
        )
        _create(cyclecloud, "htc", 2)
        _wait_for_state(run, job, "COMPLETED")
        if lab.layout.namespaces:
            names = run("azure", f"cat $SCRATCH/{job}.out").split()
            assert sorted(names) == ["azure-htc-1", "azure-htc-2"]

    def test_a_node_that_was_let_go_comes_back_by_itself_when_it_boots_again(
        self, run: Run, cyclecloud: httpx.Client
    ) -> None:
        _create(cyclecloud, "gpu", 1)
        _wait_for_node(run, "azure-gpu-1", "idle")
        run("azure", "scontrol update nodename=azure-gpu-1 state=drain reason=idle")
        _wait_for_node(run, "azure-gpu-1", "drained")
        cyclecloud.post("/nodes/terminate", json={"names": ["azure-gpu-1"]}).raise_for_status()
        run("azure", "scontrol update nodename=azure-gpu-1 state=down reason=gone")
        run("azure", "scontrol update nodename=azure-gpu-1 state=undrain")
        _wait_for_node(run, "azure-gpu-1", "down")
        wait_until(lambda: not cyclecloud.get("/nodes").json()["nodes"], deadline_s=20, what="no nodes")
        _create(cyclecloud, "gpu", 1)
        _wait_for_node(run, "azure-gpu-1", "idle")

    def test_a_job_whose_vm_vanished_is_requeued(self, run: Run, cyclecloud: httpx.Client) -> None:
        job = run("azure", SUBMIT.format("20"))
        _create(cyclecloud, "htc", 2)
        _wait_for_state(run, job, "RUNNING")
        cyclecloud.post("/nodes/terminate", json={"names": ["azure-htc-1", "azure-htc-2"]}).raise_for_status()
        _wait_for_state(run, job, "PENDING", deadline_s=60)
        ends = run("azure", f"sacct -n -X -D -P -j {job} -o state").splitlines()
        assert ends[0] == "NODE_FAIL"
        run("azure", f"scancel {job}")


@pytest.mark.parametrize("lab", ["scheduler"], indirect=True)
class TestWhenSlurmScales:
    """`scaling: scheduler`: ResumeProgram and SuspendProgram ask CycleCloud, as azslurm's do."""

    def test_nodes_come_for_a_job_and_go_when_idle(self, run: Run, cyclecloud: httpx.Client) -> None:
        job = run("azure", SUBMIT.format(0))
        _wait_for_state(run, job, "COMPLETED")
        assert {node["Template"] for node in cyclecloud.get("/nodes").json()["nodes"]} == {"htc"}
        wait_until(
            lambda: not cyclecloud.get("/nodes").json()["nodes"], deadline_s=60, what="idle nodes to go"
        )

    @pytest.mark.usefixtures("cyclecloud")
    def test_the_prolog_says_what_the_vms_were(self, run: Run) -> None:
        job = run("azure", SUBMIT.format(0))
        _wait_for_state(run, job, "COMPLETED")
        comment = run("azure", f"sacct -n -X -P -j {job} -o admincomment")
        assert '"vm_size": "Standard_F16s_v2"' in comment


def _create(cyclecloud: httpx.Client, nodearray: str, count: int) -> None:
    body = {"sets": [{"nodearray": nodearray, "count": count}]}
    answer = cyclecloud.post("/nodes/create", json=body).raise_for_status()
    assert answer.json()["sets"][0]["added"] == count


def _reason(run: Run, job: str) -> str:
    return run("azure", f"squeue -h -j {job} -o %r")


def _wait_for_state(run: Run, job: str, state: str, *, deadline_s: float = 40) -> None:
    show = f"scontrol show job {job} | grep -o 'JobState=[A-Z_]*'"
    wait_until(
        lambda: run("azure", show) == f"JobState={state}", deadline_s=deadline_s, what=state, step_s=0.2
    )


def _wait_for_node(run: Run, node: str, state: str) -> None:
    show = f"sinfo -h -n {node} -o %T"
    wait_until(
        lambda: run("azure", show).rstrip("*") == state, deadline_s=30, what=f"{node} {state}", step_s=0.2
    )
