"""How long customers stay and what they will be worth: forecasts, and what they rest on.

A lifetime value is no metric that is counted: most of it has not happened. What has is the realised value per person
(metrics/people.py). docs/lifetime-value.md is the model card of what is here.
"""

from math import expm1, log1p
from typing import Final

from stream_app.statistics.estimates import Estimate

YEAR_DAYS: Final = 365


def lifetime_value(margin: float, retention: float, discount: float) -> float:
    """Return what a customer who is there now will still be worth, if every period is like every other.

        V = sum over t >= 1 of m r^t / (1 + d)^t = m r / (1 + d - r)

    with `margin` m per period (profit, not revenue), constant `retention` r per period, and `discount` d per period;
    the first payment is due a period from now, from those who are still there. Add m where it is due at once; subtract
    what winning the customer cost. Source: S. Gupta & D. Lehmann (2003), "Customers as assets", Journal of
    Interactive Marketing 17.

    Raises ValueError unless 0 <= retention <= 1, discount >= 0, and the sum is finite.
    """
    if not (0 <= retention <= 1 and discount >= 0) or 1 + discount - retention <= 0:
        raise ValueError(f"retention {retention} and discount {discount} give no finite value")
    return margin * retention / (1 + discount - retention)


def value_forecast(margin: Estimate, retention: Estimate, discount: float) -> Estimate | None:
    """Return `lifetime_value` with bounds: both inputs at their lower, both at their upper ones.

    It holds where both intervals do: with 95 % each, nine times in ten at least (Bonferroni). It does not hold the
    doubt about the model, which is more. `n` is the smaller one. None where an upper bound of the retention is 1 and
    nothing is discounted: then the data allow that nobody ever leaves. A margin below 0 turns the bounds round.

    Raises ValueError as `lifetime_value` does.
    """
    if retention.high >= 1 + discount:
        return None
    corners = [
        lifetime_value(m, r, discount) for m in (margin.low, margin.high) for r in (retention.low, retention.high)
    ]
    value = lifetime_value(margin.value, retention.value, discount)
    return Estimate(value, min(margin.n, retention.n), min(corners), max(corners))


def per_period(retention: Estimate, days: int, period: int) -> Estimate:
    """Return the share that stays a `period`, where `retention` is the share that stayed `days`: r^(period / days).

    True if the chance of leaving is the same every day; the bounds are carried over.
    """
    value, low, high = (bound ** (period / days) for bound in (retention.value, retention.low, retention.high))
    return Estimate(value, retention.n, low, high)


def of_period(rate: float, days: int) -> float:
    """Return the discount of so many days, where `rate` is that of a year: (1 + rate)^(days / 365) - 1."""
    return expm1(log1p(rate) * days / YEAR_DAYS)
