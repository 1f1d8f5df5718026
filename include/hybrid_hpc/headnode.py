"""A head node: commands run there and files moved, over one SSH connection.

Knows SSH and nothing of schedulers. Every call ends: with an answer, or with one of our errors within its
total time-out. `ConnectionLost` means that the effect of a command is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncssh
from asyncssh.constants import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)

from hybrid_hpc import remote_files, telemetry
from hybrid_hpc.breaker import Breaker
from hybrid_hpc.commands import Answer, Command, shell_text
from hybrid_hpc.errors import ConnectionLost, Refused, Shut, TooLong, Unavailable, Unreachable
from hybrid_hpc.remote_files import Progress, RemoteFile
from hybrid_hpc.ssh_link import Connect, SshLink
from hybrid_hpc.storage_root import read_storage, storage_command
from hybrid_hpc.ways import JobNode, WayAs

__all__ = ["HeadNode", "RemoteFile"]

MAX_OUTPUT = 64 * 1024**2  # of one command; a queue of 100,000 jobs is a fifth of it
_CHUNK = 256 * 1024

_NOT_OPENED = frozenset(
    {
        OPEN_ADMINISTRATIVELY_PROHIBITED,
        OPEN_CONNECT_FAILED,
        OPEN_RESOURCE_SHORTAGE,
        OPEN_UNKNOWN_CHANNEL_TYPE,
    }
)
_FILES_LOST = (
    asyncssh.DisconnectError,
    asyncssh.SFTPBadMessage,
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
    ConnectionError,
)


class HeadNode:
    """``connect`` makes an SSH connection, host key verified; it is called when one is needed.

    ``storage_root`` is an absolute path on the head node, or starts with ``~`` or ``$NAME``, which are
    replaced there. ``timeout_s`` is the total time of a command or of a small file. ``breaker`` decides
    whether a connection may be made; left out, it is one that knows only what was seen here. ``way_as`` makes
    the way of any other identity than the account that ``connect`` logs in to.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        storage_root: str,
        timeout_s: float = 30,
        breaker: Breaker | None = None,
        way_as: WayAs | None = None,
    ) -> None:
        self.name = name
        self.commands_run: Counter[str] = Counter()
        self._storage_root = storage_root
        self._timeout_s = timeout_s
        self._breaker = breaker or Breaker(name)
        self._link = SshLink(name, connect, timeout_s, self._breaker)
        self._storage: tuple[int, str] | None = None
        self._way_as = way_as
        self._ways: dict[str, JobNode] = {}

    def acting_as(self, identity: str) -> JobNode:
        """The way of that identity, made once and closed with this one; itself for ''.

        Raises `Refused` when there is none.
        """
        if not identity:
            return self
        if self._way_as is None:
            raise Refused(f"{self.name}: there is no way to act as {identity}")
        if identity not in self._ways:
            self._ways[identity] = self._way_as(self, identity)
        return self._ways[identity]

    @property
    def connections_made(self) -> int:
        """How often a connection was made."""
        return self._link.connections_made

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        """Runs one command to its end.

        Raises `Unreachable` (it was not sent; `Shut`: nor was a connection tried), `AccessDenied`,
        `ConnectionLost` (it was sent, and its answer is missing or cut) or `TooLong` (it printed more than
        64 MiB).
        """
        label = command.label or command.argv[0]
        self.commands_run[label] += 1
        with telemetry.span("hpc.head_node.run", cluster=self.name, command=label):
            async with self._breaker.heard(lambda: self._link.connected_at):
                return await self._run(command, timeout_s or self._timeout_s)

    async def _run(self, command: Command, limit_s: float) -> Answer:
        call = _Call(self.name, command)
        try:
            async with asyncio.timeout(limit_s), self._link.turn():
                return await call.made(self._link)
        except TimeoutError:
            await self._link.drop_if_idle()
            raise call.lost(f"no answer within {limit_s:g} s") from None

    async def storage(self) -> str:
        """The absolute path of the storage root: made with mode 700, ours, writable for nobody else.

        Looked at once a connection. Raises `Refused` with the remedy when it is not as it must be.
        """
        if self._storage is None or self._storage[0] != self.connections_made:
            answer = await self.run(storage_command(self._storage_root))
            self._storage = (self.connections_made, read_storage(self.name, self._storage_root, answer))
        return self._storage[1]

    async def write(self, path: str, text: str, *, mode: int = 0o600) -> None:
        """Writes a whole file or nothing."""
        async with self._files(f"write {path}") as (sftp, _):
            await remote_files.write(sftp, path, text, mode)

    async def make_dir(self, path: str) -> None:
        """Makes a folder with mode 700, and those above it; harmless when it exists."""
        async with self._files(f"make {path}") as (sftp, _):
            await sftp.makedirs(path, asyncssh.SFTPAttrs(permissions=0o700), exist_ok=True)

    async def tail(self, path: str, limit: int = 65536) -> str | None:
        """The last ``limit`` bytes of a file, whatever its size; None when there is no such file."""
        async with self._files(f"read {path}") as (sftp, _):
            return await remote_files.tail(sftp, path, limit)

    async def read_small(self, path: str, limit: int) -> str | None:
        """The first ``limit`` bytes of a file; None when there is no such file."""
        async with self._files(f"read {path}") as (sftp, _):
            return await remote_files.head(sftp, path, limit)

    async def find(self, root: str, patterns: Sequence[str]) -> list[RemoteFile]:
        """The regular files below ``root`` that match; see `remote_files.find`."""
        async with self._files(f"look through {root}") as (sftp, progress):
            return await remote_files.find(sftp, root, patterns, progress)

    async def fetch(self, root: str, file: RemoteFile, target: Path) -> None:
        """Copies a file that `find` found to ``target``, whole or not at all.

        The time-out is on every block. Raises `Unreadable` when the file is still being written.
        """
        async with self._files(f"copy {file.path}") as (sftp, progress):
            await remote_files.fetch(sftp, root, file, target, progress)

    async def shut(self) -> Shut | None:
        """What keeps everybody from connecting; None while the breaker is closed."""
        return await self._breaker.shut()

    async def close(self) -> None:
        """Ends the connection, and those of its other identities."""
        await asyncio.gather(self._link.close(), *(way.close() for way in self._ways.values()))

    @contextlib.asynccontextmanager
    async def _files(self, what: str) -> AsyncIterator[tuple[asyncssh.SFTPClient, Progress]]:
        """The SFTP session, and what to call to have the time-out start again."""
        async with self._breaker.heard(lambda: self._link.connected_at), self._session(what) as session:
            yield session

    @contextlib.asynccontextmanager
    async def _session(self, what: str) -> AsyncIterator[tuple[asyncssh.SFTPClient, Progress]]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s) as clock:
                with self._link.used():
                    sftp = await self._link.sftp()
                    yield sftp, lambda: clock.reschedule(loop.time() + self._timeout_s)
        except TimeoutError:
            self._link.forget_sftp()
            await self._link.drop_if_idle()
            raise ConnectionLost(f"{self.name}: cannot {what}: no answer in {self._timeout_s:g} s") from None
        except _FILES_LOST as error:
            self._link.forget_sftp()
            raise ConnectionLost(f"{self.name}: cannot {what}: {_told(error)}") from error
        except asyncssh.SFTPError as error:
            raise Refused(f"{self.name}: cannot {what}: {_told(error)}") from error


class _Call:
    """One command on its way: whether it was sent decides what its loss means."""

    def __init__(self, name: str, command: Command) -> None:
        self._name = name
        self._command = command
        self._sent = False

    def lost(self, why: str) -> Unavailable:
        label = self._command.label or self._command.argv[0]
        if self._sent:
            return ConnectionLost(f"{self._name}: the answer to {label!r} is missing: {why}")
        return Unreachable(f"{self._name}: {label!r} was not sent: {why}")

    async def made(self, link: SshLink) -> Answer:
        try:
            process = await link.open(self._start)
            try:
                return await self._answer(process)
            finally:
                process.close()
        except (asyncssh.Error, OSError) as error:
            raise self.lost(_told(error)) from error

    async def _start(self, connection: asyncssh.SSHClientConnection) -> asyncssh.SSHClientProcess[bytes]:
        self._sent = True
        try:
            return await connection.create_process(shell_text(self._command.argv), encoding=None)
        except asyncssh.ChannelOpenError as error:
            if error.code not in _NOT_OPENED:  # opened, and lost while the command was on its way
                raise self.lost(_told(error)) from error
            self._sent = False
            raise

    async def _answer(self, process: asyncssh.SSHClientProcess[bytes]) -> Answer:
        with contextlib.suppress(BrokenPipeError):  # it did not want to read it; its answer says why
            process.stdin.write((self._command.stdin or "").encode())
            process.stdin.write_eof()
        stdout, stderr = await asyncio.gather(self._read(process.stdout), self._read(process.stderr))
        await process.wait_closed()
        if process.exit_signal:
            raise self.lost(f"it was ended by signal {process.exit_signal[0]}")
        if process.exit_status is None:  # the provider's own hook takes this for 0
            raise self.lost("the channel was closed without an exit status")
        return Answer(process.exit_status, stdout, stderr)

    async def _read(self, reader: asyncssh.SSHReader[bytes]) -> str:
        chunks: list[bytes] = []
        size = 0
        while chunk := await reader.read(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_OUTPUT:
                label = self._command.label or self._command.argv[0]
                raise TooLong(f"{self._name}: the answer to {label!r} is longer than 64 MiB")
        return b"".join(chunks).decode(errors="replace")


def _told(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
