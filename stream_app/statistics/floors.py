"""The ratio of the arms that is still all right: the drop detector alarms below it, never above."""

from math import exp, sqrt

from stream_app.statistics.drops import Counts

Z_99 = 2.3263478740408408
"""The 99 % quantile of the standard normal distribution: a one-sided bound."""
MARGIN = 0.05
"""How far the lift may breathe without an incident. Below what is normal, the null is false and alarms are "true"."""


def floor(counts: Counts, margin: float = MARGIN, design_effect: float = 1.0, z: float = Z_99) -> float | None:
    """Return (1 - margin) * LCB99 of the ratio of the arms' rates in the counts of the last 28 days.

        rho = (c_T/n_T)/(c_C/n_C)      LCB = rho * exp(-z * sqrt(design_effect * (1/c_T + 1/c_C)))

    The variance is that of Poisson counts: a little more than a binomial's, so the floor errs to the low side.
    None without successes in both arms: then there is nothing to watch yet. "Worse than no personalization at
    all" is a second series with the floor 1 - margin.

    Raises ValueError unless 0 <= margin < 1 and design_effect > 0.
    """
    if not (0 <= margin < 1 and design_effect > 0):
        raise ValueError(f"margin {margin} must be in [0, 1) and design effect {design_effect} above 0")
    if min(counts) <= 0:
        return None
    trials, successes, base_trials, base_successes = counts
    ratio = successes * base_trials / (trials * base_successes)
    return (1 - margin) * ratio * exp(-z * sqrt(design_effect * (1 / successes + 1 / base_successes)))
