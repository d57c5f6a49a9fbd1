"""How the value of a metric and its interval come from measures: one small value per method.

Every text in a method is a *sum of measures*: the name of one, or several joined by + and -, as in
`order_minor - refunded_minor`. Sums of sums are sums, so whatever is additive stays so. `statistics.lowering` has the
function that belongs to each method: a new method is a class here, an entry there, and its test.

Amounts are integers, stored `scale` times as large as they are shown; their squares `squares_scale` times. With fewer
observations than a method needs there is no estimate.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Final, NamedTuple

from stream_app.core.inputs import Figure
from stream_app.metrics.list_methods import ListMethod


class Term(NamedTuple):
    """A measure in a sum: added (1) or subtracted (-1)."""

    sign: int
    measure: str


@cache  # the texts of the catalogue: there are only so many
def terms(sum_: str) -> tuple[Term, ...]:
    """Take a sum of measures apart. Raises ValueError for what is none."""
    words = sum_.split()
    signs = ["+", *words[1::2]]
    if len(words) % 2 == 0 or not {"+", "-"}.issuperset(signs) or not all(w.isidentifier() for w in words[::2]):
        raise ValueError(f"{sum_!r} is no sum of measures; write `name`, or `one - another + third`")
    return tuple(Term(1 if sign == "+" else -1, word) for sign, word in zip(signs, words[::2], strict=True))


@cache  # asked for every metric at every refresh; there are only so many
def needs(method: Any) -> tuple[str, ...]:
    """Return the measures and histograms that a method reads, each once, in the order of its fields."""
    return tuple(dict.fromkeys(term.measure for sum_ in _sums(method) for term in terms(sum_)))


def _sums(method: Any) -> Iterator[str]:
    for field in fields(method):
        value = getattr(method, field.name)
        if isinstance(value, tuple) and not isinstance(value, Figure | Arms):
            yield from (each for each in value if isinstance(each, str))
        elif isinstance(value, str) and value:
            yield value


class Arms(NamedTuple):
    """Whose tally a method reads, and whose it is held against ("" = nobody's)."""

    arm: str
    base: str = ""


PERSONALIZED: Final = Arms("personalized")
AGAINST_HOLDOUT: Final = Arms("personalized", "holdout")


@cache
def figures(method: Any) -> tuple[Figure, ...]:
    """Return the figures that a method must be told."""
    values = (getattr(method, field.name) for field in fields(method))
    return tuple(value for value in values if isinstance(value, Figure))


def arms(method: Any) -> Arms | None:
    """Return the arms that a method reads by itself, so that nobody can ask for it by arm; None where any will do."""
    found: Arms | None = getattr(method, "arms", None)
    return found


class Clusters(NamedTuple):
    """Sums over sessions (or users) of the squares of their totals, of their counts, and of the products of both."""

    number: str
    total_squares: str
    count_squares: str
    products: str


class SuccessClusters(NamedTuple):
    """Sums over sessions: how many there are, the successes in them, and the squares of these."""

    number: str
    successes: str
    squares: str


@dataclass(frozen=True, slots=True)
class Proportion:
    """The share of `trials` that were `successes`; with `clusters`, of trials that are alike within a session."""

    successes: str
    trials: str
    clusters: SuccessClusters | None = None

    @property
    def interval(self) -> str:
        """How its interval comes about."""
        return f"Wilson score interval{' with the design effect of sessions' if self.clusters else ''}"


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of `count` amounts that sum to `total` and whose squares sum to `squares`.

    With `cap`, the measures take an amount above it, as stored, for it: a winsorised mean. It is declared here for the
    reader, and used where the measures are lifted.
    """

    interval: ClassVar[str] = "Student's t interval of a mean, cut at the metric's bounds"

    total: str
    count: str
    squares: str
    scale: int = 1
    squares_scale: int = 1
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class LogMean:
    """exp(mean of ln(1 + x)) - 1 of `count` amounts x: a geometric mean that amounts of 0 do not spoil.

    `logs` sums ln(1 + x), `squares` its squares, both `scale` times.
    """

    interval: ClassVar[str] = "Student's t interval of the mean logarithm, carried over"

    logs: str
    count: str
    squares: str
    scale: int


@dataclass(frozen=True, slots=True)
class ClusteredMean:
    """The mean, where amounts come in sessions (or users) and are alike in each: a ratio of two sums.

    The squares of totals are stored `squares_scale` times, the products `scale` times.
    """

    interval: ClassVar[str] = "delta-method interval over clusters, Student's t, cut at the metric's bounds"

    total: str
    count: str
    clusters: Clusters
    scale: int = 1
    squares_scale: int = 1


@dataclass(frozen=True, slots=True)
class Rate:
    """`events` per `expected`, times `per`: a count that varies over something known.

    `expected` is stored `scale` times. `count` says how many observations are behind it; by default, `expected` does.
    """

    interval: ClassVar[str] = "exact Poisson interval of the number of events"

    events: str
    expected: str
    count: str = ""
    scale: int = 1
    per: int = 1


@dataclass(frozen=True, slots=True)
class Ratio:
    """One sum over another, as it is in the window: nothing is claimed beyond it, so its bounds are its value.

    `total` is stored `scale` times, `of` `of_scale` times. A share of a whole is a ratio with bounds 0 and 1.
    """

    interval: ClassVar[str] = ""

    total: str
    of: str
    scale: int = 1
    of_scale: int = 1


@dataclass(frozen=True, slots=True)
class Count:
    """The sum itself, stored `scale` times: exact, also when it is 0, so its bounds are its value."""

    interval: ClassVar[str] = ""

    total: str
    scale: int = 1


@dataclass(frozen=True, slots=True)
class NetScore:
    """The share of `promoters` less that of `detractors` in `answers`, from -1 to 1."""

    interval: ClassVar[str] = "adjusted Wald interval of a multinomial difference, cut at -1 and 1"

    promoters: str
    detractors: str
    answers: str


@dataclass(frozen=True, slots=True)
class WeightedProportion:
    """The share of positive answers, each weighing as much as it stands for: 1 / the probability of being asked.

    `weights` and `positive_weights` are stored `scale` times, `weight_squares` `squares_scale` times.
    """

    interval: ClassVar[str] = "Wilson score interval with Kish's effective sample size"

    positive_weights: str
    weights: str
    weight_squares: str
    answers: str
    scale: int = 1
    squares_scale: int = 1


@dataclass(frozen=True, slots=True)
class Quantile:
    """The amount that `share` of all do not exceed, from a `histogram` by `core.quantile_sketch.bucket_of`.

    Histograms tell surface and arm apart, and no other dimension.
    """

    interval: ClassVar[str] = "two order statistics around it, outwards to the ends of their buckets (1 %)"

    histogram: str
    share: float
    scale: int = 1


@dataclass(frozen=True, slots=True)
class MeanBelow:
    """The mean of amounts with all above their 99 % quantile taken for it, from a `histogram` as in `Quantile`."""

    interval: ClassVar[str] = (
        "normal interval of a winsorised mean whose cut is chance too, widened by the 1 % that buckets hide"
    )

    histogram: str
    scale: int = 1


@dataclass(frozen=True, slots=True)
class MedianBetween:
    """The duration that half outlast, where it is known only at some `points` how many do.

    At each point, in ascending order and in the unit shown, `reached` of `known` lasted that long.
    """

    interval: ClassVar[str] = "the points around it at which Wilson score intervals exclude one half"

    points: tuple[int, ...]
    reached: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostPer:
    """A cost that people told, per one of the things that happened."""

    interval: ClassVar[str] = "exact Poisson interval of the number of things, the cost taken as known"

    cost: Figure
    of: str


@dataclass(frozen=True, slots=True)
class CostPerExtra:
    """A cost that people told, per success that one arm has more than it would have as the other one."""

    interval: ClassVar[str] = "Newcombe's interval of the difference of proportions, the cost taken as known"

    cost: Figure
    successes: str
    trials: str
    arms: Arms = AGAINST_HOLDOUT


@dataclass(frozen=True, slots=True)
class UnitCost:
    """A cost that people told, per so many things that were delivered: their number is no sample of anything."""

    interval: ClassVar[str] = ""

    cost: Figure
    of: str
    per: int = 1
    arms: Arms | None = None


@dataclass(frozen=True, slots=True)
class ReturnRatio:
    """The sum of `count` amounts in an arm, over a cost that people told. Stored as in `Mean`."""

    interval: ClassVar[str] = "Student's t interval of the sum, the cost taken as known"

    total: str
    count: str
    squares: str
    cost: Figure
    scale: int = 1
    squares_scale: int = 1
    arms: Arms = PERSONALIZED


@dataclass(frozen=True, slots=True)
class Gain:
    """What one arm earned more than it would have as the other one, times the margin. Stored as in `Mean`."""

    interval: ClassVar[str] = "normal interval of the difference of means, the margin taken as known"

    total: str
    count: str
    squares: str
    margin: Figure
    scale: int = 1
    squares_scale: int = 1
    arms: Arms = AGAINST_HOLDOUT


@dataclass(frozen=True, slots=True)
class ReturnOnInvestment:
    """(gain - cost) / cost, with the gain as in `Gain` and the cost as people told it."""

    interval: ClassVar[str] = "normal interval of the difference of means, margin and cost taken as known"

    total: str
    count: str
    squares: str
    margin: Figure
    cost: Figure
    scale: int = 1
    squares_scale: int = 1
    arms: Arms = AGAINST_HOLDOUT


@dataclass(frozen=True, slots=True)
class IncrementalShare:
    """The share of an arm's amount that it would not have as the other one, (T - C) / T. Stored as in `Mean`."""

    interval: ClassVar[str] = "that of the ratio of means, delta method in logs, carried over"

    total: str
    count: str
    squares: str
    scale: int = 1
    squares_scale: int = 1
    arms: Arms = AGAINST_HOLDOUT


@dataclass(frozen=True, slots=True)
class LifetimeForecast:
    """What somebody will be worth after their first `period` days: m r / (1 + d - r), all of a period.

    m is the mean of `count` amounts of the first period, stored as in `Mean`, times the margin. r is the share `of` all
    that has not `lapsed` after `days`, taken to a period. d is the discount told for a year.
    """

    interval: ClassVar[str] = "mean amount and share at their bounds: nine in ten at least if the model holds"

    total: str
    count: str
    squares: str
    lapsed: str
    of: str
    days: int
    margin: Figure
    discount: Figure
    period: int = 28
    scale: int = 1
    squares_scale: int = 1


Method = (
    Proportion
    | Mean
    | LogMean
    | ClusteredMean
    | Rate
    | Ratio
    | Count
    | NetScore
    | WeightedProportion
    | Quantile
    | MeanBelow
    | MedianBetween
    | ListMethod
    | CostPer
    | CostPerExtra
    | UnitCost
    | ReturnRatio
    | Gain
    | ReturnOnInvestment
    | IncrementalShare
    | LifetimeForecast
)  # fmt: skip
