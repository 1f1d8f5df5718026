"""The network between us and a head node breaks under a watch and under a download; nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from hybrid_hpc import breaker_rules
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.watch import ClusterWatch
from tests.chaos.conftest import TIMEOUT_S
from tests.chaos.lab_world import (
    Way,
    new_job,
    place,
)
from tests.chaos.proxy import Proxy

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open breaker lets somebody try after 5 s instead of 60."""
    monkeypatch.setattr(breaker_rules, "AGAIN", timedelta(seconds=5))


@dataclass(frozen=True)
class Watched:
    """Three jobs that run, and the watch that sees them."""

    way: Way
    proxy: Proxy
    watch: ClusterWatch
    rows: tuple[JobRow, ...]

    def states(self) -> set[JobState]:
        return {self.way.row(row).state for row in self.rows}

    async def all_right(self) -> None:
        """A poll sees every job again; a breaker may want its time first."""
        async with asyncio.timeout(60):
            async for poll in self.watch.polls():
                if not poll.trouble:
                    assert {report.state for report in poll.reports.values()} == {JobState.RUNNING}
                    return


@pytest.fixture
async def watched(way: Way, proxy: Proxy) -> AsyncIterator[Watched]:
    rows = place(way.layout, way.ledger, 3)
    for row in rows:
        await way.sees(row, lambda state: state == "running", "its start")
    yield Watched(way, proxy, way.watch(), tuple(rows))


FAULTS: dict[str, Callable[[Proxy], None]] = {
    "reset in the middle of the answer": lambda proxy: proxy.after(900, "to_client", "reset"),
    "closed in the middle of the answer": lambda proxy: proxy.after(900, "to_client", "close"),
    "stalled in the middle of the answer": lambda proxy: proxy.after(900, "to_client", "stall"),
    "stalled in the middle of the question": lambda proxy: proxy.after(100, "to_server", "stall"),
    "silent": Proxy.silence,
    "reset at once": Proxy.reset,
    "gone": Proxy.refuse,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_poll_that_is_cut_short_is_told_changes_nothing_and_the_next_one_sees_all(
    watched: Watched, fault: str
) -> None:
    await watched.watch.poll()
    before = watched.proxy.connections
    FAULTS[fault](watched.proxy)
    began = time.monotonic()
    poll = await watched.watch.poll()
    assert time.monotonic() - began < 2 * TIMEOUT_S + 2
    assert poll.trouble
    assert "does not answer" in poll.trouble
    assert poll.reports == {}
    assert watched.states() == {JobState.RUNNING}
    watched.proxy.heal()
    await watched.all_right()
    assert watched.proxy.connections - before <= 3
    assert not any(watched.way.row(row).settled for row in watched.rows)


async def test_an_answer_that_is_slow_but_in_time_is_no_trouble(watched: Watched) -> None:
    watched.proxy.delay(0.3)
    poll = await watched.watch.poll()
    assert poll.trouble == ""
    assert len(poll.reports) == 3


async def test_a_flapping_head_node_fails_no_job_and_is_not_hammered(watched: Watched) -> None:
    before = watched.proxy.connections
    watched.proxy.flap(up_s=1.5, down_s=1.0)
    seen: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(12):
            async for poll in watched.watch.polls():
                seen.append(poll.trouble)  # noqa: PERF401  kept when the time is up
    assert any(seen)
    assert watched.states() == {JobState.RUNNING}
    assert watched.proxy.connections - before <= 8, seen
    watched.proxy.heal()
    await watched.all_right()


async def test_a_download_that_is_cut_leaves_no_part_of_a_file(
    way: Way, proxy: Proxy, tmp_path: Path
) -> None:
    row = await way.submit(new_job("#!/bin/bash\nhead -c 4000000 /dev/urandom > big.bin\n"))
    await way.sees(row, lambda state: state == "completed", "its end")
    (file,) = await way.site.head_node.find(row.run_dir, ["big.bin"])
    results = tmp_path / "results"
    results.mkdir()
    for count in (0, 1000, 1_000_000, 3_900_000):
        proxy.after(count, "to_client", "reset")
        with pytest.raises(Unavailable):
            await way.site.head_node.fetch(row.run_dir, file, results / "big.bin")
        assert list(results.iterdir()) == []
    await way.site.head_node.fetch(row.run_dir, file, results / "big.bin")
    assert (results / "big.bin").stat().st_size == 4_000_000
