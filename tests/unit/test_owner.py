"""Promises about who runs a stack: one at a time, ended by any ending signal, found again after a crash."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import owner
from lab.errors import LabError
from lab.processes import wait_until

HOLD = """
import sys, time
from collections.abc import Iterator
from pathlib import Path
from lab import owner
try:
    with owner.only_one(Path(sys.argv[1])), owner.interruptible():
        print("mine", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that owns the folder ``run`` of tmp_path."""
    argv = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(Path(owner.__file__).parent.parent)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def test_a_second_one_is_told_that_the_first_one_runs(
    holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    with pytest.raises(LabError, match="it runs already"), owner.only_one(tmp_path / "run"):
        pytest.fail("there are two owners")


def test_the_owner_can_be_asked_to_end(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    owner.ask_to_end(tmp_path / "run")
    assert not owner.is_owned(tmp_path / "run")
    assert holder.wait(5) == 7


@pytest.mark.parametrize("number", owner.ENDING)
def test_every_ending_signal_is_an_interrupt(holder: "subprocess.Popen[str]", number: signal.Signals) -> None:
    holder.send_signal(number)
    assert holder.wait(5) == 7


def test_a_killed_owner_owns_nothing(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    holder.kill()
    wait_until(lambda: not owner.is_owned(tmp_path / "run"), deadline_s=5, what="the lock's end")
    with owner.only_one(tmp_path / "run"):
        assert owner.is_owned(tmp_path / "run")


def test_asking_nobody_to_end_is_fine(tmp_path: Path) -> None:
    owner.ask_to_end(tmp_path / "run")


def test_cleaning_up_is_not_cut_short() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background
    with owner.interruptible(), owner.undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before
