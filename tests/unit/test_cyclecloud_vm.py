"""lab/vm.py as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import proc, vm
from lab.vm import descendants

# leaves for a session of its own and loses its parent, as a job step does
LEAVER = "setsid sh -c 'sleep 300 & exec sleep 300' & "


def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Machine:
    """A VM under test."""

    def __init__(self, log: Path, boot_s: float, *command: str) -> None:
        self.log = log
        argv = [sys.executable, "-S", vm.__file__, "n1", str(boot_s), "--", *command]
        with log.open("wb") as output:
            self.process = subprocess.Popen(argv, stdout=output, stderr=output, start_new_session=True)

    def below(self, count: int) -> list[int]:
        until(lambda: len(descendants(self.process.pid)) >= count)
        return descendants(self.process.pid)

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    made: list[Machine] = []
    yield made
    for machine in made:
        machine.process.send_signal(signal.SIGTERM)
        machine.process.wait(10)


def gone(pid: int) -> bool:
    now = proc.status(pid)
    return now is None or now.zombie


def test_a_machine_runs_its_command_after_its_boot_time(tmp_path: Path, machines: list[Machine]) -> None:
    began = time.monotonic()
    machine = Machine(tmp_path / "log", 0.5, "sleep", "300")
    machines.append(machine)
    machine.below(2)
    assert time.monotonic() - began >= 0.5
    assert "n1: up" in machine.said()


STUBBORN = f"{LEAVER} trap '' TERM INT; sleep 300 & wait"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_a_machine_is_switched_off_all_that_it_started_is_gone(
    tmp_path: Path, machines: list[Machine], number: signal.Signals
) -> None:
    machine = Machine(tmp_path / "log", 0, "sh", "-c", STUBBORN)
    machines.append(machine)
    below = machine.below(5)
    machine.process.send_signal(number)
    assert machine.process.wait(10) == 0
    assert all(map(gone, below))


@pytest.mark.parametrize("which", ["guard", "machine"])
def test_when_one_of_the_pair_is_killed_all_that_it_started_is_gone_too(
    tmp_path: Path, machines: list[Machine], which: str
) -> None:
    machine = Machine(tmp_path / "log", 0, "sh", "-c", STUBBORN)
    machines.append(machine)
    below = machine.below(5)
    os.kill(machine.process.pid if which == "guard" else below[0], signal.SIGKILL)
    assert machine.process.wait(10) != 0
    until(lambda: all(map(gone, below)))


def test_when_the_command_ends_its_orphans_end_too_and_its_status_is_told(
    tmp_path: Path, machines: list[Machine]
) -> None:
    machine = Machine(tmp_path / "log", 0, "sh", "-c", f"{LEAVER} sleep 0.5; exit 7")
    machines.append(machine)
    below = machine.below(4)
    assert machine.process.wait(10) == 7
    assert "sh ended with status 7" in machine.said()
    until(lambda: all(map(gone, below)))


def test_a_machine_without_a_command_stays_up(tmp_path: Path, machines: list[Machine]) -> None:
    machine = Machine(tmp_path / "log", 0)
    machines.append(machine)
    until(lambda: "n1: up" in machine.said())
    assert machine.process.poll() is None
    assert len(descendants(machine.process.pid)) == 1


def test_a_machine_can_be_switched_off_while_it_boots(tmp_path: Path, machines: list[Machine]) -> None:
    machine = Machine(tmp_path / "log", 300, "sleep", "300")
    machines.append(machine)
    until(lambda: _catches_sigterm(machine.process.pid))
    machine.process.send_signal(signal.SIGTERM)
    assert machine.process.wait(10) == 0


def _catches_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")]
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_command_that_does_not_exist_ends_the_machine(tmp_path: Path, machines: list[Machine]) -> None:
    machine = Machine(tmp_path / "log", 0, "/no/such/slurmd")
    machines.append(machine)
    assert machine.process.wait(10) != 0
    assert "/no/such/slurmd" in machine.said()


def test_descendants_are_those_below_and_no_others() -> None:
    assert os.getpid() not in descendants(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in descendants(os.getpid())
        child.kill()
