"""Keeps the View fresh: reads what changed, advances the windows, computes the next view, swaps it in."""

import asyncio
from collections.abc import Callable, Sequence
from time import time
from typing import Any, Final, Protocol

import structlog

from stream_app.core.histograms import Bin
from stream_app.serving.outage import Outage
from stream_app.serving.partitions import PartitionState
from stream_app.serving.reader import Reader, Reading, StoreUnavailableError
from stream_app.serving.sums import Sums
from stream_app.serving.throughput import Throughput
from stream_app.serving.views import Meaning, Origin, View, build_view, newest_ms, stale, windows_end_ms
from stream_app.serving.vigil import Vigil
from stream_app.serving.watch_view import NO_WATCH
from stream_app.serving.windows import Windows, bin_windows

LONGEST_BACKOFF_S: Final = 5.0


class Subscriber(Protocol):
    """Is told of every new view, in the event loop."""

    def publish(self, view: View) -> None:
        """Take the view; must not wait."""


def clock_ms() -> int:
    """Return the wall clock in milliseconds UTC."""
    return int(time() * 1000)


class Refresher:
    """Owns the current view. Mutable state: it, the windows it is computed from, whether Redis is lost.

    `view` is replaced whole and never changed: whoever reads it needs no lock, from whatever thread.
    """

    def __init__(
        self,
        reader: Reader,
        origin: Origin,
        meaning: Meaning,
        subscriber: Subscriber,
        interval_s: float,
        clock: Callable[[], int] = clock_ms,
        vigil: Vigil | None = None,
    ) -> None:
        self._vigil = vigil
        self._reader = reader
        self._origin = origin
        self._meaning = meaning
        self._subscriber = subscriber
        self._interval_s = interval_s
        self._clock = clock
        self._windows, self._bins = self._empty_windows()
        self._throughput = Throughput()
        self._newest_ms = 0
        self._fresh: View | None = None
        self._outage = Outage("redis lost, serving the last view as stale", "the view is fresh again")
        self._log: Any = structlog.get_logger("lynceus.server")
        self.view: View | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh until `stop`: every interval, and less and less often while Redis is lost."""
        delay_s = self._interval_s
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            is_fresh = await self.refresh()
            delay_s = self._interval_s if is_fresh else min(delay_s * 2, LONGEST_BACKOFF_S)
            try:
                async with asyncio.timeout(max(0.0, began + delay_s - loop.time())):
                    await stop.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> bool:
        """Read once and swap the view; return whether it is fresh. Never raises for what the store did."""
        try:
            reading = await self._reader.refresh()
            # Off the event loop: the first load takes a second or two, and streams must keep beating.
            view = await asyncio.to_thread(self._compute, reading, self._clock())
        except StoreUnavailableError as error:
            self._outage.note(str(error))
            view_or_none = self._stale(f"Redis cannot be read: {error}", is_store_up=False)
        except Exception as error:
            # A bug, or bytes that nobody foresaw: the sums may be half advanced, so begin anew.
            self._log.exception("refresh failed, reading everything again")
            self._reader.forget()
            self._windows, self._bins = self._empty_windows()
            self._outage.fault = f"the view cannot be computed ({type(error).__name__})"
            view_or_none = self._stale(self._outage.fault, is_store_up=True)
        else:
            self._outage.note("")
            self._fresh = view_or_none = view
        self.view = view_or_none
        if view_or_none is not None:
            self._subscriber.publish(view_or_none)
        if self._vigil is not None and view_or_none is not None and not view_or_none.is_stale:
            await self._watch(self._vigil, view_or_none, reading.partitions)
        return not self._outage.fault

    async def _watch(self, vigil: Vigil, view: View, states: Sequence[PartitionState]) -> None:
        """Let the watch go on; whatever happens to it, views are served."""
        try:
            await vigil.watch(self._windows, self._bins, view, states, view.snapshot.at_ms)
        except Exception as error:
            vigil.failed(error)

    def _stale(self, reason: str, is_store_up: bool) -> View | None:
        return stale(self._fresh, reason, is_store_up, self._clock()) if self._fresh else None

    def _empty_windows(self) -> tuple[Windows, Sums[Bin]]:
        windows = self._meaning.windows
        return Windows(windows, self._meaning.index["impressions"]), bin_windows(windows)

    def _compute(self, reading: Reading, at_ms: int) -> View:
        self._newest_ms = newest_ms(reading.partitions, at_ms, self._newest_ms)
        for sums in (self._windows, self._bins):
            sums.advance(reading.changes, windows_end_ms(self._newest_ms))
        records = sum(state.head.applied for state in reading.partitions)
        rate = self._throughput.observe(at_ms, records)
        return build_view(
            self._origin,
            self._meaning,
            self._windows,
            self._bins,
            reading.partitions,
            reading.store,
            self._newest_ms,
            at_ms,
            rate,
            reading.inputs,
            self._vigil.view if self._vigil else NO_WATCH,
        )
