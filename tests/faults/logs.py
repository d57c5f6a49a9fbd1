"""Short logs that exercise the counting, and what counting them gives at every offset.

A log is written once and shown batch by batch. `Fold` is the whole truth of a simulation: the same records, one at a
time, by one owner that nothing ever happens to.
"""

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Any, Final, NamedTuple

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.events import Arm, Click, Conversion, Event, Impression
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import plan_of

START_MS: Final = 1_790_000_000_000
PLAN: Final = plan_of(["conversion", "visits", "ranking", "people"])
"""Something of every form of state: sums by pane and hour, sums by day, bins, what is followed to its end.

The checkpoint knows no measure; a whole catalogue of them would take twice the time for the same schedules.
"""
RULES: Final = Rules(max_remembered=24)
"""So little memory that forgetting is part of every log."""
_ARMS: Final[tuple[Arm, ...]] = ("personalized", "holdout")
_GARBAGE: Final = (b"{", b"null", b"", None)
Gaps = tuple[tuple[int, int], ...]
"""Ranges of offsets that retention took before they were counted."""


class Batch(NamedTuple):
    """Records as the broker keeps them; offsets between the last record and `next` hold none."""

    first: int
    next: int
    arrived_ms: int
    values: tuple[bytes | None, ...]


class Log(NamedTuple):
    """All that will ever be in one partition. `number` makes its contents, its batches are those of every log."""

    number: int
    batches: tuple[Batch, ...]

    def ends(self) -> list[int]:
        """Return the offsets at which the log can end: whole batches."""
        return [0, *(batch.next for batch in self.batches)]

    def read(self, start: int, end: int, at_most: int) -> tuple[int, tuple[Span, ...]]:
        """Return the offset after up to `at_most` batches from `start` on, and their records."""
        spans: list[Span] = []
        position = start
        for batch in self.batches:
            if batch.next <= start or batch.next > end or not at_most:
                continue
            at_most -= 1
            position = batch.next
            skip = max(0, start - batch.first)
            if batch.values[skip:]:
                spans.append(Span(batch.first + skip, batch.arrived_ms, batch.values[skip:]))
        return position, tuple(spans)


@lru_cache
def log(number: int) -> Log:
    """Return the log of that number: some seventy records of a few people over several hours, good and bad."""
    shape, chance = Random(1), Random(number)
    batches: list[Batch] = []
    offset, at_ms = 0, START_MS
    events: list[Event] = []
    for _ in range(24):
        size, hole = shape.randrange(1, 6), shape.choice((0, 0, 0, 1, 3))
        at_ms += chance.choice((500, 4_000, 11_000, 11_000, 400_000, 2_500_000))
        values: list[bytes | None] = []
        for index in range(size):
            kind = chance.random()
            if kind < 0.06:
                values.append(chance.choice(_GARBAGE))
                continue
            if kind < 0.16 and events:
                values.append(codec.encode(chance.choice(events)))
                continue
            event = _event(chance, f"{number}-{offset + index}", at_ms + index * 100, events)
            events.append(event)
            values.append(codec.encode(event))
        batches.append(Batch(offset, offset + size + hole, at_ms + 1_000, tuple(values)))
        offset += size + hole
    return Log(number, tuple(batches))


def _event(chance: Random, ident: str, at_ms: int, events: Sequence[Event]) -> Event:
    shown = [event for event in events if isinstance(event, Impression)][-6:]
    told: dict[str, Any]
    kind = chance.random()
    if kind < 0.06:
        at_ms += chance.choice((-3_600_000, 3_600_000))
    if kind < 0.55 or not shown:
        user = f"u{chance.randrange(5)}"
        decision, item = f"d{ident}", f"i{chance.randrange(3)}"
        arm, surface = chance.choice(_ARMS), chance.choice(("home", "cart"))
        told = {"user": user, "decision": decision, "item": item, "position": 1}
        return Impression(id=ident, ts=at_ms, surface=surface, arm=arm, **told)
    seen = chance.choice(shown)
    told = {"user": seen.user, "decision": seen.decision, "item": seen.item}
    if kind < 0.85:
        return Click(id=ident, ts=at_ms, **told)
    return Conversion(
        id=ident, ts=at_ms, goal="purchase", value_minor=chance.randrange(1, 9_999), currency="EUR", **told
    )


class Truth(NamedTuple):
    """All that counting has to give at one offset, in a form that does not depend on how it was written."""

    applied: int
    outcomes: dict[str, int]
    rejected: dict[str, int]
    times: tuple[int, int]
    slices: tuple[Any, ...]
    cells: dict[str, dict[int, list[int]]]
    remembered: dict[str, tuple[int, int, int, dict[int, Any], dict[int, Any]]]

    def against(self, other: "Truth") -> str:
        """Return in which parts they differ."""
        return ", ".join(
            f"{name}: {mine!r:.300} != {theirs!r:.300}"
            for name, mine, theirs in zip(self._fields, self, other, strict=True)
            if mine != theirs
        )


def truth_of(state: Partition) -> Truth:
    """Return what a state says."""

    def rows(packed: Any) -> dict[int, list[int]]:
        unpacked = layout.unpack_rows(packed) if isinstance(packed, bytes) else packed
        return {number: list(tally) for number, tally in unpacked.items()}

    state.bins.settle()  # what was gathered is added once a pane, or at a checkpoint
    head = state.head
    cells = {}
    for kept in (state.cells, state.bins.cells):
        cells |= {f"{kept.prefixes.pane}{start}": rows(held) for start, held in kept.panes.items()}
        cells |= {f"{kept.prefixes.hour}{start}": rows(held) for start, held in kept.hours.items()}
        cells |= {f"{kept.prefixes.day}{start}": rows(held) for start, held in kept.days.items()}
    return Truth(
        head.applied,
        {name: number for name, number in head.outcomes.items() if number},
        dict(head.rejected),
        (state.watermark.newest_ms, state.cells.floor_ms),
        tuple(state.slices.slices),
        cells,
        {
            table.name: (table.generation, table.started_ms, table.forgotten, dict(table.newer), dict(table.older))
            for table in state.joins.tables
        },
    )


class Fold:
    """The truth of one log from `first` on, without its gaps. Mutable state: how far it has been computed."""

    def __init__(self, number: int, first: int, gaps: Gaps) -> None:
        self._state = Partition(PLAN, RULES)
        self._first = first
        records = [
            (batch.first + index, batch.arrived_ms, value)
            for batch in log(number).batches
            for index, value in enumerate(batch.values)
        ]
        self._offsets = [
            (offset, arrived, value)
            for offset, arrived, value in records
            if offset >= first and not any(begin <= offset < end for begin, end in gaps)
        ]
        self._truths = [truth_of(self._state)]

    def below(self, offset: int) -> Truth:
        """Return the truth of all records below `offset`."""
        wanted = sum(1 for record in self._offsets if record[0] < offset)
        while len(self._truths) <= wanted:
            at, arrived_ms, value = self._offsets[len(self._truths) - 1]
            self._state.process((Span(at, arrived_ms, (value,)),))
            self._truths.append(truth_of(self._state))
        return self._truths[wanted]


@lru_cache
def fold(number: int, first: int = 0, gaps: Gaps = ()) -> Fold:
    """Return the fold of a log."""
    return Fold(number, first, gaps)
