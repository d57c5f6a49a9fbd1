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
from stream_app.core.records import Aged, Home, Kind, pack, unpack
from stream_app.core.slices import DIMENSIONS

SliceOf = Callable[[AnyEvent], int]
Tables = Mapping[Kind, Remembered[bytes]]
_NOTHING: Final[tuple[Kind, ...]] = ()


class Keeping:
    """Changes records and adds what grows with them to `cells` and `bins`. Mutable state: the tables of the records."""

    __slots__ = ("_aged", "_bins", "_cells", "_currency", "_exposed", "_kinds", "_tables", "_types")

    def __init__(self, tables: Tables, cells: Cells, bins: Bins, currency: str) -> None:
        """`currency` is the reporting currency."""
        self._tables = tables
        self._currency = currency
        self._cells = cells
        self._bins = bins
        self._aged: dict[Kind, tuple[Aged, ...]] = {
            kind: tuple(aged for aged in cells.aged if aged.kind == kind) for kind in tables
        }
        kinds = {of: tuple(kind for kind in tables if of in kind.on) for of in EVENT_TYPES}
        self._kinds = {of: concerned for of, concerned in kinds.items() if concerned}
        self._exposed = tuple(kind for kind in tables if kind.on_exposure)
        self._types = {of for of in EVENT_TYPES if cells.grows_on(of) or bins.grows_on(of)}

    def __contains__(self, of: type[Event]) -> bool:
        """Say whether events of this type change anything here."""
        return of in self._kinds or of in self._types

    def take(self, event: AnyEvent, slice_of: SliceOf, *, is_personal: bool) -> None:
        """Add what grows with the event. Its slice is asked for where something is at home in it, and only there.

        For there is only so much room for slices. Where `is_personal` is False nothing is kept that is.
        """
        of = type(event)
        if of in self._types:
            slice_number = slice_of(event)
            self._cells.add(event.ts, slice_number, of, event)
            self._bins.add(event.ts, slice_number, of, event)
        for kind in self._kinds.get(of, _NOTHING):
            if is_personal or not kind.is_personal:
                self._change(kind, event, slice_of)

    def expose(self, impression: Impression, slice_number: int) -> None:
        """Add what grows with the impression by which a session begins to see a surface; not without analytics."""
        for kind in self._exposed:
            self._change(kind, impression, lambda _: slice_number)

    def _is_abroad(self, event: AnyEvent) -> bool:
        return getattr(event, "currency", None) not in (None, self._currency)

    def _change(self, kind: Kind, event: AnyEvent, slice_of: SliceOf) -> None:
        name = kind.key(event)
        if name is None:
            return
        key, table = digest(name.encode()) >> KEY_SHIFT, self._tables[kind]
        packed = table.get(key)
        home, before = (None, kind.blank) if packed is None else unpack(packed, kind)
        if home is not None and kind.begins_anew(before, event):
            home, before = None, kind.leaves(before) if kind.leaves else kind.blank
        change = kind.change if kind.change_abroad is None or not self._is_abroad(event) else kind.change_abroad
        after = change(before, event)
        is_moving = home is not None and kind.moves(before, event)
        if after == before and not is_moving:
            return
        if home is None or is_moving:
            here = Home(pane_start(event.ts), self._coarse(kind, slice_of(event)))
            if home not in (None, here):
                self._grow(home, kind, before, kind.blank, event.ts)
                before = kind.blank
            elif after == before:
                return
            home = here
        table.put(key, pack(home, after))
        if before[: kind.shows] != after[: kind.shows]:
            self._grow(home, kind, before, after, event.ts)

    def _grow(self, home: Home, kind: Kind, before: Any, after: Any, now_ms: int) -> None:
        at_ms, slice_number = home
        self._cells.grow(at_ms, slice_number, kind, before, after)
        self._bins.grow(at_ms, slice_number, kind, before, after)
        for aged in self._aged[kind]:
            if now_ms < (day_ms := aged.day_ms(at_ms)) and (grown := aged.grown(before, after)):
                self._cells.add_on_day(day_ms, slice_number, aged, grown)

    def _coarse(self, kind: Kind, slice_number: int) -> int:
        if kind.dimensions == DIMENSIONS:
            return slice_number
        slices = self._bins.slices
        surface, arm, policy, segment, channel, device = (
            value if name in kind.dimensions else None
            for name, value in zip(DIMENSIONS, slices.slices[slice_number], strict=True)
        )
        return slices.number((surface, arm, policy, segment, channel, device))
