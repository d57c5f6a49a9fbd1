"""What one partition remembers, for attribution and of every kind of record, and since when each of it matters."""

import struct
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from stream_app.core.followed import listed_at
from stream_app.core.memory import Bound, Remembered
from stream_app.core.records import Kind, packed_at
from stream_app.core.rules import Rules

ARM_HORIZON_MS: Final = 28 * 86_400_000
"""How long an assignment speaks for a user whose events name no arm."""
ORDER_HORIZON_MS: Final = 28 * 86_400_000
"""How long an order id is taken."""
RECORDS_SHARE: Final = 12
"""Of the impressions remembered, one in so many may be a record of each kind."""


class Shown(NamedTuple):
    """What is remembered of an impression.

    It is kept as packed bytes, 64 of memory: a tuple and its integers take 176, and this is most of what there is.
    """

    at_ms: int
    slice_number: int
    exposure: int
    user: int


_LAYOUT: Final = struct.Struct(">qIQQ")
pack_shown: Final = _LAYOUT.pack


def unpack_shown(packed: bytes) -> Shown:
    """Undo `pack_shown`."""
    return Shown(*_LAYOUT.unpack(packed))


def _shown_at(packed: bytes) -> int:
    return int.from_bytes(packed[:8])


class Joins:
    """What one partition remembers for attribution: bounded tables keyed by 60-bit hashes.

    ids          event id                 -> (pane,)
    impressions  decision and item        -> Shown, packed; also the decision's first, by itself
    clicks       impression               -> (at, user)
    waiting      impression not yet seen  -> (at of the click, user)
    exposures    session, surface and arm -> Exposure; (pane, slice) until something comes of it
    scores       session, surface and arm -> (pane, slice, impressions scored, their relevance), for a session's time
    sessions     user without session ids -> (last activity, start)
    lists        decision                 -> what of it was seen and clicked (core/followed.py), packed
    arms         user                     -> (pane, arm by number)
    orders       order id                 -> (at,)
    records      per kind: thing          -> record with its home, packed

    Who looked and clicked last is derived from `impressions` and `clicks`, and forgotten with them: for that, the
    two are only ever appended to, and an impression's own key stands after its decision's.
    """

    def __init__(self, rules: Rules, kinds: Sequence[Kind] = ()) -> None:
        self.rules = rules
        capacity = rules.max_remembered // 2
        # An impression takes two places and begins at most one session: half as many sessions reach as far back.
        sessions = capacity // 2
        join_ms = max(rules.click_conversion_window_ms, rules.view_conversion_window_ms, rules.click_window_ms)

        def table(
            name: str, horizon_ms: int, capacity: int = capacity, *, packs_older: bool = False
        ) -> Remembered[tuple[int, ...]]:
            return Remembered(name, Bound(capacity, horizon_ms), itemgetter(0), packs_older=packs_older)

        self.ids = table("ids", join_ms)
        self.impressions: Remembered[bytes] = Remembered("impressions", Bound(capacity, join_ms), _shown_at)
        self.clicks = table("clicks", join_ms)
        # A click is looked for where its impression was found, and only there.
        self.impressions.followers = (self.clicks,)
        self.waiting = table("waiting", max(rules.click_window_ms, 1), packs_older=True)
        self.exposures = table("exposures", join_ms, sessions, packs_older=True)
        # One that is forgotten early counts as a new session: the interval is then a little too narrow, no count wrong.
        self.scores = table("scores", rules.session_gap_ms * 4, max(1, sessions // 4), packs_older=True)
        # A list of three takes four places among the impressions: a quarter as many lists reach as far back.
        lists = max(1, capacity // 4)
        self.lists_ms = max(rules.click_window_ms, rules.session_gap_ms)
        self.lists: Remembered[bytes] = Remembered("lists", Bound(lists, self.lists_ms), listed_at)
        self.sessions = table("sessions", rules.session_gap_ms * 4, sessions, packs_older=True)
        self.arms = table("arms", ARM_HORIZON_MS, packs_older=True)
        self.orders = table("orders", ORDER_HORIZON_MS, max(1, capacity // RECORDS_SHARE), packs_older=True)
        records = max(1, capacity // RECORDS_SHARE)
        self.records: dict[Kind, Remembered[bytes]] = {
            kind: Remembered(kind.table, Bound(records, kind.horizon_ms), packed_at, packs_older=True) for kind in kinds
        }

    @property
    def tables(self) -> Sequence[Remembered[Any]]:
        """All tables, in a fixed order."""
        return (
            self.ids, self.impressions, self.clicks, self.waiting, self.exposures, self.scores, self.lists,
            self.sessions, self.arms, self.orders, *self.records.values(),
        )  # fmt: skip

    def needed(self, watermark_ms: int, sealed_before_ms: int) -> Iterator[tuple[Remembered[Any], int]]:
        """Yield each table with the event time from which on its entries still matter."""
        rules = self.rules
        conversion_ms = max(rules.click_conversion_window_ms, rules.view_conversion_window_ms)
        yield self.impressions, watermark_ms - conversion_ms
        for table in (self.clicks, self.exposures):
            yield table, watermark_ms - conversion_ms
        # A duplicate of a sealed pane would be late anyway: forgetting its id can change no count.
        yield self.ids, sealed_before_ms
        yield self.waiting, watermark_ms - rules.out_of_orderness_ms
        yield self.sessions, watermark_ms - rules.session_gap_ms
        yield self.scores, watermark_ms - rules.session_gap_ms
        yield self.lists, watermark_ms - self.lists_ms
        yield self.arms, watermark_ms - ARM_HORIZON_MS
        yield self.orders, watermark_ms - ORDER_HORIZON_MS
        for kind, records in self.records.items():
            yield records, watermark_ms - kind.horizon_ms
