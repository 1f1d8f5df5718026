"""What a real cluster does to its jobs and to us, on a lab of its own whose queue forgets after 2 s."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_hpc import collecting
from hybrid_hpc.collecting import StillUnknown
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import AccessDenied, HybridHpcError, Unavailable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ownership import cancel
from lab import proc, processes, slurm, ssh
from lab.lab import Lab
from lab.testing import FAST, running_lab
from tests.chaos.lab_world import (
    COUNTED,
    ONPREM,
    SLEEPING,
    Way,
    cancel_all,
    eventually,
    head_node_profile,
    known,
    layout_of,
    new_job,
    run_dir,
    site,
    until_submitted,
)

pytestmark = pytest.mark.lab

GATED = COUNTED + "while [ ! -e go ]; do sleep 0.1; done\necho done\n"


Trouble = Callable[[Lab, str], AbstractContextManager[None]]


class Died(Exception):
    """Stands for the death of a worker at a named step."""


@pytest.fixture(scope="module")
def faulty() -> Iterator[Lab]:
    """A lab that only this file's tests use: they break it."""
    with running_lab("faults", replace(FAST, min_job_age_s=2, requeue_wait_s=6)) as lab:
        yield lab


@pytest.fixture
async def onprem(faulty: Lab, ledger: Ledger) -> AsyncIterator[Way]:
    made = Way(faulty, site(faulty, ONPREM, ledger, timeout_s=4), ledger)
    yield made
    await made.site.close()
    cancel_all(made.layout, [row.token for row in ledger.open_jobs()])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accounting may lag by 3 s here instead of 90, before the exit record has to do."""
    monkeypatch.setattr(collecting, "PATIENCE_S", 3.0)


def open_gate(way: Way, row: JobRow) -> None:
    (run_dir(way.layout, row.token) / "go").touch()


async def final(way: Way, row: JobRow) -> None:
    await way.sees(row, lambda state: JobState(state).final, "its end")


# Daemons


def pid_of(lab: Lab, name: str) -> int:
    return int((lab.folder / "pid" / f"{name}.pid").read_text().split()[0])


@contextmanager
def stopped(lab: Lab, name: str) -> Iterator[None]:
    """The daemon hangs: it has its connections and answers nothing."""
    family = [pid_of(lab, name), *proc.descendants([pid_of(lab, name)])]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def ended(lab: Lab, name: str) -> Iterator[None]:
    """The daemon is gone; it is started again in the end."""
    processes.stop(lab.folder, name)
    try:
        yield
    finally:
        lab.up()


@pytest.mark.parametrize("how", [stopped, ended])
async def test_without_slurmctld_states_stand_nothing_is_submitted_and_all_goes_on_when_it_is_back(
    onprem: Way, how: Trouble
) -> None:
    row = await onprem.start(GATED)
    watch, job = onprem.watch(), new_job()
    with how(onprem.lab, "onprem-slurmctld"):
        poll = await watch.poll()
        assert "does not answer" in poll.trouble
        assert poll.reports == {}
        assert onprem.row(row).state is JobState.RUNNING
        with pytest.raises(Unavailable):
            await onprem.submit(job)
        open_gate(onprem, row)
    mine = await until_submitted(onprem, job)
    for each in (row, mine):
        await final(onprem, each)
        assert onprem.executions(each.token) == [each.native_id]
        assert known(onprem.layout, [each.token])[each.token].ids == {each.native_id}


async def test_a_submission_that_slurmctld_took_without_saying_so_is_adopted(
    onprem: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon hangs at the moment of sbatch, and takes it as it goes on."""
    monkeypatch.setattr("hybrid_hpc.submission.SUBMIT_TIMEOUT_S", 2.0)
    job = new_job()
    hanging = stopped(onprem.lab, "onprem-slurmctld")

    def hang(point: str) -> None:
        if point == "before_send":
            hanging.__enter__()

    try:
        with pytest.raises(Unavailable, match="the next try looks for it"):
            await onprem.submit(job, crash=hang)
    finally:
        hanging.__exit__(None, None, None)
    row = await until_submitted(onprem, job)
    await final(onprem, row)
    assert known(onprem.layout, [row.token])[row.token].ids == {row.native_id}
    assert onprem.executions(row.token) == [row.native_id]


async def test_without_accounting_the_end_comes_from_the_jobs_own_record(onprem: Way, tmp_path: Path) -> None:
    row = await onprem.start(GATED)
    with ended(onprem.lab, "onprem-slurmdbd"):
        open_gate(onprem, row)
        await onprem.sees(row, lambda state: state == "unknown", "that its end is not known")
        collected = await onprem.collect(row, tmp_path)
        assert collected.succeeded
        assert "its own exit record" in collected.outcome.sentence
        assert onprem.row(row).evidence == "exit record"


async def test_a_job_without_any_record_stays_unknown_until_the_accounting_is_back(
    onprem: Way, tmp_path: Path
) -> None:
    """Its batch shell was killed, so that it left no exit record of its own."""
    row = await onprem.start(SLEEPING)
    with ended(onprem.lab, "onprem-slurmdbd"):
        kill_batch_shell(onprem, row)
        await onprem.sees(row, lambda state: state == "unknown", "that its end is not known")
        with pytest.raises(StillUnknown):
            await onprem.collect(row, tmp_path)
        assert not onprem.row(row).settled
        assert onprem.row(row).unknown_since
    await final(onprem, row)
    collected = await onprem.collect(row, tmp_path)
    assert collected.outcome.state is JobState.FAILED
    assert "signal 9 (SIGKILL)" in collected.outcome.sentence
    assert not collected.succeeded


def kill_batch_shell(way: Way, row: JobRow) -> None:
    """Kills every process of the job but Slurm's own."""
    mark = f"SLURM_JOB_ID={row.native_id}".encode()
    found = [pid for pid in proc.all_pids() if mark in _environment(pid)]
    assert found, "the job runs"
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


async def test_while_the_accounting_lags_no_poll_makes_a_state_final_and_the_jobs_own_record_tells_it(
    onprem: Way, tmp_path: Path
) -> None:
    row = await onprem.start(f"{COUNTED}while [ ! -e go ]; do sleep 0.1; done\nexit 3\n")
    seen: list[JobState] = []
    watch = onprem.watch()
    with stopped(onprem.lab, "onprem-slurmdbd"):
        open_gate(onprem, row)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            poll = await watch.poll()
            seen.append(poll.reports[row.token].state if row.token in poll.reports else onprem.row(row).state)
            await asyncio.sleep(0.3)
        collected = await onprem.collect(row, tmp_path)
    assert JobState.UNKNOWN in seen
    assert not any(state.final for state in seen), seen
    assert (collected.outcome.exit_code, onprem.row(row).outcome) == (3, JobState.FAILED)
    await final(onprem, row)


async def test_a_job_that_the_queue_has_forgotten_has_its_end_from_the_accounting(
    onprem: Way, tmp_path: Path
) -> None:
    row = await onprem.submit(new_job(f"{COUNTED}exit 5\n"))

    def forgotten() -> bool:
        job = known(onprem.layout, [row.token])[row.token]
        return bool(job.recorded) and not job.queued

    await eventually(forgotten, "the queue to forget it")
    poll = await onprem.watch().poll()
    assert poll.reports[row.token].state is JobState.FAILED
    assert (await onprem.collect(row, tmp_path)).outcome.exit_code == 5


async def test_the_same_attempt_finds_its_job_though_the_queue_has_forgotten_it(onprem: Way) -> None:
    """A worker died before it could record, and its retry comes when the job has run and is forgotten."""
    job = new_job()

    def die(point: str) -> None:
        if point == "after_send":
            raise Died

    with pytest.raises(Died):
        await onprem.submit(job, crash=die)
    row = onprem.ledger.attempted(job)
    assert row
    (native_id,) = known(onprem.layout, [row.token])[row.token].ids
    slurm.ask(onprem.layout, "scontrol", "release", native_id)
    await eventually(
        lambda: not known(onprem.layout, [row.token])[row.token].queued, "the queue to forget it"
    )
    assert (await onprem.submit(job)).native_id == native_id
    assert onprem.executions(row.token) == [native_id]


# The head node


@contextmanager
def tiny_disk(lab: Lab, folder: str, daemon: str) -> Iterator[None]:
    """A full file system of 64 KiB over a folder, as one daemon of the lab sees it and no other."""
    pid = pid_of(lab, daemon)
    enter = ["nsenter", "--target", str(pid), "--mount"]
    if os.geteuid():
        enter += ["--user", "--preserve-credentials"]
    mount = (
        f"mount -t tmpfs -o size=64k,mode=0700 full {shlex.quote(folder)} && cat /dev/zero > {folder}/filler"
    )
    answer = subprocess.run([*enter, "sh", "-c", mount], capture_output=True, text=True, check=False)
    if "No space left" not in answer.stderr:
        pytest.skip(f"no small file system can be mounted here: {answer.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([*enter, "umount", "--lazy", folder], check=True)


async def test_a_full_disk_is_told_and_leaves_no_half_submitted_job(onprem: Way, faulty: Lab) -> None:
    if faulty.layout.namespaces == 0:
        pytest.skip("the machines of the lab have no mounts of their own here")
    await onprem.submit(new_job())  # makes the storage root
    job = new_job()
    folder = f"{onprem.layout.scratch}/hybrid-hpc"
    with tiny_disk(faulty, folder, "onprem-sshd"):
        full = Way(faulty, site(faulty, ONPREM), onprem.ledger)
        with pytest.raises(HybridHpcError) as caught:
            await full.submit(job)
        await full.site.close()
    row = onprem.ledger.attempted(job)
    assert row
    assert known(onprem.layout, [row.token])[row.token].ids == set()
    assert not row.settled
    assert "no space left" in str(caught.value)
    row = await onprem.submit(job)
    await final(onprem, row)
    assert onprem.executions(row.token) == [row.native_id]


@contextmanager
def other_host_key(lab: Lab) -> Iterator[None]:
    """The sshd of onprem has another key meanwhile."""
    layout = layout_of(lab, ONPREM)
    config = layout.folder / "sshd.conf"
    was = config.read_text()
    other = ssh.ssh_folder(lab.layout) / "host_other"
    ssh._make_key(other)
    processes.stop(lab.folder, "onprem-sshd")
    config.write_text(was.replace("/host_onprem", "/host_other"))
    ssh.start(layout)
    ssh.wait(layout)
    try:
        yield
    finally:
        processes.stop(lab.folder, "onprem-sshd")
        config.write_text(was)
        ssh.start(layout)
        ssh.wait(layout)


async def test_nothing_is_sent_to_a_head_node_whose_key_has_changed(
    faulty: Lab, onprem: Way, ledger: Ledger
) -> None:
    row = await onprem.start(SLEEPING)
    log = faulty.folder / "log" / "onprem-sshd.log"
    job = new_job()
    with other_host_key(faulty):
        logins = log.read_text().count("Accepted publickey")
        changed = Way(faulty, site(faulty, ONPREM, ledger), ledger)
        with pytest.raises(AccessDenied, match="key"):
            await changed.submit(job)
        poll = await changed.watch().poll()
        assert poll.trouble
        assert onprem.row(row).state is JobState.RUNNING
        assert log.read_text().count("Accepted publickey") == logins
        await changed.site.close()
    sent = onprem.ledger.attempted(job)
    assert sent
    assert known(onprem.layout, [sent.token])[sent.token].ids == set()
    assert [alert.kind for alert in ledger.alerts()] == ["breaker"]


NOISE = """
echo 'Welcome to onprem: 4711 days of uptime'
echo 'hh-begin'
printf 'RUNNING|4711|hh-aaaaaaaaaaaa\\r\\n'
echo 'error: Connection refused' >&2
export SQUEUE_FORMAT='%i' SACCT_FORMAT=jobid SBATCH_PARTITION=gpu SLURM_TIME_FORMAT=relative
"""


async def test_a_profile_that_prints_and_sets_variables_changes_nothing(
    faulty: Lab, onprem: Way, ledger: Ledger, tmp_path: Path
) -> None:
    with head_node_profile(onprem.layout, NOISE):
        noisy = Way(faulty, site(faulty, ONPREM, ledger), ledger)
        assert "4711 days" in await _said_by_shell(noisy), "the noise is heard"
        script = "#!/bin/bash\necho $SLURM_JOB_PARTITION > where.txt\n"
        row = await noisy.submit(new_job(script, outputs=["where.txt"]))
        await final(noisy, row)
        collected = await noisy.collect(row, tmp_path)
        assert collected.succeeded
        assert [path.read_text() for path in collected.files] == ["batch\n"]
        await noisy.site.close()


async def _said_by_shell(way: Way) -> str:
    return (await way.site.head_node.run(Command(("true",)))).stdout


# Jobs


async def test_a_script_that_vanished_before_the_start_is_a_failure_that_says_so(
    onprem: Way, tmp_path: Path
) -> None:
    job = new_job()

    def die(point: str) -> None:
        if point == "after_record":
            raise Died

    with pytest.raises(Died):
        await onprem.submit(job, crash=die)
    row = onprem.ledger.attempted(job)
    assert row
    (run_dir(onprem.layout, row.token) / "script").unlink()
    row = await onprem.submit(job)
    await final(onprem, row)
    collected = await onprem.collect(row, tmp_path)
    assert collected.outcome.state is JobState.FAILED
    assert "hybrid-hpc: the script" in collected.failure()
    assert "is gone" in collected.failure()


async def test_a_job_that_is_requeued_by_hand_waits_again_runs_again_and_is_counted(
    onprem: Way, tmp_path: Path
) -> None:
    row = await onprem.start(GATED, rerunnable=True)
    slurm.ask(onprem.layout, "scontrol", "requeue", str(row.native_id))
    await onprem.sees(row, lambda state: state == "pending", "that it waits again")
    assert onprem.row(row).restarts == 1
    await onprem.sees(row, lambda state: state == "running", "that it runs again")
    open_gate(onprem, row)
    await final(onprem, row)
    collected = await onprem.collect(row, tmp_path)
    assert collected.succeeded
    assert collected.outcome.restarts == 1
    assert "run 2: the scheduler had started it again" in collected.outcome.sentence
    assert onprem.row(row).restarts == 1
    assert onprem.executions(row.token) == [row.native_id] * 2
    assert len(collected.usage) == 2


async def test_a_node_that_fails_under_a_job_is_named_and_the_job_is_not_blamed(
    onprem: Way, tmp_path: Path
) -> None:
    row = await onprem.start(SLEEPING)
    (node,) = onprem.row(row).node_names
    slurm.ask(onprem.layout, "scontrol", "update", f"nodename={node}", "state=down", "reason=broken")
    try:
        await final(onprem, row)
        collected = await onprem.collect(row, tmp_path)
    finally:
        in_service = {"idle", "mix"}  # its slurmd takes it there by itself (ReturnToService=2)
        show = ("sinfo", "-h", "-N", "-n", node, "-o", "%t")
        await eventually(lambda: in_service & {*slurm.ask(onprem.layout, *show).split()}, "the node")
    assert collected.outcome.state is JobState.NODE_FAIL
    assert f"lost its node on {node}" in collected.outcome.sentence
    assert "the node failed, not the job" in collected.outcome.sentence
    assert onprem.executions(row.token) == [row.native_id]


async def test_a_strangers_job_that_has_our_number_is_neither_watched_nor_cancelled(onprem: Way) -> None:
    """As after a rebuild of the cluster, when its numbers start again."""
    native_id = slurm.ask(
        onprem.layout, "sbatch", "--parsable", "-J", "stranger", "-o", "/dev/null", "--wrap", "sleep 60"
    ).strip()
    row = onprem.ledger.intend(new_job())
    onprem.ledger.record_native_id(row.token, native_id, utc_now())
    onprem.ledger.mark_released(row.token)
    poll = await onprem.watch().poll()
    assert poll.reports[row.token].state is JobState.UNKNOWN
    onprem.ledger.request_cancel(row.token, by="ada", why="wrong input")
    await cancel(row, scheduler=onprem.site.scheduler, head_node=onprem.site.head_node, ledger=onprem.ledger)
    assert slurm.ask(onprem.layout, "squeue", "-h", "-j", native_id, "-o", "%T").strip() in (
        "PENDING",
        "RUNNING",
    )
    slurm.ask(onprem.layout, "scancel", native_id)
