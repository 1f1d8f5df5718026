"""Ports that lead on to ports of loopback: for a container whose programs listen on loopback only."""

from __future__ import annotations

import asyncio
from contextlib import suppress

CHUNK_BYTES = 65536


async def forward(host: str, port: int, inner_port: int) -> asyncio.Server:
    """Listen there, and hand each connection on to 127.0.0.1; a side that ends ends the other.

    Port 0 takes a free one. Raises OSError when the port is taken.
    """

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", inner_port)
        except OSError:
            writer.close()  # as if nobody listened
            return
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    return await asyncio.start_server(hand_on, host, port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    with suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()
