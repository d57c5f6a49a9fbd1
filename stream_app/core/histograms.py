"""Histograms: how amounts are spread over numbered bins, per surface and arm; what quantiles are read from.

A bin's amount is an integer that is added, like a measure: so histograms merge over panes and partitions, and are exact
after replay. Of the many bins that a histogram may have few are ever used, so each used one is a row of its own, under

    | slice number, 20 bits | histogram, 24 bits | bin, 16 bits |

in cells whose tallies have one measure. Only surface and arm are told apart: the finer slices have no use for the
shape of a distribution, and would multiply its bins.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from stream_app.core import cells
from stream_app.core.aggregation import Cells, Rows
from stream_app.core.events import Event
from stream_app.core.records import Kind
from stream_app.core.slices import Slice, SliceTable
from stream_app.core.tally import NAME_BITS, Binned, Histogram, Measure, Occasion, Plan, Spread

_BIN_BITS: Final = 16
_LOWEST_BIN: Final = -(1 << _BIN_BITS - 1)
_HIGHEST_BIN: Final = (1 << _BIN_BITS - 1) - 1
_ONE_AMOUNT: Final = Plan.of((Measure("amount", "What a bin holds.", "", Occasion.OTHER),))


Standing = tuple[int | None, int]
"""In which bin something stands, with what weight."""
_NOWHERE: Final[Standing] = None, 0


class BinKey(NamedTuple):
    """What the key of a stored bin says."""

    slice_number: int
    histogram: int
    bin: int


class Bin(NamedTuple):
    """A bin of a histogram, by the number of its meaning, whatever the partition."""

    surface: str
    arm: str
    histogram: int
    bin: int


def bin_key(slice_number: int, histogram: int, number: int) -> int:
    """Return the key of a bin; its number is cut to what 16 bits hold."""
    within = min(max(number, _LOWEST_BIN), _HIGHEST_BIN) - _LOWEST_BIN
    return (slice_number << NAME_BITS | histogram) << _BIN_BITS | within


def read_key(key: int) -> BinKey:
    """Undo `bin_key`."""
    above = key >> _BIN_BITS
    within = key & ((1 << _BIN_BITS) - 1)
    return BinKey(above >> NAME_BITS, above & ((1 << NAME_BITS) - 1), within + _LOWEST_BIN)


def bin_of(slices: Sequence[Slice], key: int) -> Bin:
    """Return the bin that a key stands for in a partition with those slices."""
    slice_number, histogram, number = read_key(key)
    return Bin(*slices[slice_number][:2], histogram, number)


Numbered = tuple[tuple[int, Histogram], ...]
"""Histograms, each with its number."""


def by_subject(histograms: Sequence[Binned]) -> Mapping[type[Event] | Kind, Numbered]:
    """Return the histograms, with their numbers, by what they grow on."""
    own = [each for each in histograms if isinstance(each, Histogram)]
    return {on: tuple((each.number, each) for each in own if each.on == on) for on in dict.fromkeys(h.on for h in own)}


Gathered = defaultdict[tuple[int, int], list[Any]]
"""Subjects of one occasion by place: the start of a pane, and the slice of a surface and arm."""


class Bins:
    """The bins of one partition's histograms.

    Mutable state: their cells, which slice stands for which others, and what was gathered but not added yet.
    """

    def __init__(self, plan: Plan, slices: SliceTable) -> None:
        self.cells = Cells(_ONE_AMOUNT, cells.BINS)
        self.slices = slices
        self._by_subject = by_subject(plan.histograms)
        self._spreads: dict[Occasion, list[tuple[int, Spread]]] = defaultdict(list)
        for spread in plan.histograms:
            if isinstance(spread, Spread):
                self._spreads[spread.on].append((spread.number, spread))
        self._coarse: dict[int, int] = {}
        self._gathered: defaultdict[Occasion, Gathered] = defaultdict(partial(defaultdict, list))

    def grows_on(self, on: type[Event] | Kind | Occasion) -> bool:
        """Say whether any histogram or spread grows on it."""
        return on in self._by_subject or on in self._spreads

    def gathered(self, occasion: Occasion) -> Gathered:
        """Return the lists of subjects, by place, to which those of an occasion are appended until `settle`."""
        return self._gathered[occasion]

    def settle(self) -> None:
        """Add what was gathered; due before anything is read, folded or packed: once a pane, or a checkpoint.

        Sums do not depend on order, and subjects recur: the more of them are added at once, the less each costs.
        """
        for occasion, places in self._gathered.items():
            spreads = self._spreads.get(occasion, ())
            for (start, coarse), subjects in places.items():
                if not spreads or not subjects:
                    continue
                counted, rows = Counter(subjects), self.cells.rows(start)
                for number, spread in spreads:
                    first = bin_key(coarse, number, 0)
                    for bin_, amount in spread.amounts(counted).items():
                        if not amount:
                            continue
                        key = first + bin_ if _LOWEST_BIN <= bin_ <= _HIGHEST_BIN else bin_key(coarse, number, bin_)
                        _add(rows, key, amount)
            places.clear()

    def add(self, at_ms: int, slice_number: int, on: type[Event], event: Event) -> None:
        """Let every histogram grow that grows on this type of event."""
        for number, histogram in self._by_subject.get(on, ()):
            self._put(at_ms, slice_number, number, _stands(histogram, event), 1)

    def histograms_on(self, kind: Kind) -> Numbered:
        """Return what `grow` takes for a kind of record: asked for once, for it is needed with every change."""
        return self._by_subject.get(kind, ())

    def grow(self, at_ms: int, slice_number: int, histograms: Numbered, blank: Any, before: Any, after: Any) -> None:
        """Let a record that changed leave its bins and enter others; a blank one stands in none."""
        for number, histogram in histograms:
            then = _NOWHERE if before == blank else _stands(histogram, before)
            now = _NOWHERE if after == blank else _stands(histogram, after)
            if then != now:
                self._put(at_ms, slice_number, number, then, -1)
                self._put(at_ms, slice_number, number, now, 1)

    def _put(self, at_ms: int, slice_number: int, number: int, standing: Standing, sign: int) -> None:
        bin_, weight = standing
        if bin_ is None or not weight:
            return
        _add(self.cells.rows(at_ms), bin_key(self.coarse(slice_number), number, bin_), sign * weight)

    def coarse(self, slice_number: int) -> int:
        """Return the number of the slice that stands for the surface and arm of this one."""
        coarse = self._coarse.get(slice_number)
        if coarse is None:
            surface, arm = self.slices.slices[slice_number][:2]
            coarse = self._coarse[slice_number] = self.slices.coarse((surface, arm, None, None, None, None))
        return coarse


def _stands(histogram: Histogram, subject: Any) -> Standing:
    bin_ = histogram.bin(subject)
    return _NOWHERE if bin_ is None else (bin_, histogram.weight(subject))


def _add(rows: Rows, key: int, amount: int) -> None:
    row = rows.get(key)
    if row is None:
        rows[key] = [amount]
    else:
        row[0] += amount
