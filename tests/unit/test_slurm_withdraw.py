"""A job is withdrawn before its script begins, or not at all: both really run by bash, without a Slurm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hybrid_hpc.commands import Answer, shell_text
from hybrid_hpc.errors import Refused, Unavailable
from hybrid_hpc.schedulers.slurm import Slurm
from tests.unit.batch_job import DEADLINE_S, Job

SLURM = Slurm()
SCRIPT = "echo ran >>ran\n"


class Cluster(Job):
    """A run directory, and a head node with a scancel that keeps what it was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "run-dir.1,a=b@c+d:e")
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.scancel(f'echo "$*" >>{folder}/cancelled')

    def scancel(self, does: str) -> None:
        (self.bin / "scancel").write_text(f"#!/bin/sh\n{does}\n")
        (self.bin / "scancel").chmod(0o755)
        (self.bin / "scontrol").write_text("#!/bin/sh\n")
        (self.bin / "scontrol").chmod(0o755)

    def withdrawing(self) -> subprocess.Popen[str]:
        command = SLURM.withdraw_command("7", "hh-token", str(self.run_dir))
        environment = {"HOME": str(self.home), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        shell = ["/bin/sh", "-c", shell_text(command.argv)]
        return subprocess.Popen(shell, env=environment, stdout=pipe, stderr=pipe, text=True)

    def withdraw(self) -> bool:
        return _read(self.withdrawing())

    @property
    def cancelled(self) -> list[str]:
        file = self.run_dir.parent / "cancelled"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def runs(self) -> int:
        file = self.run_dir / "ran"
        return len(file.read_text().split()) if file.exists() else 0


def _read(process: subprocess.Popen[str]) -> bool:
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    return SLURM.read_withdraw(Answer(process.returncode, stdout, stderr))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_a_job_that_is_withdrawn_is_cancelled_by_name_and_runs_nothing_if_it_starts_all_the_same(
    cluster: Cluster,
) -> None:
    assert cluster.withdraw()
    assert cluster.cancelled == ["--name=hh-token 7"]
    code, output = cluster.run(SCRIPT)
    assert (code, cluster.runs) == (75, 0)
    assert output == f"hybrid-hpc: job withdrawn has claimed {cluster.run_dir}/claimed, so 7 ends\n"


def test_a_job_that_has_begun_is_not_cancelled(cluster: Cluster) -> None:
    cluster.run(SCRIPT)
    assert not cluster.withdraw()
    assert cluster.cancelled == []
    assert cluster.run(SCRIPT)[0] == 0, "a requeued one finds its own claim still"


def test_an_array_is_withdrawn_whole_or_not_at_all(cluster: Cluster) -> None:
    cluster.run(SCRIPT, task=3, array="3-4")
    assert not cluster.withdraw()
    assert cluster.run(SCRIPT, task=4, array="3-4")[0] == 0


def test_withdrawing_again_is_harmless_and_repeats_the_cancel(cluster: Cluster) -> None:
    assert [cluster.withdraw() for _ in range(2)] == [True, True]
    assert len(cluster.cancelled) == 2
    assert [path.name for path in cluster.run_dir.iterdir()] == ["claimed"]


def test_whichever_comes_first_stands_when_both_come_at_once(cluster: Cluster) -> None:
    batch = cluster.batch(SCRIPT)
    for life in range(12):
        before = cluster.runs
        both = [cluster.start(batch), *(cluster.withdrawing() for _ in range(2))]
        both[0].communicate(timeout=DEADLINE_S)
        withdrawn = {_read(each) for each in both[1:]}
        ran = cluster.runs - before
        assert withdrawn == {ran == 0}, life
        assert (both[0].returncode == 0) == (ran == 1)
        (cluster.run_dir / "claimed" / "native_id").unlink()
        (cluster.run_dir / "claimed").rmdir()


def test_when_the_claim_cannot_be_made_nothing_is_cancelled(cluster: Cluster) -> None:
    cluster.run_dir.rmdir()
    cluster.run_dir.write_text("a file, no folder")
    with pytest.raises(Refused, match="does not withdraw the job"):
        cluster.withdraw()
    assert cluster.cancelled == []


def test_when_slurm_does_not_answer_the_claim_stands_and_the_next_try_goes_on(cluster: Cluster) -> None:
    cluster.scancel("echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(Unavailable):
        cluster.withdraw()
    assert cluster.run(SCRIPT)[0] == 75
    cluster.scancel("echo 'scancel: error: Kill job error on job id 7: Invalid job id specified' >&2; exit 1")
    assert cluster.withdraw()
