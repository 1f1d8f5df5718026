"""The points at which chaos tests kill a process do nothing outside such a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_hpc import crash
from lab.layout import PROJECT

PROGRAM = "from hybrid_hpc import crash; crash.at('here', 'run1'); print('alive')"


def end_of_a_process(folder: Path | str) -> int:
    environment = {**os.environ, crash.FOLDER_VARIABLE: str(folder), "PYTHONPATH": str(PROJECT / "include")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, env=environment, capture_output=True)
    return done.returncode


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("here", -signal.SIGKILL),
        ("run1.here", -signal.SIGKILL),
        ("elsewhere", 0),
        ("run2.here", 0),
    ],
)
def test_a_process_dies_at_the_named_point_only_and_only_once(tmp_path: Path, name: str, status: int) -> None:
    (tmp_path / name).touch()
    assert [end_of_a_process(tmp_path), end_of_a_process(tmp_path)] == [status, 0]


def test_without_a_folder_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    assert end_of_a_process("") == 0
    monkeypatch.delenv(crash.FOLDER_VARIABLE, raising=False)
    crash.at("here")
