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
from stream_app.core.memory import KEY_MASK, KEY_SHIFT, Remembered
from stream_app.core.panes import DAY_MS, day_start, pane_start
from stream_app.core.records import Kind, decode, encode, never
from stream_app.core.slices import DIMENSIONS

SliceOf = Callable[[AnyEvent], int]
Tables = Mapping[Kind, Remembered[bytes]]


class _Kept:
    """What a change of a record of one kind needs, looked up once: events are many, and kinds are few."""

    __slots__ = (
        "abroad",
        "begins_anew",
        "coarse",
        "due",
        "grown",
        "histograms",
        "kind",
        "later",
        "make",
        "moves",
        "shows",
        "table",
    )

    def __init__(self, kind: Kind, table: Remembered[bytes], cells: Cells, bins: Bins) -> None:
        self.kind = kind
        self.table = table
        self.grown = cells.grown_on(kind)
        self.histograms = bins.histograms_on(kind)
        self.later = cells.told_later(kind)
        self.begins_anew = None if kind.begins_anew is never else kind.begins_anew
        self.moves = None if kind.moves is never else kind.moves
        self.abroad = kind.change_abroad
        self.make = type(kind.blank)
        self.shows = kind.shows
        self.coarse: dict[int, int] | None = None if kind.dimensions == DIMENSIONS else {}
        """By slice, the one in which a record that began there is at home; None: where it began."""
        self.due: list[tuple[int, AnyEvent, int]] = []
        """By what a record is still to be changed: its key, the event, and the slice that it is at home in then."""


class Keeping:
    """Changes records and adds what grows with them to `cells` and `bins`.

    Mutable state: the tables of the records, and what was gathered of each kind and is due.
    """

    __slots__ = ("_bins", "_cells", "_currency", "_every", "_exposed", "_kept", "_types")

    def __init__(self, tables: Tables, cells: Cells, bins: Bins, currency: str) -> None:
        """`currency` is the reporting currency."""
        self._currency = currency
        self._cells = cells
        self._bins = bins
        self._every = [_Kept(kind, table, cells, bins) for kind, table in tables.items()]
        kept = {of: tuple(each for each in self._every if of in each.kind.on) for of in EVENT_TYPES}
        self._kept = {of: concerned for of, concerned in kept.items() if concerned}
        self._exposed = tuple(each for each in self._every if each.kind.on_exposure)
        self._types = {of for of in EVENT_TYPES if cells.grows_on(of) or bins.grows_on(of)}

    def __contains__(self, of: type[Event]) -> bool:
        """Say whether events of this type change anything here."""
        return of in self._kept or of in self._types

    def take(self, event: AnyEvent, slice_of: SliceOf, *, is_personal: bool) -> None:
        """Add what grows with the event, and gather what it changes until `settle`.

        Its slice is asked for now and not when that is due, and only where it concerns a record: where records are cut
        into runs may change no number, and there is only so much room for slices. Where `is_personal` is False nothing
        is kept that is.
        """
        of, number = type(event), None
        if of in self._types:
            number = slice_of(event)
            self._cells.add(event.ts, number, of, event)
            self._bins.add(event.ts, number, of, event)
        name_before, key = None, 0
        for kept in self._kept.get(of, _NOTHING):
            if is_personal or not kept.kind.is_personal:
                name = kept.kind.key(event)
                if name is None:
                    continue
                if name is not name_before:  # else the same key: one object, whatever the number of tables it is in
                    name_before, key = name, digest(name.encode()) >> KEY_SHIFT & KEY_MASK
                if number is None:
                    number = slice_of(event)
                kept.due.append((key, event, self._coarse(kept, number)))

    def expose(self, impression: Impression, slice_number: int) -> None:
        """Gather what the impression changes by which a session begins to see a surface; not without analytics."""
        for kept in self._exposed:
            name = kept.kind.key(impression)
            if name is not None:
                key = digest(name.encode()) >> KEY_SHIFT & KEY_MASK
                kept.due.append((key, impression, self._coarse(kept, slice_number)))

    def settle(self) -> None:
        """Change the records. Due before anything is forgotten or stored: then it changes nothing when it is.

        Kinds know nothing of each other, and within each the order is kept. One kind after the other is much faster
        than one event after the other: what a kind needs is then in the processor's caches.
        """
        for kept in self._every:
            if kept.due:
                self._change(kept)
                kept.due.clear()

    def _is_abroad(self, event: AnyEvent) -> bool:
        return getattr(event, "currency", None) not in (None, self._currency)

    def _change(self, kept: _Kept) -> None:
        # A click concerns several kinds, and an exposure at least one: this is written for speed.
        kind, table, make, abroad = kept.kind, kept.table, kept.make, kept.abroad
        begins_anew, moves, blank = kept.begins_anew, kept.moves, kind.blank
        for key, event, slice_number in kept.due:
            packed = table.get(key)
            if packed is None:
                home, before = None, blank
            else:
                stored = decode(packed)
                home, before = stored[:2], make(*stored[2:])
                if begins_anew and begins_anew(before, event):
                    home, before = None, kind.leaves(before) if kind.leaves else blank
            after = (abroad if abroad and self._is_abroad(event) else kind.change)(before, event)
            is_moving = home is not None and moves is not None and moves(before, event)
            if not is_moving and (after is before or after == before):
                continue
            if home is None or is_moving:
                here = pane_start(event.ts), slice_number
                if home not in (None, here):
                    self._grow(home, kept, before, blank, event.ts)
                    before = blank
                elif after == before:
                    continue
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
        if kept.later is not None:
            day_ms = day_start(at_ms)
            told = kept.later(before, after, max(0, (now_ms - day_ms) // DAY_MS))
            if told:
                self._cells.grow_later(day_ms, slice_number, told)

    def _coarse(self, kept: _Kept, slice_number: int) -> int:
        if kept.coarse is None:
            return slice_number
        known = kept.coarse.get(slice_number)
        if known is None:
            known = kept.coarse[slice_number] = self._coarser(kept.kind, slice_number)
        return known

    def _coarser(self, kind: Kind, slice_number: int) -> int:
        slices = self._bins.slices
        surface, arm, policy, segment, channel, device = (
            value if name in kind.dimensions else None
            for name, value in zip(DIMENSIONS, slices.slices[slice_number], strict=True)
        )
        return slices.coarse((surface, arm, policy, segment, channel, device))


_NOTHING: Final[tuple[_Kept, ...]] = ()
