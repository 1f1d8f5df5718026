"""Who runs the stack of a folder: one process at a time, which signals end in good order."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from lab.errors import LabError
from lab.processes import wait_until

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
END_DEADLINE_S = 90.0


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Be the folder's only owner; raises LabError when another process is."""
    file = _lock_file(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(
                "it runs already; `make down` stops it, Ctrl-C in its terminal does, too."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def ask_to_end(folder: Path) -> None:
    """End the folder's owner, if there is one, and wait for it. Raises LabError when it does not end."""
    if not is_owned(folder):
        return
    with suppress(ProcessLookupError, ValueError):
        os.kill(int(_lock_file(folder).read_text()), signal.SIGTERM)
    wait_until(lambda: not is_owned(folder), deadline_s=END_DEADLINE_S, what="the running demo's end")


def is_owned(folder: Path) -> bool:
    """Say whether a process owns the folder: a lock ends with its process, however that ends."""
    try:
        with _lock_file(folder).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def interruptible() -> Iterator[None]:
    """Make a closed terminal and ``kill`` the same as Ctrl-C: KeyboardInterrupt."""
    before = {number: signal.signal(number, _interrupt) for number in ENDING}
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C cut the cleaning up in half."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        _restore(before)


def _restore(before: Mapping[signal.Signals, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.owner")
