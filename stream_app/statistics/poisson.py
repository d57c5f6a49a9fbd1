"""How far a count may be from what it counts on average: the exact interval of a Poisson mean.

The chi-square quantile that it needs is computed here, because the pure rooms have no scipy; a test compares them.
"""

from functools import lru_cache
from math import exp, lgamma, log, sqrt
from typing import Final

from stream_app.statistics.estimates import Z_95, Estimate

TAIL: Final = 0.025
"""Probability of each tail of a two-sided 95 % interval."""
_LARGE: Final = 10_000
"""From here on the Wilson-Hilferty approximation is within 1e-7 of the quantile, relatively."""


@lru_cache(maxsize=16_384)  # many slices have the same small count, and most have it again at the next refresh
def poisson_interval(count: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a Poisson variable of which `count` was observed.

        low = chi2(0.025; 2 count) / 2          high = chi2(0.975; 2 count + 2) / 2

    Source: F. Garwood (1936), "Fiducial limits for the Poisson distribution", Biometrika 28. "Exact" means that it
    covers at least 95 %: for small counts it is wider than need be. From 10,000 on it is approximate to 1e-7.

    Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"{count} is no count of events")
    low = _gamma_quantile(count, -Z_95, TAIL) if count else 0.0
    return low, _gamma_quantile(count + 1, Z_95, 1 - TAIL)


def poisson_rate(events: int, expected: float, n: int) -> Estimate:
    """Return `events` per `expected` with the exact interval of their number; `n` observations are behind it.

        rate = x / e      interval = Garwood's interval of the mean of x, over e

    What is expected (clicks that a model promised, thousands of impressions) is taken as known. Source: N. Breslow, N.
    Day (1987), "Statistical methods in cancer research" II, 2.3: the standardised ratio O/E. Events that come in
    clusters vary more than Poisson's, and then it is too narrow.

    Raises ValueError for a negative count, or nothing expected.
    """
    if not expected > 0:
        raise ValueError(f"{events} events per {expected} expected ones are no rate")
    low, high = poisson_interval(events)
    return Estimate(events / expected, n, low / expected, high / expected)


def _gamma_quantile(shape: int, z: float, share: float) -> float:
    """Return x with P(shape, x) = share, where z is the standard normal quantile of that share.

    Starts with E. Wilson, M. Hilferty (1931), "The distribution of chi-square", PNAS 17; then Newton's steps, or
    halving where these leave the bracket.
    """
    cube = 1 - 1 / (9 * shape) + z / (3 * sqrt(shape))
    x = shape * cube**3
    if shape > _LARGE:
        return x
    low, high = 0.0, 2 * shape + 20.0
    x = min(max(x, 1e-3), high)
    for _ in range(100):
        error = _regularised_gamma(shape, x) - share
        low, high = (x, high) if error < 0 else (low, x)
        density = exp((shape - 1) * log(x) - x - lgamma(shape))
        step = x - error / density if density else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) <= 1e-14 * x:
            return following
        x = following
    return x


def _regularised_gamma(a: float, x: float) -> float:
    """Return P(a, x) = integral of t^(a-1) e^-t from 0 to x, over Gamma(a).

    Series below a + 1, Lentz's continued fraction above: M. Abramowitz, I. Stegun (1964), "Handbook of mathematical
    functions", 6.5.29 and 6.5.31.
    """
    scale = exp(a * log(x) - x - lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > total * 1e-17:
            n += 1
            term *= x / n
            total += term
        return total * scale
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 100_000):
        numerator = -i * (i - a)
        b += 2
        d = 1 / (numerator * d + b or tiny)
        c = b + numerator / c or tiny
        fraction *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return 1 - fraction * scale
