"""A TCP proxy that breaks connections on demand, in a thread of its own: what stands between a worker and its Redis.

    mode       client -> server     server -> client
    pass       passed               passed
    blackhole  held                 held                a partition of the network
    drop_up    held                 passed              requests that do not arrive, or arrive late
    drop_down  passed               held                replies that do not arrive: the write of unknown outcome
    refuse     new connections are reset at once

What is held is delivered when the mode allows it again, unless it was forgotten: late, as a network does it.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Literal, Self, TypeVar

Mode = Literal["pass", "blackhole", "drop_up", "drop_down", "refuse"]
_T = TypeVar("_T")
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""


class Proxy:
    """A proxy on a free loopback port. Mutable state: the mode, and the open connections; owned by its thread."""

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port` are those of the server."""
        self._server = host, port
        self._loop = asyncio.new_event_loop()
        self._mode: Mode = "pass"
        self._delay_s = 0.0
        self._cut_after: int | None = None
        self._forgotten = 0
        self._changed = asyncio.Event()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.connections = 0
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)

    # -- from other threads -----------------------------------------------------------------------------------------

    def set_mode(self, mode: Mode) -> None:
        """Change what passes, now."""
        self._call(lambda: self._set(mode))

    def delay(self, seconds: float) -> None:
        """Hold everything for this long from now on, both ways."""

        def act() -> None:
            self._delay_s = seconds

        self._call(act)

    def redirect(self, port: int) -> None:
        """Connect to another server from now on; what is open to the old one is reset."""

        def act() -> None:
            self._server = self._server[0], port
            self._reset()

        self._call(act)

    def reset(self) -> None:
        """Send RST on every open connection."""
        self._call(self._reset)

    def forget_held(self) -> None:
        """Lose what is held: it will not arrive late either."""

        def act() -> None:
            self._forgotten += 1

        self._call(act)

    def cut_after(self, octets: int) -> None:
        """Break the connection that brings the octet of this number from now on: in the middle of a command."""

        def act() -> None:
            self._cut_after = octets

        self._call(act)

    def heal(self) -> None:
        """Pass everything again."""

        def act() -> None:
            self._delay_s, self._cut_after = 0.0, None
            self._set("pass")

        self._call(act)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, act: Callable[[], _T]) -> _T:
        done: Future[_T] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(act()))
        return done.result(10)

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()

    async def _listen(self) -> int:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._listener.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._listener.close()
        self._set("pass")
        self._reset()
        # They end by themselves once their connections are gone; a cancelled one asyncio would report.
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=5)

    def _reset(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                _abort(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._mode == "refuse":
            _abort(writer)
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server)
        except OSError:
            _abort(writer)
            return
        pair = writer, server_writer
        self._pairs.add(pair)
        pipes = [
            asyncio.ensure_future(self._pipe(reader, server_writer, "drop_up", pair)),
            asyncio.ensure_future(self._pipe(server_reader, writer, "drop_down", pair)),
        ]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            self._pairs.discard(pair)
            for side in pair:
                side.close()

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        held_by: Mode,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(65_536):
                forgotten = self._forgotten
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                while self._mode in (held_by, "blackhole"):
                    await self._changed.wait()
                if forgotten != self._forgotten:
                    continue
                if held_by == "drop_up" and self._cut_after is not None:
                    octets, self._cut_after = octets[: self._cut_after], self._cut_after - len(octets)
                    if self._cut_after <= 0:
                        self._cut_after = None
                        writer.write(octets)
                        await writer.drain()
                        for side in pair:
                            _abort(side)
                        return
                writer.write(octets)
                await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
