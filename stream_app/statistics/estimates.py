"""What a metric answers with: never a bare number, always its count and its interval."""

import msgspec


class Estimate(msgspec.Struct, frozen=True):
    """A value, the two-sided 95 % interval around it, and the number of observations behind it.

    `low <= value <= high`, always. "Not enough data" is not an Estimate of 0: it is None.
    """

    value: float
    n: int
    low: float
    high: float


Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution: every half-width in standard errors."""
