"""From a tally to an estimate, by a metric's declaration: the only place where integers become floats."""

from collections.abc import Mapping, Sequence

from stream_app.metrics.metric import Metric
from stream_app.statistics.clusters import Moments, ratio_estimate
from stream_app.statistics.estimates import Z_95, Estimate, student
from stream_app.statistics.means import mean
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import risk_ratio


def lower(metric: Metric, tally: Sequence[int], index: Mapping[str, int]) -> Estimate | None:
    """Return what `metric` says of `tally`, whose measures stand where `index` says; None = not enough data.

    Measures that contradict each other (more successes than trials) are no data either: a wrong number must
    not look like a right one.
    """
    count, total = tally[index[metric.count]], tally[index[metric.total]]
    if count < max(metric.at_least, 1):
        return None
    if metric.method == "proportion":
        return wilson(total, count) if 0 <= total <= count else None
    if count < 2:
        return None
    if metric.method == "clustered":
        return _clustered(metric, total, count, [tally[index[name]] for name in metric.clusters])
    squares = tally[index[metric.squares]]
    return mean(count, total, squares, metric.scale, metric.squares_scale, metric.lowest, metric.highest)


def _clustered(metric: Metric, total: int, count: int, sums: Sequence[int]) -> Estimate | None:
    """Return the mean with its interval over sessions, in the units in which it is shown.

    The sums stand where the sessions began, `total` and `count` where they were shown: over a window that is the same
    but for the sessions at its ends.
    """
    sessions, squares, counts_squared, products = sums
    to_total = metric.scale**2 // metric.squares_scale
    moments = Moments(sessions, total, count, squares * to_total, counts_squared, products)
    lowest, highest = (None if bound is None else bound * metric.scale for bound in (metric.lowest, metric.highest))
    found = ratio_estimate(moments, student(sessions - 1) if sessions > 1 else Z_95, lowest, highest)
    if found is None:
        return None
    return Estimate(found.value / metric.scale, count, found.low / metric.scale, found.high / metric.scale)


def contrast(metric: Metric, tally: Sequence[int], base: Sequence[int], index: Mapping[str, int]) -> Estimate | None:
    """Return how many times as high `metric` is in `tally` as in `base`; None = not enough data.

    Only for proportions; a mean has no ratio here (None).
    """
    if metric.method != "proportion":
        return None
    counts = [t[index[name]] for t in (tally, base) for name in (metric.total, metric.count)]
    x1, n1, x0, n0 = counts
    if min(n1, n0) < max(metric.at_least, 1) or not (0 <= x1 <= n1 and 0 <= x0 <= n0):
        return None
    return risk_ratio(x1, n1, x0, n0)
