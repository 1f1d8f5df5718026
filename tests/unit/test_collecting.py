"""Whatever a job leaves in its folder, it is settled; what cannot be brought back is told, no more."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_asyncio
from typing_extensions import override

from head_node import hybrid_hpc_as as wrapper
from hybrid_hpc import remote_files
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.collecting import Collected, collect
from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import AccessDenied
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, Ledger
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers.base import JobRecord, Load
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.site import Site
from hybrid_hpc.ways import JobNode
from tests.unit.reconcile_world import load
from tests.unit.sshd import Sshd
from tests.unit.test_outcome import life
from tests.unit.wrapper_world import Wrapped

pytest_plugins = ["tests.unit.sshd_fixtures"]


class Told(Slurm):
    """An empty queue, and an accounting that says how the job ended."""

    records: list[JobRecord]

    @override
    def read_load(self, answer: Answer) -> Load:
        return load()

    @override
    def read_history(self, answer: Answer) -> list[JobRecord]:
        return self.records


class World:
    """One job of ada's that has ended, with its run directory, reached by ``way``."""

    def __init__(self, folder: Path, storage: Path, way: JobNode) -> None:
        self.ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        self.ledger.migrate()
        self.results = folder / "results"
        self._storage, self._way = storage, way

    def ended(self, state: JobState = JobState.COMPLETED, exit_code: int = 0, **fields: object) -> Path:
        """Its run directory."""
        request = read_request({"name": "x", "script": "true", "outputs": ["*.csv"], **fields})
        self.row = self.ledger.intend(
            Job(JobKey("dag", "run"), request, "onprem", "batch", runs_as="person:ada")
        )
        run_dir = self._storage / self.row.token
        run_dir.mkdir(parents=True, mode=0o700)
        self.ledger.record_native_id(self.row.token, "17", self.row.intent_at, str(run_dir))
        self.ledger.mark_released(self.row.token)
        tasks = ["0", "1"] if "array" in fields else [""]
        self.records = [life(state, name=self.row.token, task=task, exit_code=exit_code) for task in tasks]
        return run_dir

    async def collect(self) -> Collected:
        async def run(*_: object, **__: object) -> Answer:
            return Answer(0, "", "")

        told = Told()
        told.records = self.records
        head_node = SimpleNamespace(run=run, acting_as=lambda _: self._way)
        site = Site(load_clusters().cluster("onprem"), told, cast(HeadNode, head_node))
        row = self.ledger.job(self.row.token)
        assert row
        return await collect(row, site=site, ledger=self.ledger, results=self.results)

    @property
    def settled(self) -> bool:
        row = self.ledger.job(self.row.token)
        return bool(row and row.settled)


@pytest_asyncio.fixture(params=["person", "service"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd
) -> AsyncIterator[World]:
    """By the wrapper, and over SFTP."""
    wrapped = Wrapped(tmp_path, monkeypatch)
    over_sftp = HeadNode("onprem", sshd.connect(), storage_root="~", timeout_s=5)
    made = World(tmp_path, wrapped.storage, wrapped.node if request.param == "person" else over_sftp)
    yield made
    await over_sftp.close()
    made.ledger.close()


def crowd(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """More files than may be looked through."""
    monkeypatch.setattr(wrapper, "MOST_FILES", 20)
    monkeypatch.setattr(remote_files, "MOST_ENTRIES", 20)
    folder.mkdir(exist_ok=True)
    for number in range(30):
        (folder / f"{number}.dat").touch()


def exit_record(path: Path, code: int) -> None:
    path.write_text(f'{{"native_id": "17", "exit_code": {code}}}\n')


@pytest.mark.parametrize("folder", ["", "deep"])
async def test_a_failed_job_that_left_more_files_than_can_be_looked_through_is_settled(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    run_dir = world.ended(JobState.FAILED, 72)
    exit_record(run_dir / "exit", 128 + 72)
    crowd(monkeypatch, run_dir / folder)
    collected = await world.collect()
    assert world.settled
    assert collected.outcome.exit_code == 200, "its own record, which the accounting cuts"
    if not folder:
        assert "more than 20 files" in " ".join(collected.missing)


@pytest.mark.parametrize("folder", ["", "deep"])
async def test_an_array_that_left_too_many_is_settled_too(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    run_dir = world.ended(JobState.FAILED, 1, array="0-1")
    crowd(monkeypatch, run_dir / folder)
    collected = await world.collect()
    assert world.settled
    assert not collected.succeeded


async def test_a_file_whose_name_is_no_text_is_told_and_the_run_goes_on(world: World) -> None:
    run_dir = world.ended()
    (run_dir / "output.log").write_text("done\n")
    for name in (b"good.csv", b"b\xff.csv"):
        (run_dir / os.fsdecode(name)).write_text("1")
    collected = await world.collect()
    assert (world.settled, collected.succeeded, collected.tail) == (True, True, "done\n")
    assert [path.name for path in collected.files] == ["good.csv"]
    (missing,) = collected.missing
    assert missing.startswith("b\\udcff.csv could not be brought back: its name is not UTF-8")
    assert "\n".join(collected.lines()).encode()


async def test_logs_and_exit_records_whose_names_are_no_text_are_left_out(world: World) -> None:
    run_dir = world.ended(JobState.FAILED, 1, array="0-1")
    for name in (b"output.\xff.log", b"exit.\xff"):
        (run_dir / os.fsdecode(name)).write_text("1")
    (run_dir / "output.9.log").write_text("the end\n")
    collected = await world.collect()
    assert (world.settled, collected.tail) == (True, "the end\n")


async def test_what_an_administrator_must_put_right_settles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = Wrapped(tmp_path, monkeypatch)
    world = World(tmp_path, wrapped.storage, wrapped.node)
    world.ended(JobState.FAILED, 1)
    wrapped.says = Answer(1, "", "sudo: a password is required")
    with pytest.raises(AccessDenied):
        await world.collect()
    assert not world.settled
    world.ledger.close()
