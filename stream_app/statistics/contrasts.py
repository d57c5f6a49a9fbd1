"""How a metric differs between two arms: how many times as high it is, and by how much higher.

Each method has the sharpest instrument that its sums allow; where there is none of its own, the intervals of the two
arms are carried over, which needs nothing but that the arms are independent. All are for one look at a fixed time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from stream_app.metrics.contrasting import has_ratio, refusal
from stream_app.metrics.methods import ClusteredMean, Mean, Proportion
from stream_app.metrics.metric import Metric
from stream_app.statistics.counted import Counted
from stream_app.statistics.differences import difference, ratio
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lifts import lift
from stream_app.statistics.lowering import clustering, lower, moments
from stream_app.statistics.ratios import risk_ratio

CONTRASTED: Final = (Proportion, Mean, ClusteredMean)
"""The methods with a ratio of their own: views have one for each of their metrics."""


def contrast(metric: Metric, tally: Sequence[int], base: Sequence[int], index: Mapping[str, int]) -> Estimate | None:
    """Return how many times as high `metric` is in `tally` as in `base`; None = not enough data.

    For metrics that read tallies alone: see `ratio_between`.
    """
    return ratio_between(metric, Counted(tally, index), Counted(base, index))


def ratio_between(metric: Metric, of: Counted, base: Counted) -> Estimate | None:
    """Return how many times as high `metric` is in an arm as in another one, with its interval.

    Three cases: proportions by the log interval of `risk_ratio`, means by the delta method in logs of `lift`, all
    others by the two arms' own intervals, carried over in logs. None where one of the arms has not enough data or
    nothing, where a bound would be infinite, and for metrics of which no ratio can be had.
    """
    if not has_ratio(metric):
        return None
    one, other = lower(metric, *of), lower(metric, *base)
    if one is None or other is None:
        return None
    method = metric.method
    if isinstance(method, Proportion):
        (x1, n1), (x0, n0) = ((each.amount(method.successes), each.amount(method.trials)) for each in (of, base))
        return risk_ratio(x1, n1, x0, n0, (clustering(method, of), clustering(method, base)))
    if isinstance(method, Mean | ClusteredMean):
        found = lift(moments(method, of), moments(method, base))
        return msgspec.structs.replace(found.ratio, n=one.n + other.n) if found and found.ratio else None
    return ratio(one, other)


def difference_between(metric: Metric, of: Counted, base: Counted) -> Estimate | None:
    """Return by how much `metric` is higher in an arm than in another one, in its unit, with its interval.

    The intervals of the two arms carried over: of proportions that is Newcombe's. None where one of the arms has not
    enough data, and for metrics that cannot be held against another arm.
    """
    if refusal(metric):
        return None
    one, other = lower(metric, *of), lower(metric, *base)
    return difference(one, other) if one and other else None
