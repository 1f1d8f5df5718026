"""A head node in this process: asyncssh's server on a real socket, which can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from hybrid_hpc.ssh_link import Connect

HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
USER_KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")

Process = asyncssh.SSHServerProcess[bytes]


@dataclass
class Sshd:
    """What the server has seen, and how it behaves. Commands run in ``home`` unless they are ``hh-...``."""

    home: Path
    port: int = 0
    refused_channels: int = 0  # so many sessions are refused from now on
    login_attempts: int = 0
    commands: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    read_bytes: int = 0  # over SFTP
    drop_after_bytes: int | None = None  # of SFTP reads: then the connection is gone
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def connect(self, *, key: asyncssh.SSHKey = USER_KEY, host_key: asyncssh.SSHKey = HOST_KEY) -> Connect:
        """A coroutine function that connects to it, host key verified."""

        async def connect() -> asyncssh.SSHClientConnection:
            known = f"[127.0.0.1]:{self.port} {host_key.export_public_key().decode()}"
            return await asyncssh.connect(
                "127.0.0.1",
                self.port,
                username="sci",
                client_keys=[key],
                known_hosts=asyncssh.import_known_hosts(known),
                config=None,
                agent_path=None,
            )

        return connect

    def drop_all(self) -> None:
        """Every connection is gone, as when a cable is pulled."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()


class _Server(asyncssh.SSHServer):
    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._sshd.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        self._sshd.login_attempts += 1
        self._connection.send_auth_banner(f"Welcome {username}. hh-begin 000000000000\n")
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, _username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == USER_KEY.public_data

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        if self._sshd.refused_channels > 0:
            self._sshd.refused_channels -= 1
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "open failed")
        return _Session(self._sshd)


class _Session(asyncssh.SSHServerProcess[bytes]):
    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd
        super().__init__(self._serve, lambda channel: _Files(channel, sshd), 3, allow_scp=False)

    def exec_requested(self, command: str) -> bool:
        self._sshd.commands.append(command)
        return command != "hh-refused" and super().exec_requested(command)

    async def _serve(self, process: Process) -> None:
        sshd = self._sshd
        sshd.at_once += 1
        sshd.most_at_once = max(sshd.most_at_once, sshd.at_once)
        try:
            await _behave(sshd, process, str(process.command))
        finally:
            sshd.at_once -= 1


async def _behave(sshd: Sshd, process: Process, command: str) -> None:
    name = shlex.split(command)[0]
    if name == "hh-drop":  # an answer that is cut by the loss of the connection
        process.stdout.write(b"4711\n")
        await process.stdout.drain()
        sshd.drop_all()
    elif name == "hh-no-status":
        process.stdout.write(b"4711\n")
        process.close()
    elif name == "hh-killed":
        process.exit_with_signal("KILL")
    elif name == "hh-silent":
        await process.stdin.read()
        await asyncio.Event().wait()
    elif name == "hh-trickle":  # never silent, never done
        with contextlib.suppress(BrokenPipeError):
            while True:
                process.stdout.write(b".")
                await asyncio.sleep(0.02)
    elif name == "hh-deaf":  # ends without reading what it is sent
        process.exit(3)
    elif name == "hh-bytes":
        process.stdout.write(b"ok \xff\xfe \xc3\n")
        process.exit(0)
    else:
        await _really_run(sshd, process, command)


async def _really_run(sshd: Sshd, process: Process, command: str) -> None:
    """As sshd does: the string is given to the user's shell."""
    child = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=sshd.home,
        env={"HOME": str(sshd.home), "PATH": os.environ["PATH"], **sshd.environment},
    )
    stdout, stderr = await child.communicate(await process.stdin.read())
    process.stdout.write(stdout)
    process.stderr.write(stderr)
    process.exit(child.returncode or 0)


class _Files(asyncssh.SFTPServer):
    def __init__(self, channel: Any, sshd: Sshd) -> None:
        self._sshd = sshd
        super().__init__(channel)

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        limit = self._sshd.drop_after_bytes
        if limit is not None and self._sshd.read_bytes >= limit:
            self._sshd.drop_all()
        found: Any = super().read(file_obj, offset, size)
        data: bytes = await found if asyncio.iscoroutine(found) else found
        self._sshd.read_bytes += len(data)
        return data


@contextlib.asynccontextmanager
async def running_sshd(home: Path) -> AsyncIterator[Sshd]:
    """A server on a free port of 127.0.0.1, gone at the end with all its connections."""
    sshd = Sshd(home)
    server = await asyncssh.create_server(
        lambda: _Server(sshd), "127.0.0.1", 0, server_host_keys=[HOST_KEY], encoding=None, config=None
    )
    sshd.port = server.get_port()
    try:
        yield sshd
    finally:
        sshd.drop_all()
        server.close()
        await server.wait_closed()
