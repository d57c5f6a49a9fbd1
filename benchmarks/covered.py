"""How often an interval covers the truth: what a row says of one, and how it is asked exactly as it is served.

A row draws samples from a world whose true value is known, and lets the product's own functions answer: a metric is
lowered from sums of measures by its declaration in the catalogue, whatever else is served is called as the server does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.core.inputs import Figure
from stream_app.metrics.catalogue import METRICS
from stream_app.metrics.list_methods import ListMethod, Told
from stream_app.metrics.methods import Quantile
from stream_app.metrics.metric import Metric
from stream_app.statistics.counted import Bins, Counted
from stream_app.statistics.lowering import lower

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rng = np.random.Generator
Bounds = Any
"""Whatever has a `low` and a `high`: an Estimate, a Lift, a Step."""
Draw = Callable[[Rng, int], Iterable[Bounds | None]]
"""Draws so many samples, and returns what is served of each; None where nothing is."""
Kind = Literal["nominal", "at least", "corner"]
"""What is asked of a row.

- `nominal`: at the sizes that are usual it covers in 94 to 96 %.
- `at least`: it is wider by design (exact counts, order statistics, sketches, sequences), and never covers less.
- `corner`: few or heavy-tailed or clustered observations, for which its metric says that it is too narrow, or where
  nothing is promised; the figure says by how much.
"""
METRIC: Final = {metric.name: metric for metric in METRICS}
AT_ONCE: Final = 2_000_000
"""Amounts held in memory at a time."""


class Row(NamedTuple):
    """What is asked: a metric of the catalogue or a function, in a world, and the `truth` there.

    `share` is the part of the runner's draws that it gets; what is dear gets fewer.
    """

    subject: str
    world: str
    truth: float
    draw: Draw
    kind: Kind = "nominal"
    nominal: float = 0.95
    share: float = 1.0


class Coverage(NamedTuple):
    """How many samples were drawn and answered, in how many answers the truth was, or above, or below all of it."""

    drawn: int
    answered: int
    covered: int
    above: int
    below: int

    @property
    def rate(self) -> float:
        """The share of answers with the truth in them."""
        return self.covered / self.answered

    @property
    def error(self) -> float:
        """The Monte Carlo standard error of the rate."""
        return sqrt(max(self.rate * (1 - self.rate), 1 / self.answered) / self.answered)


def coverage(row: Row, rng: Rng, draws: int) -> Coverage:
    """Return what becomes of `draws` samples. Raises ValueError when nothing at all is answered."""
    covered = above = below = drawn = 0
    truth, slack = float(row.truth), 1e-12 * abs(float(row.truth))
    for found in row.draw(rng, draws):
        drawn += 1
        if found is not None:
            # Bounds and truth are floats of other sums: what differs by their rounding is the same.
            above += found.high < truth - slack
            below += found.low > truth + slack
            covered += found.low - slack <= truth <= found.high + slack
    if not covered + above + below:
        raise ValueError(f"{row.subject}, {row.world}: nothing was answered")
    return Coverage(drawn, covered + above + below, covered, above, below)


def holds(row: Row, found: Coverage, errors: float = 0.0) -> bool:
    """Say whether a row keeps what is asked of it, but for so many standard errors."""
    slack = errors * found.error
    if row.kind == "at least":
        return found.rate >= row.nominal - max(slack, 2 * found.error)
    return row.kind == "corner" or row.nominal - 0.01 - slack <= found.rate <= row.nominal + 0.01 + slack


def method_of(metric: Metric) -> tuple[str, str]:
    """Return what tells an interval method from another: its declaration, and what of its sums it tells."""
    method = metric.method
    told = getattr(method, "tells", "")
    if isinstance(method, Quantile):
        told = f"{method.share:.2f}"
    assert not told or isinstance(method, ListMethod | Quantile)
    return type(method).__name__, told.value if isinstance(told, Told) else str(told)


def answers(
    name: str,
    sums: Mapping[str, Sequence[int] | Ints],
    bins: Iterable[Bins] | None = None,
    reference: Iterable[Bins] | None = None,
    base: Mapping[str, Sequence[int] | Ints] | None = None,
    told: Mapping[Figure, float] | None = None,
) -> Iterator[Bounds | None]:
    """Yield what a metric says of each sample: sums of measures by name, a column of samples each, bins, and so on.

    Raises KeyError for a metric that the catalogue does not have, and where it needs a measure that is not there.
    """
    metric = METRIC[name]
    return (lower(metric, *one._replace(told=told or {})) for one in counted(sums, bins, reference, base))


def of_sessions(rng: Rng, draws: int, sessions: int, seen: int, rate: float | Floats) -> Mapping[str, Ints]:
    """Draw sessions with `seen` impressions each that are clicked at `rate`, a column of samples for each measure.

    Where `rate` is an array, (draws, sessions), each session has its own: clicks of one are alike.
    """
    clicks = rng.binomial(seen, rate, (draws, sessions))
    return {
        "clicks": clicks.sum(1), "impressions": np.full(draws, sessions * seen), "sessions": np.full(draws, sessions),
        "session_clicks": clicks.sum(1), "session_click_squares": (clicks**2).sum(1),
    }  # fmt: skip


def counted(
    sums: Mapping[str, Sequence[int] | Ints],
    bins: Iterable[Bins] | None = None,
    reference: Iterable[Bins] | None = None,
    base: Mapping[str, Sequence[int] | Ints] | None = None,
) -> Iterator[Counted]:
    """Yield each sample as what was counted of it."""
    index = {measure: number for number, measure in enumerate(sums)}
    tallies: Iterable[Sequence[int]] = rows(sums) if sums else iter(lambda: (), 1)
    bases: Iterable[Sequence[int]] = rows({name: base[name] for name in index}) if base else iter(lambda: (), 1)
    nothing: Iterable[Bins] = iter(dict, 1)
    for tally, own, others, against in zip(tallies, bins or nothing, reference or nothing, bases, strict=False):
        yield Counted(tally, index, own, others, against)


def rows(columns: Mapping[str, Sequence[int] | Ints]) -> Iterator[tuple[int, ...]]:
    """Yield columns sample by sample, as integers of Python: those do not overflow."""
    return zip(*(c.tolist() if isinstance(c, np.ndarray) else c for c in columns.values()), strict=True)


def bins_of(name: str, *columns: tuple[int, Ints]) -> Iterator[Bins]:
    """Yield the bins of one histogram sample by sample, from the column of each bin."""
    numbers = [number for number, _ in columns]
    for amounts in zip(*(column.tolist() for _, column in columns), strict=True):
        yield {name: {number: amount for number, amount in zip(numbers, amounts, strict=True) if amount}}


class Law:
    """Whole amounts, each equally likely: what is true of them is a sum, and a draw is one look-up."""

    def __init__(self, amounts: Iterable[int] | Ints) -> None:
        self.amounts: Ints = np.array(list(amounts), dtype=np.int64)

    @property
    def mean(self) -> float:
        """The exact mean."""
        return float(self.amounts.mean())

    def capped(self, cap: int) -> "Law":
        """Return the law of the amounts with all above `cap` taken for it."""
        return Law(np.minimum(self.amounts, cap))

    def quantile(self, share: float) -> int:
        """Return the smallest amount that this share does not exceed."""
        return int(np.sort(self.amounts)[int(np.ceil(share * len(self.amounts))) - 1])

    def sums(self, rng: Rng, sizes: Ints, of: Callable[[Ints], Ints] = np.square) -> tuple[Ints, Ints]:
        """Return the sum of so many amounts for each sample, and that of their squares (or of another function)."""
        totals, others = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
        second = of(self.amounts)
        step = max(1, AT_ONCE // max(1, int(sizes.max())))
        for begin in range(0, len(sizes), step):
            some = sizes[begin : begin + step]
            picked = rng.integers(0, len(self.amounts), int(some.sum()))
            ends = np.cumsum(some)
            for into, values in ((totals, self.amounts), (others, second)):
                run = np.concatenate(([0], np.cumsum(values[picked])))
                into[begin : begin + step] = run[ends] - run[ends - some]
        return totals, others


class Mixture:
    """Outcomes with their probabilities, and what each adds to the bins of a histogram."""

    def __init__(self, outcomes: Iterable[tuple[float, Mapping[int, int]]]) -> None:
        found = list(outcomes)
        weights = np.array([weight for weight, _ in found])
        self.shares: Floats = weights / weights.sum()
        self.numbers = sorted({number for _, adds in found for number in adds})
        self.adds: Ints = np.array([[adds.get(n, 0) for n in self.numbers] for _, adds in found], dtype=np.int64)

    def bins(self, rng: Rng, name: str, draws: int, size: int) -> Iterator[Bins]:
        """Yield the bins of `draws` samples of `size` outcomes."""
        sums = rng.multinomial(size, self.shares, draws) @ self.adds
        return bins_of(name, *zip(self.numbers, sums.T, strict=True))
