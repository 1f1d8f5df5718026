"""A submission is cut at every place on its way, or taken late: the job runs once and whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from hybrid_hpc import submission
from hybrid_hpc.errors import ConnectionLost, HybridHpcError
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.submission import Patience
from lab import slurm
from lab.lab import Lab
from tests.chaos.lab_world import (
    COUNTED,
    ONPREM,
    QUICK,
    Telling,
    Way,
    eventually,
    head_node_profile,
    known,
    layout_of,
    new_job,
    run_dir,
    site,
    until_submitted,
)
from tests.chaos.proxy import Direction, Proxy, running_proxy

pytestmark = pytest.mark.lab

ENDED_LATE = Patience(doubt_s=15.0, look_every_s=0.5)


# The answer to a submission


@dataclass(frozen=True)
class Tried:
    """One job whose submission was cut after ``count`` bytes, and what the first try said."""

    count: int
    job: Job
    row: JobRow
    said: str


async def test_whatever_byte_of_sbatchs_answer_is_the_last_the_job_is_taken_once(
    lab: Lab, ledger: Ledger
) -> None:
    """Every 7th byte (`test_every_byte`: all). Sbatch here never repeats, so the doubt is 2 s."""
    await _sweep(lab, ledger, step=7)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_every_byte(lab: Lab, ledger: Ledger) -> None:
    await _sweep(lab, ledger, step=1)


async def _sweep(lab: Lab, ledger: Ledger, step: int) -> None:
    whole = await _length(lab, ledger, "submit", "to_client")
    assert 100 < whole < 5000, "this is what sbatch's answer takes on the wire"
    tried = await _cut_at(lab, ledger, "submit", "to_client", range(0, whole + step, step))
    await _assert_once(lab, tried)
    said = [each.said for each in tried]
    lost = sum(words.startswith("ConnectionLost") for words in said)
    assert lost > len(tried) / 2, said
    refused = {words for words in said if words and not words.startswith(("ConnectionLost", "Unreachable"))}
    assert not refused


async def test_a_script_that_is_cut_on_its_way_to_sbatch_never_runs_in_part(lab: Lab, ledger: Ledger) -> None:
    """A request with 100 KiB of environment needs several packets: sbatch must not take the first alone."""
    environment = {f"VALUE_{number}": "x" * 2500 for number in range(40)}

    def big() -> Job:
        return new_job(COUNTED, environment=environment)

    whole = await _length(lab, ledger, "submit", "to_server", big)
    counts = range(3000, whole + 8000, 8000)
    tried = await _cut_at(lab, ledger, "submit", "to_server", counts, big)
    await _assert_once(lab, tried)


async def test_a_file_that_is_cut_on_its_way_up_never_runs_in_part(lab: Lab, ledger: Ledger) -> None:
    filler = "".join(f"# line {number} of a long script\n" for number in range(3000))

    def big() -> Job:
        return new_job(f"#!/bin/bash\n{filler}echo $SLURM_JOB_ID >> ran\n")

    whole = await _length(lab, ledger, "write script", "to_server", big, until="write ledger")
    counts = [*range(0, whole, 12_000), whole - 200, whole - 40]
    tried = await _cut_at(lab, ledger, "write script", "to_server", counts, big)
    await _assert_once(lab, tried)


async def _length(
    lab: Lab,
    ledger: Ledger,
    what: str,
    direction: Direction,
    make: Callable[[], Job] = new_job,
    until: str = "",
) -> int:
    """How many bytes pass in one direction while ``what`` is done, as nothing is in the way."""
    marks: dict[str, int] = {}
    with running_proxy(layout_of(lab, ONPREM).ssh_port) as proxy:
        way = Way(lab, site(lab, ONPREM, port=proxy.port), ledger, proxy)
        telling = Telling(way.site.head_node, lambda label: marks.setdefault(label, proxy.passed[direction]))
        await way.submit(make(), telling)
        await way.site.close()
    return marks[until or f"{what} done"] - marks[what]


async def _cut_at(
    lab: Lab,
    ledger: Ledger,
    what: str,
    direction: Direction,
    counts: Sequence[int],
    make: Callable[[], Job] = new_job,
) -> list[Tried]:
    """A job for each count, six at a time, each worker with a proxy of its own."""
    waiting = list(reversed(counts))
    done: list[Tried] = []

    async def work() -> None:
        with running_proxy(layout_of(lab, ONPREM).ssh_port) as proxy:
            way = Way(lab, site(lab, ONPREM, port=proxy.port), ledger, proxy)
            while waiting:
                done.append(await _cut_one(way, proxy, make(), what, direction, waiting.pop()))
            await way.site.close()

    await asyncio.gather(*(work() for _ in range(6)))
    return done


async def _cut_one(way: Way, proxy: Proxy, job: Job, what: str, direction: Direction, count: int) -> Tried:
    said = ""

    def cut(label: str) -> None:
        if label == what:
            proxy.after(count, direction, "close")

    try:
        await way.submit(job, Telling(way.site.head_node, cut))
    except HybridHpcError as error:
        said = f"{type(error).__name__}: {error}"
        assert error.waiting_helps, said
    proxy.heal()
    return Tried(count, job, await until_submitted(way, job), said)


async def _assert_once(lab: Lab, tried: Sequence[Tried]) -> None:
    """From the cluster's own queue and accounting, and from what the jobs themselves wrote."""
    layout = layout_of(lab, ONPREM)
    tokens = [each.row.token for each in tried]

    def all_ended() -> bool:
        jobs = known(layout, tokens).values()
        return all(job.recorded and not _alive(job.queued) for job in jobs)

    await eventually(all_ended, "the end of all jobs")
    jobs = known(layout, tokens)
    for each in tried:
        job, row = jobs[each.row.token], each.row
        assert job.ids == {row.native_id}, (each.count, each.said, job)
        assert job.recorded[str(row.native_id)] == ["COMPLETED"], (each.count, each.said, job)
        file = run_dir(layout, row.token) / "ran"
        ran = file.read_text().split() if file.exists() else []
        assert ran == [row.native_id], (each.count, each.said, job)


def _alive(queued: dict[str, str]) -> list[str]:
    over = ("COMPLETED", "CANCELLED", "FAILED")
    return [said for said in queued.values() if not said.startswith(over)]


# An sbatch that takes its time: it repeats by itself when the queue is full


SLOW_S = 6


@pytest.fixture
def slow_sbatch(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """sbatch reaches the scheduler only after 6 s, and we wait 2 s for its answer."""
    monkeypatch.setattr(submission, "SUBMIT_TIMEOUT_S", 2.0)


async def _submit_late(way: Way, job: Job) -> None:
    """One try that gives up before sbatch has begun."""
    real = way.lab.layout.program("sbatch")
    script = way.layout.files / "home" / "bin" / "sbatch"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f'#!/bin/sh\nsleep {SLOW_S}\nexec {real} "$@"\n')
    script.chmod(0o755)
    try:
        with head_node_profile(way.layout, 'PATH="$HOME/bin:$PATH"\n'):
            with pytest.raises(ConnectionLost, match="the next try looks for it"):
                await way.submit(job, patience=replace(QUICK, doubt_s=ENDED_LATE.doubt_s))
            await asyncio.sleep(0.5)  # until the shell that it was given to has read the profile
    finally:
        script.unlink()


async def test_a_job_that_is_taken_late_is_waited_for_and_adopted(way: Way, slow_sbatch: None) -> None:
    job = new_job()
    began = time.monotonic()
    await _submit_late(way, job)
    row = await way.submit(job, patience=ENDED_LATE)
    assert time.monotonic() - began > SLOW_S
    assert known(way.layout, [row.token])[row.token].ids == {row.native_id}
    await way.sees(row, lambda state: state == "completed", "its end")
    assert way.executions(row.token) == [row.native_id]


async def test_a_job_that_is_taken_after_all_doubt_stays_held_and_never_runs(
    way: Way, slow_sbatch: None
) -> None:
    """The doubt is too short on purpose: what we do not know of must be harmless."""
    job = new_job()
    await _submit_late(way, job)
    with _no_doubt(way.ledger, job):
        row = await way.submit(job)
    await eventually(lambda: len(known(way.layout, [row.token])[row.token].ids) == 2, "the late job")
    await way.sees(row, lambda state: state == "completed", "the end of the recorded job")
    late = known(way.layout, [row.token])[row.token]
    (held,) = late.held
    assert held != row.native_id
    slurm.ask(way.layout, "scontrol", "release", held)  # worse than anything of ours does: the fence holds
    await eventually(
        lambda: known(way.layout, [row.token])[row.token].recorded.get(held), "the late job's end"
    )
    await eventually(
        lambda: known(way.layout, [row.token])[row.token].recorded[held] == ["FAILED"], "the fence"
    )
    assert way.executions(row.token) == [row.native_id]


class _no_doubt:  # noqa: N801  reads as what it is for
    """Takes the ledger's memory of the doubtful submission away."""

    def __init__(self, ledger: Ledger, job: Job) -> None:
        self._ledger, self._job = ledger, job

    def __enter__(self) -> None:
        row = self._ledger.attempted(self._job)
        assert row
        assert row.ambiguous_until
        assert self._ledger.not_sent(row.token, row.ambiguous_until)

    def __exit__(self, *_: object) -> None:
        """Nothing to put back: the next submission writes its own."""
