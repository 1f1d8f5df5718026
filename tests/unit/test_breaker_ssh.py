"""The breaker before a real sshd: how often it is knocked at when it is silent, or lets nobody in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio

from hybrid_hpc import breaker as breaker_module
from hybrid_hpc.breaker import Breaker
from hybrid_hpc.breaker_rules import OPENS_AFTER
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import AccessDenied, ConnectionLost, HybridHpcError, Refused, Shut, Unreachable
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.placement import decide
from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.site import Site, survey
from hybrid_hpc.ssh_link import Connect
from hybrid_hpc.watch import ClusterWatch, Poll
from tests.unit.sshd import OTHER_KEY, Sshd, running_sshd

HELLO = Command(("echo", "hello"))
CLUSTER = load_clusters().cluster("onprem").model_copy(update={"poll_s": 15.0})


@dataclass
class Door:
    """The head node, its ledger and a clock; what knocks on it is counted before it gets there."""

    sshd: Sshd
    ledger: Ledger
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    knocks: int = 0
    closed: bool = False

    def head_node(self, timeout_s: float = 5, *, connect: Connect | None = None) -> HeadNode:
        """As a process of its own has it."""
        breaker = Breaker("onprem", "", self.ledger, now=lambda: self.now)
        made = connect or self.sshd.connect()

        async def knock() -> asyncssh.SSHClientConnection:
            self.knocks += 1
            if self.closed:
                raise ConnectionRefusedError(111, "Connection refused")
            return await made()

        return HeadNode("onprem", knock, storage_root="~", timeout_s=timeout_s, breaker=breaker)

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def ends(self, node: HeadNode, count: int = 1, command: Command = HELLO) -> list[str]:
        """What so many commands end with, one after the other."""
        ended = []
        for _ in range(count):
            try:
                ended.append((await node.run(command, timeout_s=0.3)).stdout.strip())
            except HybridHpcError as error:
                ended.append(type(error).__name__)
        return ended


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' minutes pass in no time."""
    monkeypatch.setattr(breaker_module, "FRESH_S", 0.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    yield made
    made.close()


@pytest_asyncio.fixture
async def door(tmp_path: Path, ledger: Ledger) -> AsyncIterator[Door]:
    home = tmp_path / "home"
    home.mkdir()
    async with running_sshd(home) as sshd:
        yield Door(sshd, ledger)


async def test_a_head_node_that_refuses_connections_is_left_alone_after_five_and_found_again(
    door: Door,
) -> None:
    door.closed = True
    node = door.head_node()
    assert await door.ends(node, 8) == [*["Unreachable"] * OPENS_AFTER, *["Shut"] * 3]
    assert door.knocks == OPENS_AFTER
    door.closed = False
    assert await door.ends(door.head_node()) == ["Shut"]
    door.pass_(60)
    assert await door.ends(node, 2) == ["hello", "hello"]
    assert (door.ledger.breakers(), door.ledger.alerts()) == ([], [])
    await node.close()


async def test_a_head_node_that_lets_in_and_hangs_is_left_alone_too(door: Door) -> None:
    """Logging in alone is no sign that it is well."""
    node = door.head_node()
    silent = Command(("hh-silent",))
    assert await door.ends(node, 7, silent) == [*["ConnectionLost"] * OPENS_AFTER, *["Shut"] * 2]
    assert door.sshd.login_attempts == OPENS_AFTER
    door.pass_(60)
    assert await door.ends(node, 2, silent) == ["ConnectionLost", "Shut"]
    await node.close()


async def test_a_connection_that_hangs_counts(door: Door) -> None:
    async def hang() -> asyncssh.SSHClientConnection:
        await asyncio.Event().wait()
        raise AssertionError

    node = door.head_node(0.1, connect=hang)
    assert await door.ends(node, 6) == [*["Unreachable"] * OPENS_AFTER, "Shut"]


@pytest.mark.parametrize("wrong", ["key", "host_key"])
async def test_a_login_that_is_refused_and_a_host_key_that_changed_are_met_once_by_all_processes(
    door: Door, wrong: str
) -> None:
    connect = door.sshd.connect(**{wrong: OTHER_KEY})
    nodes = [door.head_node(connect=connect) for _ in range(4)]
    assert await door.ends(nodes[0]) == ["AccessDenied"]
    for node in nodes:
        assert await door.ends(node, 3) == ["Shut"] * 3
    with pytest.raises(Shut):
        await nodes[1].write("/tmp/x", "x")
    assert (door.knocks, door.sshd.commands) == (1, [])
    assert door.sshd.login_attempts == (1 if wrong == "key" else 0)
    (alert,) = door.ledger.alerts(["breaker"])
    assert "An administrator must look" in alert.sentence
    assert ("installed anew" in alert.sentence) == (wrong == "host_key")
    door.pass_(299)
    assert await door.ends(nodes[2]) == ["Shut"]
    door.pass_(1)
    assert await door.ends(nodes[2], 2) == ["AccessDenied", "Shut"]
    assert door.knocks == 2


async def test_commands_that_wait_for_their_turn_do_not_repeat_a_refused_login(door: Door) -> None:
    node = door.head_node(connect=door.sshd.connect(key=OTHER_KEY))
    ended = await asyncio.gather(*(node.run(HELLO) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(error, AccessDenied | Shut) for error in ended)
    assert door.sshd.login_attempts == 1


async def test_one_pulled_cable_does_not_open_it_whatever_was_under_way(door: Door) -> None:
    node = door.head_node()
    await node.run(HELLO)
    calls = [asyncio.create_task(node.run(Command(("hh-silent",)))) for _ in range(4)]
    while door.sshd.at_once < 4:  # noqa: ASYNC110  the server tells nobody
        await asyncio.sleep(0.01)
    door.sshd.drop_all()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, ConnectionLost) for error in ended)
    assert [row.failures for row in door.ledger.breakers()] == [1]
    assert (await door.ends(node, 2))[-1] == "hello"
    assert door.ledger.breakers() == []
    await node.close()


async def test_what_a_program_or_a_file_says_is_no_failure_of_the_head_node(door: Door) -> None:
    node = door.head_node()
    for _ in range(OPENS_AFTER + 1):
        assert not (await node.run(Command(("false",)))).ok
        with pytest.raises(Refused):
            await node.write("/nowhere/file", "x")
    assert door.ledger.breakers() == []
    await node.close()


async def test_files_are_counted_like_commands(door: Door) -> None:
    node = door.head_node()
    door.closed = True
    for _ in range(OPENS_AFTER):
        with pytest.raises(Unreachable):
            await node.tail("/etc/hostname")
    with pytest.raises(Shut):
        await node.tail("/etc/hostname")
    assert door.knocks == OPENS_AFTER


async def test_who_has_a_connection_goes_on_while_nobody_else_may_make_one(door: Door) -> None:
    """Jobs are not blind because a worker was not let in."""
    node = door.head_node()
    assert await door.ends(node) == ["hello"]
    assert await door.ends(door.head_node(connect=door.sshd.connect(key=OTHER_KEY))) == ["AccessDenied"]
    assert await door.ends(node, 3) == ["hello"] * 3
    assert await door.ends(door.head_node()) == ["Shut"]
    await node.close()


@dataclass
class Trouble:
    """Polls of a watch while its head node is away; its pauses pass on the door's clock, in no time."""

    polls: list[Poll] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)


async def watched(door: Door, monkeypatch: pytest.MonkeyPatch, until: datetime) -> Trouble:
    seen, really_sleep = Trouble(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        seen.pauses.append(seconds)
        door.pass_(seconds)
        await really_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    watch = ClusterWatch(Site(CLUSTER, Slurm(), door.head_node()), door.ledger)
    async for poll in watch.polls():
        seen.polls.append(poll)
        # Workers that come and go meanwhile, each a new process.
        for _ in range(len(seen.polls) % 4):
            await door.ends(door.head_node())
        if door.now >= until:
            break
    monkeypatch.setattr(asyncio, "sleep", really_sleep)
    await watch.close()
    return seen


async def test_ten_minutes_of_outage_cost_few_connections_over_all_processes_and_few_words(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.closed = True
    seen = await watched(door, monkeypatch, door.now + timedelta(minutes=10))
    assert door.knocks < 20
    assert all(poll.trouble for poll in seen.polls)
    told = [poll.trouble for poll in seen.polls]
    changes = [one for before, one in pairwise(told) if one != before]
    assert len(changes) == 1, changes  # from 'does not answer' to 'has not answered since'
    assert changes[0].startswith(f"{CLUSTER.title} has not answered since ")
    assert max(seen.pauses) <= 63


async def test_a_head_node_that_is_back_is_polled_again_within_about_a_minute(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.closed = True
    await watched(door, monkeypatch, door.now + timedelta(minutes=3))
    door.closed, back_at = False, door.now
    node = door.head_node()
    while await door.ends(node) != ["hello"]:
        door.pass_(5)
    assert door.now - back_at <= timedelta(seconds=65)
    await node.close()


async def test_the_placement_leaves_a_cluster_behind_an_open_breaker_out_and_says_why(door: Door) -> None:
    door.closed = True
    await door.ends(door.head_node(), OPENS_AFTER)

    async def open_site(_: object) -> Site:
        return Site(CLUSTER, Slurm(), door.head_node())

    request = JobRequest(name="test", script="hostname")
    (view,) = await survey([CLUSTER], request, open_site)
    decision = decide(request, [view], load_clusters().policy, 0.0)
    assert "onprem: left out: not tried again for 60 s: it has not answered since" in decision.sentence
    assert door.knocks == OPENS_AFTER
