"""Partitions and panes, added into windows: incrementally, so that a refresh costs what changed and not what is kept.

Tallies are a group. When a cell changes, new - old is added to every window that contains its pane; when the windows
slide, what leaves is subtracted and what enters is added. The law, tested: the result equals the sum from scratch.

                 hours                                    panes
    |------|------|------|------|--...--|------|  |||||||||||||||||||||||
    |      `------------ 24h -----------------------------------------' |   whole hours, and the panes above the floor
    |                                                     `--- 1h -----'    panes alone
    `----------------------------- all ---------------------------------'   everything kept, also beyond the end

A folded pane is subtracted as a pane and added with its hour: long windows do not notice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from stream_app.core import cells
from stream_app.core.panes import HOUR_MS, PANE_MS, Window
from stream_app.core.slices import Slice
from stream_app.core.tally import Tally, add_into, subtract_from
from stream_app.serving.partitions import Change

ALL: Final = "all"
"""The window of everything kept; and, in marginals, every surface or every arm."""
STEP_MS: Final = 60_000

Pair = tuple[str, str]
"""Surface and arm."""
Rows = Mapping[int, Sequence[int]]
_FOREVER: Final = 1 << 62


class Progress(NamedTuple):
    """How far a partition's event time has come (0: it has counted nothing), and whether records wait for it."""

    newest_ms: int
    is_behind: bool


def horizon_ms(progress: Iterable[Progress], before_ms: int = 0) -> int:
    """Return the event time up to which the windows look; 0 when nothing has been counted.

    It is the slowest of the partitions that are behind, so that a window is not half full while they catch up; when
    none is, the fastest of all, so that an idle partition holds up nobody. A partition that lay idle for an hour is
    behind for a moment when a record comes: the horizon then waits for it at `before_ms`, where it was, and does not
    go back, unless the counted time itself did.
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


Sums = dict[Slice, list[int]]


class Windows:
    """The tallies of all windows by slice. Mutable state: cells as last read, and the sums over them."""

    def __init__(self, windows: Sequence[Window], width: int) -> None:
        self._windows = tuple(windows)
        self._width = width
        self._partitions: dict[int, _Tiers] = {}
        self._totals: dict[str, dict[Slice, Tally]] = {name: {} for name in (*(w.name for w in windows), ALL)}
        self.spans: dict[str, Span] = {}
        self.end_ms = 0
        self._lay(0)
        # Over all partitions and slices, and over all partitions by surface and arm: what series and maturity need.
        self.panes: dict[int, list[int]] = {}
        self.hours: dict[int, list[int]] = {}
        self.pane_pairs: dict[int, dict[Pair, list[int]]] = {}
        self.step_pairs: dict[int, dict[Pair, list[int]]] = {}

    def totals(self, name: str) -> dict[Slice, Tally]:
        """Return the tallies of a window by slice: a copy that later advances leave alone."""
        return dict(self._totals[name])

    def advance(self, changes: Iterable[Change], end_ms: int) -> None:
        """Slide the windows to `end_ms` (a multiple of the pane), then apply the changes."""
        if end_ms != self.end_ms:
            self._slide(end_ms)
        moved: dict[tuple[bool, int], Sums] = {}
        for change in changes:
            self._apply(change, moved)
        bands: dict[tuple[str, ...], Sums] = {}
        for (is_pane, start), sums in moved.items():
            self._add_to_marginals(is_pane, start, sums)
            names = tuple(name for name, span in self.spans.items() if span.has(is_pane, start))
            _merge(bands.setdefault(names, {}), sums)
        for names, sums in bands.items():
            for name in names:
                self._add_to_window(name, sums)

    def oldest_ms(self) -> int | None:
        """Return the start of the oldest pane or hour kept."""
        return min((*self.panes, *self.hours), default=None)

    def newest_end_ms(self) -> int | None:
        """Return the end of the newest pane kept."""
        return max((start + PANE_MS for start in self.panes), default=None)

    def unsettled(self, name: str, since_ms: int, measure: int) -> int:
        """Return how much of `measure` lies in panes (or hours) of the window that end after `since_ms`."""
        span = self.spans[name]
        fine = sum(
            sums[measure] for start, sums in self.panes.items() if start + PANE_MS > since_ms and span.has(True, start)
        )
        coarse = sum(
            sums[measure] for start, sums in self.hours.items() if start + HOUR_MS > since_ms and span.has(False, start)
        )
        return fine + coarse

    # -- inside -----------------------------------------------------------------------------------------------------

    def _lay(self, end_ms: int) -> None:
        self.end_ms = end_ms
        self.spans = {w.name: Span(w.start_ms(end_ms), end_ms, w.is_fine) for w in self._windows}
        self.spans[ALL] = Span(-_FOREVER, _FOREVER, is_fine=False)

    def _slide(self, end_ms: int) -> None:
        before = self.spans
        self._lay(end_ms)
        for name, new in self.spans.items():
            sums: Sums = {}
            for low, high, add in _difference(before[name], new):
                for tiers in self._partitions.values():
                    for start in _starts(tiers.panes, low, high, PANE_MS):
                        _sum_rows(sums, tiers, tiers.panes[start], add)
                    for start in () if new.is_fine else _starts(tiers.hours, low, high, HOUR_MS):
                        _sum_rows(sums, tiers, tiers.hours[start], add)
            self._add_to_window(name, sums)

    def _apply(self, change: Change, moved: dict[tuple[bool, int], Sums]) -> None:
        tiers = self._partitions.setdefault(change.partition, _Tiers())
        if change.is_reset:
            for is_pane, tier in ((True, tiers.panes), (False, tiers.hours)):
                for start, held in tier.items():
                    _sum_rows(moved.setdefault((is_pane, start), {}), tiers, held, add=False)
            tiers = self._partitions[change.partition] = _Tiers()
        tiers.slices = change.slices
        for field, packed in change.fields.items():
            is_pane, start = field.startswith("p:"), cells.field_start(field)
            tier = tiers.panes if is_pane else tiers.hours
            sums = moved.setdefault((is_pane, start), {})
            old = tier.pop(start, None)
            if old is not None:
                _sum_rows(sums, tiers, old, add=False)
            if packed is not None:
                tier[start] = packed
                _sum_rows(sums, tiers, packed, add=True)

    def _add_to_marginals(self, is_pane: bool, start: int, sums: Sums) -> None:
        totals = self.panes if is_pane else self.hours
        total = totals.setdefault(start, [0] * self._width)
        pairs: dict[Pair, list[int]] = {}
        for slice_, tally in sums.items():
            add_into(total, tally)
            add_into(pairs.setdefault(slice_[:2], [0] * self._width), tally)
        if not any(total):
            del totals[start]
        if not is_pane:
            return
        for held, key in ((self.pane_pairs, start), (self.step_pairs, start - start % STEP_MS)):
            kept = held.setdefault(key, {})
            for pair, tally in pairs.items():
                add_into(kept.setdefault(pair, [0] * self._width), tally)
                if not any(kept[pair]):
                    del kept[pair]
            if not kept:
                del held[key]

    def _add_to_window(self, name: str, sums: Sums) -> None:
        totals = self._totals[name]
        for slice_, tally in sums.items():
            total = totals.get(slice_)
            new = Tally(tally) if total is None else total + tally
            if any(new):
                totals[slice_] = new
            else:
                totals.pop(slice_, None)


def _sum_rows(sums: Sums, tiers: _Tiers, packed: bytes, add: bool) -> None:
    slices, combine = tiers.slices, add_into if add else subtract_from
    for number, tally in cells.unpack_rows(packed).items():
        slice_ = slices[number]
        total = sums.get(slice_)
        if total is None:
            sums[slice_] = list(tally) if add else [-amount for amount in tally]
        else:
            combine(total, tally)


def _merge(sums: Sums, more: Sums) -> None:
    for slice_, tally in more.items():
        total = sums.get(slice_)
        if total is None:
            sums[slice_] = list(tally)
        else:
            add_into(total, tally)


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
    """Return the starts kept in `[low, high)`, by whichever way is shorter: along the time, or along what is kept."""
    if (high - low) // step < len(tier):
        return [start for start in range(low + -low % step, high, step) if start in tier]
    return [start for start in tier if low <= start < high]
