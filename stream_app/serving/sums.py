"""Partitions and panes, added into windows: incrementally, so a refresh costs what changed, not what is kept.

Tallies are a group. When a cell changes, new - old is added to every window that contains its pane; when the
windows slide, what leaves is subtracted and what enters is added. The law, tested: the result equals the sum
from scratch.

                 hours                                    panes
    |------|------|------|------|--...--|------|  |||||||||||||||||||||||
    |      `------------ 24h -----------------------------------------' |   whole hours, panes above the floor
    |                                                     `--- 1h -----'    panes alone
    `----------------------------- all ---------------------------------'   all that is kept

A folded pane is subtracted as a pane and added with its hour: long windows do not notice. A day, of what is told a day
at a time, belongs to a window that is not fine when it begins within it; days that lie ahead of the windows' end belong
to none, `all` included.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from operator import sub
from typing import Any, Final, Generic, NamedTuple, TypeVar

from stream_app.core import cells
from stream_app.core.panes import DAY_MS, HOUR_MS, PANE_MS, Window
from stream_app.core.slices import ALL, Slice
from stream_app.core.tally import Tally
from stream_app.serving.partitions import Change

BATCH: Final = 200
"""Cells unpacked at a time: more would have the garbage collector walk through them again and again."""

Slices = tuple[Slice, ...]
Rows = Mapping[int, Sequence[int]]
_FOREVER: Final = 1 << 62


class Span(NamedTuple):
    """Where a window lies: `[start, end)`; a fine one is made of panes alone."""

    start_ms: int
    end_ms: int
    is_fine: bool

    def has(self, is_pane: bool, start_ms: int) -> bool:
        """Say whether the pane or hour that starts at `start_ms` belongs to the window."""
        return self.start_ms <= start_ms < self.end_ms and (is_pane or not self.is_fine)

    def until(self, end_ms: int) -> "Span":
        """Return the part of it before `end_ms`: where its days lie."""
        return self._replace(end_ms=min(self.end_ms, end_ms))


class _Tiers:
    """The cells of one partition, packed. Mutable state: as of the last advance."""

    __slots__ = ("days", "hours", "panes", "slices")

    def __init__(self) -> None:
        self.slices: Slices = ()
        self.panes: dict[int, bytes] = {}
        self.hours: dict[int, bytes] = {}
        self.days: dict[int, bytes] = {}

    def fields(self, prefixes: cells.Prefixes) -> Iterable[str]:
        """Yield the fields of all cells held."""
        yield from (f"{prefixes.pane}{start}" for start in self.panes)
        yield from (f"{prefixes.hour}{start}" for start in self.hours)
        yield from (f"{prefixes.day}{start}" for start in self.days)


Key = TypeVar("Key", bound=Hashable)
Tallies = list[Sequence[int]]


class Ledger(Generic[Key]):
    """Tallies to be added and to be subtracted, by key. Mutable state: references, summed once at the end.

    Summing columns of many tallies at once costs a third of adding them one by one.
    """

    __slots__ = ("_minus", "_plus")

    def __init__(self) -> None:
        self._plus: defaultdict[Key, Tallies] = defaultdict(list)
        self._minus: defaultdict[Key, Tallies] = defaultdict(list)

    def side(self, is_gain: bool) -> defaultdict[Key, Tallies]:
        """Return what is to be added, or what is to be subtracted, to be appended to."""
        return self._plus if is_gain else self._minus

    def balance(self) -> dict[Key, list[int]]:
        """Return what remains of each key; nothing where nothing does."""
        sums = {key: [*map(sum, zip(*tallies, strict=True))] for key, tallies in self._plus.items()}
        for key, tallies in self._minus.items():
            loss = map(sum, zip(*tallies, strict=True))
            gain = sums.get(key)
            sums[key] = [-amount for amount in loss] if gain is None else [*map(sub, gain, loss)]
        return {key: total for key, total in sums.items() if any(total)}


_Bands = defaultdict[tuple[str, ...], Ledger[Any]]
"""What changed, by the windows that it changes."""


class Sums(Generic[Key]):
    """The sums over all windows of cells with the fields `prefixes`. Mutable state: cells as last read, and the sums.

    `key_of` says to whom the row of that number belongs, in a partition with those slices.
    """

    def __init__(
        self, windows: Sequence[Window], prefixes: cells.Prefixes, key_of: Callable[[Slices, int], Key]
    ) -> None:
        self._windows = tuple(windows)
        self._prefixes = prefixes
        self._key_of = key_of
        self._partitions: dict[int, _Tiers] = {}
        self._totals: dict[str, dict[Key, Tally]] = {name: {} for name in (*(w.name for w in windows), ALL)}
        self.spans: dict[str, Span] = {}
        self.end_ms = 0
        self._lay(0)

    def totals(self, name: str) -> dict[Key, Tally]:
        """Return the tallies of a window by key: a copy that later advances leave alone."""
        return dict(self._totals[name])

    def advance(self, changes: Iterable[Change], end_ms: int) -> None:
        """Slide the windows to `end_ms` (a multiple of the pane), then apply the changes."""
        if end_ms != self.end_ms:
            self._slide(end_ms)
        bands = _Bands(Ledger)
        pieces = 0
        for change in changes:
            for tiers, field, packed in self._pieces(change):
                self._replace(tiers, field, packed, bands)
                pieces += 1
                if pieces % BATCH == 0:
                    self._settle(bands)
        self._settle(bands)

    def rows(self, low: int, high: int) -> Iterator[tuple[Key, Sequence[int]]]:
        """Yield the rows of all partitions' panes that begin in `[low, high)`."""
        for tiers in self._partitions.values():
            for start in _starts(tiers.panes, low, high, PANE_MS):
                for number, tally in cells.unpack_rows(tiers.panes[start]).items():
                    yield self._key_of(tiers.slices, number), tally

    # -- inside ----------------------------------------------------------------------------------------------

    def _lay(self, end_ms: int) -> None:
        self.end_ms = end_ms
        self.spans = {w.name: Span(w.start_ms(end_ms), end_ms, w.is_fine) for w in self._windows}
        self.spans[ALL] = Span(-_FOREVER, _FOREVER, is_fine=False)

    def _slide(self, end_ms: int) -> None:
        before, before_ms = self.spans, self.end_ms
        self._lay(end_ms)
        for name, new in self.spans.items():
            ledger, old = Ledger[Key](), before[name]
            for low, high, is_gain in _difference(old, new):
                for tiers in self._partitions.values():
                    side = ledger.side(is_gain)
                    for start in _starts(tiers.panes, low, high, PANE_MS):
                        self._enter(side, tiers, tiers.panes[start])
                    for start in () if new.is_fine else _starts(tiers.hours, low, high, HOUR_MS):
                        self._enter(side, tiers, tiers.hours[start])
            for low, high, is_gain in () if new.is_fine else _difference(old.until(before_ms), new.until(end_ms)):
                for tiers in self._partitions.values():
                    for start in _starts(tiers.days, low, high, DAY_MS):
                        self._enter(ledger.side(is_gain), tiers, tiers.days[start])
            self._add_to_window(name, ledger.balance())

    def _pieces(self, change: Change) -> Iterator[tuple[_Tiers, str, bytes | None]]:
        """Yield the cells to be replaced: of a reset everything held, under the slices it was counted for."""
        tiers = self._partitions.setdefault(change.partition, _Tiers())
        if change.is_reset:
            for field in [*tiers.fields(self._prefixes)]:
                yield tiers, field, None
        tiers.slices = change.slices
        for field, packed in change.fields.items():
            if field.startswith(tuple(self._prefixes)):
                yield tiers, field, packed

    def _replace(self, tiers: _Tiers, field: str, packed: bytes | None, bands: _Bands) -> None:
        """Put packed rows in place of what is held, and note by how much windows move."""
        is_pane, start = field.startswith(self._prefixes.pane), cells.field_start(field)
        is_day = field.startswith(self._prefixes.day)
        spans = self.spans.items()
        if is_day:
            spans = {name: span.until(self.end_ms) for name, span in spans}.items()
        ledger = bands[tuple(name for name, span in spans if span.has(is_pane, start))]
        tier = tiers.panes if is_pane else tiers.days if is_day else tiers.hours
        held = tier.pop(start, None)
        before = {} if held is None else cells.unpack_rows(held)
        after = {} if packed is None else cells.unpack_rows(packed)
        for is_gain, rows in ((False, before), (True, after)):
            side = ledger.side(is_gain)
            for number, tally in rows.items():
                side[self._key_of(tiers.slices, number)].append(tally)
        if packed is not None:
            tier[start] = packed
        if not is_day:
            self._observe(is_pane, start, tiers.slices, before, after)

    def _observe(self, is_pane: bool, start: int, slices: Slices, before: Rows, after: Rows) -> None:
        """Take note of a cell that was replaced, if more than the windows' sums depends on it."""

    def _enter(self, side: defaultdict[Key, Tallies], tiers: _Tiers, packed: bytes) -> None:
        for number, tally in cells.unpack_rows(packed).items():
            side[self._key_of(tiers.slices, number)].append(tally)

    def _settle(self, bands: _Bands) -> None:
        """Add what was noted to the windows, and forget it."""
        for names, ledger in bands.items():
            sums = ledger.balance()
            for name in names:
                self._add_to_window(name, sums)
        bands.clear()

    def _add_to_window(self, name: str, sums: dict[Key, list[int]]) -> None:
        totals = self._totals[name]
        for key, tally in sums.items():
            total = totals.get(key)
            new = Tally(tally) if total is None else total + tally
            if any(new):
                totals[key] = new
            else:
                totals.pop(key, None)


def _difference(old: Span, new: Span) -> list[tuple[int, int, bool]]:
    """Return the intervals that a window gains (True) and loses (False) by moving from `old` to `new`."""
    low, high = max(old.start_ms, new.start_ms), min(old.end_ms, new.end_ms)
    if low >= high:  # nothing in common
        return [(old.start_ms, old.end_ms, False), (new.start_ms, new.end_ms, True)]
    parts = [
        (old.start_ms, low, False),
        (high, old.end_ms, False),
        (new.start_ms, low, True),
        (high, new.end_ms, True),
    ]
    return [part for part in parts if part[0] < part[1]]


def _starts(tier: dict[int, bytes], low: int, high: int, step: int) -> list[int]:
    """Return the starts kept in `[low, high)`, by the shorter way: along the time, or along what is kept."""
    if (high - low) // step < len(tier):
        return [start for start in range(low + -low % step, high, step) if start in tier]
    return [start for start in tier if low <= start < high]
