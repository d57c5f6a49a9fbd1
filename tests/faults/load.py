"""Load for the measurements: records that are cheap to make and never the same, a tap that pours them at a rate.

A shop's events are encoded once; every further lap of them gets new identities and the next 100 seconds of event
time by replacing bytes. What a lap must come to is recounted once, so that a run of millions can be checked exactly.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple

from confluent_kafka import Producer

from producers.world import World
from stream_app.core import codec
from tests.recount import recount

LAP_MS: Final = 100_000
"""Event time of one lap: the digits of a timestamp above it can be replaced alone."""
_PLACES: Final = (b'"id":"', b'"decision":"', b'"session":"', b'"order":"')
_TS: Final = b'"ts":'
Totals = dict[Any, dict[str, int]]


class Record(NamedTuple):
    """One Kafka record."""

    key: bytes
    value: bytes


class Carousel:
    """The records of a shop, lap after lap, each lap 100 seconds later in event time."""

    def __init__(self, seed: int, start_ms: int, sessions_per_s: float) -> None:
        self._start = start_ms // LAP_MS
        events = World(seed).events(self._start * LAP_MS, sessions_per_s)
        lap = list(takewhile(lambda event: event.ts < (self._start + 1) * LAP_MS, events))
        self._raws = [codec.encode(event) for event in lap]
        self._keys = [event.user.encode() for event in lap]
        self._parts = [self._split(raw) for raw in self._raws]

    def __len__(self) -> int:
        return len(self._raws)

    def records(self) -> Iterator[Record]:
        """Yield records for ever."""
        lap = 0
        while True:
            when, mark = b"%d" % (self._start + lap), b"%d-" % lap
            for key, (head, tail) in zip(self._keys, self._parts, strict=True):
                yield Record(key, mark.join(head) + when + mark.join(tail))
            lap += 1

    def expected(self, number: int) -> tuple[Totals, Counter[str]]:
        """Return the totals by surface and arm, and the outcomes, of the first `number` records."""
        laps, rest = divmod(number, len(self))
        totals: dict[Any, Counter[str]] = {}
        outcomes: Counter[str] = Counter()
        for times, raws in ((laps, self._raws), (1, self._raws[:rest])):
            some, ends = recount({0: list(raws)})
            for key, counts in some.items():
                totals.setdefault(key, Counter()).update({name: times * n for name, n in counts.items()})
            outcomes.update({name: times * n for name, n in ends.items()})
        return {key: dict(+counts) for key, counts in totals.items() if +counts}, +outcomes

    def _split(self, raw: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the pieces before and after the replaced digits of the timestamp; a mark belongs between pieces."""
        at = raw.index(_TS) + len(_TS)
        end = at + len(b"%d" % self._start)
        return self._pieces(raw[:at]), self._pieces(raw[end:])

    @staticmethod
    def _pieces(raw: bytes) -> list[bytes]:
        for place in _PLACES:
            raw = raw.replace(place, place + b"\0")
        return raw.split(b"\0")


def fill(bootstrap: str, topic: str, records: Iterator[Record], number: int) -> None:
    """Write the next `number` records as fast as it goes."""
    producer = _producer(bootstrap)
    for count, record in enumerate(islice(records, number)):
        _produce(producer, topic, record)
        if count % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0


class Tap(threading.Thread):
    """Pours records into a topic. Mutable state: `rate` (records/s, may be changed at any time) and `sent`."""

    STEP_S = 0.02

    def __init__(self, bootstrap: str, topic: str, records: Iterator[Record], rate: int) -> None:
        super().__init__(name="tap", daemon=True)
        self._producer = _producer(bootstrap)
        self._topic = topic
        self._records = records
        self._closed = threading.Event()
        self.rate = rate
        self.sent = 0

    def run(self) -> None:
        """Pour until it is closed; what could not be poured in time is not made up for."""
        due, then = 0.0, time.monotonic()
        while not self._closed.wait(self.STEP_S):
            now = time.monotonic()
            due, then = min(due + self.rate * (now - then), float(self.rate)), now
            for record in islice(self._records, int(due)):
                _produce(self._producer, self._topic, record)
                self.sent += 1
            due -= int(due)
            self._producer.poll(0)

    def close(self) -> int:
        """Stop, wait until everything has arrived, and return how many records were sent."""
        self._closed.set()
        self.join()
        assert self._producer.flush(120) == 0
        return self.sent


def _producer(bootstrap: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "batch.size": 128 * 1024,
            "linger.ms": 10,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 200_000,
            "log_level": 0,
        }
    )


def _produce(producer: Producer, topic: str, record: Record) -> None:
    while True:
        try:
            producer.produce(topic, record.value, record.key)
        except BufferError:
            producer.poll(0.1)
        else:
            return
