"""Keeping: how events change the records of every kind, and what grows with that.

Each event type has its entry of what it concerns: measures and histograms of the type itself, and kinds of records.
What no family of metrics reads costs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from xxhash import xxh3_64_intdigest as digest

from stream_app.core.aggregation import Cells
from stream_app.core.events import EVENT_TYPES, AnyEvent, Event, Impression
from stream_app.core.histograms import Bins
from stream_app.core.memory import KEY_SHIFT, Remembered
from stream_app.core.panes import pane_start
from stream_app.core.records import Kind, decode, encode, never
from stream_app.core.slices import DIMENSIONS

SliceOf = Callable[[AnyEvent], int]
Tables = Mapping[Kind, Remembered[bytes]]


class _Kept:
    """What a change of a record of one kind needs, looked up once: events are many, and kinds are few."""

    __slots__ = ("abroad", "aged", "begins_anew", "grown", "histograms", "kind", "make", "moves", "shows", "table")

    def __init__(self, kind: Kind, table: Remembered[bytes], cells: Cells, bins: Bins) -> None:
        self.kind = kind
        self.table = table
        self.grown = cells.grown_on(kind)
        self.histograms = bins.histograms_on(kind)
        self.aged = tuple((aged, cells.lifts_on(aged)) for aged in cells.aged if aged.kind == kind)
        self.begins_anew = None if kind.begins_anew is never else kind.begins_anew
        self.moves = None if kind.moves is never else kind.moves
        self.abroad = kind.change_abroad
        self.make = type(kind.blank)
        self.shows = kind.shows


class Keeping:
    """Changes records and adds what grows with them to `cells` and `bins`. Mutable state: the tables of the records."""

    __slots__ = ("_bins", "_cells", "_currency", "_exposed", "_kept", "_types")

    def __init__(self, tables: Tables, cells: Cells, bins: Bins, currency: str) -> None:
        """`currency` is the reporting currency."""
        self._currency = currency
        self._cells = cells
        self._bins = bins
        every = [_Kept(kind, table, cells, bins) for kind, table in tables.items()]
        kept = {of: tuple(each for each in every if of in each.kind.on) for of in EVENT_TYPES}
        self._kept = {of: concerned for of, concerned in kept.items() if concerned}
        self._exposed = tuple(each for each in every if each.kind.on_exposure)
        self._types = {of for of in EVENT_TYPES if cells.grows_on(of) or bins.grows_on(of)}

    def __contains__(self, of: type[Event]) -> bool:
        """Say whether events of this type change anything here."""
        return of in self._kept or of in self._types

    def take(self, event: AnyEvent, slice_of: SliceOf, *, is_personal: bool) -> None:
        """Add what grows with the event. Its slice is asked for where something is at home in it, and only there.

        For there is only so much room for slices. Where `is_personal` is False nothing is kept that is.
        """
        of = type(event)
        if of in self._types:
            slice_number = slice_of(event)
            self._cells.add(event.ts, slice_number, of, event)
            self._bins.add(event.ts, slice_number, of, event)
        name_before, key = None, 0
        for kept in self._kept.get(of, _NOTHING):
            if is_personal or not kept.kind.is_personal:
                name = kept.kind.key(event)
                if name is None:
                    continue
                if name is not name_before:  # else the same key: one object, whatever the number of tables it is in
                    name_before, key = name, digest(name.encode()) >> KEY_SHIFT
                self._change(kept, key, event, slice_of)

    def expose(self, impression: Impression, slice_number: int) -> None:
        """Add what grows with the impression by which a session begins to see a surface; not without analytics."""
        for kept in self._exposed:
            name = kept.kind.key(impression)
            if name is not None:
                self._change(kept, digest(name.encode()) >> KEY_SHIFT, impression, lambda _: slice_number)

    def _is_abroad(self, event: AnyEvent) -> bool:
        return getattr(event, "currency", None) not in (None, self._currency)

    def _change(self, kept: _Kept, key: int, event: AnyEvent, slice_of: SliceOf) -> None:
        # Several kinds are concerned by a click: this is written for speed.
        kind, table = kept.kind, kept.table
        packed = table.get(key)
        if packed is None:
            home, before = None, kind.blank
        else:
            stored = decode(packed)
            home, before = stored[:2], kept.make(*stored[2:])
            if kept.begins_anew and kept.begins_anew(before, event):
                home, before = None, kind.leaves(before) if kind.leaves else kind.blank
        change = kept.abroad if kept.abroad and self._is_abroad(event) else kind.change
        after = change(before, event)
        is_moving = home is not None and kept.moves is not None and kept.moves(before, event)
        if not is_moving and (after is before or after == before):
            return
        if home is None or is_moving:
            here = pane_start(event.ts), self._coarse(kind, slice_of(event))
            if home not in (None, here):
                self._grow(home, kept, before, kind.blank, event.ts)
                before = kind.blank
            elif after == before:
                return
            home = here
        table.put(key, encode(home + after))
        self._grow(home, kept, before, after, event.ts)

    def _grow(self, home: tuple[int, ...], kept: _Kept, before: Any, after: Any, now_ms: int) -> None:
        at_ms, slice_number = home
        shown_before, shown_after = before[: kept.shows], after[: kept.shows]
        if shown_before == shown_after:
            return
        self._cells.grow(at_ms, slice_number, kept.grown, shown_before, shown_after)
        if kept.histograms:
            self._bins.grow(at_ms, slice_number, kept.histograms, kept.kind.blank, before, after)
        for aged, lifts in kept.aged:
            if now_ms < (day_ms := aged.day_ms(at_ms)) and (grown := aged.grown(before, after)):
                self._cells.add_on_day(day_ms, slice_number, lifts, grown)

    def _coarse(self, kind: Kind, slice_number: int) -> int:
        if kind.dimensions == DIMENSIONS:
            return slice_number
        slices = self._bins.slices
        surface, arm, policy, segment, channel, device = (
            value if name in kind.dimensions else None
            for name, value in zip(DIMENSIONS, slices.slices[slice_number], strict=True)
        )
        return slices.number((surface, arm, policy, segment, channel, device))


_NOTHING: Final[tuple[_Kept, ...]] = ()
