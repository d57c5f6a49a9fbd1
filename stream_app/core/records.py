"""Records: what is remembered of a session, an order, a person while it can change, and how measures grow with it.

A record is a short tuple of integers. Any integer function of it is a measure: whatever changes the record adds by how
much the function grew, to the cell in which the record is at home: the pane and slice of what began it. So sums of
squares, or counts of sessions with at least one click, are additive over panes like everything else, and never wait
for a session's end.

    page_view      page_view             order          home: the pane of the first page_view
    visit(1, 0)    visit(2, 0)           visit(2, 1)
    pages +1       pages +1, squares +3  buyers +1      all of it is added at home

What is said of people once they are so many days old is told on the day on which they are (`Aged`): a window then
has exactly those who came of that age in it, so everything in it is settled, and no window has to look back further
than it is long.

    first seen on the 1st, on day 7 again        d:1st     d:2nd     ...   d:9th                  the days of cells
    Aged(PEOPLE, 8)                                                        people +1, returned +1

Families of metrics declare which records there are, as a `Kind` each; the exposures and scores below are those that
attribution itself looks after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import sub
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from stream_app.core.events import Event
from stream_app.core.panes import DAY_MS
from stream_app.core.slices import DIMENSIONS


class Exposure(NamedTuple):
    """One session at one surface, in one arm; at home in the pane and slice of its first impression there.

    `goals` has the bits (`core.goals`) of those that it reached. `clicked_ms` is when it was clicked first; of that
    which was stored before this was told, the beginning of time.
    """

    at_ms: int
    slice_number: int
    clicks: int = 0
    conversions: int = 0
    revenue_minor: int = 0
    goals: int = 0
    clicked_ms: int = 0


class Scores(Struct, frozen=True, gc=False):
    """By how much the sums over sessions grow with what one was shown: the session itself, and three products.

    Of a session's sum of relevance and its number of scored impressions: sum squared (in millionths), number squared,
    number times sum (in millionths). Computed where the session is known, for most events are impressions.
    """

    sessions: int
    squares: int
    counts_squared: int
    products: int


AMOUNTS_REMEMBERED: Final = 4_096
"""Records of each kind whose amounts are remembered, those used last: some 2 MB."""


def never(_record: Any, _event: Any) -> bool:
    """Say no: what most kinds answer where a record might move, or begin anew."""
    return False


class Kind(NamedTuple):
    """A kind of record that events of the types `on` keep.

    `key` names the thing that an event is about (None: none of this kind). `blank` is a record of which nothing is
    known: a NamedTuple of integers with a default each, to which later versions may only append. `change` returns the
    record after the event, the same one where nothing changes. Where `begins_anew` says so the record is let go and the
    event begins another under the same key, at home where that event is, with what `leaves` returns of the former:
    nothing, by default, and otherwise what no measure or histogram reads yet. Where `moves` says so it takes all it is
    along to where the event is: so whoever was last seen in a window is at home in it, once. A record is kept for
    `horizon_ms` of event time after its last change at least, unless there is no room.

    Its home is told apart by `dimensions`; all others read `none` there.

    With `on_exposure`, the impressions with which a session begins to see a surface change the record too: they are
    rare, and say who was there. An event whose money is in another currency than the reporting one changes the record
    by `change_abroad`, where there is one: two currencies are never added.

    Where `shows` is a number, measures and histograms read the first so many fields alone: a change of others costs
    little. Of somebody who denies analytics nothing that `is_personal` is kept. Who changes what an old record means
    counts `version` up: the former ones are forgotten.
    """

    name: str
    on: tuple[type[Event], ...]
    key: Callable[[Any], str | None]
    blank: Any
    change: Callable[[Any, Any], Any]
    begins_anew: Callable[[Any, Any], bool] = never
    moves: Callable[[Any, Any], bool] = never
    leaves: Callable[[Any], Any] | None = None
    shows: int | None = None
    change_abroad: Callable[[Any, Any], Any] | None = None
    on_exposure: bool = False
    horizon_ms: int = DAY_MS
    dimensions: tuple[str, ...] = DIMENSIONS
    is_personal: bool = True
    version: int = 1

    def __hash__(self) -> int:
        # One of them is looked up with every event of its types.
        return hash(self.name)

    @property
    def table(self) -> str:
        """The name of the table in which the records are remembered."""
        return f"{self.name}.{self.version}"


class Aged(NamedTuple):
    """The records of a kind, told on the day on which they are that many days old; the day they began has age 0.

    `said` gives all that is told of a record, integers of which a blank record has none but 0. By how much they grow is
    added to the whole day at whose beginning (UTC) the record has had `days` of them: usually a day that lies ahead.
    Events of that day and later ones tell nothing there, so what is said depends only on what these do not change.
    The lift of a measure takes its part of the growth.
    """

    kind: Kind
    days: int
    said: Callable[[Any], tuple[int, ...]]

    def __hash__(self) -> int:
        return hash((self.kind.name, self.days))

    @property
    def name(self) -> str:
        """What it is called in the column of a measure."""
        return f"{self.kind.name}+{self.days}d"

    def grown(self, before: Any, after: Any) -> tuple[int, ...]:
        """Return by how much each part of what is said grows."""
        return tuple(map(sub, self.said(after), self.said(before)))


encode: Final = msgspec.msgpack.Encoder().encode
"""Packs a record behind its home (the start of a pane, and a slice): 20 bytes of integers, less than a tuple takes."""
decode: Final = msgspec.msgpack.Decoder(tuple[int, ...]).decode
"""Undoes `encode`: the two integers of the home, then those of the record."""


def packed_at(packed: bytes) -> int:
    """Return the event time of a packed record's home."""
    return decode(packed)[0]


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a measure grows when a record changes: by what `of` is more of the record after than before."""

    of: Callable[[Any], int]

    def __call__(self, record: Any) -> int:
        """Return what the measure has of a record."""
        return self.of(record)


def growth(of: Callable[[Any], int]) -> Growth:
    """Lift a record to what a measure has of it: an integer, 0 of a record of which nothing is known."""
    return Growth(of)


Differences = tuple[tuple[int, int], ...]
"""Places in the tally, each with what is added there."""


Between = Callable[[Any, Any], Differences]
"""What all measures of one kind have more of a record than of another; both as far as the kind `shows` them."""


def between(growths: Sequence[tuple[int, Growth]], make: Callable[..., Any] | None = None) -> Between:
    """Compile measures by their places in the tally. `make` gives the record that fields shown are of.

    Records become alike: most people of a day did the same one thing. And a record was looked at when it became what it
    is. So both the differences and the amounts that were worked out last are remembered.
    """
    places = tuple(place for place, _ in growths)
    functions = [growth.of for _, growth in growths]

    @lru_cache(maxsize=AMOUNTS_REMEMBERED)
    def amounts(shown: Any) -> tuple[int, ...]:
        record = make(*shown) if make else shown
        return tuple([of(record) for of in functions])

    @lru_cache(maxsize=AMOUNTS_REMEMBERED // 4)
    def differences(before: Any, after: Any) -> Differences:
        both = zip(places, amounts(before), amounts(after), strict=True)
        return tuple([(place, more - less) for place, less, more in both if more != less])

    return differences


OnDays = tuple[tuple[int, Differences], ...]
"""Ages in days, each with what is told on the day on which a record is as old."""
Later = Callable[[Any, Any, int], OnDays]
"""What is told later once a record became another at an age of so many days: none of the days that have begun."""


def later(told: Sequence[tuple[Aged, Sequence[tuple[int, Callable[[Any], int]]]]]) -> Later:
    """Compile what is told of one kind by age: of each `Aged` the places in the tally, and how what grew is lifted.

    People of a day are much alike, and so are the changes of their records: those that were worked out last are
    remembered, and equal ones are one object.
    """

    @lru_cache(maxsize=AMOUNTS_REMEMBERED // 4)
    def on_days(before: Any, after: Any, age: int) -> OnDays:
        ahead = ((aged.days, lifts, aged.grown(before, after)) for aged, lifts in told if aged.days > age)
        differences = ((days, tuple((at, more) for at, lift in lifts if (more := lift(g)))) for days, lifts, g in ahead)
        return tuple((days, amounts) for days, amounts in differences if amounts)

    return on_days
