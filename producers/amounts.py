"""Amounts and delays as tables of quantiles: a draw is one look-up, and the mean is known to the last digit.

A heavy-tailed law has a mean that no finite sample shows. Here each law *is* its table: `STEPS` equally likely
amounts, the quantiles of the law at (k + 1/2) / `STEPS`. What is true of the table is true of the world.
"""

from fractions import Fraction
from math import exp, log
from random import Random
from statistics import NormalDist
from typing import Final

STEPS: Final = 1024
Table = tuple[int, ...]
"""`STEPS` equally likely whole amounts (minor units) or delays (milliseconds)."""


def lognormal(median: float, sigma: float, lowest: int, highest: int, steps: int = STEPS) -> Table:
    """Return the quantiles of a log-normal law, cut at both ends."""
    normal = NormalDist(log(median), sigma)
    return tuple(min(max(round(exp(normal.inv_cdf((k + 0.5) / steps))), lowest), highest) for k in range(steps))


def pareto(lowest: float, shape: float, highest: int, steps: int = STEPS) -> Table:
    """Return the quantiles of a Pareto law, cut at the upper end: x = lowest * (1 - q) ** (-1 / shape)."""
    return tuple(min(round(lowest * (1 - (k + 0.5) / steps) ** (-1 / shape)), highest) for k in range(steps))


def mean(table: Table) -> Fraction:
    """Return the exact mean of what `draw` gives."""
    return Fraction(sum(table), len(table))


def draw(table: Table, chance: Random) -> int:
    """Return one of the amounts, each equally likely."""
    return table[int(chance.random() * STEPS)]


_RARE: Final = 64
ORDER_VALUE: Final = lognormal(4_500, 0.6, 300, 1_000_000, STEPS - _RARE) + pareto(15_000, 1.6, 1_000_000, _RARE)
"""Net value of an order in cents: 15 of 16 log-normal around 45 EUR, one of 16 Pareto from 150 EUR on."""
CLICK_DELAY_MS: Final = lognormal(5_000, 0.8, 1_000, 60_000)
CONVERSION_DELAY_MS: Final = lognormal(25_000, 0.9, 2_000, 900_000)
REFUND_DELAY_MS: Final = lognormal(5_400_000, 0.8, 600_000, 21_600_000)
DWELL_MS: Final = lognormal(18_000, 1.0, 1_000, 600_000)
STAGE_GAP_MS: Final = lognormal(18_000, 0.5, 5_000, 60_000)
"""Between the moments at which a session comes to its surfaces, reached or not."""
LONGEST_RESPONSE_MS: Final = max(CLICK_DELAY_MS) + max(CONVERSION_DELAY_MS)
"""After an impression nothing that is credited to it comes later than this; only refunds do, and dwell."""
