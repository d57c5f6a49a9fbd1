"""The SDK's link to Kafka: one kafka-python producer, given up and made anew when it does not get through.

A batch is handed over as a whole and then waited for in short steps, so that the one thread that does this can look
after the buffer meanwhile. Records are acknowledged by all brokers in sync and written once, also when kafka-python
has to send them twice; only a batch that was given up on and sent again by a new producer may be there twice.
"""

import atexit
import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from kafka import KafkaProducer
from kafka.errors import InvalidRecordError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from producers.broker import connection, reason, silence, unreachable
from producers.composition import Record
from producers.topics import require_topics
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

# What is wrong with a record itself and will be wrong again; anything else may pass.
_FINAL: Final = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
_CLOSE_S: Final = 2.0
_BACKOFF_S: Final = (0.1, 2.0)


class Outcome(NamedTuple):
    """What became of a batch: what was delivered, what is to be sent again, what never will be, and why."""

    delivered: list[Record]
    rest: list[Record]
    refused: list[Record]
    trouble: str | None
    refusal: str | None


class Link:
    """At most one producer. Mutable state: it, the attempt to connect, the batch on its way; used by one thread.

    The attempt runs in a thread of its own, because kafka-python blocks while it looks for a broker.
    """

    def __init__(self, settings: KafkaSettings, delivery_timeout_s: float) -> None:
        """Connect nothing yet. What is not acknowledged within `delivery_timeout_s`, retries included, is `rest`."""
        self._settings = settings
        self._delivery_timeout_s = delivery_timeout_s
        self._producer: KafkaProducer | None = None
        self._attempt: Future[KafkaProducer] | None = None
        self._backoff_s = 0.0
        self._on_its_way: list[tuple[Record, object]] = []
        self._send_error: Exception | None = None

    def connect(self) -> None:
        """Connect now. Raises LynceusError when there is no broker or no topic."""
        # A producer waits for a topic that is not there; this client knows at once. Only here, not with every attempt:
        # it leaves a thread behind when there is no broker.
        require_topics(self._settings, (self._settings.events_topic,))
        self._producer = _connected(self._settings, self._delivery_timeout_s)

    @property
    def is_busy(self) -> bool:
        """Whether a batch is on its way."""
        return bool(self._on_its_way)

    def trouble(self, timeout_s: float) -> str | None:
        """Return None as soon as there is a producer; after `timeout_s` seconds, why there is none (yet)."""
        if self._producer is not None:
            return None
        if self._attempt is None:
            self._attempt = self._begin()
        try:
            self._producer = self._attempt.result(timeout_s)
        except TimeoutError:
            return f"connecting to Kafka at {self._settings.bootstrap}"
        except LynceusError as error:
            self._attempt = None
            self._backoff_s = min(max(2 * self._backoff_s, _BACKOFF_S[0]), _BACKOFF_S[1])
            return str(error)
        self._attempt = None
        self._backoff_s = 0.0
        return None

    def send(self, records: Sequence[Record]) -> None:
        """Hand over a batch; the one before has been settled or given up."""
        assert self._producer is not None
        assert not self._on_its_way, "one batch at a time"
        self._send_error = None
        for record in records:
            future: object = None
            if self._send_error is None:
                try:
                    future = self._producer.send(self._settings.events_topic, record.value, record.key)
                except _FINAL as error:
                    future = error
                except (KafkaError, ValueError) as error:  # ValueError: the topic has lost its partitions
                    self._send_error = error
            self._on_its_way.append((record, future))

    def is_settled(self, timeout_s: float) -> bool:
        """Whether every record of the batch was answered; waits for at most `timeout_s`."""
        assert self._producer is not None
        try:
            self._producer.flush(timeout_s)
        except KafkaError:
            return False
        # A batch that was too large for the broker is split, and its halves are on their way again.
        return all(getattr(future, "is_done", True) for _, future in self._on_its_way)

    def settle(self) -> Outcome:
        """Return what became of the batch. Unless all of it was answered for good, the producer is given up."""
        if not all(getattr(future, "is_done", True) for _, future in self._on_its_way):
            self.abandon()  # its thread ends here, so no answer can come after this
        delivered: list[Record] = []
        rest: list[Record] = []
        refused: list[Record] = []
        trouble = reason(self._send_error) if self._send_error else None
        refusal: str | None = None
        for record, future in self._on_its_way:
            error = future if isinstance(future, Exception) else getattr(future, "exception", None)
            if isinstance(error, _FINAL):
                refused.append(record)
                refusal = refusal or reason(error)
            elif future is None or error is not None or not getattr(future, "is_done", False):
                rest.append(record)
                trouble = trouble or (reason(error) if error else None)
            else:
                delivered.append(record)
        self._on_its_way = []
        if rest or refused:
            # The old producer's sequence numbers may no longer be the broker's; after a refusal, everything that it
            # sends is refused.
            self.abandon()
        if rest:
            trouble = f"Kafka at {self._settings.bootstrap} acknowledges nothing ({trouble or 'no answer'})"
        return Outcome(delivered, rest, refused, trouble, refusal)

    def abandon(self) -> None:
        """End the producer without waiting for what it has not sent."""
        if self._producer is not None:
            # kafka-python's `close` waits for brokers that do not answer; this ends what is on its way first.
            self._producer._sender.force_close()  # noqa: SLF001
            self.close()

    def close(self) -> None:
        """End the producer; what it was handed has been settled. Again is allowed."""
        if self._attempt is not None:
            # A broker may still be found: then nobody wants the producer any more.
            self._attempt.add_done_callback(_close_unwanted)
            self._attempt = None
        if self._producer is not None:
            with contextlib.suppress(KafkaError):
                self._producer.close(_CLOSE_S)
            self._producer = None

    def _begin(self) -> "Future[KafkaProducer]":
        attempt: Future[KafkaProducer] = Future()
        pause_s = self._backoff_s

        def connect() -> None:
            threading.Event().wait(pause_s)
            try:
                attempt.set_result(_connected(self._settings, self._delivery_timeout_s))
            except LynceusError as error:
                attempt.set_exception(error)
            except Exception as error:  # an attempt that never ends would be tried for ever
                attempt.set_exception(LynceusError(f"no connection to Kafka: {reason(error)}"))

        try:
            threading.Thread(target=connect, name="lynceus connects", daemon=True).start()
        except RuntimeError as error:  # the interpreter is shutting down
            attempt.set_exception(LynceusError(f"no connection to Kafka: {error}"))
        return attempt


def _connected(settings: KafkaSettings, delivery_timeout_s: float) -> KafkaProducer:
    """Return a producer that knows the topic. Raises LynceusError."""
    silence()
    try:
        producer = KafkaProducer(
            **connection(settings),
            acks="all",
            compression_type="gzip",
            linger_ms=5,
            batch_size=128 * 1024,
            delivery_timeout_ms=int(delivery_timeout_s * 1000),
            request_timeout_ms=int(delivery_timeout_s * 500),
            reconnect_backoff_max_ms=int(_BACKOFF_S[1] * 1000),
            max_block_ms=int(settings.connect_timeout_s * 1000),
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
    except KafkaError as error:
        raise unreachable(settings, error) from None
    # kafka-python would end its producers before a tracker has emptied its buffer into one.
    atexit.unregister(producer._cleanup)  # noqa: SLF001
    try:
        producer.partitions_for(settings.events_topic)  # now, so that no `send` has to wait for it
    except KafkaError as error:
        with contextlib.suppress(KafkaError):
            producer.close(0)
        raise LynceusError(
            f"Kafka at {settings.bootstrap} does not say where topic {settings.events_topic!r} is ({reason(error)})",
            "Is it there? `lynceus topics ensure` creates it",
        ) from None
    return producer


def _close_unwanted(attempt: "Future[KafkaProducer]") -> None:
    if attempt.exception() is None:
        attempt.result().close(0)
