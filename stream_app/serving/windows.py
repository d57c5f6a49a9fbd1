"""What windows are made of: sums by slice, and beside them what series and maturity need by pane."""

from collections.abc import Iterable, Sequence
from operator import add
from typing import Final, NamedTuple

from stream_app.core import cells
from stream_app.core.histograms import Bin, bin_of
from stream_app.core.panes import HOUR_MS, PANE_MS, Window
from stream_app.core.slices import Slice
from stream_app.serving.sums import Ledger, Rows, Slices, Sums

STEP_MS: Final = 60_000

Pair = tuple[str, str]
"""Surface and arm."""


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


def bin_windows(windows: Sequence[Window]) -> Sums[Bin]:
    """Return windows of the histograms' bins; their tallies have one amount."""
    return Sums(windows, cells.BINS, bin_of)


class Windows(Sums[Slice]):
    """The tallies of all windows by slice; and, by pane and minute, those of each surface and arm.

    `weight` is the position of the measure that `unsettled` weighs by. Mutable state: that of the sums, and the same
    by pane.
    """

    def __init__(self, windows: Sequence[Window], weight: int) -> None:
        super().__init__(windows, cells.TALLIES, _slice)
        self._weight = weight
        self._hour_weights: dict[int, int] = {}
        self._pane_weights: dict[int, int] = {}
        # Over all partitions, by surface and arm, of every pane and every minute of panes: the series.
        self.pane_pairs: dict[int, dict[Pair, list[int]]] = {}
        self.step_pairs: dict[int, dict[Pair, list[int]]] = {}

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

    def _observe(self, is_pane: bool, start: int, slices: Slices, before: Rows, after: Rows) -> None:
        if is_pane:
            pairs = Ledger[Pair]()
            for is_gain, rows in ((False, before), (True, after)):
                side = pairs.side(is_gain)
                for number, tally in rows.items():
                    side[slices[number][:2]].append(tally)
            balance = pairs.balance()
            _move(self.pane_pairs, start, balance)
            _move(self.step_pairs, start - start % STEP_MS, balance)
        at = self._weight
        weight = sum(tally[at] for tally in after.values()) - sum(tally[at] for tally in before.values())
        if weight:
            weights = self._pane_weights if is_pane else self._hour_weights
            weights[start] = weights.get(start, 0) + weight
            if not weights[start]:
                del weights[start]


def _slice(slices: Slices, number: int) -> Slice:
    return slices[number]


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
