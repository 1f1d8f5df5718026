"""What /proc tells about the processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "LAB_FOLDER"  # in the environment of everything that was started for a folder


@dataclass(frozen=True, slots=True)
class Status:
    """What /proc says of a process; ``started`` counts clock ticks since the machine's boot."""

    parent: int
    group: int
    started: int
    zombie: bool


def status(pid: int) -> Status | None:
    """Give the status of a process, None when there is none of that pid."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Status(int(fields[1]), int(fields[2]), int(fields[19]), zombie=fields[0] in "ZX")


def leads_a_group(pid: int) -> bool:
    """Say whether the process group of that number is the process's own."""
    now = status(pid)
    return now is not None and now.group == pid


def descendants(pids: Sequence[int]) -> dict[int, int]:
    """Give pid → start time of all that descends from these processes, by one pass over /proc."""
    everybody = {pid: now for pid in all_pids() if (now := status(pid))}
    found, parents = dict[int, int](), set(pids)
    while parents:
        parents = {pid for pid, now in everybody.items() if now.parent in parents} - found.keys()
        found |= {pid: everybody[pid].started for pid in parents}
    return found


def all_pids() -> list[int]:
    """Give the pids of all processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def marked(folder: Path) -> list[int]:
    """Give the processes but zombies and this one that carry the mark of the folder or of one below."""
    return [
        pid for pid in all_pids() if pid != os.getpid() and _belongs_to(pid, folder) and not _is_zombie(pid)
    ]


def job_steps(folder: Path) -> list[int]:
    """Give the slurmstepds that have a file of the folder open; they wipe their environment, mark and all."""
    return [pid for pid in all_pids() if _is_slurmstepd(pid) and _has_open(pid, f"{folder.resolve()}/")]


def _is_slurmstepd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("slurmstepd")
    except OSError:
        return False


def _has_open(pid: int, prefix: str) -> bool:
    try:
        return any(str(file.readlink()).startswith(prefix) for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _belongs_to(pid: int, folder: Path) -> bool:
    mark = f"{MARK}={folder.resolve()}".encode()
    return any(entry == mark or entry.startswith(mark + b"/") for entry in _environment(pid))


def _is_zombie(pid: int) -> bool:
    now = status(pid)
    return now is None or now.zombie


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
