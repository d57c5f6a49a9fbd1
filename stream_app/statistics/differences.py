"""By how much one estimate is above another, whatever they are estimates of."""

from math import sqrt

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
