"""Promises about the lab's Redis: loopback only, a password, found again by its folder, gone at the end."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from lab import proc
from lab.errors import LabError
from lab.layout import PROJECT
from lab.processes import free_base_port, listens, wait_until
from lab.redis import Redis


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"), free_base_port(1), packages=PROJECT / ".lab")
    yield server
    server.down()
    assert proc.marked(server.folder) == []


@pytest.fixture
def server(made: Redis) -> Redis:
    made.up()
    return made


def ask(url: str, setting: str) -> str:
    with redis.Redis.from_url(url) as client:
        return str(client.config_get(setting)[setting])


def test_a_second_start_changes_nothing_and_finds_it_by_its_folder(server: Redis) -> None:
    found = Redis(server.folder, server.port, packages=server.packages)
    before = proc.marked(server.folder)
    found.up()
    assert found.running
    assert found.url == server.url
    assert proc.marked(server.folder) == before


@pytest.mark.parametrize("guess", ["", ":guessed@"])
def test_nobody_gets_in_without_the_password(server: Redis, guess: str) -> None:
    client = redis.Redis.from_url(f"redis://{guess}127.0.0.1:{server.port}/0")
    with client, pytest.raises(redis.AuthenticationError):
        client.get("anything")


def test_it_listens_on_loopback_only_and_keeps_nothing_on_disk(server: Redis) -> None:
    assert ask(server.url, "bind") == "127.0.0.1"
    assert ask(server.url, "save") == ""
    assert ask(server.url, "appendonly") == "no"


def test_its_password_is_in_no_file_that_others_can_read_and_in_no_list_of_processes(server: Redis) -> None:
    password = (server.folder / "password").read_text()
    holders = [path for path in server.folder.rglob("*") if path.is_file() and password in path.read_text()]
    assert len(holders) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in proc.marked(server.folder)]
    assert len(lines) == 1
    assert password not in lines[0]


def test_it_starts_again_after_a_kill(server: Redis) -> None:
    (pid,) = proc.marked(server.folder)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not listens(server.port), deadline_s=10, what="the killed server's end")
    server.up()
    assert ask(server.url, "port") == str(server.port)


def test_it_moves_to_another_port(server: Redis) -> None:
    moved = Redis(server.folder, free_base_port(1), packages=server.packages)
    moved.up()
    try:
        assert ask(moved.url, "port") == str(moved.port)
        assert len(proc.marked(server.folder)) == 1
    finally:
        server.up()


def test_a_taken_port_is_named(made: Redis) -> None:
    made.down()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", made.port))
        taken.listen()
        with pytest.raises(LabError, match=f"port {made.port} is taken"):
            made.up()
