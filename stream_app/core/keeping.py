"""Keeping: how events change the records of every kind, and what grows with that.

Each event type has its entry of what it concerns: measures and histograms of the type itself, and kinds of records.
What no family of metrics reads costs nothing.
"""

from collections.abc import Mapping
from typing import Final

from xxhash import xxh3_64_intdigest as digest

from stream_app.core.aggregation import Cells
from stream_app.core.events import EVENT_TYPES, AnyEvent, Event, Impression
from stream_app.core.histograms import Bins
from stream_app.core.memory import KEY_SHIFT, Remembered
from stream_app.core.panes import pane_start
from stream_app.core.records import Change, Home, Kind, pack, unpack

Tables = Mapping[Kind, Remembered[bytes]]
_NOTHING: Final[tuple[Kind, ...]] = ()


class Keeping:
    """Changes records and adds what grows with them to `cells` and `bins`. Mutable state: the tables of the records."""

    __slots__ = ("_bins", "_cells", "_currency", "_exposed", "_kinds", "_tables", "_types")

    def __init__(self, tables: Tables, cells: Cells, bins: Bins, currency: str) -> None:
        """`currency` is the reporting currency."""
        self._tables = tables
        self._currency = currency
        self._cells = cells
        self._bins = bins
        kinds = {of: tuple(kind for kind in tables if of in kind.on) for of in EVENT_TYPES}
        self._kinds = {of: concerned for of, concerned in kinds.items() if concerned}
        self._exposed = tuple(kind for kind in tables if kind.on_exposure)
        self._types = {of for of in EVENT_TYPES if cells.grows_on(of) or bins.grows_on(of)}

    def __contains__(self, of: type[Event]) -> bool:
        """Say whether events of this type change anything here."""
        return of in self._kinds or of in self._types

    def take(self, event: AnyEvent, slice_number: int, *, is_personal: bool) -> None:
        """Add what grows with the event, whose slice is `slice_number`.

        Where `is_personal` is False nothing is kept that is.
        """
        of = type(event)
        if of in self._types:
            self._cells.add(event.ts, slice_number, of, event)
            self._bins.add(event.ts, slice_number, of, event)
        for kind in self._kinds.get(of, _NOTHING):
            if is_personal or not kind.is_personal:
                self._change(kind, event, slice_number)

    def expose(self, impression: Impression, slice_number: int) -> None:
        """Add what grows with the impression by which a session begins to see a surface; not without analytics."""
        for kind in self._exposed:
            self._change(kind, impression, slice_number)

    def _is_abroad(self, event: AnyEvent) -> bool:
        return getattr(event, "currency", None) not in (None, self._currency)

    def _change(self, kind: Kind, event: AnyEvent, slice_number: int) -> None:
        name = kind.key(event)
        if name is None:
            return
        key, table = digest(name.encode()) >> KEY_SHIFT, self._tables[kind]
        packed = table.get(key)
        home, before = (None, kind.blank) if packed is None else unpack(packed, kind)
        here = Home(pane_start(event.ts), slice_number)
        if home is None or kind.begins_anew(before, event):
            home, before = here, kind.blank
        change_abroad = kind.change_abroad
        change = change_abroad if change_abroad is not None and self._is_abroad(event) else kind.change
        after = change(before, event)
        if kind.moves(before, event) and home != here:
            self._grow(home, kind, Change(before, kind.blank))
            home, before = here, kind.blank
        elif after == before:
            return
        table.put(key, pack(home, after))
        self._grow(home, kind, Change(before, after))

    def _grow(self, home: Home, kind: Kind, change: Change) -> None:
        self._cells.add(*home, kind, change)
        self._bins.add(*home, kind, change)
