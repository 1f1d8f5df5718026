"""A password that was changed, and many processes that do not know it yet: the account is never locked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hybrid_hpc import breaker as breaker_module
from hybrid_hpc.breaker import Breaker
from hybrid_hpc.breaker_rules import CYCLECLOUD
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.errors import AccessDenied, Shut, Unavailable
from hybrid_hpc.ledger import Ledger
from lab.postgres import Postgres
from tests.contract.test_cyclecloud_process import PROJECT, Server
from tests.cyclecloud_world import AT_ONCE, USER
from tests.unit.ledger_databases import empty

pytest_plugins = ["tests.unit.ledger_fixtures"]

PROCESSES = 6  # one more than lock it
# Waits for a line, so that all begin at once, and then asks again and again with the old password.
ASKS = """
import asyncio, sys
from hybrid_hpc.breaker import Breaker
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.errors import AccessDenied, Shut
from hybrid_hpc.ledger import Ledger

async def main(url, user, database):
    breaker = Breaker("azure", "CycleCloud", Ledger(database))
    client = CycleCloudClient(url, user, "the old one", "azure", breaker=breaker)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(5):
        try:
            await client.nodes()
        except (AccessDenied, Shut) as error:
            print(type(error).__name__, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "run")
    yield running
    assert running.clean_up() == []


@pytest.fixture
def ledger(ledger_server: Postgres) -> Iterator[Ledger]:
    made = Ledger(empty(ledger_server))
    made.migrate()
    yield made
    made.close()


def ask_at_once(server: Server, database: str) -> list[str]:
    """What the calls of several processes ended with."""
    argv = [sys.executable, "-c", ASKS, server.url, USER, database]
    path = {"PYTHONPATH": f"{PROJECT}/include"}
    running = [
        subprocess.Popen(
            argv, cwd=PROJECT, env=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        return [line for process in running for line in process.communicate(timeout=60)[0].split()]
    finally:
        for process in running:
            process.kill()
            process.communicate()


async def nodes_with_the_right_password(server: Server) -> None:
    async with server.client() as client:
        assert await client.nodes() == ()


async def test_many_processes_that_ask_at_once_with_a_wrong_password_log_in_once_and_lock_nothing(
    server: Server, ledger: Ledger, ledger_server: Postgres
) -> None:
    ended = await asyncio.to_thread(ask_at_once, server, ledger_server.url("ledger"))
    assert sorted(ended) == ["AccessDenied", *["Shut"] * (PROCESSES * 5 - 1)]
    await nodes_with_the_right_password(server)
    assert [alert.subject for alert in ledger.alerts(["breaker"])] == ["azure CycleCloud"]


async def test_any_time_with_a_wrong_password_never_have_two_logins_within_five_minutes(
    server: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "FRESH_S", 0.0)
    now, denied_at = datetime.now(UTC), []
    for minute in range(21):
        at = now + timedelta(minutes=minute)
        breaker = Breaker("azure", CYCLECLOUD, ledger, now=lambda at=at: at)  # type: ignore[misc]
        client = CycleCloudClient(server.url, USER, "wrong", "azure", patience=AT_ONCE, breaker=breaker)
        async with client:
            for _ in range(3):
                try:
                    await client.nodes()
                except AccessDenied:
                    denied_at.append(minute)
                except Shut:
                    pass
    assert denied_at == [0, 5, 10, 15, 20]


async def test_an_outage_is_left_alone_and_when_it_is_over_the_first_who_may_finds_out(
    server: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_module, "FRESH_S", 0.0)
    now = [datetime.now(UTC)]
    breaker = Breaker("azure", CYCLECLOUD, ledger, now=lambda: now[0])
    server.stop()
    async with server.client(breaker=breaker) as client:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await client.nodes()
        with pytest.raises(Shut, match="not tried again for 60 s: it has not answered since"):
            await client.nodes()
    server.start()
    now[0] += timedelta(seconds=60)
    async with server.client(breaker=breaker) as client:
        assert await client.nodes() == ()
    assert (ledger.breakers(), ledger.alerts()) == ([], [])
