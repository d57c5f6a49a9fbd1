"""Ratios whose unit is the user: many impressions of one user are not many independent impressions.

What adds over panes are sums over users of products. Squares of one user do not add over panes (3^2 + 4^2 is not
7^2), so whoever keeps the users' running (y, x) emits the *change* of the products when a user goes from old to
new: these changes add over panes, partitions and replays, exactly, in integers.

    pane 1: user goes (0, 0) -> (1, 3)   emits  y+1 x+3  yy+1 xx+9   xy+3
    pane 2: user goes (1, 3) -> (1, 7)   emits       x+4      xx+40  xy+4      sum: yy 1  xx 49  xy 7
"""

from math import inf, sqrt
from typing import NamedTuple

import msgspec

from stream_app.statistics.estimates import Z_95, Estimate


class Moments(msgspec.Struct, frozen=True):
    """How many users, and the five sums over them: y, x, y^2, x^2, x*y. A commutative group under addition."""

    n: int = 0
    y: int = 0
    x: int = 0
    yy: int = 0
    xx: int = 0
    xy: int = 0

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(a + b for a, b in zip(_fields(self), _fields(other), strict=True)))

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(*(a - b for a, b in zip(_fields(self), _fields(other), strict=True)))


def _fields(moments: Moments) -> tuple[int, ...]:
    return msgspec.structs.astuple(moments)


def shift(old: tuple[int, int] | None, new: tuple[int, int] | None) -> Moments:
    """Return what the sums change by when one user's (y, x) goes from `old` to `new`; None = not counted.

    shift(a, b) + shift(b, c) == shift(a, c), which is why the changes of any panes, in any order, add to the
    moments of the users as they are now.
    """
    return _of_user(new) - _of_user(old)


def _of_user(seen: tuple[int, int] | None) -> Moments:
    if seen is None:
        return Moments()
    y, x = seen
    return Moments(1, y, x, y * y, x * x, x * y)


class Ratio(NamedTuple):
    """A ratio of two sums and the variance that it has because users differ."""

    value: float
    variance: float


def ratio(moments: Moments) -> Ratio | None:
    """Return r = sum(y)/sum(x) with its delta-method variance; None for fewer than two users or no x.

        v = [sum(y^2) - 2r sum(xy) + r^2 sum(x^2)] / (sum(x))^2 * n/(n-1)

    Source: A. Deng, U. Knoblich & J. Lu (2018), "Applying the delta method in metric analytics", KDD; it is the
    ratio estimator of W. G. Cochran (1977), "Sampling Techniques", 2.11 and 6.4.
    """
    n, y, x, yy, xx, xy = _fields(moments)
    if n < 2 or x == 0:
        return None
    # In integers until the last division: the three terms cancel almost wholly when users are alike.
    residual = max(0, yy * x * x - 2 * y * x * xy + y * y * xx)
    return Ratio(y / x, residual * n / (x**4 * (n - 1)))


def ratio_estimate(
    moments: Moments, z: float = Z_95, lowest: float | None = None, highest: float | None = None
) -> Estimate | None:
    """Return the ratio with its user-clustered normal interval, cut at the bounds; its `n` counts users.

    The interval is r -+ z * sqrt(v) of `ratio`. None for fewer than two users or no x.
    """
    found = ratio(moments)
    if found is None:
        return None
    value, half = found.value, z * sqrt(found.variance)
    low = min(value, max(value - half, -inf if lowest is None else lowest))
    high = max(value, min(value + half, inf if highest is None else highest))
    return Estimate(value, moments.n, low, high)


def design_effect(moments: Moments) -> float | None:
    """Return how many times the variance of a share (y of x trials) is that of as many independent trials.

        deff = v * sum(x) / (r(1-r))

    None where nothing can be said: fewer than two users, or a share of 0 or 1. Of few users it is mostly noise,
    and may fall below 1. Source: L. Kish (1965), "Survey Sampling", 8.2.
    """
    found = ratio(moments)
    if found is None or not 0 < found.value < 1:
        return None
    return found.variance * moments.x / (found.value * (1 - found.value))
