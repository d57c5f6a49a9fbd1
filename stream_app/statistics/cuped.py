"""CUPED: what users did before explains part of what they do now; taking it out narrows the difference of arms.

X is the same user's value of the time before, frozen at assignment: whatever the arms do cannot touch it, so the
difference stays unbiased. Users without a past have X = 0 and a mark of their own, kept as separate sums.
"""

from math import erfc, sqrt

import msgspec

from stream_app.statistics.clusters import Moments, ratio
from stream_app.statistics.estimates import Z_95


class Arm(msgspec.Struct, frozen=True):
    """The users of one arm: those with a past (y now, x before), and the new ones (x = 0)."""

    known: Moments
    new: Moments = Moments()


class RatioArm(msgspec.Struct, frozen=True):
    """The users of one arm of a ratio: y and x now, and the sums of p, p^2, y*p and x*p, p being the past."""

    outcome: Moments
    p: int
    pp: int
    yp: int
    xp: int


class Adjusted(msgspec.Struct, frozen=True):
    """The adjusted difference of two means, in units of y, and how much of the variance the past explained."""

    value: float
    n: int
    low: float
    high: float
    p_value: float
    standard_error: float
    variance_removed: float


class Covariances(msgspec.Struct, frozen=True):
    """Sample covariances of y, the past x and the mark m of new users; and the means."""

    y: float
    x: float
    m: float
    yy: float
    yx: float
    ym: float
    xx: float
    xm: float
    mm: float
    n: int


def difference(treated: Arm, base: Arm, z: float = Z_95) -> Adjusted | None:
    """Return the difference of the means of y, adjusted by x and the mark, with its normal interval.

        theta = Var(Z)^-1 Cov(Z, Y)  pooled over arms, Z = (x, m)      Y' = Y - theta.(Z - mean Z)
        difference = mean Y'_T - mean Y'_C      variance = Var(Y'_T)/n_T + Var(Y'_C)/n_C

    With no new users it is theta = Cov(Y, X)/Var(X). None for an arm of fewer than two users. Source: A. Deng,
    Y. Xu, R. Kohavi & T. Walker (2013), "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data", WSDM.
    """
    if treated.known.n + treated.new.n < 2 or base.known.n + base.new.n < 2:
        return None
    both = _covariances(Arm(treated.known + base.known, treated.new + base.new))
    return _difference(_covariances(treated), _covariances(base), _theta(both), z)


def difference_of_ratios(treated: RatioArm, base: RatioArm, z: float = Z_95) -> Adjusted | None:
    """Return the difference of the ratios sum(y)/sum(x), adjusted by the past p, with its normal interval.

    Each user's part in the ratio is linearised, l = r + (y - r x)/mean(x), whose mean is r and whose variance over
    n is that of the delta method; then l is adjusted by p as y by x above, theta pooled within arms. None for an
    arm of fewer than two users or without x. Source: A. Deng, U. Knoblich & J. Lu (2018), KDD, 4.3.
    """
    one, other = _linearised(treated), _linearised(base)
    if one is None or other is None:
        return None
    xx = (one.n - 1) * one.xx + (other.n - 1) * other.xx
    theta = ((one.n - 1) * one.yx + (other.n - 1) * other.yx) / xx if xx > 0 else 0.0
    return _difference(one, other, (theta, 0.0), z)


def _difference(one: Covariances, other: Covariances, theta: tuple[float, float], z: float) -> Adjusted:
    value = _adjusted_mean(one, theta) - _adjusted_mean(other, theta)
    variance = _adjusted_variance(one, theta) / one.n + _adjusted_variance(other, theta) / other.n
    plain = one.yy / one.n + other.yy / other.n
    error = sqrt(variance)
    tail = erfc(abs(value) / (error * sqrt(2))) if error > 0 else float(value == 0)
    removed = 1 - variance / plain if plain > 0 else 0.0
    return Adjusted(value, one.n + other.n, value - z * error, value + z * error, tail, error, removed)


def _covariances(arm: Arm) -> Covariances:
    known, new = arm.known, arm.new
    n = known.n + new.n
    y, x, m = known.y + new.y, known.x, new.n

    def covariance(products: int, a: int, b: int) -> float:
        return (n * products - a * b) / (n * (n - 1))  # in integers until the division

    return Covariances(
        y=y / n,
        x=x / n,
        m=m / n,
        yy=covariance(known.yy + new.yy, y, y),
        yx=covariance(known.xy, y, x),
        ym=covariance(new.y, y, m),
        xx=covariance(known.xx, x, x),
        xm=covariance(0, x, m),  # x is 0 where the mark is 1
        mm=covariance(m, m, m),
        n=n,
    )


def _linearised(arm: RatioArm) -> Covariances | None:
    found = ratio(arm.outcome)
    if found is None:
        return None
    n, y, x = arm.outcome.n, arm.outcome.y, arm.outcome.x
    # n Cov(y - r x, p) (n-1) x, in integers: r = y/x is the one fraction in it.
    product = x * (n * arm.yp - y * arm.p) - y * (n * arm.xp - x * arm.p)
    return Covariances(
        y=found.value,
        x=arm.p / n,
        m=0.0,
        yy=found.variance * n,
        yx=product / (x * x * (n - 1)),
        ym=0.0,
        xx=(n * arm.pp - arm.p * arm.p) / (n * (n - 1)),
        xm=0.0,
        mm=0.0,
        n=n,
    )


def _theta(c: Covariances) -> tuple[float, float]:
    determinant = c.xx * c.mm - c.xm * c.xm
    if determinant > 1e-12 * c.xx * c.mm:
        return (c.yx * c.mm - c.ym * c.xm) / determinant, (c.ym * c.xx - c.yx * c.xm) / determinant
    # Without new users, or when all known ones had the same past, one of the two explains all that can be.
    if c.xx > 0:
        return c.yx / c.xx, 0.0
    return 0.0, c.ym / c.mm if c.mm > 0 else 0.0


def _adjusted_mean(c: Covariances, theta: tuple[float, float]) -> float:
    return c.y - theta[0] * c.x - theta[1] * c.m  # the pooled mean of Z cancels in the difference


def _adjusted_variance(c: Covariances, theta: tuple[float, float]) -> float:
    a, b = theta
    explained = a * a * c.xx + b * b * c.mm + 2 * a * b * c.xm - 2 * a * c.yx - 2 * b * c.ym
    return max(0.0, c.yy + explained)
