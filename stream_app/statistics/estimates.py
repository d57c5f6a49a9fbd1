"""What a metric answers with: never a bare number, always its count and its interval."""

from math import inf

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


def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t with that many degrees of freedom (at least 1).

        t = z + (z^3 + z)/4v + (5z^5 + 16z^3 + 3z)/96v^2 + (3z^7 + 19z^5 + 17z^3 - 15z)/384v^3
              + (79z^9 + 776z^7 + 1482z^5 - 1920z^3 - 945z)/92160v^4

    To four digits from 8 degrees on, below that from a table. Source: M. Abramowitz & I.
    Stegun (1964), "Handbook of Mathematical Functions", 26.7.5.
    """
    if degrees < len(_FEW):
        return _FEW[degrees]
    z, v = Z_95, degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


_FEW = (inf, 12.706204736, 4.302652730, 3.182446305, 2.776445105, 2.570581836, 2.446911849, 2.364624252)
