"""The way from what happens to what arrives: bytes in the order of arrival, with all that scenarios do to them.

    happening --> lost | on time | late (400...600 s)      and beside it: a duplicate a little later, garbage

A late record whose time comes when nothing newer has been sealed (the traffic has ended, or is a trickle) is lost instead:
it would otherwise be counted, and what of it depends on other records of its partition. For the same reason the ledger
is exact about late records only where every partition gets an event a minute.

Without such a scenario a record is the event, encoded. The ledger, if there is one, is told what must come of each.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from random import Random
from typing import Final, NamedTuple

from producers.ledger import Ledger
from producers.visits import Happening
from producers.world import World
from stream_app.core import codec
from stream_app.core.events import Event

LATE_MS: Final = (400_000, 600_000)
"""Behind the default 310 s of out-of-orderness and lateness, and the pane that the watermark stands in."""
SEALED_MS: Final = 340_000
"""An event this much older than the newest one is late by the default settings, with half a minute to spare."""
DOUBLED_MS: Final = 5_000
"""A duplicate comes at most this much later."""


class Record(NamedTuple):
    """One Kafka record: when it leaves (true time, ms), the user as key, JSON as value, mostly."""

    at_ms: int
    key: bytes
    value: bytes


_Held = tuple[int, int, Record, str, int]


def records(world: World, happened: Iterable[Happening], ledger: Ledger | None = None) -> Iterator[Record]:
    """Yield what arrives, in order; tell `ledger` of every record as it is yielded, and of what is lost.

    What is late or doubled is held until its time; at the end duplicates are let go, and what is late is lost.
    """
    chance = Random(f"{world.seed}:transit")  # noqa: S311 a simulation, no secret
    order = count()
    # Mutable state: what is on its way, with its outcome and event time; bounded by the delay times the rate.
    held: list[_Held] = []
    newest_ms = 0
    for at_ms, event in happened:
        while held and held[0][0] <= at_ms:
            one = heapq.heappop(held)
            if one[3] != "late" or one[4] + SEALED_MS <= newest_ms:
                yield _arrived(one, ledger)
            elif ledger is not None:
                ledger.lost += 1
        now = world.conditions(at_ms)
        if now.is_orderly:
            if ledger is not None:
                ledger.delivered(event)
            newest_ms = at_ms
            yield Record(at_ms, event.user.encode(), codec.encode(event))
            continue
        if event.arm == "personalized" and chance.random() < now.lost:
            if ledger is not None:
                ledger.lost += 1
            continue
        record = Record(at_ms, event.user.encode(), codec.encode(event))
        if chance.random() < now.late:
            due_ms = at_ms + chance.randint(*LATE_MS)
            heapq.heappush(held, (due_ms, next(order), record._replace(at_ms=due_ms), "late", event.ts))
        else:
            if ledger is not None:
                ledger.delivered(event)
            newest_ms = at_ms
            yield record
            if chance.random() < now.duplicates:
                due_ms = at_ms + int(chance.random() * DOUBLED_MS)
                heapq.heappush(held, (due_ms, next(order), record._replace(at_ms=due_ms), "duplicate", event.ts))
        if chance.random() < now.malformed:
            garbage = record._replace(value=_garbage(event, record.value, chance))
            yield _arrived((at_ms, 0, garbage, "rejected", event.ts), ledger)
    for one in sorted(held):
        if one[3] != "late":
            yield _arrived(one, ledger)
        elif ledger is not None:
            ledger.lost += 1


def _arrived(one: _Held, ledger: Ledger | None) -> Record:
    _, _, record, outcome, _ = one
    if ledger is not None:
        ledger.refused(outcome)
    return record


def _garbage(event: Event, value: bytes, chance: Random) -> bytes:
    """Return what a faulty client makes of a record. Five cases: cut, no UTF-8, no object, strange type, seconds."""
    case = chance.randrange(5)
    if case == 0:
        return value[: len(value) // 2]
    if case == 1:
        return b"\xff\xfe" + value
    if case == 2:
        return b"[" + value + b"]"
    if case == 3:
        return value.replace(b'"type":"', b'"type":"x_', 1)
    return value.replace(b'"ts":%d' % event.ts, b'"ts":%d' % (event.ts // 1000), 1)
