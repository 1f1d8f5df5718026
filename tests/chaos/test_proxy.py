"""The proxy keeps its own promise: it breaks exactly what it is told to break, and counts rightly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy, running_proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SHORT_S = 0.3


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(1024):
            writer.write(block)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    with running_proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


async def connect(proxy: Proxy) -> Streams:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def said_back(streams: Streams, text: bytes) -> bytes:
    """What comes back until the end of the connection, or until nothing more comes."""
    reader, writer = streams
    writer.write(text)
    found = b""
    try:
        while len(found) < len(text):
            block = await asyncio.wait_for(reader.read(1024), SHORT_S)
            if not block:
                break
            found += block
    except TimeoutError:
        pass
    return found


async def test_everything_passes_and_is_counted(proxy: Proxy) -> None:
    one, two = await connect(proxy), await connect(proxy)
    assert await said_back(one, b"hello") == b"hello"
    assert await said_back(two, b"you") == b"you"
    assert proxy.connections == 2
    assert proxy.passed == {"to_server": 8, "to_client": 8}


@pytest.mark.parametrize("count", [0, 1, 5, 9])
async def test_the_answer_is_cut_after_exactly_so_many_bytes_and_once(proxy: Proxy, count: int) -> None:
    streams = await connect(proxy)
    proxy.after(count, "to_client", "close")
    assert await said_back(streams, b"0123456789") == b"0123456789"[:count]
    assert streams[0].at_eof()
    assert await said_back(await connect(proxy), b"again") == b"again"


async def test_what_is_sent_is_cut_too(proxy: Proxy) -> None:
    streams = await connect(proxy)
    proxy.after(4, "to_server", "close")
    assert len(await said_back(streams, b"0123456789")) <= 4
    assert proxy.passed["to_server"] == 4


async def test_a_reset_is_a_reset(proxy: Proxy) -> None:
    streams = await connect(proxy)
    assert await said_back(streams, b"x") == b"x"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await streams[0].read(1)
    with pytest.raises(ConnectionResetError):
        await said_back(await connect(proxy), b"x")
    assert proxy.connections == 2


async def test_silence_says_nothing_and_what_was_held_back_arrives_when_it_ends(proxy: Proxy) -> None:
    old = await connect(proxy)
    assert await said_back(old, b"x") == b"x"
    proxy.silence()
    new = await connect(proxy)
    assert await said_back(old, b"old") == b""
    assert await said_back(new, b"new") == b""
    proxy.heal()
    assert await said_back(old, b"") + await asyncio.wait_for(old[0].read(9), 5) == b"old"
    assert await asyncio.wait_for(new[0].read(9), 5) == b"new"


async def test_a_stalled_answer_stays_open_and_never_ends(proxy: Proxy) -> None:
    streams = await connect(proxy)
    proxy.after(2, "to_client", "stall")
    assert await said_back(streams, b"0123") == b"01"
    assert not streams[0].at_eof()


async def test_a_gone_server_refuses_and_comes_back_on_the_same_port(proxy: Proxy) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    proxy.heal()
    assert proxy.port == port
    assert await said_back(await connect(proxy), b"back") == b"back"


async def test_the_answer_to_one_request_is_swallowed_and_no_other(proxy: Proxy) -> None:
    streams = await connect(proxy)
    proxy.when(b"POST", "close")
    assert await said_back(streams, b"GET") == b"GET"
    assert await said_back(streams, b"POST") == b""
    assert proxy.passed["to_server"] == len(b"GETPOST")
    assert await said_back(await connect(proxy), b"POST") == b"POST"


async def test_latency_is_added_both_ways(proxy: Proxy) -> None:
    streams = await connect(proxy)
    proxy.delay(0.1)
    began = time.monotonic()
    assert await said_back(streams, b"x") == b"x"
    assert time.monotonic() - began >= 0.2


async def test_a_flapping_server_is_up_and_down_in_turn_until_it_is_healed(proxy: Proxy) -> None:
    proxy.flap(up_s=0.2, down_s=0.2)
    seen = set[str]()
    deadline = time.monotonic() + 10
    while seen != {"open", "reset"} and time.monotonic() < deadline:
        seen.add(proxy.mode)
        await asyncio.sleep(0.02)
    assert seen == {"open", "reset"}
    proxy.heal()
    await asyncio.sleep(0.5)
    assert await said_back(await connect(proxy), b"x") == b"x"
