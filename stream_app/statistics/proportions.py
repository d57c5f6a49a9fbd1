"""The share of trials that succeeded, with the score interval: honest for rare events and small samples."""

from math import sqrt

from stream_app.statistics.estimates import Z_95, Estimate


def wilson(successes: int, trials: int, z: float = Z_95) -> Estimate:
    """Return the proportion `successes / trials` with its Wilson score interval.

    With p = x/n, the interval is centre -+ half, where

        centre = (p + z^2/2n) / (1 + z^2/n)        half = z * sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n)

    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical
    inference", JASA 22.

    Raises ValueError unless 0 <= successes <= trials and trials >= 1.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes in {trials} trials are no proportion")
    value = successes / trials
    spread = z * z / trials
    centre = (value + spread / 2) / (1 + spread)
    half = z * sqrt((value * (1 - value) + spread / 4) / trials) / (1 + spread)
    # At the ends the formula gives exactly 0 and 1; floating point misses them by an ulp.
    low = 0.0 if successes == 0 else min(value, centre - half)
    high = 1.0 if successes == trials else max(value, centre + half)
    return Estimate(value, trials, low, high)
