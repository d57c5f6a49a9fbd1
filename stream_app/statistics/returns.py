"""What came back for a cost, and what it cost: costs and margins are taken as known, chance is in what was counted.

A gain is a contrast between randomised arms. What one arm earned, over its cost, is a return ratio, and no ROI.
"""

from math import sqrt
from typing import NamedTuple

from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.means import mean, standard_error
from stream_app.statistics.poisson import poisson_interval
from stream_app.statistics.proportions import wilson


class Amounts(NamedTuple):
    """`n` amounts by their sum (stored `scale` times) and sum of squares (`squares_scale` times)."""

    n: int
    total: int
    squares: int
    scale: int = 1
    squares_scale: int = 1


def cost_per(cost: float, count: int) -> Estimate | None:
    """Return the cost of one of `count` things that happened, e.g. a new customer; None where none did.

        value = c / x      interval = c over the bounds of Garwood's interval of the mean of x

    Raises ValueError for a negative count.
    """
    low, high = poisson_interval(count)
    return Estimate(cost / count, count, cost / high, cost / low) if count else None


def cost_per_extra(cost: float, successes: int, trials: int, base_successes: int, base_trials: int) -> Estimate | None:
    """Return the cost of one success that would not have been without the cost.

        extra = (p_T - p_C) n_T      value = c / extra      interval = c over the bounds of extra

    The interval of the difference is R. Newcombe's (1998), "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, method 10. None where it reaches 0: then there may be no extra one, and
    nothing bounds what it costs.

    Raises ValueError for what is no proportion.
    """
    of, base = wilson(successes, trials), wilson(base_successes, base_trials)
    difference = of.value - base.value
    low = difference - sqrt((of.value - of.low) ** 2 + (base.high - base.value) ** 2)
    high = difference + sqrt((of.high - of.value) ** 2 + (base.value - base.low) ** 2)
    if low <= 0:
        return None
    return Estimate(cost / (difference * trials), trials + base_trials, cost / (high * trials), cost / (low * trials))


def gain(treated: Amounts, base: Amounts, margin: float) -> Estimate | None:
    """Return the profit that an arm made and would not have made as the other one; None with fewer than two in either.

        g = m (y_T - y_C) n_T      V = (m n_T)^2 (s_T^2/n_T + s_C^2/n_C)      interval = g -+ z sqrt(V)

    with y the mean amount of a session. Number of sessions and margin are taken as known. Source: the difference of two
    means, e.g. Casella & Berger (2002), "Statistical Inference", 10.1; arms of unequal variance.
    """
    if min(treated.n, base.n) < 2:
        return None
    value = margin * treated.n * (treated.total / (treated.n * treated.scale) - base.total / (base.n * base.scale))
    error = margin * treated.n * sqrt(standard_error(*treated) ** 2 + standard_error(*base) ** 2)
    return Estimate(value, treated.n + base.n, value - Z_95 * error, value + Z_95 * error)


def return_on_investment(gained: Estimate, cost: float) -> Estimate | None:
    """Return (gain - cost) / cost with the interval of the gain carried over; None without a cost.

    Not "investment / cost of investment", which is the cost over itself: 1, whatever happens.
    """
    if cost <= 0:
        return None
    value, low, high = ((bound - cost) / cost for bound in (gained.value, gained.low, gained.high))
    return Estimate(value, gained.n, low, high)


def return_ratio(amounts: Amounts, cost: float) -> Estimate | None:
    """Return the sum of the amounts over the cost, with the interval of the sum; None below two, or no cost."""
    if cost <= 0 or amounts.n < 2:
        return None
    each = mean(*amounts, lowest=0.0)
    per_cost = amounts.n / cost
    return Estimate(each.value * per_cost, amounts.n, each.low * per_cost, each.high * per_cost)
