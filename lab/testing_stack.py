"""Whole stacks for tests: each in its own folder below .lab, on its own ports, gone at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from stat import S_ISREG

from lab import proc
from lab.layout import PROJECT
from lab.stack import Stack, StackSettings

LISTEN = "0A"  # a socket's state in /proc/net/tcp


@contextmanager
def running_stack(
    name: str = "stack",
    settings: StackSettings | None = None,
    prepare: Callable[[Path], None] = lambda _: None,
) -> Iterator[Stack]:
    """Give a stack that is up, in ``.lab/<name>-<pid>``; it is wiped at the end.

    ``prepare`` is given the folder of its clusters before.
    """
    clear_away_the_dead(name)
    stack = Stack(PROJECT / ".lab" / f"{name}-{os.getpid()}", settings)
    try:
        prepare(stack.folder / "lab")
        stack.up()
        yield stack
    finally:
        stack.down()
        stack.forget()


def clear_away_the_dead(name: str) -> None:
    """Wipe the stacks of test runs that were killed: the pid in their name is nobody's any more."""
    for folder in (PROJECT / ".lab").glob(f"{name}-*/"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            dead = Stack(folder)
            dead.down()
            dead.forget()


def processes_of(stack: Stack) -> list[int]:
    """Find every process that was started for the stack."""
    return proc.marked(stack.folder)


def listening(stack: Stack) -> set[tuple[str, int]]:
    """Find the addresses and ports on which those processes take connections."""
    ours = {inode for pid in processes_of(stack) for inode in _socket_inodes(pid)}
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table]
    return {_address(line[1]) for line in lines if line[3] == LISTEN and line[9] in ours}


def readable_files_with(stack: Stack, secrets: Collection[str]) -> list[Path]:
    """Find the text files that hold one of these secrets and that others than their owner may read."""
    return [path for path in stack.folder.rglob("*") if _is_open(path) and _holds(path, secrets)]


def _holds(path: Path, secrets: Collection[str]) -> bool:
    text = path.read_text(errors="replace")
    return any(secret in text for secret in secrets)


def _is_open(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:  # it went meanwhile
        return False
    return S_ISREG(status.st_mode) and bool(status.st_mode & 0o077) and status.st_size < 5_000_000


def _socket_inodes(pid: int) -> Iterator[str]:
    with suppress(OSError):  # it ended meanwhile
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(file.readlink())
                if target.startswith("socket:"):
                    yield target.removeprefix("socket:[").removesuffix("]")


def _address(text: str) -> tuple[str, int]:
    """Read ``0100007F:1F90``: the address in the machine's own byte order, four bytes at a time."""
    address, port = text.split(":")
    words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
    return str(ip_address(b"".join(words))), int(port, 16)
