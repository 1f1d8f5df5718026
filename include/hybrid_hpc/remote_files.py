"""Files on a head node, over SFTP: written whole or not at all, read within bounds, found below one folder.

Errors are asyncssh's own here; `headnode` turns them into ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import posixpath
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from hybrid_hpc.errors import Invalid, Problem, Refused, Unreadable

BLOCK = 1024 * 1024
MOST_ENTRIES = 100_000
_MAGIC = frozenset("*?[")

Progress = Callable[[], None]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A regular file: its path relative to the folder it was looked for in, and its size in bytes."""

    path: str
    size: int


async def write(sftp: asyncssh.SFTPClient, path: str, text: str, mode: int) -> None:
    """Writes beside ``path`` and renames: whoever reads sees the old file or the new one, never a part."""
    part = f"{path}.{secrets.token_hex(4)}.part"
    try:
        async with sftp.open(part, "xb", asyncssh.SFTPAttrs(permissions=mode), encoding=None) as file:
            await file.setstat(asyncssh.SFTPAttrs(permissions=mode))  # whatever the umask is
            await file.write(text.encode())
        await sftp.posix_rename(part, path)
    except BaseException as error:
        if isinstance(error, asyncssh.SFTPFailure):
            await _raise_if_full(sftp, posixpath.dirname(path), len(text))
        with contextlib.suppress(asyncssh.Error, OSError):
            await sftp.remove(part)
        raise


async def _raise_if_full(sftp: asyncssh.SFTPClient, folder: str, wanted: int) -> None:
    """SFTP has no word of its own for a full disk: OpenSSH says ``Failure``, which helps nobody."""
    with contextlib.suppress(asyncssh.SFTPOpUnsupported, asyncssh.SFTPFailure):
        disk = await sftp.statvfs(folder)
        free = disk.bavail * disk.frsize
        if free < wanted or not disk.favail:
            raise asyncssh.SFTPError(
                asyncssh.FX_FAILURE, f"no space left: its disk has {free} bytes and {disk.favail} inodes free"
            )


async def tail(sftp: asyncssh.SFTPClient, path: str, limit: int) -> str | None:
    """The last ``limit`` bytes as text, cut at the front; None when there is no such regular file."""
    size = await _size(sftp, path)
    return None if size is None else await _read(sftp, path, max(size - limit, 0), limit)


async def head(sftp: asyncssh.SFTPClient, path: str, limit: int) -> str | None:
    """The first ``limit`` bytes as text; None when there is no such regular file."""
    size = await _size(sftp, path)
    return None if size is None else await _read(sftp, path, 0, limit)


async def _size(sftp: asyncssh.SFTPClient, path: str) -> int | None:
    """Not of a symbolic link, which may lead anywhere, nor of a pipe, on which the far side would hang."""
    try:
        attrs = await sftp.lstat(path)
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return None
    return attrs.size if stat.S_ISREG(attrs.permissions or 0) else None


async def _read(sftp: asyncssh.SFTPClient, path: str, offset: int, limit: int) -> str:
    async with sftp.open(path, "rb", encoding=None) as file:
        return _bytes(await file.read(limit, offset)).decode(errors="replace")


async def fetch(
    sftp: asyncssh.SFTPClient,
    root: str,
    file: RemoteFile,
    target: Path,
    progress: Progress,
    *,
    block: int = BLOCK,
) -> None:
    """Copies ``block`` by block beside ``target`` and renames.

    Raises `Refused` when the file is not below ``root``, and `Unreadable` when its size is not the one it
    was found with: it is still being written.
    """
    source = await sftp.realpath(posixpath.join(root, file.path))
    if not _below(str(source), str(await sftp.realpath(root))):
        raise Refused(f"{file.path} leads out of {root}, so it is not brought back")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        copied = await _copy(sftp, str(source), part, file.size, progress, block)
        if copied != file.size:
            raise Unreadable(f"{file.path} has changed while it was copied: {copied} of {file.size} bytes")
        await asyncio.to_thread(part.replace, target)
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


async def _copy(
    sftp: asyncssh.SFTPClient, source: str, part: Path, most: int, progress: Progress, block: int
) -> int:
    """How many bytes were copied; stops behind ``most``, so that a growing file does not go on for ever."""
    copied = 0
    async with sftp.open(source, "rb", encoding=None) as remote:
        with await asyncio.to_thread(part.open, "xb") as local:
            while copied <= most and (data := await remote.read(block)):
                await asyncio.to_thread(local.write, _bytes(data))
                copied += len(data)
                progress()
    return copied


def _bytes(data: str | bytes) -> bytes:
    """What a file that was opened without an encoding gives; asyncssh's types do not say so."""
    return data.encode() if isinstance(data, str) else data


async def find(
    sftp: asyncssh.SFTPClient, root: str, patterns: Sequence[str], progress: Progress
) -> list[RemoteFile]:
    """Every regular file below ``root`` that a pattern matches, each once.

    ``*``, ``?``, ``[...]`` stay within one folder, ``**`` goes through all below; a folder that is named
    without any of them stands for all its files. Symbolic links count when they stay below ``root``.
    Raises `Invalid` for a pattern that leads out, `Refused` when there is too much to look at.
    """
    search = _Search(sftp, str(await sftp.realpath(root)), progress)
    found: dict[str, RemoteFile] = {}
    for pattern in patterns:
        async for file in search.walk("", _parts(pattern)):
            found[file.path] = file
    return list(found.values())


def _parts(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    if ".." in parts or pattern.startswith("/") or not parts:
        remedy = "Write a path or pattern inside the run directory, such as results/*.csv."
        raise Invalid([Problem("outputs", f"{pattern!r} is not inside the run directory", remedy)])
    return parts


def _below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


class _Search:
    def __init__(self, sftp: asyncssh.SFTPClient, root: str, progress: Progress) -> None:
        self._sftp = sftp
        self._root = root
        self._progress = progress
        self._seen = 0

    async def walk(self, folder: str, parts: Sequence[str]) -> AsyncIterator[RemoteFile]:
        """The files below ``folder`` (relative) that match ``parts``, one for each level."""
        first, rest = parts[0], parts[1:]
        if first == "**":
            async for file in self._everywhere(folder, rest or ["*"]):
                yield file
            return
        async for path, attrs in self._entries(folder, first):
            kind = attrs.permissions or 0
            if stat.S_ISREG(kind) and not rest:
                yield RemoteFile(path, attrs.size or 0)
            elif stat.S_ISDIR(kind) and (rest or not _MAGIC & set(first)):
                async for file in self.walk(path, rest or ["**"]):
                    yield file

    async def _everywhere(self, folder: str, rest: Sequence[str]) -> AsyncIterator[RemoteFile]:
        async for file in self.walk(folder, rest):
            yield file
        async for path, attrs in self._entries(folder, "*", follow=False):
            if stat.S_ISDIR(attrs.permissions or 0):
                async for file in self._everywhere(path, rest):
                    yield file

    async def _entries(
        self, folder: str, name: str, *, follow: bool = True
    ) -> AsyncIterator[tuple[str, asyncssh.SFTPAttrs]]:
        """What matches ``name`` in one folder, as path and attributes, links resolved."""
        for path, attrs in await self._listed(folder, name):
            if not stat.S_ISLNK(attrs.permissions or 0):
                yield path, attrs
            elif follow and (target := await self._target(path)):
                yield path, target

    async def _listed(self, folder: str, name: str) -> list[tuple[str, asyncssh.SFTPAttrs]]:
        there = posixpath.join(self._root, folder)
        try:
            if not _MAGIC & set(name):
                path = posixpath.join(folder, name)
                return [(path, await self._sftp.lstat(posixpath.join(self._root, path)))]
            return [
                (posixpath.join(folder, str(entry.filename)), entry.attrs)
                async for entry in self._sftp.scandir(there)
                if self._matches(str(entry.filename), name)
            ]
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPPermissionDenied):
            return []

    def _matches(self, name: str, pattern: str) -> bool:
        self._seen += 1
        self._progress()
        if self._seen > MOST_ENTRIES:
            raise Refused(f"there are more than {MOST_ENTRIES} files to look through below {self._root}")
        if "/" in name or name in {".", ".."}:  # a name of the server's that leads elsewhere
            return False
        hidden = name.startswith(".") and not pattern.startswith(".")
        return not hidden and fnmatch.fnmatchcase(name, pattern)

    async def _target(self, path: str) -> asyncssh.SFTPAttrs | None:
        there = posixpath.join(self._root, path)
        try:
            real = str(await self._sftp.realpath(there))
            return await self._sftp.stat(there) if _below(real, self._root) else None
        except asyncssh.SFTPError:
            return None
