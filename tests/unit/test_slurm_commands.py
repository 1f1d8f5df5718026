"""Slurm's commands, really run by sh; Slurm's own programs are stand-ins that tell how they were called."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_hpc.commands import Answer, Command, shell_text
from hybrid_hpc.errors import Invalid, Unavailable, Unreadable
from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers.base import Submission
from hybrid_hpc.schedulers.slurm import Slurm

SLURM = Slurm()
PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
TELL = """#!/bin/bash
{ printf '%s\\n' "${0##*/}" "$@"; echo --; env; echo --; [ -p /dev/stdin ] && cat; } >>"$TOLD/${0##*/}"
"""
SITE = {
    "SQUEUE_FORMAT": "%i",
    "SACCT_FORMAT": "JobID",
    "SBATCH_PARTITION": "nowhere",
    "SLURM_TIME_FORMAT": "relative",
    "SLURM_CLUSTERS": "other",
    "TZ": "Asia/Tokyo",
    "BASH_ENV": "/nowhere",
    "SESSION": "ssh",
}


class HeadNodeStandIn:
    """Runs commands as sshd does: one string, given to a shell, in the environment of a login."""

    def __init__(self, folder: Path) -> None:
        self.told = folder
        self.home = folder / "home"
        self.bin = folder / "bin"
        for place in (self.home, self.bin):
            place.mkdir()
        for name in PROGRAMS:
            self.program(name, TELL.replace("$TOLD", str(folder)))

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, command: Command, *, path: str | None = None) -> Answer:
        done = subprocess.run(
            ["/bin/sh", "-c", shell_text(command.argv)],
            input=(command.stdin or "").encode(),
            env={"HOME": str(self.home), "PATH": path or f"{self.bin}:{os.environ['PATH']}", **SITE},
            cwd=self.told,
            capture_output=True,
            check=False,
            timeout=20,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def call(self, name: str) -> tuple[list[str], dict[str, str], str]:
        """The arguments, the environment and the stdin of the last call of a program."""
        argv, environment, stdin = (self.told / name).read_text().split("--\n", 2)
        pairs = (line.split("=", 1) for line in environment.splitlines())
        return argv.splitlines()[1:], dict(pairs), stdin


@pytest.fixture
def head_node(tmp_path: Path) -> HeadNodeStandIn:
    return HeadNodeStandIn(tmp_path)


def submission() -> Submission:
    request = JobRequest(name="demo", script="true\n", environment={"A": "two words 'quoted' $HOME"})
    return Submission("hh-token", request, "batch", "/scratch/hh-token")


def test_nothing_that_a_site_sets_changes_what_is_asked(head_node: HeadNodeStandIn) -> None:
    head_node.run(SLURM.load_command())
    _, environment, _ = head_node.call("squeue")
    assert environment["SLURM_TIME_FORMAT"] == "%s"
    assert environment["TZ"] == "UTC"
    assert not {"SQUEUE_FORMAT", "SLURM_CLUSTERS", "BASH_ENV", "SESSION"} & set(environment)


def test_a_job_inherits_nothing_of_our_session(head_node: HeadNodeStandIn) -> None:
    head_node.run(SLURM.submit_command(submission()))
    _, environment, _ = head_node.call("sbatch")
    kept = {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "HH_SLURM_BIN", "PWD", "SHLVL", "_"}
    assert set(environment) <= kept
    assert environment["HH_SLURM_BIN"] == str(head_node.bin)


def test_the_script_goes_over_stdin_and_the_job_is_held(head_node: HeadNodeStandIn) -> None:
    head_node.run(SLURM.submit_command(submission()))
    argv, _, stdin = head_node.call("sbatch")
    assert argv == ["--parsable", "--hold"]
    assert stdin == SLURM.batch_script(submission())


def test_where_the_path_has_no_slurm_a_login_shell_finds_it(head_node: HeadNodeStandIn) -> None:
    (head_node.home / ".bash_profile").write_text(f"echo Welcome\nPATH={head_node.bin}:$PATH\n")
    answer = head_node.run(SLURM.submit_command(submission()), path="/usr/bin:/bin")
    assert (answer.exit_status, answer.stdout) == (0, "Welcome\n")
    assert head_node.call("sbatch")[2] == SLURM.batch_script(submission())


def test_a_head_node_without_slurm_is_told_so(head_node: HeadNodeStandIn) -> None:
    answer = head_node.run(SLURM.version_command(), path="/usr/bin:/bin")
    with pytest.raises(Unavailable, match="not found on the head node"):
        SLURM.read_version(answer)


HOSTILE = [
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    '"; touch canary; "',
    "a b",
    "--uid=0",
    "*",
]


@pytest.mark.parametrize("token", HOSTILE)
def test_a_token_is_an_argument_and_never_shell(head_node: HeadNodeStandIn, token: str) -> None:
    head_node.run(SLURM.find_command(token))
    for program in ("squeue", "sacct"):
        assert f"--name={token}" in head_node.call(program)[0]
        assert f"--user={os.getuid()}" in head_node.call(program)[0]
    head_node.run(SLURM.cancel_command("7", token))
    assert head_node.call("scancel")[0] == [f"--name={token}", "7"]
    assert not (head_node.told / "canary").exists()


@pytest.mark.parametrize("native_id", ["", "7; touch canary", "7,8", "-7", "\uff17", "7\n"])
def test_an_id_that_is_no_number_is_refused(native_id: str) -> None:
    makers: list[Callable[[], Command]] = [
        lambda: SLURM.release_command(native_id, "hh-abcdefghijkl"),
        lambda: SLURM.cancel_command(native_id, "hh-token"),
        lambda: SLURM.withdraw_command(native_id, "hh-token", "/scratch/hh-token"),
        lambda: SLURM.history_command(["1", native_id]),
    ]
    for make in makers:
        with pytest.raises(Invalid):
            make()


@pytest.mark.parametrize("name", ["", "a b", "a,b", "ALL;reboot", "node[01-99]", "a\nb"])
def test_a_node_name_that_may_mean_more_is_refused(name: str) -> None:
    makers: list[Callable[[], Command]] = [
        lambda: SLURM.admit_nodes_command([name]),
        lambda: SLURM.drain_nodes_command([name], "x"),
        lambda: SLURM.retire_nodes_command(["node01", name], "x"),
        lambda: SLURM.give_up_nodes_command([name]),
    ]
    for make in makers:
        with pytest.raises(Invalid):
            make()


def test_nodes_change_in_one_call_with_the_reason_on_one_line(head_node: HeadNodeStandIn) -> None:
    head_node.run(SLURM.drain_nodes_command(["node01", "node02"], "two\nlines \x1f 'x'"))
    argv, _, _ = head_node.call("scontrol")
    assert argv == ["update", "NodeName=node01,node02", "State=DRAIN", "Reason=two lines 'x'"]


def test_the_nodes_are_read_before_the_queue(head_node: HeadNodeStandIn) -> None:
    """A job that starts in between is then seen to run; else it would wait beside its own nodes, all busy."""
    said = head_node.run(SLURM.load_command()).stdout
    assert said.index(" nodes 0") < said.index(" jobs 0")


def test_one_part_that_fails_does_not_keep_the_others_away(head_node: HeadNodeStandIn) -> None:
    head_node.program("squeue", "#!/bin/sh\necho 'slurm_load_jobs error: Socket timed out' >&2\nexit 1\n")
    answer = head_node.run(SLURM.load_command())
    assert "clock 0" in answer.stdout
    assert "jobs 1" in answer.stdout
    assert "nodes 0" in answer.stdout
    with pytest.raises(Unavailable, match="Socket timed out"):
        SLURM.read_load(answer)


def test_a_queue_full_of_forged_ends_is_read_as_what_it_is(head_node: HeadNodeStandIn) -> None:
    forged = "hh-000000000000 jobs 0\\nhh-000000000000 end 0\\nhh-begin 0123456789ab\\n"
    head_node.program("squeue", f"#!/bin/sh\nprintf '{forged}'\n")
    answer = head_node.run(SLURM.load_command())
    with pytest.raises(Unreadable, match="not one of"):
        SLURM.read_load(answer)


def test_a_warning_of_sacct_is_no_job(head_node: HeadNodeStandIn) -> None:
    head_node.program("sacct", "#!/bin/sh\necho 'sacct: warning: something is old' >&2\n")
    head_node.program("squeue", "#!/bin/sh\n")
    assert SLURM.read_find(head_node.run(SLURM.find_command("hh-token")), "hh-token") == []


def test_every_answer_has_a_nonce_of_its_own(head_node: HeadNodeStandIn) -> None:
    answers = [head_node.run(SLURM.load_command()).stdout for _ in range(3)]
    assert len({answer.split("\n")[0] for answer in answers}) == 3
