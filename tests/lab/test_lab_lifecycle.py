"""A lab comes up, is repaired after a crash, and goes without leaving a process, a port or a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import proc, processes, start
from lab.errors import LabError
from lab.lab import LONGEST_FOLDER, Lab
from lab.layout import PROJECT
from lab.settings import LabSettings
from lab.testing import FAST, on_head_node, running_lab

pytestmark = pytest.mark.lab
LONG_JOB = "sbatch --parsable -o /dev/null --wrap 'setsid sleep 600 & sleep 600'"


@pytest.fixture(scope="module")
def own_lab() -> Iterator[Lab]:
    """A lab that only this file's tests use: they break it."""
    with running_lab("lifecycle") as lab:
        yield lab


def test_bringing_up_what_runs_is_quick_and_starts_nothing(own_lab: Lab) -> None:
    before, said = _pids(own_lab), list[str]()
    began = time.monotonic()
    own_lab.up(said.append)
    assert time.monotonic() - began < 1
    assert (said, _pids(own_lab)) == ([], before)


@pytest.mark.parametrize("name", ["onprem-slurmctld", "azure-sshd", "mariadb", "cyclecloud", "onprem-node02"])
def test_what_crashed_is_started_again_and_the_rest_left_alone(own_lab: Lab, name: str) -> None:
    before = _pids(own_lab)
    os.kill(before[name], signal.SIGKILL)
    processes.wait_until(lambda: not own_lab.is_up(), deadline_s=5, what="the crash")
    own_lab.up()
    after = _pids(own_lab)
    # slurmctld forgets the VMs of a CycleCloud that is gone by starting again
    may_change = {name, "azure-slurmctld"} if name == "cyclecloud" else {name}
    assert {each for each in before if before[each] != after[each]} == may_change
    assert on_head_node(own_lab, "onprem", "sinfo -h").returncode == 0


def test_going_down_leaves_no_process_and_no_port_but_the_accounting(own_lab: Lab) -> None:
    job = on_head_node(own_lab, "onprem", LONG_JOB).stdout.strip()
    _wait_for(own_lab, f"squeue -h -j {job} -o %T", "RUNNING")
    layout = own_lab.layout
    began = time.monotonic()
    own_lab.down()
    assert time.monotonic() - began < 20
    assert _left_of(own_lab) == []
    assert [p for p in range(layout.base_port, layout.base_port + 40) if processes.listens(p)] == []
    own_lab.up()
    _wait_for(own_lab, f"sacct -n -X -D -P -j {job} -o state | head -1", "REQUEUED")
    on_head_node(own_lab, "onprem", f"scancel {job}")


def test_nothing_is_left_of_a_lab_all_of_whose_processes_were_killed(own_lab: Lab) -> None:
    job = on_head_node(own_lab, "onprem", LONG_JOB).stdout.strip()
    _wait_for(own_lab, f"squeue -h -j {job} -o %T", "RUNNING")
    for pid in _pids(own_lab).values():
        os.kill(pid, signal.SIGKILL)
    own_lab.down()
    assert _left_of(own_lab) == []
    own_lab.up()
    on_head_node(own_lab, "onprem", f"scancel {job}")


def test_other_settings_restart_the_lab_which_keeps_its_jobs(own_lab: Lab) -> None:
    done = on_head_node(own_lab, "onprem", "sbatch --parsable -W -o /dev/null --wrap true").stdout.strip()
    other = Lab(own_lab.folder, replace(own_lab.settings, scaling="scheduler"))
    other.up()
    assert on_head_node(other, "azure", "sinfo -h -p hpc -o %t").stdout.strip() == "idle~"
    _wait_for(other, f"sacct -n -X -P -j {done} -o state", "COMPLETED")
    own_lab.up()
    assert on_head_node(own_lab, "azure", "sinfo -h -p hpc -o %t").stdout.strip().rstrip("*") == "down"


def test_without_namespaces_jobs_run_all_the_same() -> None:
    with running_lab("plain", replace(FAST, namespaces=0)) as lab:
        wrap = "--wrap 'echo $SLURM_JOB_NODELIST > $SCRATCH/where'"
        assert on_head_node(lab, "onprem", f"sbatch -W -N2 -o /dev/null {wrap}").returncode == 0
        assert on_head_node(lab, "onprem", "cat $SCRATCH/where").stdout.strip() == "node[01-02]"
        folder = lab.folder
    assert not folder.exists()


def test_a_lab_that_never_was_goes_down_without_a_word_or_a_folder() -> None:
    lab = Lab(PROJECT / ".lab" / "test-never")
    lab.down()
    assert not lab.folder.exists()
    with pytest.raises(LabError, match="is down; bring it up"):
        lab.layout  # noqa: B018 - reading it is what is tested


@pytest.mark.parametrize("name", ["with space", "semi;colon", "co:lon", "com,ma", 'quo"te', "new\nline"])
def test_a_folder_that_slurms_files_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="move the project"):
        Lab(tmp_path / name).up()


def test_a_folder_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f"{LONGEST_FOLDER} bytes"):
        Lab(tmp_path / ("x" * LONGEST_FOLDER)).up()


def test_a_port_that_is_taken_ends_in_a_sentence(own_lab: Lab) -> None:
    taken = own_lab.layout.base_port
    lab = Lab(PROJECT / ".lab" / f"test-taken-{os.getpid()}", LabSettings(base_port=taken))
    try:
        with pytest.raises(LabError, match=r"port \d+ is taken by another program"):
            lab.up()
    finally:
        lab.down(fresh=True)


def test_the_terminal_shows_what_runs_and_hands_on_exit_statuses(own_lab: Lab) -> None:
    assert _terminal(own_lab, "status").returncode == 0
    assert _terminal(own_lab, "ssh", "onprem", "exit 7").returncode == 7
    answer = _terminal(own_lab, "ssh", "elsewhere", "true")
    assert (answer.returncode, answer.stdout) == (
        1,
        "lab: there is no cluster elsewhere; this lab has onprem and azure.\n",
    )


def _terminal(lab: Lab, verb: str, *rest: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab", verb, "--folder", str(lab.folder), *rest]
    return subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)


def _pids(lab: Lab) -> dict[str, int]:
    files = {name: lab.folder / "pid" / f"{name}.pid" for name in start.expected(lab.layout)}
    return {name: int(file.read_text().split()[0]) for name, file in files.items()}


def _left_of(lab: Lab) -> list[str]:
    """Give the command lines of all that has to do with the lab's folder, in any way."""
    command_lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in proc.all_pids() if pid != os.getpid()}
    texts = [path.read_text().replace("\0", " ") for path in command_lines.values() if path.exists()]
    marked = [str(pid) for pid in proc.marked(lab.folder) + proc.job_steps(lab.folder)]
    return marked + [text for text in texts if str(lab.folder) in text]


def _wait_for(lab: Lab, command: str, words: str) -> None:
    processes.wait_until(
        lambda: on_head_node(lab, "onprem", command).stdout.strip() == words,
        deadline_s=30,
        what=words,
        step_s=0.2,
    )
