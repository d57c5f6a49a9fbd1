"""Cells: slice x pane -> tally, of one partition, in memory, as stored.

Mutable state: cells of panes and hours with the floor between them, and of the days that lie beside both; which of
them changed since the last checkpoint. A credit is added in place to the list it belongs to; everything that is
expensive (packing, folding panes into hours, forgetting) happens per chunk of records or per checkpoint.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple

from stream_app.core import cells
from stream_app.core.panes import (
    DAY_MS,
    FINE_RETENTION_MS,
    HOUR_RETENTION_MS,
    PANE_MS,
    hour_start,
    pane_start,
)
from stream_app.core.records import Between, Differences, Kind, Later, OnDays
from stream_app.core.reopened import ReopenedRows
from stream_app.core.tally import NOTHING, Occasion, Plan, Subject, add_into

Rows = dict[int, list[int]]
Place = tuple[int, int]
"""Where a cell is: the start of its pane, and its slice."""
COLD_AFTER_MS: Final = 120_000
"""A pane this far behind the floor of what usually changes is kept packed; a credit that finds it unpacks its row."""


class Credit(NamedTuple):
    """Who gets it, when, for what: the arguments of `Cells.add`, as a value for those who want one."""

    at_ms: int
    slice_number: int
    occasion: Subject
    subject: Any


class Cells:
    """All cells of one partition."""

    __slots__ = (
        "_counters",
        "_gathered",
        "_grown",
        "_is_sparse",
        "_later",
        "_moved",
        "_open",
        "_plan",
        "_removed",
        "_steps",
        "_writable",
        "changed_days",
        "changed_hours",
        "changed_panes",
        "days",
        "floor_ms",
        "hours",
        "panes",
        "prefixes",
        "sequence",
        "sequences",
    )

    def __init__(self, plan: Plan, prefixes: cells.Prefixes = cells.TALLIES) -> None:
        self._plan = plan
        self.prefixes = prefixes
        self._is_sparse = plan.width > 1
        self._steps = plan.steps
        self._grown = plan.grown
        self._counters = plan.counters
        self.panes: dict[int, Rows | bytes] = {}
        self.hours: dict[int, Rows | bytes] = {}
        self.days: dict[int, Rows | bytes] = {}
        self.floor_ms = 0
        self.changed_panes: set[int] = set()
        self.changed_hours: set[int] = set()
        self.changed_days: set[int] = set()
        self.sequence = 0
        self.sequences: dict[str, int] = {}
        self._moved: Rows = {}
        self._open: set[int] = set()
        self._removed: list[str] = []
        self._writable: dict[int, Rows] = {}
        self._gathered: defaultdict[Occasion, defaultdict[Place, list[Any]]]
        self._gathered = defaultdict(partial(defaultdict, list))
        self._later: defaultdict[Place, list[OnDays]] = defaultdict(list)

    def grows_on(self, occasion: Subject) -> bool:
        """Say whether any measure grows on it."""
        return occasion in self._steps or occasion in self._grown

    def add(self, at_ms: int, slice_number: int, occasion: Subject, subject: Any) -> None:
        """Add a credit to the cell of its slice and time; nothing where no measure grows on its occasion."""
        step = self._steps.get(occasion)
        if step is None:
            return
        tally = self._cell(at_ms - at_ms % PANE_MS, slice_number)
        ones, groups = step
        for index in ones:
            tally[index] += 1
        for given, ones, lifts in groups:
            if not given or getattr(subject, given) is not None:
                for index in ones:
                    tally[index] += 1
                for index, lift in lifts:
                    tally[index] += lift(subject)

    def grown_on(self, on: Subject) -> Between:
        """Return what `grow` takes for a kind of record: asked for once, for it is needed with every change."""
        return self._grown.get(on, _never_grown)

    def grow(self, at_ms: int, slice_number: int, grown: Between, before: Any, after: Any) -> None:
        """Add to the cell of its slice and time what a record has more after than before."""
        differences = grown(before, after)
        if differences:
            tally = self._cell(at_ms - at_ms % PANE_MS, slice_number)
            for place, amount in differences:
                tally[place] += amount

    def rows(self, at_ms: int) -> Rows:
        """Return the rows of the pane of a time, or of the hour that has taken it in, to be added to at once."""
        start = at_ms - at_ms % PANE_MS
        rows = self._writable.get(start)
        return self._enter(start) if rows is None else rows

    def told_later(self, kind: Kind) -> Later | None:
        """Return what tells which part of a change of a kind of record is told later; None where nothing is."""
        return self._plan.later.get(kind)

    def grow_later(self, day_ms: int, slice_number: int, told: OnDays) -> None:
        """Gather what is told of a record that began on a day (its start), each part so many days after it."""
        self._later[day_ms, slice_number].append(told)

    def gathered(self, occasion: Occasion) -> defaultdict[Place, list[Any]]:
        """Return the lists of subjects, by place, to which a credit may be appended in place of `add`.

        `settle` then adds those of a place together. Sums do not depend on order, and one over many costs less than
        many: so what nearly every event brings is gathered.
        """
        return self._gathered[occasion]

    def settle(self) -> None:
        """Add what was gathered; due before anything else is read, folded or packed."""
        for occasion, places in self._gathered.items():
            ones, groups = self._steps.get(occasion, NOTHING)
            for (start, number), subjects in places.items():
                tally = self._cell(start, number)
                for index in ones:
                    tally[index] += len(subjects)
                for given, ones_given, lifts in groups:
                    those = _with(given, subjects) if given else subjects
                    for index in ones_given:
                        tally[index] += len(those)
                    for index, lift in lifts:
                        tally[index] += sum(map(lift, those))
            places.clear()
        for (day_ms, number), told in self._later.items():
            # Most of it is one and the same: it is added once, times how often it was told.
            times = Counter(map(id, told))
            for on_days in {id(each): each for each in told}.values():
                for days, differences in on_days:
                    tally = self._row(self._touch(self.days, self.changed_days, day_ms + days * DAY_MS), number)
                    for place, amount in differences:
                        tally[place] += amount * times[id(on_days)]
        self._later.clear()

    @property
    def changes(self) -> int:
        """How many fields the next checkpoint must write."""
        return len(self.changed_panes) + len(self.changed_hours) + len(self.changed_days)

    def advance(self, watermark_ms: int) -> None:
        """Fold the panes that the watermark left behind into their hours; forget hours and days past retention."""
        floor = pane_start(max(0, watermark_ms - FINE_RETENTION_MS))
        if floor <= self.floor_ms:
            return
        self.settle()
        self._writable.clear()
        for start in sorted(start for start in self.panes if start < floor):
            self._touch(self.panes, self.changed_panes, start)
            rows = self._last(self.panes.pop(start))
            hour = self._touch(self.hours, self.changed_hours, hour_start(start))
            for number, tally in rows.items():
                sums = hour.get(number)
                if sums is None:
                    hour[number] = tally
                else:
                    add_into(sums, tally)
            self.changed_panes.discard(start)
            self._forget(f"{self.prefixes.pane}{start}")
        self.floor_ms = floor
        oldest = hour_start(max(0, watermark_ms - HOUR_RETENTION_MS))
        for tier, changed, prefix in (
            (self.hours, self.changed_hours, self.prefixes.hour),
            (self.days, self.changed_days, self.prefixes.day),
        ):
            for start in [start for start in tier if start < oldest]:
                self._touch(tier, changed, start)
                # What is forgotten by age did not happen just now: it must not look like counters that step back.
                self._move(self._last(tier.pop(start)), 1)
                changed.discard(start)
                self._forget(f"{prefix}{start}")

    # -- storage ----------------------------------------------------------------------------------------------------

    def take_changes(self) -> dict[str, bytes]:
        """Return the fields that changed since the last call, packed as absolute values, and begin anew."""
        self.settle()
        self._writable.clear()
        self.sequence += 1
        fields: dict[str, bytes] = {}
        cold = self.floor_ms + FINE_RETENTION_MS - COLD_AFTER_MS
        for tier, changed, prefix in (
            (self.panes, self.changed_panes, self.prefixes.pane),
            (self.hours, self.changed_hours, self.prefixes.hour),
            (self.days, self.changed_days, self.prefixes.day),
        ):
            for start in changed:
                field = f"{prefix}{start}"
                rows = tier[start]
                packed = self._packed(rows)
                if isinstance(rows, ReopenedRows) or (tier is self.panes and start < cold) or tier is self.days:
                    tier[start] = packed = self._deflated(packed)
                fields[field] = packed
                self.sequences[field] = self.sequence
            changed.clear()
        # Also a pane that nothing has changed since it went cold: else a day of them would stay unpacked.
        for start in [start for start in self._open if start < cold]:
            self._open.discard(start)
            if isinstance(left := self.panes.get(start), dict):
                self.panes[start] = self._deflated(cells.pack_rows(left))
        if len(self.hours) > 2:
            newest = max(self.hours)
            for start, hour in self.hours.items():
                if start != newest and not isinstance(hour, bytes):
                    self.hours[start] = self._deflated(cells.pack_rows(hour))
        return fields

    def take_moved(self) -> Rows:
        """Return by how much the plan's counters grew in each slice since the last call, in their order."""
        moved, self._moved = self._moved, {}
        return {number: tally for number, tally in moved.items() if any(tally)}

    def take_removed(self) -> list[str]:
        """Return the fields that are no longer part of the state, to be deleted some time after a checkpoint."""
        removed, self._removed = self._removed, []
        return removed

    def restore(self, floor_ms: int, sequences: dict[str, int], fields: Iterable[tuple[str, bytes]]) -> list[str]:
        """Rebuild the cells from stored fields; return the names of those that a crash left behind to be deleted."""
        self.floor_ms = floor_ms
        self.sequences = dict(sequences)
        self.sequence = max(sequences.values(), default=0)
        left_behind = []
        for field, packed in fields:
            if field not in sequences:
                left_behind.append(field)
            else:
                tier = self.panes if field.startswith(self.prefixes.pane) else self.hours
                tier = self.days if field.startswith(self.prefixes.day) else tier
                tier[cells.field_start(field)] = self._deflated(packed)
        return left_behind

    def relay(self, columns: Sequence[str]) -> None:
        """Lay every cell out anew, from `columns` to the plan's: what is new there is 0, what is not there is dropped.

        All of them are then written with the next checkpoint. Nothing moves by that: amounts stay what they were.
        """
        at = {column: position for position, column in enumerate(columns)}
        positions = [at.get(column) for column in self._plan.columns]
        for tier, changed in (
            (self.panes, self.changed_panes),
            (self.hours, self.changed_hours),
            (self.days, self.changed_days),
        ):
            for start, rows in tier.items():
                laid = {n: [0 if at is None else tally[at] for at in positions] for n, tally in _rows(rows).items()}
                # Packed again at once: all of them side by side would take many times the room.
                tier[start] = self._deflated(cells.pack_rows(laid))
                changed.add(start)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _cell(self, start: int, number: int) -> list[int]:
        """Return the tally of a slice in the pane that starts at `start`, or in the hour that has taken it in."""
        # `rows` and `_row`, written out: every credit passes here.
        rows = self._writable.get(start)
        if rows is None:
            rows = self._enter(start)
        tally = rows.get(number)
        if tally is None:
            tally = rows[number] = [0] * self._plan.width
        return tally

    def _row(self, rows: Rows, number: int) -> list[int]:
        tally = rows.get(number)
        if tally is None:
            tally = rows[number] = [0] * self._plan.width
        return tally

    def _enter(self, start: int) -> Rows:
        """Open the rows of a pane: they stay at hand until the next checkpoint, or until panes are folded."""
        if start >= self.floor_ms:
            rows = self._touch(self.panes, self.changed_panes, start)
        elif hour_start(start) >= hour_start(max(0, self.floor_ms + FINE_RETENTION_MS - HOUR_RETENTION_MS)):
            rows = self._touch(self.hours, self.changed_hours, hour_start(start))
        else:
            rows = {}  # older than anything kept: a record at home there has outlived its cell, which must not return
        self._writable[start] = rows
        return rows

    def _touch(self, tier: dict[int, Rows | bytes], changed: set[int], start: int) -> Rows:
        """Open rows for writing; at the first touch since a checkpoint, note what they held before."""
        rows = tier.get(start)
        if rows is None:
            rows = tier[start] = {}
        elif isinstance(rows, bytes):
            rows = tier[start] = ReopenedRows(rows)
        if start not in changed:
            changed.add(start)
            if tier is self.panes:
                self._open.add(start)
            if not isinstance(rows, ReopenedRows):  # which know themselves what they were like
                self._move(rows, -1)
        return rows

    def _last(self, rows: Rows | bytes) -> Rows:
        """Return rows that are taken out of their tier, once what they held before is noted of all of them."""
        assert isinstance(rows, dict)  # for it was touched
        if isinstance(rows, ReopenedRows):
            rows.values()
            self._move(rows.moved()[0], -1)
        return rows

    def _packed(self, rows: Rows | bytes) -> bytes:
        """Return rows packed, having noted what they hold now."""
        if isinstance(rows, bytes):
            return rows  # laid out anew: nothing moved
        if not isinstance(rows, ReopenedRows):
            self._move(rows, 1)
        elif self._counters:
            before, now = rows.moved()
            self._move(before, -1)
            self._move(now, 1)
        return cells.pack_rows(rows)

    def _deflated(self, packed: bytes) -> bytes:
        return cells.deflate(packed, is_sparse=self._is_sparse)

    def _move(self, rows: Mapping[int, list[int]], sign: int) -> None:
        """Take note of what counters have in these rows: less of it before a change, more of it after."""
        counters = self._counters
        if not counters:
            return
        for number, tally in rows.items():
            moved = self._moved.get(number)
            if moved is None:
                moved = self._moved[number] = [0] * len(counters)
            for at, place in enumerate(counters):
                moved[at] += sign * tally[place]

    def _forget(self, field: str) -> None:
        if self.sequences.pop(field, None) is not None:
            self._removed.append(field)


def _never_grown(_before: Any, _after: Any) -> Differences:
    return ()


def _rows(rows: Rows | bytes) -> Rows:
    return cells.unpack_rows(rows) if isinstance(rows, bytes) else rows


def _with(attribute: str, subjects: list[Any]) -> list[Any]:
    """Return those whose attribute is not None; nearly always all have it, or none."""
    if None not in map(attrgetter(attribute), subjects):
        return subjects
    return [each for each in subjects if getattr(each, attribute) is not None]
