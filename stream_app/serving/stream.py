"""The live stream: each client has a mailbox for one view, so a slow one skips views and holds up nobody.

publish:  v1   v2   v3   v4             whenever the refresher has a view
mailbox:  [v1] [v2] [v3] [v4]           the latest replaces what was not taken
sent:     v1             v4  ...        at most once a second, and only if something changed
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from stream_app.serving.border import error_response
from stream_app.serving.views import View

MAX_CLIENTS: Final = 100
HEARTBEAT_S: Final = 5.0
PACE_S: Final = 1.0
SEND_TIMEOUT_S: Final = 10.0

Mailbox = asyncio.Queue[View | None]
"""At most one view; None = the server closes."""


class Stream:
    """Sends every view to every client. Mutable state: the mailboxes of those who listen."""

    def __init__(self, build: str, current: Callable[[], View | None], clock: Callable[[], int]) -> None:
        self._build = build
        self._current = current
        self._clock = clock
        self._mailboxes: set[Mailbox] = set()
        self._is_closed = False

    def publish(self, view: View | None) -> None:
        """Put the view into every mailbox, in place of one that was not taken."""
        for mailbox in self._mailboxes:
            if mailbox.full():
                mailbox.get_nowait()
            mailbox.put_nowait(view)

    def close(self) -> None:
        """Let every client go."""
        self._is_closed = True
        self.publish(None)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /v1/stream`: hello, snapshot, then updates and heartbeats until somebody leaves."""
        if len(self._mailboxes) >= MAX_CLIENTS or self._is_closed:
            response = error_response(503, f"{MAX_CLIENTS} clients are listening already; try again later")
            response.headers["Retry-After"] = "5"
            return response
        with self._mailbox() as mailbox:
            async with sse_response(request) as events:
                try:
                    await self._send(events, mailbox)
                except (ConnectionError, TimeoutError):
                    return events  # the client left, or reads no more
        return events

    async def _send(self, events: EventSourceResponse, mailbox: Mailbox) -> None:
        loop = asyncio.get_running_loop()

        async def send(event: str, text: str) -> None:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await events.send(text, event=event)

        await send("hello", msgspec.json.encode({"build": self._build}).decode())
        event, tag, view = "snapshot", "", self._current()
        beat_at = loop.time() + HEARTBEAT_S
        while not self._is_closed:
            if view is not None and view.tag != tag:
                await send(event, view.json.decode())
                event, tag = "update", view.tag
                await asyncio.sleep(PACE_S)
            view = None
            try:
                async with asyncio.timeout_at(beat_at):
                    view = await mailbox.get()
            except TimeoutError:
                await send("heartbeat", msgspec.json.encode({"at_ms": self._clock()}).decode())
                beat_at = loop.time() + HEARTBEAT_S

    @contextmanager
    def _mailbox(self) -> Iterator[Mailbox]:
        mailbox: Mailbox = asyncio.Queue(1)
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)
