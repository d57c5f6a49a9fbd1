"""Sends recorded events again: at once, or at their own pace or a multiple of it.

A replay may run ahead of the worker by hours of events. That is right with a real Kafka, which keeps them;
the mock cluster drops what does not fit, so there the caller passes a `gate` that returns when the worker has
caught up. A replay may be moved in time, and may go on where another one ended.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from producers.publisher import Delivery, Publisher
from producers.record_files import RecordFile
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import EARLIEST_MS, LATEST_MS, AnyEvent, Event
from stream_app.errors import LynceusError

GATE_EVERY: Final = 1_000
"""Events between two calls of `gate` and of `progress`."""
NOTED_EVERY_S: Final = 5.0
"""Seconds between two calls of `noted`."""


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
    noted: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Replayed:
    """Send every event and wait until all are delivered or have failed.

    `speed` is a multiple of the pace at which the events happened: 1 takes as long as they did, None does not
    wait. `gate` and `progress` are called with the number sent so far, every `GATE_EVERY` events and
    (`progress` only) at the end; `gate` returns when the replay may go on. `noted` is called with a number of
    events from the first on that are all delivered, every `NOTED_EVERY_S` seconds and at the end. `clock` and
    `sleep` are in seconds. Raises LynceusError as `Publisher.send` and `flush` do, or when `speed` is not above 0.
    """
    if speed is not None and not speed > 0:
        raise LynceusError(f"speed {speed!r}", "A speed is above 0; leave it out to send as fast as possible")
    started = last_noted = clock()
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
        if noted is not None and clock() - last_noted >= NOTED_EVERY_S:
            if publisher.flush().is_complete:
                noted(count)
            last_noted = clock()
        publisher.send(event)
        last_ms = event.ts
        count += 1
        if count % GATE_EVERY == 0:
            if progress is not None:
                progress(count)
            if gate is not None:
                gate(count)
    delivery = publisher.flush()
    if noted is not None and delivery.is_complete:
        noted(count)
    if progress is not None:
        progress(count)
    return Replayed(delivery, count, first_ms, last_ms, clock() - started)


def moved(events: Iterable[Event], by_ms: int) -> Iterator[Event]:
    """Yield the events moved by `by_ms`; their ids stay. Raises LynceusError when one leaves the years 2000 to 2100.

    The time at which a decision's context was known moves with it.
    """
    for event in events:
        times = {name: getattr(event, name, None) for name in ("ts", "context_ts")}
        later = {name: at_ms + by_ms for name, at_ms in times.items() if at_ms is not None}
        if not all(EARLIEST_MS <= at_ms <= LATEST_MS for at_ms in later.values()):
            raise LynceusError(
                f"event {event.id!r} would happen at {later['ts']} ms", "Move it to a time between 2000 and 2100"
            )
        said = {name: getattr(event, name) for name in event.__struct_fields__}
        yield type(event)(**said | later)


def span_ms(file: RecordFile) -> tuple[int, int]:
    """Return the times of the earliest and the latest event. Raises LynceusError when there is none."""
    times = [event.ts for event in jsonl(file, lambda _: None)]
    if not times:
        raise LynceusError("there is no event in it", "Name a file of canonical events, one JSON object a line")
    return min(times), max(times)


def jsonl(file: RecordFile, report: Callable[[BadLine], None]) -> Iterator[AnyEvent]:
    """Yield the events of a file of canonical JSON, one a line; `report` is told of every line that is none.

    An empty line is a bad line too. Raises LynceusError when the file cannot be read.
    """
    for number, line in file.lines():
        event = codec.decode(line) if line is not None else Rejected("limits", "the line is too long")
        if isinstance(event, Rejected):
            report(BadLine(number, event))
        else:
            yield event
