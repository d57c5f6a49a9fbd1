"""Records: what is remembered of a session, an order, a person while it can change, and how measures grow with it.

A record is a short tuple of integers. Any integer function of it is a measure: whatever changes the record adds by how
much the function grew, to the cell in which the record is at home: the pane and slice of what began it. So sums of
squares, or counts of sessions with at least one click, are additive over panes like everything else, and never wait
for a session's end.

    page_view      page_view             order          home: the pane of the first page_view
    visit(1, 0)    visit(2, 0)           visit(2, 1)
    pages +1       pages +1, squares +3  buyers +1      all of it is added at home

Families of metrics declare which records there are, as a `Kind` each; the exposures and scores below are those that
attribution itself looks after.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from stream_app.core.events import Event
from stream_app.core.panes import DAY_MS


class Exposure(NamedTuple):
    """One session at one surface, in one arm; at home in the pane and slice of its first impression there."""

    at_ms: int
    slice_number: int
    clicks: int = 0
    conversions: int = 0
    revenue_minor: int = 0


class Scores(Struct, frozen=True, gc=False):
    """By how much the sums over sessions grow with what one was shown: the session itself, and three products.

    Of a session's sum of relevance and its number of scored impressions: sum squared (in millionths), number squared,
    number times sum (in millionths). Computed where the session is known, for most events are impressions.
    """

    sessions: int
    squares: int
    counts_squared: int
    products: int


def _never(_record: Any, _event: Any) -> bool:
    return False


class Kind(NamedTuple):
    """A kind of record that events of the types `on` keep.

    `key` names the thing that an event is about (None: none of this kind). `blank` is a record of which nothing is
    known: a NamedTuple of integers with a default each, to which later versions may only append. `change` returns the
    record after the event, the same one where nothing changes. Where `begins_anew` says so the record is let go and the
    event begins another under the same key, at home where that event is. Where `moves` says so it takes all it is along
    to where the event is: so whoever was last seen in a window is at home in it, once. A record is kept for
    `horizon_ms` of event time after its last change at least, unless there is no room.

    Of somebody who denies analytics nothing that `is_personal` is kept. Who changes what an old record means counts
    `version` up: the former ones are forgotten.
    """

    name: str
    on: tuple[type[Event], ...]
    key: Callable[[Any], str | None]
    blank: Any
    change: Callable[[Any, Any], Any]
    begins_anew: Callable[[Any, Any], bool] = _never
    moves: Callable[[Any, Any], bool] = _never
    horizon_ms: int = DAY_MS
    is_personal: bool = True
    version: int = 1

    @property
    def table(self) -> str:
        """The name of the table in which the records are remembered."""
        return f"{self.name}.{self.version}"


class Home(NamedTuple):
    """Where a record is at home: the start of a pane, and a slice."""

    at_ms: int
    slice_number: int


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, ...]).decode


def pack(home: Home, record: tuple[int, ...]) -> bytes:
    """Pack a record with its home: some 20 bytes of integers take less memory than a tuple of them."""
    return _encode((*home, *record))


def unpack(packed: bytes, kind: Kind) -> tuple[Home, Any]:
    """Undo `pack`."""
    at_ms, number, *values = _decode(packed)
    return Home(at_ms, number), type(kind.blank)(*values)


def packed_at(packed: bytes) -> int:
    """Return the event time of a packed record's home."""
    return _decode(packed)[0]


class Change(NamedTuple):
    """A record before and after something happened."""

    before: Any
    after: Any


def growth(of: Callable[[Any], int]) -> Callable[[Change], int]:
    """Lift a change to how much `of` grew by it; of a new record, the change is from one without growth."""

    def lift(change: Change) -> int:
        return int(of(change.after)) - int(of(change.before))

    return lift
