"""Measures and tallies: what is added, and the group in which it is added.

A `Measure` says on which occasion it grows and by how much: always by an integer, so that sums are exact, do not
depend on order, and are bit-identical after replay, merge and recovery. A `Tally` is the vector of all measures.
The aggregation loop adds in place to plain lists that it owns; `Tally` is the value that everyone else passes on.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from operator import add, neg, sub
from typing import Any, Final, NamedTuple

from stream_app.core.events import Event
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Aged, Between, Growth, Kind, Later, between, later


class Occasion(IntEnum):
    """What happened, once attribution has decided whose credit it is."""

    IMPRESSION = 0
    SESSION = 1
    CLICK = 2
    REPEAT_CLICK = 3
    CONVERSION = 4
    EXPOSURE = 5
    REVENUE = 6
    FOREIGN_REVENUE = 7
    SCORES = 8
    EXCLUDED = 9
    OTHER = 10
    LIST = 11
    PREDICTION = 12
    CHOICE = 13
    SHOWN_ITEM = 14
    REPEATED_ORDER = 15
    AT_RISK = 16
    FIRST_CLICK = 17
    FIRST_CONVERSION = 18
    RATED = 19
    POSITIONS_AT_RISK = 20
    FIRST_CLICK_AT = 21


NAME_BITS: Final = 24
"""Of the digest of a histogram's meaning, as stored in the key of each of its bins."""
BINS: Final = "[]"
"""Stands in the column of a histogram, which has no place in the vector."""
Subject = Occasion | type[Event] | Kind | Aged


def one(_: Any) -> int:
    """Lift any subject to 1: the measure counts."""
    return 1


class Measure(NamedTuple):
    """An additive integer.

    `on` is the occasion it grows on: one that attribution decides about, every event of a type, every change of a kind
    of record, or the same on the day on which the record is of age. `lift` maps the occasion's subject to the amount:
    the event, a record (`growth`), its growth by that day, minor units of revenue. With `given`, it grows only where
    that attribute of the subject is not None. Who changes what `lift` means counts `version` up: amounts of the former
    meaning are dropped. With `is_counter`, a worker also tells Prometheus how much of it it has counted itself.
    """

    name: str
    help: str
    unit: str
    on: Subject
    lift: Callable[[Any], int] = one
    given: str | None = None
    version: int = 1
    is_counter: bool = False

    @property
    def column(self) -> str:
        """The name under which amounts are stored: another meaning has another name."""
        on = self.on.__name__ if isinstance(self.on, type) else self.on.name
        return f"{self.name}:{on}:{self.given or ''}:{self.unit}:{self.version}"


class Histogram(NamedTuple):
    """An additive amount per bin.

    `on` is the type of event, or the kind of record, that it grows on. `bin` gives the number of the bin (None: in
    none; cut to 16 bits), `weight` the integer that is added there. Of a record both are functions of the record
    itself: when it changes, it leaves its former bin and enters the new one. `version` is counted up with the meaning.
    """

    name: str
    help: str
    unit: str
    on: type[Event] | Kind
    bin: Callable[[Any], int | None]
    weight: Callable[[Any], int] = one
    version: int = 1

    @property
    def column(self) -> str:
        """Its meaning, as stored: another meaning has another name."""
        on = self.on.name if isinstance(self.on, Kind) else self.on.__name__
        return f"{self.name}:{on}:{BINS}:{self.unit}:{self.version}"

    @property
    def number(self) -> int:
        """The number under which its bins are stored: that of its meaning."""
        return _number(self.column)


class Spread(NamedTuple):
    """Amounts in numbered bins of which one subject changes several: sums that belong together, a vector, a histogram.

    `amounts` maps the subjects that an occasion had, each with how often it had it, to what is added to which bin. It
    must be additive: so many subjects at once, as all of them one by one. That is what makes it cheap where subjects
    recur. Stored like the bins of a histogram, by surface and arm. `version` is counted up with the meaning.
    """

    name: str
    help: str
    unit: str
    on: Occasion
    amounts: Callable[[Mapping[Any, int]], Mapping[int, int]]
    version: int = 1

    @property
    def column(self) -> str:
        """Its meaning, as stored: another meaning has another name."""
        return f"{self.name}:{self.on.name}:{BINS}:{self.unit}:{self.version}"

    @property
    def number(self) -> int:
        """The number under which its bins are stored: that of its meaning."""
        return _number(self.column)


Binned = Histogram | Spread


def _number(column: str) -> int:
    return int.from_bytes(hashlib.sha256(column.encode()).digest()[: NAME_BITS // 8])


def name_of(column: str) -> str:
    """Return the name of the measure or histogram that is stored in `column`."""
    return column.partition(":")[0]


def has_place(column: str) -> bool:
    """Say whether a column is one of the vector: a measure's, not a histogram's."""
    return f":{BINS}:" not in column


class Tally(tuple[int, ...]):
    """An immutable vector of measures: a commutative group under `+`, with `zero(width)` and unary minus."""

    __slots__ = ()

    @classmethod
    def zero(cls, width: int) -> "Tally":
        """Return the neutral element of `width` measures."""
        return cls((0,) * width)

    @classmethod
    def total(cls, tallies: Iterable[Sequence[int]], width: int) -> "Tally":
        """Return the sum of `tallies`."""
        sums = [0] * width
        for tally in tallies:
            add_into(sums, tally)
        return cls(sums)

    def __add__(self, other: Sequence[int]) -> "Tally":  # type: ignore[override]  # a vector sum, not concatenation
        """Return the sum, measure by measure."""
        return Tally(map(add, self, other))

    def __sub__(self, other: Sequence[int]) -> "Tally":
        """Return the difference, measure by measure."""
        return Tally(map(sub, self, other))

    def __neg__(self) -> "Tally":
        """Return the inverse element."""
        return Tally(map(neg, self))


def add_into(sums: list[int], tally: Sequence[int]) -> None:
    """Add `tally` to `sums` in place: the same group, without a new object."""
    for index, amount in enumerate(tally):
        if amount:
            sums[index] += amount


Lifts = tuple[tuple[int, Callable[[Any], int]], ...]


class Group(NamedTuple):
    """Measures of one occasion that depend on the same attribute of its subject ("" for none)."""

    given: str
    ones: tuple[int, ...]
    lifts: Lifts


Step = tuple[tuple[int, ...], tuple[Group, ...]]
"""What always grows by one, and the groups that grow conditionally or by more."""
NOTHING: Final[Step] = (), ()


class Plan(NamedTuple):
    """Measures compiled for the loop: per occasion, what grows by one, and what grows conditionally or by more.

    `columns` is the layout of the vector, as stored; `meanings` are those of everything kept. An occasion on which
    nothing grows is in neither of `steps` and `grown`; the latter has what grows with records. `kinds` are the records
    that measures and histograms read, `aged` those that are told by their age, `later` what is told so of a kind, and
    `delays` how much later than what they are about (ms) some columns are told. `counters` are the places of what a
    worker tells Prometheus itself.
    """

    width: int
    columns: tuple[str, ...]
    steps: Mapping[Subject, Step]
    grown: Mapping[Subject, Between]
    histograms: tuple[Binned, ...] = ()
    kinds: tuple[Kind, ...] = ()
    aged: tuple[Aged, ...] = ()
    delays: Mapping[str, int] = {}  # never written to
    counters: tuple[int, ...] = ()
    later: Mapping[Kind, Later] = {}  # never written to

    @property
    def meanings(self) -> tuple[str, ...]:
        """The columns of the measures in their order, then those of the histograms."""
        return (*self.columns, *(histogram.column for histogram in self.histograms))

    def place_of(self, measure: str) -> int | None:
        """Return where a measure stands in the vector; None where it is not counted."""
        return next((at for at, column in enumerate(self.columns) if name_of(column) == measure), None)

    @classmethod
    def of(cls, measures: Sequence[Measure], histograms: Sequence[Binned] = ()) -> "Plan":
        """Compile `measures`; their order is the layout of the vector.

        Raises ValueError when two share a name, TypeError when a measure of records does not lift by `growth`.
        """
        steps: dict[Subject, Step] = {}
        grown: dict[Subject, list[tuple[int, Growth]]] = {}
        for place, measure in enumerate(measures):
            if isinstance(measure.lift, Growth):
                grown.setdefault(measure.on, []).append((place, measure.lift))
            elif isinstance(measure.on, Kind):
                raise TypeError(f"{measure.name} grows with a record: lift it by growth(...)")
        for occasion in dict.fromkeys(measure.on for measure in measures):
            own = [
                (index, measure)
                for index, measure in enumerate(measures)
                if measure.on == occasion and not isinstance(measure.lift, Growth)
            ]
            if not own:
                continue
            groups = []
            for given in dict.fromkeys(measure.given or "" for _, measure in own):
                ones = tuple(i for i, m in own if (m.given or "") == given and m.lift is one)
                lifts = tuple((i, m.lift) for i, m in own if (m.given or "") == given and m.lift is not one)
                groups.append(Group(given, ones, lifts))
            always = next((group.ones for group in groups if not group.given), ())
            rest = tuple(g if g.given else g._replace(ones=()) for g in groups if g.given or g.lifts)
            steps[occasion] = always, rest
        subjects = [*(measure.on for measure in measures), *(histogram.on for histogram in histograms)]
        aged = tuple(dict.fromkeys(on for on in subjects if isinstance(on, Aged)))
        told = (on.kind if isinstance(on, Aged) else on for on in subjects)
        kinds = tuple(dict.fromkeys(on for on in told if isinstance(on, Kind)))
        for names in ([m.column for m in measures], [h.number for h in histograms], [k.table for k in kinds]):
            if len(set(names)) < len(names):
                raise ValueError(f"two of these have one name: {names}")
        delays = {m.column: m.on.days * DAY_MS for m in measures if isinstance(m.on, Aged)}
        return cls(
            len(measures),
            tuple(measure.column for measure in measures),
            steps,
            {on: between(growths, type(on.blank) if isinstance(on, Kind) else None) for on, growths in grown.items()},
            tuple(histograms),
            kinds,
            aged,
            delays,
            tuple(place for place, measure in enumerate(measures) if measure.is_counter),
            {
                kind: later([(each, [lift for group in steps[each][1] for lift in group.lifts]) for each in those])
                for kind in kinds
                if (those := [each for each in aged if each.kind == kind])
            },
        )
