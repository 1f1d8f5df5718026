"""The files of a run directory as a list, which answers as the SFTP session does that `remote_files` asks."""

from __future__ import annotations

import contextlib
import posixpath
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncssh

from hybrid_hpc.errors import Unreadable

Entry = Sequence[Any]  # path, mode, size, and where a link leads inside; as hybrid-hpc-as prints it
Read = Callable[[str, int, int], Awaitable[bytes | None]]


class NotListedError(Exception):
    """Somebody asks for what lies in a folder, of which nothing is listed."""


class ListedFiles:
    """``entries`` are relative to ``root``; ``read`` gives a part of a file: path, from, bytes.

    ``below``: what lies in folders is listed, too; else `NotListedError` is raised for it.
    """

    def __init__(self, root: str, entries: Sequence[Entry], read: Read, *, below: bool = True) -> None:
        self._root = root
        self._read = read
        self._below = below
        self._attrs = {
            path: asyncssh.SFTPAttrs(permissions=mode, size=size) for path, mode, size, _ in entries
        }
        self._links = {path: target for path, _, _, target in entries if target is not None}
        self._names: dict[str, list[str]] = {}
        for path in self._attrs:
            self._names.setdefault(posixpath.dirname(path), []).append(posixpath.basename(path))

    async def realpath(self, path: str) -> str:
        """The path with its links resolved; a link that leads out leads nowhere."""
        inside = self._inside(path)
        return posixpath.join(self._root, self._resolved(inside)) if inside else self._root

    async def lstat(self, path: str) -> asyncssh.SFTPAttrs:
        """What there is, a link itself."""
        return self._found(posixpath.join(*self._parent_and_name(path)))

    async def stat(self, path: str) -> asyncssh.SFTPAttrs:
        """What there is, links resolved."""
        return self._found(self._resolved(self._inside(path)))

    async def scandir(self, path: str) -> AsyncIterator[asyncssh.SFTPName]:
        """The names in a folder."""
        inside = self._inside(path)
        folder = self._resolved(inside) if inside else ""
        if folder and not stat.S_ISDIR(self._found(folder).permissions or 0):
            raise asyncssh.SFTPNoSuchFile(f"{path} is no folder")
        if folder and not self._below:
            raise NotListedError(path)
        for name in self._names.get(folder, ()):
            yield asyncssh.SFTPName(name, attrs=self._attrs[posixpath.join(folder, name)])

    @contextlib.asynccontextmanager
    async def open(self, path: str, _mode: str, *, encoding: None) -> AsyncIterator[_Reader]:
        """A file to be read from its beginning."""
        assert encoding is None  # noqa: S101  bytes are all that there is
        yield _Reader(path, self._read)

    def _inside(self, path: str) -> str:
        relative = posixpath.relpath(path, self._root)
        return "" if relative == "." else relative

    def _parent_and_name(self, path: str) -> tuple[str, str]:
        folder, name = posixpath.split(self._inside(path))
        return (self._resolved(folder) if folder else ""), name

    def _resolved(self, path: str) -> str:
        """Every link on the way replaced by where it leads."""
        done = ""
        for part in path.split("/"):
            done = posixpath.join(done, part)
            done = self._links.get(done, done)
        return done

    def _found(self, path: str) -> asyncssh.SFTPAttrs:
        if path not in self._attrs and "/" in path and not self._below:
            raise NotListedError(path)
        if path not in self._attrs:
            raise asyncssh.SFTPNoSuchFile(f"{path} is not there")
        return self._attrs[path]


class _Reader:
    """A file from its beginning, block by block."""

    def __init__(self, path: str, read: Read) -> None:
        self._path = path
        self._read = read
        self._offset = 0

    async def read(self, size: int) -> bytes:
        """The next bytes; none at the end. Raises `Unreadable` when the file is gone."""
        part = await self._read(self._path, self._offset, size)
        if part is None:
            raise Unreadable(f"{self._path} is gone")
        self._offset += len(part)
        return part
