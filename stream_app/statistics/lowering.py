"""From a tally to an estimate, by a metric's declaration: the only place where integers become floats.

One function per method of `metrics.methods`, in one table.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stream_app.core.quantile_sketch import QuantileSketch
from stream_app.metrics.methods import (
    ClusteredMean,
    CostPer,
    CostPerExtra,
    Count,
    Gain,
    IncrementalShare,
    LifetimeForecast,
    LogMean,
    Mean,
    MeanBelow,
    MedianBetween,
    NetScore,
    Proportion,
    Quantile,
    Rate,
    Ratio,
    ReturnOnInvestment,
    ReturnRatio,
    UnitCost,
    WeightedProportion,
)
from stream_app.metrics.metric import Metric
from stream_app.statistics.clusters import Moments, ratio_estimate
from stream_app.statistics.counted import NO_BINS, NO_FIGURES, Bins, Counted, Figures
from stream_app.statistics.estimates import Z_95, Estimate, student
from stream_app.statistics.heavy_tails import log_mean, winsorised_mean
from stream_app.statistics.lifetimes import of_period, per_period, value_forecast
from stream_app.statistics.lifts import lift
from stream_app.statistics.lists import LISTED
from stream_app.statistics.means import mean
from stream_app.statistics.poisson import poisson_rate
from stream_app.statistics.proportions import equal_clusters_effect, wilson
from stream_app.statistics.quantiles import quantile
from stream_app.statistics.ratios import incremental_share
from stream_app.statistics.returns import (
    Amounts,
    cost_per,
    cost_per_extra,
    gain,
    return_on_investment,
    return_ratio,
)
from stream_app.statistics.surveys import net_promoter_score, weighted_share
from stream_app.statistics.survival import median_between


def lower(
    metric: Metric,
    tally: Sequence[int],
    index: Mapping[str, int],
    bins: Bins = NO_BINS,
    reference: Bins = NO_BINS,
    base: Sequence[int] = (),
    told: Figures = NO_FIGURES,
) -> Estimate | None:
    """Return what `metric` says of `tally`, whose measures stand where `index` says, and of the rest of a `Counted`.

    None = not enough data, or a figure that it needs is not told.

    Measures that contradict each other (more successes than trials, an answer beyond the metric's bounds) are no data
    either: a wrong number must not look like a right one.
    """
    counted = Counted(tally, index, bins, reference, base, told)
    found = LOWERED[type(metric.method)](metric.method, counted, metric)
    # Three cases: nothing to be said, too little behind it, or it contradicts the declaration.
    if found is None or found.n < metric.at_least or not _is_within(metric, found.value):
        return None
    return found


def clustering(method: Proportion, counted: Counted) -> float:
    """Return the design effect of a share whose trials come by sessions; 1 of any other."""
    if method.clusters is None:
        return 1.0
    clusters, successes, squares = map(counted.amount, method.clusters)
    trials = counted.amount(method.trials)
    return equal_clusters_effect(clusters, successes, squares, counted.amount(method.successes) / trials, trials)


def moments(method: Mean | ClusteredMean | IncrementalShare, counted: Counted) -> Moments:
    """Return the sums of squares and products over what varies: amounts, or clusters; in units where all are integers.

    An amount is a cluster of one.
    """
    count, total, unit = counted.amount(method.count), counted.amount(method.total), method.squares_scale
    if isinstance(method, ClusteredMean):
        number, squares, counts_squared, products = map(counted.amount, method.clusters)
        return Moments(number, total * unit, count, squares * unit * method.scale**2, counts_squared, products * unit)
    squares = counted.amount(method.squares)
    return Moments(count, total * unit, count, squares * unit * method.scale**2, count, total * unit)


# -- inside ----------------------------------------------------------------------------------------------------------


def _is_within(metric: Metric, value: float) -> bool:
    return (metric.lowest is None or metric.lowest <= value) and (metric.highest is None or value <= metric.highest)


def _proportion(method: Proportion, counted: Counted, _: Metric) -> Estimate | None:
    successes, trials = counted.amount(method.successes), counted.amount(method.trials)
    if trials <= 0 or not 0 <= successes <= trials:
        return None
    return wilson(successes, trials, design_effect=clustering(method, counted))


def _mean(method: Mean, counted: Counted, metric: Metric) -> Estimate | None:
    count, total, squares = (counted.amount(sum_) for sum_ in (method.count, method.total, method.squares))
    if count < 2:
        return None
    return mean(count, total, squares, method.scale, method.squares_scale, metric.lowest, metric.highest)


def _log_mean(method: LogMean, counted: Counted, _: Metric) -> Estimate | None:
    count, logs, squares = (counted.amount(sum_) for sum_ in (method.count, method.logs, method.squares))
    return log_mean(count, logs, squares, method.scale)


def _clustered(method: ClusteredMean, counted: Counted, metric: Metric) -> Estimate | None:
    """Return the mean with its interval over clusters, in the units in which it is shown.

    The sums over sessions stand where these began, `total` and `count` where they were shown: over a window that is the
    same but for the sessions at its ends.
    """
    total, count = counted.amount(method.total), counted.amount(method.count)
    number, squares, counts_squared, products = map(counted.amount, method.clusters)
    if count < 2:
        return None
    to_total = method.scale**2 // method.squares_scale
    moments = Moments(number, total, count, squares * to_total, counts_squared, products)
    lowest, highest = (None if bound is None else bound * method.scale for bound in (metric.lowest, metric.highest))
    found = ratio_estimate(moments, student(number - 1) if number > 1 else Z_95, lowest, highest)
    if found is None:
        return None
    return Estimate(found.value / method.scale, count, found.low / method.scale, found.high / method.scale)


def _rate(method: Rate, counted: Counted, _: Metric) -> Estimate | None:
    events, expected = counted.amount(method.events), counted.amount(method.expected)
    n = counted.amount(method.count) if method.count else expected // method.scale
    if events < 0 or expected <= 0 or n < 1:
        return None
    return poisson_rate(events, expected / (method.scale * method.per), n)


def _ratio(method: Ratio, counted: Counted, _: Metric) -> Estimate | None:
    total, of = counted.amount(method.total), counted.amount(method.of)
    if of <= 0:
        return None
    value = total * method.of_scale / (of * method.scale)
    return Estimate(value, max(1, of // method.of_scale), value, value)


def _count(method: Count, counted: Counted, metric: Metric) -> Estimate | None:
    total = counted.amount(method.total)
    value = total / method.scale
    # Nothing was sampled: that it was 0 is known as well as any other number is.
    return Estimate(value, max(total // method.scale, metric.at_least), value, value)


def _net_score(method: NetScore, counted: Counted, _: Metric) -> Estimate | None:
    promoters, detractors, answers = map(counted.amount, (method.promoters, method.detractors, method.answers))
    if min(promoters, detractors) < 0 or promoters + detractors > answers:
        return None
    return net_promoter_score(promoters, detractors, answers)


def _weighted_proportion(method: WeightedProportion, counted: Counted, _: Metric) -> Estimate | None:
    positive, weights, squares, answers = map(
        counted.amount, (method.positive_weights, method.weights, method.weight_squares, method.answers)
    )
    if not 0 <= positive <= weights or squares <= 0 or answers < 1:
        return None
    return weighted_share(answers, positive, weights, squares, method.scale, method.squares_scale)


def _quantile(method: Quantile, counted: Counted, _: Metric) -> Estimate | None:
    sketch = _sketch(method.histogram, counted)
    return quantile(sketch, method.share, method.scale) if sketch else None


def _mean_below(method: MeanBelow, counted: Counted, _: Metric) -> Estimate | None:
    sketch = _sketch(method.histogram, counted)
    return winsorised_mean(sketch, method.scale) if sketch else None


def _sketch(histogram: str, counted: Counted) -> QuantileSketch | None:
    counts = counted.histogram(histogram)
    return None if any(n < 0 for n in counts.values()) else QuantileSketch.of(counts)


def _median_between(method: MedianBetween, counted: Counted, _: Metric) -> Estimate | None:
    counts = [(counted.amount(r), counted.amount(k)) for r, k in zip(method.reached, method.known, strict=True)]
    if any(not 0 <= reached <= known for reached, known in counts):
        return None
    return median_between(dict(zip(method.points, counts, strict=True)))


def _cost_per(method: CostPer, counted: Counted, _: Metric) -> Estimate | None:
    cost, count = counted.told.get(method.cost), counted.amount(method.of)
    return None if cost is None or count < 1 else cost_per(cost, count)


def _cost_per_extra(method: CostPerExtra, counted: Counted, _: Metric) -> Estimate | None:
    cost = counted.told.get(method.cost)
    if cost is None or not counted.base:
        return None
    pairs = [(each.amount(method.successes), each.amount(method.trials)) for each in (counted, _base(counted))]
    if not all(0 <= successes <= trials > 0 for successes, trials in pairs):
        return None
    return cost_per_extra(cost, *pairs[0], *pairs[1])


def _unit_cost(method: UnitCost, counted: Counted, _: Metric) -> Estimate | None:
    cost, count = counted.told.get(method.cost), counted.amount(method.of)
    if cost is None or count < 1:
        return None
    value = cost * method.per / count
    return Estimate(value, count, value, value)


def _return_ratio(method: ReturnRatio, counted: Counted, _: Metric) -> Estimate | None:
    cost = counted.told.get(method.cost)
    return None if cost is None else return_ratio(_amounts(method, counted), cost)


def _gain(method: Gain | ReturnOnInvestment, counted: Counted, _: Metric) -> Estimate | None:
    margin = counted.told.get(method.margin)
    if margin is None or not counted.base:
        return None
    return gain(_amounts(method, counted), _amounts(method, _base(counted)), margin)


def _return_on_investment(method: ReturnOnInvestment, counted: Counted, metric: Metric) -> Estimate | None:
    cost, gained = counted.told.get(method.cost), _gain(method, counted, metric)
    return None if cost is None or gained is None else return_on_investment(gained, cost)


def _incremental_share(method: IncrementalShare, counted: Counted, _: Metric) -> Estimate | None:
    if not counted.base:
        return None
    found = lift(moments(method, counted), moments(method, _base(counted)))
    return incremental_share(found.ratio) if found and found.ratio else None


def _lifetime_forecast(method: LifetimeForecast, counted: Counted, _: Metric) -> Estimate | None:
    margin, discount = counted.told.get(method.margin), counted.told.get(method.discount)
    of, lapsed, count = (counted.amount(sum_) for sum_ in (method.of, method.lapsed, method.count))
    if margin is None or discount is None or discount < 0 or count < 2 or not 0 <= lapsed <= of > 0:
        return None
    total, squares = counted.amount(method.total), counted.amount(method.squares)
    worth = mean(count, total, squares, method.scale, method.squares_scale, lowest=0.0)
    profit = Estimate(worth.value * margin, count, worth.low * margin, worth.high * margin)
    retention = per_period(wilson(of - lapsed, of), method.days, method.period)
    return value_forecast(profit, retention, of_period(discount, method.period))


def _base(counted: Counted) -> Counted:
    return counted._replace(tally=counted.base, base=())


def _amounts(method: ReturnRatio | Gain | ReturnOnInvestment, counted: Counted) -> Amounts:
    count, total, squares = (counted.amount(sum_) for sum_ in (method.count, method.total, method.squares))
    return Amounts(count, total, squares, method.scale, method.squares_scale)


LOWERED: Final[Mapping[type, Callable[[Any, Counted, Metric], Estimate | None]]] = {
    Proportion: _proportion,
    Mean: _mean,
    LogMean: _log_mean,
    ClusteredMean: _clustered,
    Rate: _rate,
    Ratio: _ratio,
    Count: _count,
    NetScore: _net_score,
    WeightedProportion: _weighted_proportion,
    Quantile: _quantile,
    MeanBelow: _mean_below,
    MedianBetween: _median_between,
    **LISTED,
    CostPer: _cost_per,
    CostPerExtra: _cost_per_extra,
    UnitCost: _unit_cost,
    ReturnRatio: _return_ratio,
    Gain: _gain,
    ReturnOnInvestment: _return_on_investment,
    IncrementalShare: _incremental_share,
    LifetimeForecast: _lifetime_forecast,
}
