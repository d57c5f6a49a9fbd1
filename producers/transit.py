"""The way from what happens to what arrives: bytes in the order of arrival, with all that scenarios do to them.

    happening --> lost | on time | late (400...600 s)      and beside it: a duplicate a little later, garbage

A late record whose time comes when its pane cannot have been sealed (the traffic has ended, or is a trickle) is lost
instead: whether it counts would depend on the other records of its partition. For the same reason the ledger is exact
about late records only where every partition gets an event every half minute.

Without such a scenario a record is the event, encoded. The ledger, if there is one, is told what must come of each.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import count
from random import Random
from typing import Final, NamedTuple

from producers.ledger import Ledger
from producers.scenarios import Conditions
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


def records(world: World, happened: Iterable[Happening], ledger: Ledger | None = None) -> Iterator[Record]:
    """Yield what arrives, in order; tell `ledger` of every record as it is yielded, and of what is lost.

    What is late or doubled is held until its time; at the end duplicates are let go, and what is late is lost.
    """
    way = _Way(world.seed, ledger)
    for at_ms, event in happened:
        yield from way.due(at_ms)
        now = world.conditions(at_ms)
        record = Record(at_ms, event.user.encode(), codec.encode(event))
        if now.is_orderly:
            way.newest_ms = max(way.newest_ms, event.ts)
            if ledger is not None:
                ledger.delivered(event)
            yield record
        else:
            yield from way.astray(record, event, now)
    yield from way.due(None)


class _Held(NamedTuple):
    due_ms: int
    order: int
    record: Record
    outcome: str
    ts: int


class _Way:
    """Mutable state: what is on its way, bounded by the delay times the rate; the newest event that arrived in time."""

    def __init__(self, seed: int, ledger: Ledger | None) -> None:
        self._chance = Random(f"{seed}:transit")  # noqa: S311 a simulation, no secret
        self._ledger = ledger
        self._order = count()
        self._held: list[_Held] = []
        self.newest_ms = 0

    def due(self, at_ms: int | None) -> Iterator[Record]:
        """Yield what was held until `at_ms`; None is the end of time."""
        held = self._held
        while held and (at_ms is None or held[0].due_ms <= at_ms):
            one = heapq.heappop(held)
            if one.outcome != "late" or (at_ms is not None and one.ts + SEALED_MS <= self.newest_ms):
                yield self._refused(one.record, one.outcome)
            else:
                self._lost()

    def astray(self, record: Record, event: Event, now: Conditions) -> Iterator[Record]:
        """Yield what a record becomes at once, and hold what comes of it later."""
        chance = self._chance.random
        if event.arm == "personalized" and chance() < now.lost:
            self._lost()
            return
        if chance() < now.late:
            self._hold(record, self._chance.randint(*LATE_MS), "late", event.ts)
        else:
            self.newest_ms = max(self.newest_ms, event.ts)
            if self._ledger is not None:
                self._ledger.delivered(event)
            yield record
            if chance() < now.duplicates:
                self._hold(record, int(chance() * DOUBLED_MS), "duplicate", event.ts)
        if chance() < now.malformed:
            yield self._refused(record._replace(value=_garbage(event, record.value, self._chance)), "rejected")

    def _hold(self, record: Record, delay_ms: int, outcome: str, ts: int) -> None:
        due_ms = record.at_ms + delay_ms
        heapq.heappush(self._held, _Held(due_ms, next(self._order), record._replace(at_ms=due_ms), outcome, ts))

    def _refused(self, record: Record, outcome: str) -> Record:
        if self._ledger is not None:
            self._ledger.refused(outcome)
        return record

    def _lost(self) -> None:
        if self._ledger is not None:
            self._ledger.lost += 1


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
