"""One SSH connection to one head node: made when it is needed, shared by all, made anew after a loss."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import asyncssh

from hybrid_hpc import telemetry
from hybrid_hpc.breaker import Breaker
from hybrid_hpc.errors import AccessDenied, HybridHpcError, Unreachable

# sshd allows 10 sessions on a connection and frees one a little late: 8 at once fail now and then (measured).
CHANNELS = 4
KEEPALIVE_S = 15  # a silently dropped connection (NAT) is noticed after four of these
CLOSE_TIMEOUT_S = 5.0
_OPEN_AGAIN_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)

_DENIED = (
    asyncssh.IllegalUserName,
    asyncssh.KeyEncryptionError,
    asyncssh.KeyExchangeFailed,
    asyncssh.KeyImportError,
    asyncssh.PermissionDenied,
    asyncssh.ProtocolNotSupported,
)

_OTHER_KEY = (
    "either the head node was installed anew, or somebody stands between: nothing was sent; compare its key "
    "with the host_key of the connection, and change that only when its administrator confirms the new key"
)

T = TypeVar("T")
Connect = Callable[[], Awaitable[asyncssh.SSHClientConnection]]


class SshLink:
    """``name`` is for messages; ``connect`` makes a connection with the host key verified.

    ``breaker`` says whether one may be made; whoever uses it counts what becomes of their calls.
    """

    def __init__(self, name: str, connect: Connect, timeout_s: float, breaker: Breaker) -> None:
        self.name = name
        self.connections_made = 0
        self.connected_at = datetime.min.replace(tzinfo=UTC)
        self._breaker = breaker
        self._connect = connect
        self._timeout_s = timeout_s
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._making = asyncio.Lock()
        self._channels = asyncio.Semaphore(CHANNELS)
        self._users = 0

    async def connection(self) -> asyncssh.SSHClientConnection:
        """The open connection. Raises `Unreachable`, also when the breaker is open, or `AccessDenied`."""
        async with self._making:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._made()
            return self._connection

    async def _made(self) -> asyncssh.SSHClientConnection:
        self._sftp = None
        await self._breaker.enter()
        began = time.monotonic()
        try:
            connection = await self._connected()
        except HybridHpcError as error:
            # Here, where one connects at a time: who waits for a turn must not repeat a refused login.
            await self._breaker.failed(error, began)
            telemetry.count("hybrid_hpc.ssh.connections", cluster=self.name, outcome=type(error).__name__)
            raise
        connection.set_keepalive(KEEPALIVE_S, 4)
        self.connections_made += 1
        telemetry.count("hybrid_hpc.ssh.connections", cluster=self.name, outcome="made")
        self.connected_at = self._breaker.now()
        return connection

    async def _connected(self) -> asyncssh.SSHClientConnection:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connect()
        except asyncssh.HostKeyNotVerifiable as error:
            raise AccessDenied(f"{self.name}: {_told(error)}; {_OTHER_KEY}") from error
        except _DENIED as error:
            raise AccessDenied(f"{self.name}: {_told(error)}") from error
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(f"{self.name}: no SSH connection: {_told(error)}") from error

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until fewer than `CHANNELS` commands run on this connection."""
        async with self._channels:
            with self.used():
                yield

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Marks the connection as in use."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    async def open(self, start: Callable[[asyncssh.SSHClientConnection], Awaitable[T]]) -> T:
        """What ``start`` opens on the connection. Raises `Unreachable` when sshd keeps refusing a channel."""
        refusal = ""
        for pause_s in _OPEN_AGAIN_S:
            connection = await self.connection()
            try:
                return await start(connection)
            except asyncssh.ChannelOpenError as error:
                refusal = _told(error)
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311
        raise Unreachable(f"{self.name}: sshd opens no channel: {refusal}")

    async def sftp(self) -> asyncssh.SFTPClient:
        """The one SFTP session of the connection."""
        await self.connection()  # forgets the session of a connection that was lost
        if self._sftp is None:
            self._sftp = await self.open(_start_sftp)
        return self._sftp

    def forget_sftp(self) -> None:
        """The next use opens a new session: this one is broken."""
        self._sftp = None

    async def drop_if_idle(self) -> None:
        """Ends a connection on which a command got no answer, unless others still use it."""
        if not self._users:
            await self.close()

    async def close(self) -> None:
        """Ends the connection, if there is one; the next use makes a new one."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is None:
            return
        connection.close()
        with contextlib.suppress(TimeoutError, asyncssh.Error, OSError, HybridHpcError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await connection.wait_closed()
        connection.abort()


async def _start_sftp(connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
    # Names of files may be any bytes.
    return await connection.start_sftp_client(path_errors="surrogateescape")


def _told(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
