"""From asyncio to Kafka and back: records handed over together, and for each whether the brokers have it.

kafka-python acknowledges in a thread of its own. One promise stands for all records of a request, counts their
acknowledgements there, and wakes the event loop once, when the last has come: no thread and no wake-up per record.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from producers.broker import connection, reason, unreachable
from producers.topics import require_topics
from stream_app.settings import KafkaSettings

RECORD_COST: Final = 2_000
"""Bytes that a record on its way occupies beside its own: futures, callbacks, its place in a batch."""
PROBE_S: Final = 1.0
_GRACE_S: Final = 1.0
_CLOSE_S: Final = 2.0
# A request waits for its slowest record, so the linger is most of an answer's time; it still gathers what several
# requests bring at once.
_LINGER_MS: Final = 5
_BATCH_BYTES: Final = 128 * 1024
# Sending waits for nothing but a topic's partitions, and those are known from the start. Should the brokers
# withdraw them, the event loop stands still for this long, once: the state is `away` after it.
_MAX_BLOCK_MS: Final = 200


class Keyed(NamedTuple):
    """A record: its key, which decides its partition, and its value."""

    key: bytes
    value: bytes


class _Promise:
    """The acknowledgements of one request. Mutable state: one flag a record and how many are left, under the lock."""

    def __init__(self, count: int, on_settled: Callable[["_Promise"], None]) -> None:
        self.flags = bytearray(count)
        self.error: BaseException | None = None
        self.is_kafkas_fault = False
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._left = count
        self._lock = threading.Lock()
        self._on_settled = on_settled

    def succeeded(self, index: int, _metadata: object) -> None:
        self.flags[index] = 1
        self._settle()

    def failed(self, error: BaseException) -> None:
        self.error = error
        # A record that is too large for the brokers says nothing about them.
        self.is_kafkas_fault |= not isinstance(error, MessageSizeTooLargeError)
        self._settle()

    def _settle(self) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            # The loop may be gone when a record is given up at the very end: nobody waits then.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._on_settled, self)


class Delivery:
    """Sends records to the events topic; bounded in bytes, and honest about what is not acknowledged.

    Mutable state, all of it changed in the event loop only: the bytes and records on their way, the promises that
    somebody waits for, whether Kafka answers, the task that asks again while it does not, and whether this is over.
    """

    def __init__(self, settings: KafkaSettings, in_flight_bytes: int, patience_s: float) -> None:
        """Connect; this blocks, so do it before there is anything to answer.

        Raises LynceusError when no broker can be reached or the topic does not exist.
        """
        self._settings = settings
        self._topic = settings.events_topic
        self._max_bytes = in_flight_bytes
        self._patience_s = patience_s
        self._log: Any = structlog.get_logger("lynceus.collector")
        self.in_flight_bytes = 0
        self.in_flight_records = 0
        self.is_up = True
        self._is_closed = False
        self._waiting: set[asyncio.Future[None]] = set()
        self._probe: asyncio.Task[None] | None = None
        require_topics(settings, (self._topic,))
        try:
            self._producer = KafkaProducer(
                **connection(settings),
                acks="all",
                # Not idempotent: when records on their way expire in an outage, kafka-python 3.0.12 asks for a new
                # producer id, and if that request fails it never asks again: nothing is sent or expires any more.
                # Ids make duplicates harmless; one request at a time keeps a user's events in order.
                enable_idempotence=False,
                max_in_flight_requests_per_connection=1,
                compression_type="gzip",  # as in `producers.publisher`
                linger_ms=_LINGER_MS,
                batch_size=_BATCH_BYTES,
                # What is not acknowledged when the answer is due is given up: its sender is told to send it again.
                delivery_timeout_ms=int(patience_s * 1000),
                request_timeout_ms=int(patience_s * 500),
                # After an outage of minutes the next attempt would otherwise be half a minute away.
                reconnect_backoff_max_ms=1_000,
                max_block_ms=int(settings.connect_timeout_s * 1000),
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
            self._producer.partitions_for(self._topic)
            self._producer.config["max_block_ms"] = _MAX_BLOCK_MS
        except KafkaError as error:
            raise unreachable(settings, error) from None

    async def deliver(self, records: Sequence[Keyed]) -> Sequence[bool] | None:
        """Send, and return for each record whether all replicas in sync have it; None when none was even sent.

        None means that Kafka is away or that there is no room. A record that is `False` may still arrive: whoever
        sends it again with the same id is safe.
        """
        if not records:
            return ()
        cost = sum(len(value) for _, value in records) + RECORD_COST * len(records)
        has_room = not self.in_flight_bytes or self.in_flight_bytes + cost <= self._max_bytes
        if self._is_closed or not self.is_up or not has_room:
            return None
        self.in_flight_bytes += cost
        self.in_flight_records += len(records)
        promise = _Promise(len(records), partial(self._settled, cost, len(records)))
        self._send(records, promise)
        self._waiting.add(promise.done)
        try:
            # kafka-python gives up by itself when the patience ends; the grace is for its thread to say so.
            settled, _ = await asyncio.wait((promise.done,), timeout=self._patience_s + _GRACE_S)
        finally:
            self._waiting.discard(promise.done)
        if not settled:
            self._note_away(f"nothing was heard for {self._patience_s + _GRACE_S:g} s")
        return [bool(flag) for flag in promise.flags]

    async def close(self, drain_s: float) -> None:
        """Wait at most `drain_s` seconds for what is on its way, answer the rest as not delivered, and end."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=drain_s)
        self._is_closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        await asyncio.to_thread(self._close)

    def _send(self, records: Sequence[Keyed], promise: _Promise) -> None:
        for index, (key, value) in enumerate(records):
            try:
                sent = self._producer.send(self._topic, value, key)
            except MessageSizeTooLargeError as error:
                promise.failed(error)
                continue
            except KafkaError as error:
                # The others would wait as long for the same answer.
                for _ in range(index, len(records)):
                    promise.failed(error)
                return
            sent.add_callback(promise.succeeded, index)
            sent.add_errback(promise.failed)

    def _settled(self, cost: int, count: int, promise: _Promise) -> None:
        self.in_flight_bytes -= cost
        self.in_flight_records -= count
        if not promise.done.done():
            promise.done.set_result(None)
        if promise.is_kafkas_fault and promise.error is not None:
            self._note_away(reason(promise.error))
        elif any(promise.flags):
            self._note_back()

    def _note_away(self, because: str) -> None:
        if self.is_up and not self._is_closed:
            self.is_up = False
            self._log.warning("Kafka does not acknowledge", because=because)
            if self._probe is None or self._probe.done():
                self._probe = asyncio.get_running_loop().create_task(self._until_back())

    async def _until_back(self) -> None:
        """Ask every second whether the brokers answer again: nobody else will, since nobody is let in."""
        while not self.is_up:
            # The producer's own connection is asked. An administration client that finds no broker leaves a
            # thread behind, each time.
            asked = self._producer._metadata.request_update()  # noqa: SLF001  # kafka-python has no public way
            await asyncio.sleep(PROBE_S)
            if asked.succeeded():
                self._note_back()

    def _note_back(self) -> None:
        if not self.is_up:
            self.is_up = True
            self._log.info("Kafka acknowledges again")

    def _close(self) -> None:
        try:
            self._producer.flush(_CLOSE_S if self.is_up else 0.0)
        except KafkaError:
            # As in `producers.publisher`: kafka-python's own `close` would leave its thread running.
            self._producer._sender.force_close()  # noqa: SLF001
        with contextlib.suppress(KafkaError):
            self._producer.close(_CLOSE_S)
