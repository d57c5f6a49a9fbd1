"""Means of amounts of which a few are enormous: with the tail cut, and on the logarithmic scale.

They answer other questions than the mean, and stand beside it, not in its place: the winsorised mean is what most
orders are worth on average, the geometric mean what a typical session lasts. Neither times n is the total.
"""

from math import ceil, exp, floor, inf, sqrt
from typing import Final

from stream_app.core.quantile_sketch import RELATIVE_ERROR, QuantileSketch
from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.means import mean

KEPT_SHARE: Final = 0.99
LEAST_AMOUNTS: Final = 100
"""Below, less than one amount lies in the last hundredth, and nothing would be cut."""


def winsorised_mean(sketch: QuantileSketch, scale: int = 1) -> Estimate | None:
    """Return the mean with all amounts above the 99 % quantile taken for that quantile; None below 100 amounts.

    Amounts were added `scale` times as large as they are shown. The value is within 1 % of that of the amounts
    themselves, and the interval is widened by as much:

        x = sum min(a, q) / n      half = z sqrt((s^2 + 2 g t (q - x) + g^2 t (1 - t)) / n)      g = t / f(q)

    with q the 99 % quantile, t = 0.01, and s the standard deviation of the cut amounts. Where the cut is made is chance
    as well: an amount above q counts for g more, because it moves q. How far a rank moves it, 1 / (n f(q)), is read off
    the order statistics one standard error of the rank below and above. Source: P. Huber (1981), "Robust statistics",
    3.3, the influence of an observation on the winsorised mean.
    """
    n = sketch.size
    if n < LEAST_AMOUNTS:
        return None
    tail = 1 - KEPT_SHARE
    cap = sketch.quantile(KEPT_SHARE).middle
    buckets = [(min(bucket.middle, cap), bucket.size) for bucket in sketch.buckets()]
    value = sum(amount * size for amount, size in buckets) / n
    variance = sum(size * (amount - value) ** 2 for amount, size in buckets) / (n - 1)
    error = sqrt(n * KEPT_SHARE * tail)
    below, above = floor(n * KEPT_SHARE - error), min(n, ceil(n * KEPT_SHARE + error))
    apart = sketch.at_rank(above).middle - sketch.at_rank(below).middle
    moved = tail * n * apart / (above - below)
    variance += 2 * moved * tail * (cap - value) + moved**2 * tail * KEPT_SHARE
    half = Z_95 * sqrt(variance / n)
    low = max(0.0, (value - half) / (1 + RELATIVE_ERROR))
    return Estimate(value / scale, n, low / scale, (value + half) / (1 - RELATIVE_ERROR) / scale)


def log_mean(n: int, total: int, squares: int, scale: int) -> Estimate | None:
    """Return exp(mean of ln(1 + x)) - 1, a geometric mean that amounts of 0 do not spoil; None below two amounts.

    `total` is `scale` times the sum of ln(1 + x), `squares` that of their squares. The interval is that of the mean of
    logarithms, carried over. Source: M. Bartlett (1947), "The use of transformations", Biometrics 3; M. Bland, D.
    Altman (1996), "Transformations, means, and confidence intervals", BMJ 312.
    """
    if n < 2:
        return None
    logs = mean(n, total, squares, scale, scale, lowest=0.0, highest=inf)
    return Estimate(exp(logs.value) - 1, n, exp(logs.low) - 1, exp(logs.high) - 1)
