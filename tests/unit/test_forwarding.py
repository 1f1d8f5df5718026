"""Promises about a port that leads on to loopback: every byte both ways; one side's end is the other's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from lab.forwarding import forward
from lab.processes import free_ports

MANY = bytes(range(256)) * 4096


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server on loopback that gives back what it gets, until the other side ends; its port."""

    async def give_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(give_back, "127.0.0.1", 0)
    yield _port(server)
    server.close()


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def test_every_byte_arrives_both_ways(echo: int) -> None:
    server = await forward("127.0.0.1", 0, echo)
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(server))
    writer.write(MANY)
    assert await reader.readexactly(len(MANY)) == MANY
    writer.close()
    await writer.wait_closed()
    server.close()


async def test_whom_nobody_serves_inside_is_told_by_an_end() -> None:
    server = await forward("127.0.0.1", 0, free_ports(1))
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(server))
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    server.close()


async def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await forward("127.0.0.1", taken.getsockname()[1], 1)
