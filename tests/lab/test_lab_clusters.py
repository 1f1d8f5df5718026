"""Both clusters are real: jobs run, accounting sees them, and nobody gets in without the key."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from lab.lab import Lab
from lab.processes import wait_until
from lab.ssh import ssh_folder
from lab.testing import on_head_node

pytestmark = pytest.mark.lab
Run = Callable[[str, str], str]
LISTENERS = 0x0A  # state "listen" in /proc/net/tcp


def test_an_on_premises_job_runs_on_nodes_with_names_of_their_own(lab: Lab, run: Run) -> None:
    job = run("onprem", "sbatch --parsable -N2 -n2 -o $SCRATCH/%j.out --wrap 'srun hostname'")
    assert _final_state(run, "onprem", job) == "COMPLETED"
    names = run("onprem", f"cat $SCRATCH/{job}.out").split()
    own = lab.layout.namespaces > 0
    assert sorted(names) == (["node01", "node02"] if own else [lab.layout.host] * 2)


def test_accounting_knows_who_paid_and_what_was_used(lab: Lab, run: Run) -> None:
    script = "#!/bin/sh\nsleep 1\n"
    answer = on_head_node(
        lab, "onprem", "sbatch --parsable -A proj-beta -J paid -c 4 -o /dev/null", text=script
    )
    job = answer.stdout.strip()
    record = f"{lab.layout.user}|proj-beta|paid|4|COMPLETED|0:0|onprem"
    show = f"sacct -n -X -P -j {job} -o user,account,jobname,alloccpus,state,exitcode,cluster"
    # slurmctld tells of a job's start a few seconds late: until then its name is "allocation"
    wait_until(lambda: run("onprem", show) == record, deadline_s=30, what=record, step_s=0.2)


def test_a_failing_job_ends_with_its_own_exit_code(run: Run) -> None:
    job = run("onprem", "sbatch --parsable -o /dev/null --wrap 'exit 3'")
    assert _final_state(run, "onprem", job) == "FAILED"
    assert run("onprem", f"sacct -n -X -P -j {job} -o exitcode") == "3:0"


def test_a_gpu_job_sees_the_gpus_that_it_was_given(run: Run) -> None:
    command = (
        "sbatch --parsable -p gpu --gres=gpu:a100:2 -o $SCRATCH/%j.out --wrap 'echo $CUDA_VISIBLE_DEVICES'"
    )
    job = run("onprem", command)
    assert _final_state(run, "onprem", job) == "COMPLETED"
    assert len(run("onprem", f"cat $SCRATCH/{job}.out").split(",")) == 2


@pytest.mark.parametrize("cluster", ["onprem", "azure"])
def test_each_head_node_has_its_own_name_slurm_and_scratch(lab: Lab, run: Run, cluster: str) -> None:
    if lab.layout.namespaces:
        assert run(cluster, "hostname") == f"{cluster}-head"
    assert run(cluster, "scontrol show config | awk '/^ClusterName/ {print $3}'") == cluster
    run(cluster, "touch $SCRATCH/from-here")
    other = "azure" if cluster == "onprem" else "onprem"
    assert run(other, "ls $SCRATCH").count("from-here") == 0
    run(cluster, "rm $SCRATCH/from-here")


def test_a_job_that_no_node_can_hold_is_refused_in_slurms_words(lab: Lab) -> None:
    answer = on_head_node(lab, "onprem", "sbatch --mem=999G --wrap true")
    assert answer.returncode != 0
    assert "Memory specification can not be satisfied" in answer.stderr


def test_a_key_that_is_not_ours_is_refused(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "stranger"
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    known_hosts = ssh_folder(lab.layout) / "known_hosts"
    options = [
        f"UserKnownHostsFile={known_hosts}",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "BatchMode=yes",
    ]
    address = ["-p", str(lab.layout.clusters[0].ssh_port), f"{lab.layout.user}@127.0.0.1"]
    argv = [
        "/usr/bin/ssh",
        "-F",
        "none",
        "-i",
        str(key),
        *(f"-o{option}" for option in options),
        *address,
        "true",
    ]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 255
    assert "Permission denied (publickey)" in answer.stderr


@pytest.mark.parametrize("name", ["hpc_onprem", "hpc_azure"])
async def test_the_airflow_connection_opens_the_door_and_pins_the_host_key(lab: Lab, name: str) -> None:
    connection = lab.connections()[name]
    known = f"{connection['host']} {connection['extra']['host_key']}".encode()  # as Airflow's async hook does
    address = {"port": connection["port"], "username": connection["login"]}
    keys = [connection["extra"]["key_file"]]
    async with asyncssh.connect(connection["host"], known_hosts=known, client_keys=keys, **address) as client:
        assert (await client.run("squeue -h")).exit_status == 0
    other = lab.connections()["hpc_azure" if name == "hpc_onprem" else "hpc_onprem"]["extra"]["host_key"]
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await asyncssh.connect("127.0.0.1", known_hosts=f"127.0.0.1 {other}".encode(), **address)


def test_everything_listens_on_loopback_only(lab: Lab) -> None:
    first = lab.layout.base_port
    listening = {port: host for host, port in _listeners() if first <= port < first + 40}
    assert len(listening) >= 2 + 2 * 3 + 5
    assert set(listening.values()) == {"0100007F"}


def _final_state(run: Run, cluster: str, job: str) -> str:
    """Wait until accounting has the job's end."""
    state = ""

    def ended() -> bool:
        nonlocal state
        state = run(cluster, f"sacct -n -X -P -j {job} -o state")
        return state not in {"", "PENDING", "RUNNING"}

    wait_until(ended, deadline_s=30, what=f"the end of job {job}", step_s=0.2)
    return state


def _listeners() -> list[tuple[str, int]]:
    """Give (address in hex, port) of every listening TCP socket, IPv6 too."""
    rows = [
        row.split()
        for name in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    addresses = [row[1].split(":") for row in rows if int(row[3], 16) == LISTENERS]
    return [(host, int(port, 16)) for host, port in addresses]
