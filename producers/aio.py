"""The SDK for asyncio: `AsyncTracker` has the methods of `Tracker`, to be awaited, and never blocks the loop.

    async with AsyncTracker(bootstrap="127.0.0.1:9092") as tracker:
        decision = await tracker.decide(user="u-1", surface="home.hero", items=["A7", "B2"])
        await tracker.impression(decision, "A7")

Arguments are checked at the call; awaiting hands the event over, and waits only when the buffer is full.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeAlias, Unpack

from producers.buffer import DeliveryRules
from producers.composition import Common, Composed, Record, Who
from producers.interactions import DecisionFields, Interactions
from producers.options import Core, Options
from producers.report import DeliveryReport
from producers.tokens import DecisionToken
from stream_app.core.events import Arm, Assignment, DecisionItem, Event

Recorded: TypeAlias = Coroutine[None, None, str]
"""To be awaited: the id of an event, when there was room for it."""


class AsyncTracker(Interactions[Recorded]):
    """Records events from one event loop; see `Tracker` for what each method does and raises."""

    def __init__(self, **options: Unpack[Options]) -> None:
        """Start nothing yet: `start`, or `async with`, does. Raises LynceusError."""
        self._core = Core(options)
        self._block_s = options.get("block_s", DeliveryRules().block_s)

    async def start(self) -> Self:
        """Connect or open the spill, as `Tracker` does. Raises LynceusError."""
        await asyncio.to_thread(self._core.start)
        return self

    async def decide(
        self,
        *,
        user: str,
        items: Sequence[str | DecisionItem],
        propensities: Sequence[float] | None = None,
        predicted: Sequence[float] | None = None,
        decision: str | None = None,
        **fields: Unpack[DecisionFields],
    ) -> DecisionToken:
        """Record a decision and return its token; see `Tracker.decide`."""
        token, composed = self._core.composer.decide(user, items, propensities, predicted, decision, fields)
        await self._put(composed)
        return token

    async def assign(
        self, user: str, experiment: str, weights: Mapping[Arm, float], *, salt: str = "", **common: Unpack[Common]
    ) -> Arm | None:
        """Return the arm of a user and record it the first time; see `Tracker.assign`."""
        enrolled = self._core.assigned(user, experiment, weights, salt, common.get("consent"))
        if enrolled is None:
            return None
        if not self._core.is_recorded(enrolled.key):
            await self._record(Assignment, user, common, arm=enrolled.arm, **enrolled.fields)
            self._core.remember(enrolled.key)
        return enrolled.arm

    def dumps(self, token: DecisionToken) -> str:
        """Return a token as URL-safe text; see `Tracker.dumps`."""
        return self._core.dumps(token)

    def loads(self, text: str) -> DecisionToken:
        """Return the token of a text; see `Tracker.loads`."""
        return self._core.loads(text)

    def report(self) -> DeliveryReport:
        """Return how many events are in which state."""
        return self._core.courier.buffer.report()

    async def flush(self, timeout_s: float = 30.0) -> DeliveryReport:
        """Wait until everything is delivered. Raises LynceusError after `timeout_s` seconds."""
        return await asyncio.to_thread(self._core.courier.buffer.wait_empty, timeout_s)

    async def close(self, timeout_s: float = 10.0) -> DeliveryReport:
        """Deliver for at most `timeout_s` seconds, then end; see `Tracker.close`."""
        return await asyncio.to_thread(self._core.close, timeout_s)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _record(self, kind: type[Event], who: Who, common: Common, /, **own: object) -> Recorded:
        # Not a coroutine itself: bad arguments are told at the call, not when it is awaited.
        return self._hand_over(self._core.composer.compose(kind, who, common, own))

    async def _hand_over(self, composed: Composed) -> str:
        await self._put(composed)
        return composed.event.id

    async def _put(self, composed: Composed) -> None:
        buffer = self._core.courier.buffer
        if composed.record is None:
            buffer.withhold()
        elif not buffer.offer(composed.record):
            await self._put_when_room(composed.record)

    async def _put_when_room(self, record: Record) -> None:
        """Wait for room as `Buffer.put` does, but leave the loop free."""
        loop, has_room, buffer = asyncio.get_running_loop(), asyncio.Event(), self._core.courier.buffer

        def call() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(has_room.set)

        try:
            async with asyncio.timeout(self._block_s):
                while True:
                    buffer.when_room(call)
                    if buffer.offer(record):  # room may have come before we asked to be called
                        return
                    await has_room.wait()
                    has_room.clear()
        except TimeoutError:
            raise buffer.refuse(call) from None
        except asyncio.CancelledError:
            buffer.refuse(call)  # whoever cancels knows that it was not taken; it is counted all the same
            raise
