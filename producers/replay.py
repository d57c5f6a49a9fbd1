"""Sends recorded events again: at once, or at their own pace or a multiple of it.

A replay may run ahead of the worker by hours of events. That is right with a real Kafka, which keeps them;
the mock cluster drops what does not fit, so there the caller passes a `gate` that returns when the worker has
caught up.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from producers.publisher import Delivery, Publisher
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import Event
from stream_app.errors import LynceusError

GATE_EVERY: Final = 1_000
"""Events between two calls of `gate` and of `progress`."""


class Replayed(NamedTuple):
    """What a replay did: what became of the records, between which event times, and how long it took."""

    delivery: Delivery
    events: int
    first_ms: int | None
    last_ms: int | None
    elapsed_s: float


class BadLine(NamedTuple):
    """A line that is no event: its number (from 1), and why."""

    line: int
    rejected: Rejected


def replay(
    events: Iterable[Event],
    publisher: Publisher,
    *,
    speed: float | None = None,
    gate: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Replayed:
    """Send every event and wait until all are delivered or have failed.

    `speed` is a multiple of the pace at which the events happened: 1 takes as long as they did, None does not
    wait. `gate` and `progress` are called with the number sent so far, every `GATE_EVERY` events and
    (`progress` only) at the end; `gate` returns when the replay may go on. `clock` and `sleep` are in
    seconds. Raises LynceusError as `Publisher.send` and `flush` do, or when `speed` is not above 0.
    """
    if speed is not None and not speed > 0:
        raise LynceusError(f"speed {speed!r}", "A speed is above 0; leave it out to send as fast as possible")
    started = clock()
    count = 0
    first_ms: int | None = None
    last_ms: int | None = None
    for event in events:
        if first_ms is None:
            first_ms = event.ts
        if speed is not None:
            early_s = started + (event.ts - first_ms) / 1000 / speed - clock()
            if early_s > 0:
                sleep(early_s)
        publisher.send(event)
        last_ms = event.ts
        count += 1
        if count % GATE_EVERY == 0:
            if progress is not None:
                progress(count)
            if gate is not None:
                gate(count)
    delivery = publisher.flush()
    if progress is not None:
        progress(count)
    return Replayed(delivery, count, first_ms, last_ms, clock() - started)


def jsonl(path: Path, report: Callable[[BadLine], None]) -> Iterator[Event]:
    """Yield the events of a file of canonical JSON, one a line; `report` is told of every line that is none.

    An empty line is a bad line too. Raises LynceusError when the file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                event = codec.decode(line.rstrip(b"\r\n"))
                if isinstance(event, Rejected):
                    report(BadLine(number, event))
                else:
                    yield event
    except OSError as error:
        raise LynceusError(f"{path}: {error.strerror}", "Name a readable file of one JSON object a line") from None
