"""The batch script, really run by bash with hostile values; Slurm's part is played by its variables."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.batch_job import DEADLINE_S, Job

HOSTILE_VALUES = [
    "plain",
    "two words",
    "quote ' double \" back ` slash \\",
    "$HOME $(touch canary) `touch canary` ${x:-y}",
    "; touch canary; #",
    "a\n#SBATCH --nodes=99\ntouch canary",
    "-rf /",
    "*",
    "~",
    "ünï 名前",
    "",
]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "run-dir.1,a=b@c+d:e")


@pytest.mark.parametrize("exit_code", [0, 1, 3, 75, 127, 128, 200, 255])
def test_the_scripts_exit_code_is_passed_through_and_recorded(job: Job, exit_code: int) -> None:
    before = time.time()
    assert job.run(f"exit {exit_code}\n")[0] == exit_code
    record = job.record()
    assert (record["native_id"], record["task"], record["exit_code"]) == ("7", "", exit_code)
    assert before - 1 <= float(str(record["ended_at"])) <= time.time() + 1
    assert record["host"]


def test_a_script_that_kills_itself_is_recorded_with_the_signal(job: Job) -> None:
    assert job.run("kill -9 $$\n")[0] == 137
    assert job.record()["exit_code"] == 137


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_a_variable_reaches_the_script_as_it_is(job: Job, value: str) -> None:
    code, output = job.run('#!/bin/bash\nprintf "<%s>" "$VALUE"\n', environment={"VALUE": value})
    assert (code, output) == (0, f"<{value}>")
    assert not list(job.run_dir.rglob("canary"))


@pytest.mark.parametrize(
    "name", ["run_dir", "native_id", "task", "suffix", "record", "claim", "child", "exit_code", "signalled"]
)
def test_a_variable_may_be_called_like_one_of_the_wrappers(job: Job, name: str) -> None:
    code, output = job.run(f'echo "${name}"; exit 3\n', environment={name: "/nowhere"})
    assert (code, output) == (3, "/nowhere\n")
    assert job.record()["native_id"] == "7"


def test_directives_come_first_and_none_can_be_added_by_a_value(job: Job) -> None:
    batch = job.batch("true\n", environment={"VALUE": "x\n#SBATCH --nodes=99\n"}).read_text()
    directives = batch.split("\n\n")[0].splitlines()
    assert directives[0] == "#!/bin/bash -l"
    assert all(line.startswith("#SBATCH --") for line in directives[1:])
    assert "#SBATCH --nodes=99" not in directives
    assert "#SBATCH --nodes=1" in directives


def test_a_script_runs_by_its_own_first_line(job: Job) -> None:
    code, output = job.run("#!/usr/bin/env python3\nimport sys\nprint(len(sys.argv))\nsys.exit(4)\n")
    assert (code, output) == (4, "1\n")


def test_a_script_without_a_first_line_runs_by_bash(job: Job) -> None:
    assert job.run("[[ a == a ]] && echo yes\n") == (0, "yes\n")


def test_directives_in_the_script_itself_are_comments(job: Job) -> None:
    assert job.run("#!/bin/bash\n#SBATCH --nodes=99\necho ran\n") == (0, "ran\n")


@pytest.mark.parametrize("folder", ["work", "a/b/c", "with space", "quote'd", "-dash", "$HOME", "名前"])
def test_the_script_starts_in_its_working_directory(job: Job, folder: str) -> None:
    code, output = job.run("pwd\n", working_directory=folder)
    assert (code, output) == (0, f"{job.run_dir / folder}\n")


def test_the_script_starts_in_the_run_directory_when_none_is_asked_for(job: Job) -> None:
    code, output = job.run('pwd; echo "$SLURM_SUBMIT_DIR"\n')
    assert (code, output) == (0, f"{job.run_dir}\n{job.run_dir}\n")


def test_modules_are_loaded_before_the_script(job: Job) -> None:
    (job.home / ".bash_profile").write_text('module() { export LOADED="$LOADED $2"; }; export -f module\n')
    assert job.run("echo $LOADED\n", modules=["gcc/12", "openmpi"]) == (0, "gcc/12 openmpi\n")


def test_a_module_that_cannot_be_loaded_ends_the_job_with_a_sentence(job: Job) -> None:
    (job.home / ".bash_profile").write_text("module() { return 1; }\n")
    code, output = job.run("echo ran\n", modules=["gcc/12"])
    assert (code, output) == (78, "hybrid-hpc: cannot load the module gcc/12\n")
    assert job.record()["exit_code"] == 78


def test_a_profile_that_is_strict_or_noisy_does_no_harm(job: Job) -> None:
    (job.home / ".bash_profile").write_text("echo Welcome; set -eu\n")
    assert job.run("false; exit 5\n") == (5, "Welcome\n")
    assert job.record()["exit_code"] == 5


def test_what_the_login_profile_sets_reaches_the_script(job: Job) -> None:
    (job.home / ".bash_profile").write_text("export SITE=here\n")
    assert job.run("echo $SITE\n") == (0, "here\n")


def test_slurms_commands_are_found_where_the_head_node_has_them(job: Job) -> None:
    srun = job.run_dir.parent / "slurm" / "bin" / "srun"
    srun.parent.mkdir(parents=True)
    srun.write_text('#!/bin/sh\nexec "$@"\n')
    srun.chmod(0o755)
    (job.home / ".bash_profile").write_text("PATH=/usr/bin:/bin\n")
    assert job.run("srun echo found; env | grep HH_\n") == (1, "found\n")


def test_of_two_jobs_with_one_token_only_the_first_runs(job: Job) -> None:
    assert job.run("echo one; exit 3\n", native_id="7")[0] == 3
    code, output = job.run("echo two\n", native_id="8")
    assert code == 75
    assert output == f"hybrid-hpc: job 7 has claimed {job.run_dir}/claimed, so 8 ends\n"
    assert job.record()["native_id"] == "7"


def test_a_requeued_job_finds_its_own_claim_and_goes_on(job: Job) -> None:
    assert job.run("exit 3\n", native_id="7")[0] == 3
    assert job.run("echo again\n", native_id="7") == (0, "again\n")
    assert job.record()["exit_code"] == 0


def test_a_life_that_is_killed_leaves_no_record_of_the_life_before(job: Job) -> None:
    job.run("exit 0\n", native_id="7")
    process = job.start(job.batch("echo up; sleep 60\n"), "7")
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    assert not (job.run_dir / "exit").exists()


def test_tasks_of_an_array_do_not_disturb_each_other(job: Job) -> None:
    script = "exit $SLURM_ARRAY_TASK_ID\n"
    for task in (3, 4):
        assert job.run(script, task=task, array="3-4")[0] == task
    assert job.record(".3")["task"] == "3"
    assert job.record(".4")["exit_code"] == 4
    assert job.record(".4")["native_id"] == "7"
    assert job.run(script, task=4, native_id="8")[0] == 75


def test_of_ten_jobs_at_once_exactly_one_runs(job: Job) -> None:
    batch = job.batch("echo $SLURM_JOB_ID >>ran; sleep 0.2\n")
    processes = [job.start(batch, str(number)) for number in range(10)]
    codes = sorted(process.wait(DEADLINE_S) for process in processes)
    for process in processes:
        process.communicate()
    assert codes == [0] + [75] * 9
    assert len((job.run_dir / "ran").read_text().split()) == 1
    assert not [path for path in job.run_dir.iterdir() if path.name.startswith("claimed.")]


def test_term_to_the_whole_job_ends_the_script_and_leaves_a_record(job: Job) -> None:
    process = job.start(job.batch("echo up; sleep 60\n"))
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 143
    assert job.record()["exit_code"] == 143


def test_a_script_may_handle_term_once_and_in_peace(job: Job) -> None:
    script = "trap 'echo saved; sleep 0.3; exit 9' TERM\necho up\nsleep 60 & wait\n"
    process = job.start(job.batch(script))
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, output) == (9, "saved\n")
    assert job.record()["exit_code"] == 9


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_for_the_batch_shell_alone_reaches_the_script(job: Job, number: signal.Signals) -> None:
    script = f"trap 'kill $!; echo saved; exit 9' {number.name[3:]}\nsleep 60 &\necho up\nwait\n"
    process = job.start(job.batch(script))
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, output) == (9, "saved\n")


def test_the_wrapper_ignores_and_blocks_no_signal_for_the_script(job: Job) -> None:
    """What the wrapper itself was started with, under nohup for instance, no shell can change."""
    ask = ["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]
    inherited = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert job.run(f"exec {shlex.join(ask)}\n") == (0, inherited)


def test_a_signal_that_meets_the_end_of_the_script_does_not_spoil_the_record(job: Job) -> None:
    for life in range(20):
        process = job.start(job.batch("echo up; exec sleep 60\n"))
        assert process.stdout
        assert process.stdout.readline() == "up\n", life
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
        assert job.record()["exit_code"] == 143, life


def test_what_the_script_leaves_running_does_not_hold_the_job(job: Job) -> None:
    code, output = job.run("sleep 60 >/dev/null 2>&1 & echo $!; exit 3\n")
    os.kill(int(output), signal.SIGKILL)
    assert code == 3


def test_many_signals_do_not_spoil_the_exit_code(job: Job) -> None:
    process = job.start(job.batch("trap '' TERM\necho up\nsleep 0.5\nexit 6\n"))
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    for _ in range(20):
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.01)
    process.communicate(timeout=DEADLINE_S)
    assert job.record()["exit_code"] == 6


def test_a_run_directory_that_is_gone_ends_the_job_at_once(job: Job, tmp_path: Path) -> None:
    batch = job.batch("echo ran\n")
    text = batch.read_text().replace(shlex.quote(str(job.run_dir)), "/proc/nowhere")
    batch.write_text(text)
    process = job.start(batch)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 73
    assert "cannot write in /proc/nowhere" in output
    assert "ran" not in output.split("\n")
