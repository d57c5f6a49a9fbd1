"""Percentiles from a quantile sketch, with an interval: of latencies, durations, order values.

The percentile of a window is never a mean of percentiles of its panes: merge the sketches, then ask.
"""

from math import ceil, floor, sqrt
from typing import Final

from stream_app.core.quantile_sketch import QuantileSketch
from stream_app.statistics.estimates import Z_95, Estimate

MEDIAN: Final = 0.5
P95: Final = 0.95
P99: Final = 0.99


def quantile(sketch: QuantileSketch, share: float, scale: int = 1) -> Estimate | None:
    """Return the amount that `share` of all do not exceed, within 1 % of the true one.

    Amounts were added `scale` times as large as they are shown. The interval lies between two order statistics,

        ranks  n q -+ z sqrt(n q (1 - q)),  rounded outwards

    and takes in the whole of their buckets, so the sketch's error is part of it. Source: W. Conover (1999), "Practical
    nonparametric statistics", 3.2. None while a rank would lie outside the sample: for the median below 8 amounts,
    for p95 below 73, for p99 below 381.
    """
    n = sketch.size
    half = Z_95 * sqrt(n * share * (1 - share))
    low_rank, high_rank = floor(n * share - half), ceil(n * share + half)
    if low_rank < 1 or high_rank > n:
        return None
    low, high = sketch.at_rank(low_rank).low, sketch.at_rank(high_rank).high
    return Estimate(sketch.quantile(share).middle / scale, n, low / scale, high / scale)
