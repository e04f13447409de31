"""A TCP proxy on each link, to break it and nothing else: cut, silent, one way only, slow, refused, dead."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from functools import partial

CHUNK, CHUNKS = 1 << 16, 64
HERE, THERE = "127.0.0.2", "127.0.0.1"
"""Where the other end of a link seems to be, and where it is."""
UP, DOWN = "up", "down"
"""From who connects to who accepts, and back."""
RESET = struct.pack("ii", 1, 0)


class Wire:
    """One proxied connection: two directions, each a queue of bytes with the time at which they are due."""

    def __init__(self, link: Link, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.link, self.ends = link, (near, far)
        self.dead = False

    async def carry(self, way: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue = asyncio.Queue(CHUNKS)
        write = asyncio.create_task(self.write(way, queue, target))
        data = b"?"
        while data:
            try:
                data = await source.read(CHUNK)
            except OSError:
                data = b""
            await queue.put((asyncio.get_running_loop().time() + self.link.latency, data))
        await write

    async def write(self, way: str, queue: asyncio.Queue, target: asyncio.StreamWriter) -> None:
        data = b"?"
        while data:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await self.link.open[way].wait()
            if data and not self.dead and not target.is_closing():
                with suppress(OSError):
                    target.write(data)
                    await target.drain()
        if not self.dead:
            self.close()

    def close(self) -> None:
        for end in self.ends:
            end.close()

    def reset(self) -> None:
        """Ends it as a lost route does: both peers get an error at once."""
        for end in self.ends:
            found = end.get_extra_info("socket")
            with suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()


class Link:
    """A fixed port here that leads to a fixed port there, and one of the same number for its bulk connection:
    both have one fate. Every method may be called from any thread."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, port: int, target: int, bulk: int) -> None:
        self.name, self.port, self.target, self.bulk = name, port, target, bulk
        self.latency = 0.0
        self.open = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        self.wires: set[Wire] = set()
        self.servers: list[asyncio.Server] = []
        self.loop = loop
        self.restore()

    # What can happen to it

    def cut(self) -> None:
        """Ends every connection; new ones are welcome."""
        self.loop.call_soon_threadsafe(self._each, Wire.reset)

    def stall(self, *ways: str) -> None:
        """Nothing passes and nobody is told, also on new connections, until `restore`."""
        for way in ways:
            self.loop.call_soon_threadsafe(self.open[way].clear)

    def delay(self, seconds: float) -> None:
        """Every byte takes so much longer, until `restore`."""
        self.latency = seconds

    def refuse(self) -> None:
        """Ends every connection, and nobody listens until `restore`."""
        self._run(self._close())
        self.cut()

    def lose(self) -> None:
        """The present connections stay and carry nothing ever again; new ones work."""
        self.loop.call_soon_threadsafe(self._each, lambda wire: setattr(wire, "dead", True))

    def restore(self) -> None:
        self.latency = 0.0
        for way in self.open.values():
            self.loop.call_soon_threadsafe(way.set)
        if not self.servers:
            self._run(self._listen())

    # In the loop's thread

    def _run(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def _each(self, action) -> None:
        for wire in list(self.wires):
            action(wire)

    async def _listen(self) -> None:
        for hosts, port, target in (([HERE, THERE], self.port, self.target), ([HERE], self.bulk, self.bulk)):
            accept = partial(self._accept, target)
            self.servers.append(await asyncio.start_server(accept, hosts, port))

    async def _close(self) -> None:
        while self.servers:
            self.servers.pop().close()

    async def _accept(self, target: int, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_in, far = await asyncio.open_connection(THERE, target)
        except OSError:
            near.transport.abort()
            return
        wire = Wire(self, near, far)
        self.wires.add(wire)
        try:
            await asyncio.gather(wire.carry(UP, near_in, far), wire.carry(DOWN, far_in, near))
        finally:
            self.wires.discard(wire)
            wire.close()


class Proxies:
    """The loop that carries all links, in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self.thread.start()

    def link(self, name: str, port: int, target: int, bulk: int) -> Link:
        return Link(name, self.loop, port, target, bulk)
