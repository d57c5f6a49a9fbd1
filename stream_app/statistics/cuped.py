"""CUPED: what users did before explains part of what they do now; taking it out narrows the difference of arms.

X is the same user's value of the time before, frozen at assignment: whatever the arms do cannot touch it, so the
difference stays unbiased. Users without a past have X = 0 and a mark of their own, kept as separate sums.
"""

from math import erfc, sqrt

import msgspec

from stream_app.statistics.clusters import Moments
from stream_app.statistics.estimates import Z_95


class Arm(msgspec.Struct, frozen=True):
    """The users of one arm: those with a past (y now, x before), and the new ones (x = 0)."""

    known: Moments
    new: Moments = Moments()


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
    one, other = _covariances(treated), _covariances(base)
    both = _covariances(Arm(treated.known + base.known, treated.new + base.new))
    theta = _theta(both)
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
