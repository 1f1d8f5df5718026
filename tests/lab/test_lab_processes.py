"""Processes are started once, found again, and stopped with all they started; nobody else's are touched."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import proc, processes
from lab.errors import LabError

SLEEP = ["sleep", "600"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.stop_all(tmp_path, grace_s=1)


def test_a_started_process_is_alive_until_it_is_stopped(folder: Path) -> None:
    pid = processes.start(folder, "sleeper", SLEEP)
    assert processes.alive(folder, "sleeper")
    processes.stop(folder, "sleeper")
    assert not processes.alive(folder, "sleeper")
    assert not Path(f"/proc/{pid}").exists()
    assert processes.names(folder) == []


def test_starting_what_runs_already_starts_nothing(folder: Path) -> None:
    assert processes.start(folder, "sleeper", SLEEP) == processes.start(folder, "sleeper", ["false"])


def test_what_a_process_writes_is_in_its_log(folder: Path) -> None:
    processes.start(folder, "talker", ["sh", "-c", "echo out; echo err >&2"])
    _wait_for_word(folder, "talker", "out\nerr\n")


def test_a_process_that_ignores_term_is_killed(folder: Path) -> None:
    processes.start(folder, "stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])
    _wait_for_word(folder, "stubborn", "ready")
    processes.stop(folder, "stubborn", grace_s=0.2)
    assert not processes.alive(folder, "stubborn")


def test_children_in_sessions_of_their_own_die_too(folder: Path) -> None:
    processes.start(folder, "parent", ["sh", "-c", "setsid sleep 600 & echo $! > child; wait"], cwd=folder)
    child = folder / "child"
    processes.wait_until(lambda: child.exists() and child.read_text().strip(), deadline_s=5, what="the child")
    processes.stop(folder, "parent")
    assert int(child.read_text()) not in _running()


def test_what_a_killed_process_left_behind_is_swept_up(folder: Path) -> None:
    pid = processes.start(
        folder, "parent", ["sh", "-c", "setsid sleep 600 & echo $! > child; wait"], cwd=folder
    )
    child = folder / "child"
    processes.wait_until(lambda: child.exists() and child.read_text().strip(), deadline_s=5, what="the child")
    os.kill(pid, 9)
    processes.stop_all(folder)
    assert int(child.read_text()) not in _running()


def test_a_pid_that_belongs_to_somebody_else_by_now_is_not_signalled(folder: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        (folder / "pid").mkdir()
        (folder / "pid" / "old.pid").write_text(f"{stranger.pid} 1 1\n")
        assert not processes.alive(folder, "old")
        processes.stop_all(folder)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "garbage", "1", "1 2", "x y z", "-1 0 0"])
def test_a_broken_pid_file_means_that_nothing_runs(folder: Path, text: str) -> None:
    (folder / "pid").mkdir()
    (folder / "pid" / "broken.pid").write_text(text)
    assert not processes.alive(folder, "broken")
    processes.stop(folder, "broken")


def test_an_adopted_daemon_is_stopped_like_any_other(folder: Path) -> None:
    daemon = subprocess.Popen(SLEEP, start_new_session=True)
    processes.adopt(folder, "daemon", daemon.pid)
    assert processes.alive(folder, "daemon")
    processes.stop(folder, "daemon")
    assert daemon.wait(5) == -15


def test_stop_all_ends_the_last_started_first(folder: Path) -> None:
    order = folder / "order"
    script = "trap 'echo {0} >> order; exit' TERM; echo ready; while :; do sleep 0.05; done"
    for name in ("first", "second", "third"):
        processes.start(folder, name, ["sh", "-c", script.format(name)], cwd=folder)
        _wait_for_word(folder, name, "ready")
    processes.stop_all(folder)
    assert order.read_text().split() == ["third", "second", "first"]


def test_a_program_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(LabError, match="ghost cannot be started: /nowhere/ghost: No such file"):
        processes.start(folder, "ghost", ["/nowhere/ghost"])


def test_waiting_in_vain_ends_with_the_end_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("first line\nthe last words\n")
    with pytest.raises(LabError, match=r"in vain for a miracle\.(?s:.*)the last words"):
        processes.wait_until(lambda: False, deadline_s=0.1, what="a miracle", log=log)


def test_waiting_for_the_port_of_a_process_that_died_ends_at_once(folder: Path) -> None:
    processes.start(folder, "brief", ["sh", "-c", "echo no such luck; exit 1"])
    began = time.monotonic()
    with pytest.raises(LabError, match=r"brief ended while it started(?s:.*)no such luck"):
        processes.wait_for_port(folder, "brief", 1, deadline_s=60)
    assert time.monotonic() - began < 30


def test_free_base_ports_can_all_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASE_PORT", raising=False)
    base = processes.free_base_port(5)
    for port in range(base, base + 5):
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_base_port_in_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_PORT", "23456")
    assert processes.free_base_port(40) == 23456


@pytest.mark.parametrize("text", ["0", "80", "-1", "70000", "many", "1e4", " "])
def test_a_base_port_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BASE_PORT", text)
    with pytest.raises(LabError, match="BASE_PORT"):
        processes.free_base_port(40)


def test_a_port_that_is_taken_is_named_with_the_remedy() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(LabError, match=r"port \d+ is taken by another program; set BASE_PORT"):
            processes.require_free_port(server.getsockname()[1])


def _wait_for_word(folder: Path, name: str, word: str) -> None:
    log = folder / "log" / f"{name}.log"
    processes.wait_until(lambda: word in log.read_text(), deadline_s=5, what=word, log=log)


def _running() -> set[int]:
    return {pid for pid in proc.all_pids() if (now := proc.status(pid)) and not now.zombie}
