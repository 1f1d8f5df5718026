"""One virtual machine of the lab: a boot delay, then a command, and in the end the end of everything below.

usage: python -S lab/vm.py NAME BOOT_S [-- COMMAND...]

Standard library only, because every machine of the lab is a pair of these processes. Without a command the
machine only stays up. On SIGTERM, and when the command ends, whatever the machine ever started is killed,
as when a VM is deleted: job steps too, although they left for sessions of their own. It is a pair, a guard
and the machine below it, so that killing either of them with SIGKILL does the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POWER_OFF_S = 5.0


def descendants(root: int) -> list[int]:
    """Give every process below ``root``, from one pass over /proc."""
    children = defaultdict(list)
    for pid, parent in _parents():
        children[parent].append(pid)
    found, todo = list[int](), [root]
    while todo:
        below = children[todo.pop()]
        found += below
        todo += below
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it ended meanwhile
                yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])


def power_off() -> None:
    """Kill everything below this process, again and again, because what is killed last may still fork."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end = time.monotonic() + POWER_OFF_S
    while (below := descendants(os.getpid())) and time.monotonic() < end:
        for pid in below:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        time.sleep(0.01)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _leave(*_: object) -> None:
    sys.exit(0)


def _collects_orphans() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # else job steps outlive the VM


def _ends_with(guard: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != guard:  # it died before it was asked for
        _leave()


def _outcome(pid: int) -> int:
    """Wait for one child, taking in orphans meanwhile; gives its exit status."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _live(name: str, boot_s: float, command: list[str]) -> int:
    """Boot, then run the command in the foreground; gives its exit status."""
    time.sleep(boot_s)
    print(f"{name}: up", flush=True)
    while not command:
        signal.pause()
    status = _outcome(subprocess.Popen(command, stdin=subprocess.DEVNULL).pid)
    print(f"{name}: {command[0]} ended with status {status}", flush=True)
    return status


def main(arguments: list[str]) -> int:
    """Be the machine until it is switched off or its command ends; gives the command's exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    _collects_orphans()
    guard, machine = os.getpid(), os.fork()
    try:
        if machine:
            return _outcome(machine)
        _collects_orphans()
        _ends_with(guard)
        return _live(arguments[0], float(arguments[1]), arguments[3:])
    finally:
        power_off()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
