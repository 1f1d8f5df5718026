"""A TCP proxy on loopback that breaks what goes through it, in a thread and an event loop of its own.

It stands before a real server (sshd, CycleCloud). It knows nothing of what it carries: it counts
connections and bytes, and cuts, resets, stalls, delays or refuses them when it is told to. Before a server
that speaks TLS it has that server's certificate and key, and sees what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

HOST = "127.0.0.1"
BLOCK = 64 * 1024
ResultT = TypeVar("ResultT")

Direction = Literal["to_client", "to_server"]
End = Literal["close", "reset", "stall"]  # in good order; RST; never another byte, and the connection stays
Mode = Literal["open", "reset", "silent", "gone"]


@dataclass
class _Cut:
    """After ``left`` more bytes in one direction the connection comes to its ``end``."""

    left: int
    direction: Direction
    end: End


class Proxy:
    """Carries every connection to ``port`` on to ``target_port``. Made by `running_proxy`.

    Every method may be called from any thread and is done when it returns.
    """

    def __init__(self, target_port: int, tls: Path | None = None) -> None:
        self.target_port = target_port
        self.trust = tls and ssl.create_default_context(cafile=tls / "ca.pem")
        self._identity = tls and _identity(tls)
        self.port = 0
        self.connections = 0  # accepted, those that were reset at once too
        self.passed: Counter[Direction] = Counter()  # bytes, of all connections
        self.mode: Mode = "open"
        self._delay_s = 0.0
        self._cut: _Cut | None = None
        self._trigger: tuple[bytes, End] | None = None
        self._links: set[_Link] = set()
        self._last_gone = asyncio.Event()
        self._last_gone.set()
        self._loop = asyncio.new_event_loop()
        self.speaks = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._flapping: asyncio.Task[None] | None = None

    def heal(self) -> None:
        """Everything passes again; what was stalled goes on."""
        self._do(self._heal())

    def reset(self) -> None:
        """Every open connection is reset, and every new one as soon as it is accepted."""
        self._do(self._enter("reset"))

    def refuse(self) -> None:
        """Every open connection is reset, and nobody listens any more; what comes is not counted."""
        self._do(self._enter("gone"))

    def silence(self) -> None:
        """Connections are accepted, and not a byte passes, on those that are open neither."""
        self._do(self._enter("silent"))

    def delay(self, seconds: float) -> None:
        """Every block takes so much longer, in each direction."""
        self._delay_s = seconds

    def after(self, count: int, direction: Direction, end: End) -> None:
        """Once: from now on ``count`` bytes pass in that direction, then its connection ends like that."""
        self._cut = _Cut(count, direction, end)

    def when(self, text: bytes, end: End) -> None:
        """Once: the request that holds ``text`` is delivered, and of its answer not a byte."""
        self._trigger = (text, end)

    def flap(self, *, up_s: float, down_s: float) -> None:
        """Open for ``up_s``, then `reset` for ``down_s``, and so on until `heal`."""
        self._do(self._start_flapping(up_s, down_s))

    # What follows runs in the proxy's own thread.

    async def _heal(self) -> None:
        self._stop_flapping()
        self._cut, self._trigger, self._delay_s = None, None, 0.0
        await self._enter("open")

    async def _enter(self, mode: Mode) -> None:
        self.mode = mode
        (self.speaks.clear if mode == "silent" else self.speaks.set)()
        if mode in ("reset", "gone"):
            for link in list(self._links):
                link.end("reset")
        if mode == "gone" and self._listener:
            self._listener.close()
            self._listener = None
        elif mode != "gone" and self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port, ssl=self._identity)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _start_flapping(self, up_s: float, down_s: float) -> None:
        async def flap() -> None:
            while True:
                await self._enter("open")
                await asyncio.sleep(up_s)
                await self._enter("reset")
                await asyncio.sleep(down_s)

        self._stop_flapping()
        self._flapping = asyncio.create_task(flap())

    def _stop_flapping(self) -> None:
        if self._flapping:
            self._flapping.cancel()
        self._flapping = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        self._last_gone.clear()
        try:
            await link.carry()
        finally:
            self._links.discard(link)
            if not self._links:
                self._last_gone.set()

    async def passing(self, link: _Link, direction: Direction, block: bytes) -> tuple[bytes, End | None]:
        """What of ``block`` may pass, and how the connection ends behind it, if it does."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self.speaks.wait()
        end = self._end_of(link, direction, block)
        passing, how = (block, None) if end is None else end
        self.passed[direction] += len(passing)
        return passing, how

    def _end_of(self, link: _Link, direction: Direction, block: bytes) -> tuple[bytes, End] | None:
        if link.unanswered and direction == "to_client":
            return b"", link.unanswered
        if self._trigger and direction == "to_server" and self._trigger[0] in block:
            link.unanswered, self._trigger = self._trigger[1], None
        cut = self._cut
        if cut is None or cut.direction != direction:
            return None
        if len(block) < cut.left:
            cut.left -= len(block)
            return None
        self._cut = None
        return block[: cut.left], cut.end

    def _do(self, steps: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(steps, self._loop).result(timeout=10)

    async def _stop(self) -> None:
        self._stop_flapping()
        await self._enter("gone")
        await asyncio.wait_for(self._last_gone.wait(), 5)

    def run_in_thread(self) -> Callable[[], None]:
        """Starts it; gives what stops it."""
        thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        thread.start()
        self._do(self._enter("open"))

        def stop() -> None:
            self._do(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

        return stop


class _Link:
    """One connection and its other half."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.unanswered: End | None = None
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._pumps: list[asyncio.Task[None]] = []
        self._ended = False

    async def carry(self) -> None:
        if self._proxy.mode == "reset":
            return self.end("reset")
        await self._proxy.speaks.wait()
        if self._ended:
            return None
        try:
            far_reader, far_writer = await asyncio.open_connection(
                HOST, self._proxy.target_port, ssl=self._proxy.trust
            )
        except OSError:
            return self.end("reset")
        self._writers.append(far_writer)
        if self._ended:
            return self.end("reset")
        self._pumps = [
            asyncio.create_task(self._pump(self._reader, far_writer, "to_server")),
            asyncio.create_task(self._pump(far_reader, self._writers[0], "to_client")),
        ]
        await asyncio.wait(self._pumps, return_when=asyncio.FIRST_COMPLETED)
        return self.end("close")

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK):
                passing, end = await self._proxy.passing(self, direction, block)
                if writer.is_closing():
                    return None
                writer.write(passing)
                await writer.drain()
                if end == "stall":
                    await asyncio.Event().wait()
                if end:
                    return self.end(end)
        return None

    def end(self, end: End) -> None:
        self._ended = True
        for pump in self._pumps:
            if pump is not asyncio.current_task():
                pump.cancel()
        for writer in self._writers:
            if end == "reset":
                _reset(writer)
            else:
                writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes so that the kernel sends RST: the other side sees a connection that was reset."""
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _identity(tls: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(tls / "server.pem", tls / "server.key")
    return made


@contextlib.contextmanager
def running_proxy(target_port: int, tls: Path | None = None) -> Iterator[Proxy]:
    """A proxy before ``127.0.0.1:target_port``, open, gone at the end with all its connections.

    ``tls``: the folder with ca.pem, server.pem and server.key of a server that speaks it.
    """
    proxy = Proxy(target_port, tls)
    stop = proxy.run_in_thread()
    try:
        yield proxy
    finally:
        stop()
