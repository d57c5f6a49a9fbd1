"""Keeping: how events change the records of every kind, and what grows with that.

Each event type has its entry of what it concerns: measures and histograms of the type itself, and kinds of records.
What no family of metrics reads costs nothing.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest as digest

from stream_app.core.aggregation import Cells
from stream_app.core.events import EVENT_TYPES, AnyEvent, Event
from stream_app.core.histograms import Bins
from stream_app.core.memory import KEY_SHIFT, Remembered
from stream_app.core.panes import pane_start
from stream_app.core.records import Aged, Change, Home, Kind, pack, unpack
from stream_app.core.slices import DIMENSIONS

Tables = Mapping[Kind, Remembered[bytes]]
_NOTHING: Final[tuple[Kind, ...]] = ()


class Keeping:
    """Changes records and adds what grows with them to `cells` and `bins`. Mutable state: the tables of the records."""

    __slots__ = ("_aged", "_bins", "_cells", "_currency", "_kinds", "_tables", "_types")

    def __init__(self, tables: Tables, cells: Cells, bins: Bins, currency: str) -> None:
        """`currency` is the reporting one."""
        self._tables = tables
        self._cells = cells
        self._bins = bins
        self._currency = currency
        self._aged: dict[Kind, tuple[Aged, ...]] = {
            kind: tuple(aged for aged in cells.aged if aged.kind == kind) for kind in tables
        }
        kinds = {of: tuple(kind for kind in tables if of in kind.on) for of in EVENT_TYPES}
        self._kinds = {of: concerned for of, concerned in kinds.items() if concerned}
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

    def _change(self, kind: Kind, event: AnyEvent, slice_number: int) -> None:
        name = kind.key(event)
        if name is None:
            return
        key, table = digest(name.encode()) >> KEY_SHIFT, self._tables[kind]
        packed = table.get(key)
        home, before = (None, kind.blank) if packed is None else unpack(packed, kind)
        if kind.adds_money:
            event = _without_foreign_money(event, self._currency)
        if home is None or kind.begins_anew(before, event):
            home, before = self._home(kind, event, slice_number), kind.blank
        after = kind.change(before, event)
        if kind.moves(before, event) and home != (here := self._home(kind, event, slice_number)):
            self._grow(home, kind, Change(before, kind.blank), event.ts)
            home, before = here, kind.blank
        elif after is before or after == before:
            return
        table.put(key, pack(home, after))
        self._grow(home, kind, Change(before, after), event.ts)

    def _grow(self, home: Home, kind: Kind, change: Change, at_ms: int) -> None:
        self._cells.add(*home, kind, change)
        self._bins.add(*home, kind, change)
        for aged in self._aged[kind]:
            if at_ms < (day_ms := aged.day_ms(home.at_ms)) and (grown := aged.grown(change)):
                self._cells.add_on_day(day_ms, home.slice_number, aged, grown)

    def _home(self, kind: Kind, event: AnyEvent, slice_number: int) -> Home:
        return Home(pane_start(event.ts), self._coarse(kind, slice_number))

    def _coarse(self, kind: Kind, slice_number: int) -> int:
        if kind.dimensions == DIMENSIONS:
            return slice_number
        slices = self._bins.slices
        surface, arm, policy, segment, channel, device = (
            value if name in kind.dimensions else None
            for name, value in zip(DIMENSIONS, slices.slices[slice_number], strict=True)
        )
        return slices.number((surface, arm, policy, segment, channel, device))


def _without_foreign_money(event: AnyEvent, currency: str) -> AnyEvent:
    if getattr(event, "currency", None) in (None, currency):
        return event
    return msgspec.structs.replace(
        event, **{name: 0 for name in event.__struct_fields__ if name.endswith("_minor") and getattr(event, name)}
    )
