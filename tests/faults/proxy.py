"""A TCP proxy before one server, whose links suffer what a test asks for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

import totals
from toxics import Toxic, Way
from wire import Frontend, Piece

T = TypeVar("T")

_CHUNK = 65_536
_PATIENCE = 30.0

#: Linger on, for no time at all: close() answers with RST.
_RST = struct.pack("ii", 1, 0)


class _Link:
    """One client, and its own connection to the server; see ``toxics.Link``."""

    def __init__(
        self,
        client: asyncio.StreamWriter,
        server: asyncio.StreamWriter,
        toxic: Toxic,
        frontend: Frontend | None,
    ) -> None:
        self.lossy = False
        self.passed = 0
        self.cut_at_reply = False
        self.frontend = frontend
        self.toxic = toxic
        self._writers = {Way.UP: server, Way.DOWN: client}
        self._changed = asyncio.Event()
        self._beside: asyncio.Task[None] | None = None
        self.meet(toxic)

    def obeys(self, toxic: Toxic) -> bool:
        return self.toxic is toxic

    def meet(self, toxic: Toxic) -> None:
        """Another toxic from now on."""
        self.toxic = toxic
        self._changed.set()
        self._changed = asyncio.Event()
        self._end_beside()
        if self.lossy:
            self.reset()
        else:
            self._beside = asyncio.ensure_future(toxic.begin(self))

    async def send(self, way: Way, data: bytes) -> None:
        writer = self._writers[way]
        if data and not writer.is_closing():
            writer.write(data)
            await writer.drain()

    async def pause(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def reset(self) -> None:
        for writer in self._writers.values():
            peer: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            writer.transport.abort()

    def end(self) -> None:
        """Whatever is under way: only what the loop has to close is left."""
        self._end_beside()
        for writer in self._writers.values():
            writer.transport.abort()

    def _end_beside(self) -> None:
        # A toxic that ends its own link from ``begin`` is not to be cancelled for it.
        if self._beside is not None and self._beside is not asyncio.current_task():
            self._beside.cancel()


class Proxy:
    """Listens on a port of its own for as long as the block lasts.

    postgresql: follow what clients say, so that ``CommitCut`` knows a COMMIT.
    """

    def __init__(self, port: int, *, postgresql: bool = False) -> None:
        self.port = 0
        self.accepted = 0
        self._upstream = port
        self._postgresql = postgresql
        self._toxic = Toxic()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Of every connection that may still be there.
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()

    def use(self, toxic: Toxic) -> None:
        """This toxic alone from now on, for open links and for new ones."""
        if type(toxic) is not Toxic:
            totals.count("toxics", type(toxic).__name__)
        self._call(lambda: self._switch(toxic))

    def clear(self) -> None:
        self.use(Toxic())

    @contextlib.contextmanager
    def suffering(self, toxic: Toxic) -> Iterator[None]:
        """The toxic is in force within the block."""
        self.use(toxic)
        try:
            yield
        finally:
            self.clear()

    def lead_to(self, port: int) -> None:
        """Another server from now on; links to the former one are reset."""
        self._upstream = port
        self.reset_all()

    def reset_all(self) -> None:
        """RST to every open link, once."""

        def reset() -> None:
            for link in list(self._links):
                link.reset()

        self._call(reset)

    def links(self) -> int:
        """Open links."""
        return self._call(lambda: len(self._links))

    def _call(self, job: Callable[[], T]) -> T:
        """Run in the proxy's thread, and wait for it."""

        async def run() -> T:
            return job()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_PATIENCE)

    def _switch(self, toxic: Toxic) -> None:
        self._toxic = toxic
        for link in list(self._links):
            link.meet(toxic)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._over.wait()
        await self._end(server)

    async def _end(self, server: asyncio.Server) -> None:
        """Leave no task and no connection in the loop."""
        # The loop takes a connection in a task of its own, for which the server is
        # still to be there.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks & self._tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
        # A task may have been cancelled before it began, or while it closed something.
        for writer in self._writers:
            writer.transport.abort()
        while any(map(_is_open, self._writers)):
            await asyncio.sleep(0)

    def _accept(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        self._keep(client)
        task = asyncio.ensure_future(self._admit(reader, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self, writer: asyncio.StreamWriter) -> None:
        """Know of it until it is closed, whoever else forgets it."""
        self._writers = {writer, *filter(_is_open, self._writers)}

    async def _admit(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        try:
            if self._toxic.admits:
                await self._serve(reader, client)
        finally:
            client.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            return
        self._keep(server)
        frontend = Frontend() if self._postgresql else None
        link = _Link(client, server, self._toxic, frontend)
        self._links.add(link)
        pumps = [
            asyncio.ensure_future(_pump(link, reader, Way.UP)),
            asyncio.ensure_future(_pump(link, answers, Way.DOWN)),
        ]
        try:
            # Whichever side ends first ends the other one too: neither protocol
            # speaks on half a connection.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await link.toxic.finish(link)
        finally:
            self._links.discard(link)
            link.end()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


def _is_open(writer: asyncio.StreamWriter) -> bool:
    """The loop closes the socket behind the last that the streams hear of it."""
    peer: socket.socket = writer.get_extra_info("socket")
    return peer.fileno() >= 0


async def _pump(link: _Link, reader: asyncio.StreamReader, way: Way) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            pieces = [Piece(data)]
            if link.frontend is not None and way is Way.UP:
                pieces = list(link.frontend.feed(data))
            for piece in pieces:
                await link.toxic.forward(link, way, piece.data, piece.commit)
