"""A publisher: typed events in, one keyed Kafka record each, and an account of what became of them.

    with Publisher(settings.kafka) as publisher:
        publisher.send(Impression(id="i-1", ts=1_732_300_000_000, user="u-1", decision="d-1", item="A7",
        position=1))

Everything that one user does shares the user as key, so it shares a partition and stays in order.
"""

import contextlib
import threading
from types import TracebackType
from typing import Final, NamedTuple, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError

from producers.broker import connection, reason, unreachable
from producers.topics import require_topics
from stream_app.core import codec
from stream_app.core.events import Event, Input
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

MAX_PENDING: Final = 20_000
"""Records that may be on their way at once; kafka-python itself has no bound."""

# kafka-python packs lz4, snappy and zstd only with packages that Lynceus does not otherwise need; gzip is in
# the standard library. It costs nothing here: 40,000 events of the bandit data took 3.8 s of CPU with it and
# 5.6 s without, because fewer bytes pass kafka-python's network loop.
_COMPRESSION: Final = "gzip"
_LINGER_MS: Final = 20
_BATCH_BYTES: Final = 128 * 1024


class Delivery(NamedTuple):
    """What became of a publisher's records: `sent` is `delivered` + `failed` + what is on its way."""

    sent: int
    delivered: int
    failed: int
    first_error: str | None

    @property
    def is_complete(self) -> bool:
        """Whether the brokers acknowledged every record that was sent."""
        return self.delivered == self.sent


class Publisher:
    """Sends events to one topic; at most `max_pending` are unacknowledged, more make `send` wait.

    Every record is acknowledged by all replicas in sync, and a user's records stay in order. When an acknowledgement is
    lost one may be written twice: its id makes that harmless. Safe for several threads.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        topic: str | None = None,
        max_pending: int = MAX_PENDING,
        delivery_timeout_s: float = 60.0,
    ) -> None:
        """Connect. `topic` is the events topic unless another is named.

        A record that is not acknowledged within `delivery_timeout_s` seconds, retries included, has failed.
        Raises LynceusError when no broker can be reached or the topic does not exist.
        """
        self._topic = topic or settings.events_topic
        self._bootstrap = settings.bootstrap
        self._patience_s = 2 * delivery_timeout_s
        # Mutable state: three counts and the first error, written under the lock by whoever sends and by
        # kafka-python's thread; one permit of `_room` for every record on its way.
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(max_pending)
        self._sent = self._delivered = self._failed = 0
        self._first_error: str | None = None
        self._is_closed = False
        require_topics(settings, (self._topic,))
        try:
            self._producer = KafkaProducer(
                **connection(settings),
                acks="all",
                # Not idempotent: when records expire in an outage, kafka-python 3.0 asks for a new producer id, and if
                # that request is lost with the broker nothing is sent or expires any more. One request at a time keeps
                # the order.
                enable_idempotence=False,
                max_in_flight_requests_per_connection=1,
                compression_type=_COMPRESSION,
                linger_ms=_LINGER_MS,
                batch_size=_BATCH_BYTES,
                delivery_timeout_ms=int(delivery_timeout_s * 1000),
                request_timeout_ms=int(delivery_timeout_s * 500),
                max_block_ms=int(settings.connect_timeout_s * 1000),
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise unreachable(settings, error) from None

    def send(self, event: Event | Input) -> None:
        """Hand over one event; return when there is room for it, not when it is delivered.

        A record that cannot be sent or is not acknowledged is counted as failed. Raises LynceusError when
        there is no room for longer than a delivery may take, or the publisher is closed.
        """
        self.send_raw(event.user.encode() if isinstance(event, Event) else event.id.encode(), codec.encode(event))

    def send_raw(self, key: bytes, value: bytes) -> None:
        """Hand over one record as it is, whatever it says; else as `send`."""
        if self._is_closed:
            raise LynceusError("this publisher is closed", "Send before `close`")
        if not self._room.acquire(timeout=self._patience_s):
            raise LynceusError(
                f"Kafka at {self._bootstrap} acknowledges nothing",
                "Look at the brokers; LYNCEUS_KAFKA__BOOTSTRAP",
            )
        with self._lock:
            self._sent += 1
        try:
            record = self._producer.send(self._topic, value, key)
        except KafkaError as error:
            self._on_failure(error)
            return
        record.add_callback(self._on_success)
        record.add_errback(self._on_failure)

    def delivery(self) -> Delivery:
        """Return the account so far."""
        with self._lock:
            return Delivery(self._sent, self._delivered, self._failed, self._first_error)

    def flush(self, timeout_s: float = 30.0) -> Delivery:
        """Wait until everything sent before is acknowledged or has failed; return the account.

        Raises LynceusError after `timeout_s` seconds.
        """
        try:
            self._producer.flush(timeout_s)
        except KafkaError:
            sent, delivered, failed, first_error = self.delivery()
            raise LynceusError(
                f"{sent - delivered - failed} of {sent} records are not acknowledged by Kafka at "
                f"{self._bootstrap} after {timeout_s:g} s" + (f" ({first_error})" if first_error else ""),
                "Look at the brokers, or allow more time",
            ) from None
        return self.delivery()

    def close(self, timeout_s: float = 30.0) -> Delivery:
        """Deliver what is on its way for at most `timeout_s` seconds, then end; return the account.

        What is not acknowledged by then is given up and counted as failed. Again is allowed.
        """
        if not self._is_closed:
            self._is_closed = True
            try:
                self._producer.flush(timeout_s)
            except KafkaError:
                # kafka-python's own `close` raises here and leaves its thread running; this ends what is on
                # its way.
                self._producer._sender.force_close()  # noqa: SLF001
            with contextlib.suppress(KafkaError):
                self._producer.close(timeout_s)
        return self.delivery()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _on_success(self, _metadata: object) -> None:
        with self._lock:
            self._delivered += 1
        self._room.release()

    def _on_failure(self, error: BaseException) -> None:
        with self._lock:
            self._failed += 1
            if self._first_error is None:
                self._first_error = reason(error)
        self._room.release()
