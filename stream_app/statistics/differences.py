"""By how much one estimate is above another, and how many times as high it is, whatever they are estimates of."""

from math import exp, hypot, log, sqrt

from stream_app.statistics.estimates import Estimate


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return one - other with an interval recovered from those of the two, which must be independent.

        low = d - sqrt((p1 - l1)^2 + (u2 - p2)^2)      high = d + sqrt((u1 - p1)^2 + (p2 - l2)^2)

    Of two Wilson intervals that is Newcombe's method 10. `n` counts the observations of both. Sources: R. Newcombe
    (1998), "Interval estimation for the difference between independent proportions", Statistics in Medicine 17; for any
    pair of intervals G. Zou, A. Donner (2008), "Construction of confidence limits about effect measures", ibid. 27.
    """
    value = one.value - other.value
    low = value - sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    high = value + sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    return Estimate(value, one.n + other.n, low, high)


def ratio(one: Estimate, other: Estimate) -> Estimate | None:
    """Return one / other with an interval recovered from those of the two in logs; they must be independent.

        low = r exp(-sqrt(ln(p1/l1)^2 + ln(u2/p2)^2))      high = r exp(sqrt(ln(u1/p1)^2 + ln(p2/l2)^2))

    Of two intervals that are normal in logs that is the delta method. None where the one is not above 0, or the lower
    bound of the other is not: then nothing bounds the ratio from above. Source: as above, for logarithms; G. Zou, A.
    Donner (2008), 4.
    """
    if one.value <= 0 or other.low <= 0:
        return None
    value = one.value / other.value
    above = log(other.high / other.value)
    low = value * exp(-hypot(log(one.value / one.low), above)) if one.low > 0 else 0.0
    high = value * exp(hypot(log(one.high / one.value), log(other.value / other.low)))
    return Estimate(value, one.n + other.n, min(low, value), max(high, value))
