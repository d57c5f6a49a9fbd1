"""Partitions and panes, added into windows: incrementally, so a refresh costs what changed, not what is kept.

Tallies are a group. When a cell changes, new - old is added to every window that contains its pane; when the
windows slide, what leaves is subtracted and what enters is added. The law, tested: the result equals the sum
from scratch.

                 hours                                    panes
    |------|------|------|------|--...--|------|  |||||||||||||||||||||||
    |      `------------ 24h -----------------------------------------' |   whole hours, panes above the floor
    |                                                     `--- 1h -----'    panes alone
    `----------------------------- all ---------------------------------'   all that is kept

A folded pane is subtracted as a pane and added with its hour: long windows do not notice.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from operator import add, sub
from typing import Final, Generic, NamedTuple, TypeVar

from stream_app.core import cells
from stream_app.core.panes import HOUR_MS, PANE_MS, Window
from stream_app.core.slices import Slice
from stream_app.core.tally import Tally
from stream_app.serving.partitions import Change

ALL: Final = "all"
"""The window of everything kept; and, in marginals, every surface or every arm."""
STEP_MS: Final = 60_000
BATCH: Final = 200
"""Cells unpacked at a time: more would have the garbage collector walk through them again and again."""

Pair = tuple[str, str]
"""Surface and arm."""
_FOREVER: Final = 1 << 62


class Progress(NamedTuple):
    """How far a partition's event time has come (0: it counted nothing), and whether records wait."""

    newest_ms: int
    is_behind: bool


def horizon_ms(progress: Iterable[Progress], before_ms: int = 0) -> int:
    """Return the event time up to which the windows look; 0 when nothing has been counted.

    It is the slowest of the partitions that are behind, so that a window is not half full while they catch
    up; when none is, the fastest of all, so that an idle partition holds up nobody. A partition that lay idle
    for an hour is behind for a moment when a record comes: the horizon then waits for it at `before_ms`,
    where it was, and does not go back, unless the counted time itself did.
    """
    counted = [p for p in progress if p.newest_ms > 0]
    if not counted:
        return 0
    newest = max(p.newest_ms for p in counted)
    slowest = min((p.newest_ms for p in counted if p.is_behind), default=newest)
    return max(slowest, min(before_ms, newest))


class Span(NamedTuple):
    """Where a window lies: `[start, end)`; a fine one is made of panes alone."""

    start_ms: int
    end_ms: int
    is_fine: bool

    def has(self, is_pane: bool, start_ms: int) -> bool:
        """Say whether the pane or hour that starts at `start_ms` belongs to the window."""
        return self.start_ms <= start_ms < self.end_ms and (is_pane or not self.is_fine)


class _Tiers:
    """The cells of one partition, packed. Mutable state: as of the last advance."""

    __slots__ = ("hours", "panes", "slices")

    def __init__(self) -> None:
        self.slices: tuple[Slice, ...] = ()
        self.panes: dict[int, bytes] = {}
        self.hours: dict[int, bytes] = {}

    def fields(self) -> Iterable[str]:
        """Yield the fields of all cells held."""
        yield from map(cells.pane_field, self.panes)
        yield from map(cells.hour_field, self.hours)


Key = TypeVar("Key", bound=Hashable)
Tallies = list[Sequence[int]]


class _Ledger(Generic[Key]):
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


_Bands = defaultdict[tuple[str, ...], _Ledger[Slice]]
"""What changed, by the windows that it changes."""


class Windows:
    """The tallies of all windows by slice. Mutable state: cells as last read, and the sums over them.

    `weight` is the position of the measure that `unsettled` weighs by.
    """

    def __init__(self, windows: Sequence[Window], weight: int) -> None:
        self._windows = tuple(windows)
        self._weight = weight
        self._partitions: dict[int, _Tiers] = {}
        self._totals: dict[str, dict[Slice, Tally]] = {name: {} for name in (*(w.name for w in windows), ALL)}
        self._hour_weights: dict[int, int] = {}
        self._pane_weights: dict[int, int] = {}
        self.spans: dict[str, Span] = {}
        self.end_ms = 0
        self._lay(0)
        # Over all partitions, by surface and arm, of every pane and every minute of panes: the series.
        self.pane_pairs: dict[int, dict[Pair, list[int]]] = {}
        self.step_pairs: dict[int, dict[Pair, list[int]]] = {}

    def totals(self, name: str) -> dict[Slice, Tally]:
        """Return the tallies of a window by slice: a copy that later advances leave alone."""
        return dict(self._totals[name])

    def advance(self, changes: Iterable[Change], end_ms: int) -> None:
        """Slide the windows to `end_ms` (a multiple of the pane), then apply the changes."""
        if end_ms != self.end_ms:
            self._slide(end_ms)
        bands = _Bands(_Ledger)
        pieces = 0
        for change in changes:
            for tiers, field, packed in self._pieces(change):
                self._replace(tiers, field, packed, bands)
                pieces += 1
                if pieces % BATCH == 0:
                    self._settle(bands)
        self._settle(bands)

    def oldest_ms(self) -> int | None:
        """Return the start of the oldest pane or hour in which something was counted."""
        return min((*self.pane_pairs, *self._hour_weights), default=None)

    def newest_end_ms(self) -> int | None:
        """Return the end of the newest pane in which something was counted."""
        return max((start + PANE_MS for start in self.pane_pairs), default=None)

    def unsettled(self, name: str, since_ms: int) -> int:
        """Return the weight of those panes (or hours) of the window that end after `since_ms`."""
        span = self.spans[name]
        fine = sum(
            amount
            for start, amount in self._pane_weights.items()
            if start + PANE_MS > since_ms and span.has(True, start)
        )
        coarse = sum(
            amount
            for start, amount in self._hour_weights.items()
            if start + HOUR_MS > since_ms and span.has(False, start)
        )
        return fine + coarse

    # -- inside ----------------------------------------------------------------------------------------------

    def _lay(self, end_ms: int) -> None:
        self.end_ms = end_ms
        self.spans = {w.name: Span(w.start_ms(end_ms), end_ms, w.is_fine) for w in self._windows}
        self.spans[ALL] = Span(-_FOREVER, _FOREVER, is_fine=False)

    def _slide(self, end_ms: int) -> None:
        before = self.spans
        self._lay(end_ms)
        for name, new in self.spans.items():
            moves = _difference(before[name], new)
            ledger = _Ledger[Slice]()
            for low, high, is_gain in moves:
                for tiers in self._partitions.values():
                    side = ledger.side(is_gain)
                    for start in _starts(tiers.panes, low, high, PANE_MS):
                        _enter(side, tiers, tiers.panes[start])
                    for start in () if new.is_fine else _starts(tiers.hours, low, high, HOUR_MS):
                        _enter(side, tiers, tiers.hours[start])
            self._add_to_window(name, ledger.balance())

    def _pieces(self, change: Change) -> Iterator[tuple[_Tiers, str, bytes | None]]:
        """Yield the cells to be replaced: of a reset everything held, under the slices it was counted for."""
        tiers = self._partitions.setdefault(change.partition, _Tiers())
        if change.is_reset:
            for field in [*tiers.fields()]:
                yield tiers, field, None
        tiers.slices = change.slices
        for field, packed in change.fields.items():
            yield tiers, field, packed

    def _replace(self, tiers: _Tiers, field: str, packed: bytes | None, bands: _Bands) -> None:
        """Put packed rows in place of what is held; note by how much windows move, and move the marginals."""
        is_pane, start = field.startswith("p:"), cells.field_start(field)
        ledger = bands[tuple(name for name, span in self.spans.items() if span.has(is_pane, start))]
        pairs, weight = _Ledger[Pair](), 0
        tier = tiers.panes if is_pane else tiers.hours
        for is_gain, content in ((False, tier.pop(start, None)), (True, packed)):
            if content is None:
                continue
            side, pair_side = ledger.side(is_gain), pairs.side(is_gain)
            for number, tally in cells.unpack_rows(content).items():
                slice_ = tiers.slices[number]
                side[slice_].append(tally)
                weight += tally[self._weight] if is_gain else -tally[self._weight]
                if is_pane:
                    pair_side[slice_[:2]].append(tally)
        if packed is not None:
            tier[start] = packed
        if is_pane:
            balance = pairs.balance()
            _move(self.pane_pairs, start, balance)
            _move(self.step_pairs, start - start % STEP_MS, balance)
        if weight:
            weights = self._pane_weights if is_pane else self._hour_weights
            weights[start] = weights.get(start, 0) + weight
            if not weights[start]:
                del weights[start]

    def _settle(self, bands: _Bands) -> None:
        """Add what was noted to the windows, and forget it."""
        for names, ledger in bands.items():
            sums = ledger.balance()
            for name in names:
                self._add_to_window(name, sums)
        bands.clear()

    def _add_to_window(self, name: str, sums: dict[Slice, list[int]]) -> None:
        totals = self._totals[name]
        for slice_, tally in sums.items():
            total = totals.get(slice_)
            new = Tally(tally) if total is None else total + tally
            if any(new):
                totals[slice_] = new
            else:
                totals.pop(slice_, None)


def _enter(side: defaultdict[Slice, Tallies], tiers: _Tiers, packed: bytes) -> None:
    for number, tally in cells.unpack_rows(packed).items():
        side[tiers.slices[number]].append(tally)


def _move(held: dict[int, dict[Pair, list[int]]], key: int, balance: dict[Pair, list[int]]) -> None:
    """Add `balance` to what is held under `key`; what becomes zero is no longer held."""
    pairs = held.setdefault(key, {})
    for pair, tally in balance.items():
        total = pairs.get(pair)
        new = tally if total is None else [*map(add, total, tally)]
        if any(new):
            pairs[pair] = new
        else:
            pairs.pop(pair, None)
    if not pairs:
        del held[key]


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
