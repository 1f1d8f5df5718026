"""Long-running processes of the lab: started, found again and stopped by pid files, never by name.

A process ``name`` of a folder has its log in ``log/<name>.log`` and its pid file in ``pid/<name>.pid``,
which holds the pid, the start time that /proc gives it (a pid that was given to somebody else since is
never signalled) and the moment it was registered (the order of stopping).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from lab import proc
from lab.errors import LabError, tail

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Entry:
    """One pid file, read."""

    path: Path
    pid: int
    started: int
    registered_ns: int


def start(
    folder: Path,
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Start a process in a session of its own and give its pid; one that is alive already is left alone.

    ``env`` is the whole environment (None: ours). Raises LabError when the program cannot be started.
    """
    before = _entry(_pid_file(folder, name))
    if before is not None and _is_same(before):
        return before.pid
    stop(folder, name)  # what a process that died left of its group would hold the port
    process = _spawn(folder, name, argv, dict(os.environ if env is None else env), cwd)
    _children[process.pid] = process
    adopt(folder, name, process.pid)
    return process.pid


def adopt(folder: Path, name: str, pid: int) -> None:
    """Take in a daemon that forked by itself, so that ``alive`` and ``stop`` know it."""
    now = proc.status(pid)
    path = _pid_file(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid} {now.started if now else 0} {time.time_ns()}\n")


def alive(folder: Path, name: str) -> bool:
    """Say whether the process runs; a zombie does not."""
    entry = _entry(_pid_file(folder, name))
    return entry is not None and _is_same(entry)


def names(folder: Path) -> list[str]:
    """Give the names of all processes with a pid file, in the order in which they were started."""
    return [entry.path.stem for entry in _entries(folder)]


def stop(folder: Path, *names: str, grace_s: float = 10) -> None:
    """End processes side by side: TERM to each and its group, after ``grace_s`` KILL to all that is left.

    What they started dies with them, also in sessions of its own. A process that is gone is no error.
    """
    files = [_pid_file(folder, name) for name in names]
    if entries := [entry for entry in map(_entry, files) if entry]:
        _end(entries, folder, grace_s)
    for file in files:
        file.unlink(missing_ok=True)


def stop_all(folder: Path, *, grace_s: float = 10) -> None:
    """End every process of the folder, the last started first, and then whatever still carries its mark."""
    for name in reversed(names(folder)):
        stop(folder, name, grace_s=grace_s)
    sweep(folder)


def sweep(folder: Path) -> list[int]:
    """Kill what descends from the folder's processes and outlived them; give the pids.

    Such a process has ``LAB_FOLDER=<folder>`` in its environment, or is a job step that writes there: a name
    or a command line alone proves nothing.
    """
    steps = proc.job_steps(folder)
    found = [*steps, *proc.descendants(steps), *proc.marked(folder)]
    _kill(found)
    return found


def wait_until(
    condition: Callable[[], object],
    *,
    deadline_s: float,
    what: str,
    log: Path | None = None,
    step_s: float = 0.05,
) -> None:
    """Wait until ``condition()`` is true; raises LabError with the tail of ``log`` after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"waited {deadline_s:g} s in vain for {what}.{_last_words(log)}")
        time.sleep(step_s)


def wait_for_port(
    folder: Path, name: str, port: int, *, deadline_s: float = 30, log: Path | None = None
) -> None:
    """Wait until the process listens; raises LabError with the tail of its log, at once when it has died."""
    log = log or folder / "log" / f"{name}.log"

    def listens_or_died() -> bool:
        if not alive(folder, name):
            raise LabError(f"{name} ended while it started.{_last_words(log)}")
        return listens(port)

    wait_until(listens_or_died, deadline_s=deadline_s, what=f"{name} on port {port}", log=log)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether something accepts TCP connections on that port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def require_free_port(port: int) -> None:
    """Raise LabError when somebody else listens on the port."""
    if listens(port):
        raise LabError(f"port {port} is taken by another program; set BASE_PORT to where ports are free.")


def free_base_port(count: int) -> int:
    """Give the first of ``count`` free ports in a row on loopback; BASE_PORT in the environment overrides."""
    return asked_base_port() or free_ports(count)


def asked_base_port() -> int | None:
    """Give BASE_PORT of the environment, None when it is not set. Raises LabError when it is no port."""
    text = os.environ.get("BASE_PORT", "")
    if text and not (text.isdecimal() and 1024 <= int(text) <= 65000):
        raise LabError(f"BASE_PORT={text} is no port; give a number from 1024 to 65000, or leave it out.")
    return int(text) if text else None


def free_ports(count: int) -> int:
    """Give the first of ``count`` free ports in a row on loopback, wherever they are."""
    for _ in range(100):
        base = random.randrange(20000, 32000 - count)  # noqa: S311 - below the kernel's own range of ports
        if _all_free(base, count):
            return base
    raise LabError(f"found no {count} free ports in a row between 20000 and 32000; set BASE_PORT yourself.")


def _all_free(base: int, count: int) -> bool:
    with ExitStack() as stack:
        try:
            for port in range(base, base + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _last_words(log: Path | None) -> str:
    return f"\nThe end of {log}:\n{tail(log)}" if log else ""


def _spawn(
    folder: Path, name: str, argv: Sequence[str], env: dict[str, str], cwd: Path | None
) -> subprocess.Popen[bytes]:
    log = folder / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    env |= {proc.MARK: str(folder.resolve())}
    with log.open("ab") as out:
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise LabError(f"{name} cannot be started: {argv[0]}: {error.strerror}.") from error


def _pid_file(folder: Path, name: str) -> Path:
    return folder / "pid" / f"{name}.pid"


def _entry(path: Path) -> Entry | None:
    try:
        pid, started, registered_ns = path.read_text().split()
        return Entry(path, int(pid), int(started), int(registered_ns))
    except (OSError, ValueError):
        return None


def _entries(folder: Path) -> list[Entry]:
    found = [_entry(path) for path in (folder / "pid").glob("*.pid")]
    return sorted((entry for entry in found if entry), key=lambda entry: entry.registered_ns)


def _is_same(entry: Entry) -> bool:
    return not _gone(entry.pid, entry.started)


def _gone(pid: int, started: int | None = None) -> bool:
    _reap(pid)
    now = proc.status(pid)
    return now is None or now.zombie or started not in {None, now.started}


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def _end(entries: Sequence[Entry], folder: Path, grace_s: float) -> None:
    running = [entry for entry in entries if _is_same(entry)]
    family = proc.descendants([entry.pid for entry in running])
    for entry in running:
        _signal(entry.pid, signal.SIGTERM, group=proc.leads_a_group(entry.pid))
    with suppress(LabError):
        wait_until(lambda: not any(map(_is_same, running)), deadline_s=grace_s, what="their end", step_s=0.02)
    family |= {entry.pid: entry.started for entry in entries}
    orphans = [pid for pid, started in family.items() if not _gone(pid, started)]
    _kill(orphans + _left_in_groups(folder, {entry.pid for entry in entries}))


def _left_in_groups(folder: Path, groups: set[int]) -> list[int]:
    return [pid for pid in proc.marked(folder) if (now := proc.status(pid)) and now.group in groups]


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    wait_until(lambda: all(map(_gone, pids)), deadline_s=5, what=f"the end of killed processes {pids}")


def _signal(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    with suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, number)
