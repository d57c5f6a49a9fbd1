"""By how much personalization is better: the relative difference of two user-clustered ratios.

Computed in logs, where a ratio of two noisy numbers is closest to normal and where lifts add. `lift` is for one
look at a fixed time; `lift_sequence` for what is looked at all the time.
"""

from math import erfc, expm1, inf, log, sqrt
from typing import NamedTuple

import msgspec

from stream_app.statistics.clusters import Moments, ratio
from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.sequences import Side, bound_width, half_width, log_e_value, log_e_value_above, p_value


class Lift(msgspec.Struct, frozen=True):
    """A relative difference (0.25 = a quarter more) with its interval, and the log ratio it comes from.

    `low <= value <= high`; `n` counts the users of both arms; `p_value` is that of "no difference".
    """

    value: float
    n: int
    low: float
    high: float
    p_value: float
    log_ratio: float
    standard_error: float

    @property
    def ratio(self) -> Estimate | None:
        """The same as a ratio (1.25 = a quarter more); None where there is hardly any evidence, and so no bound."""
        return None if self.high == inf else Estimate(1 + self.value, self.n, 1 + self.low, 1 + self.high)


def lift(treated: Moments, base: Moments, z: float = Z_95) -> Lift | None:
    """Return r_T/r_C - 1 with the interval exp(d -+ z sqrt(V)) - 1 and the two-sided normal p-value.

        d = ln r_T - ln r_C      V = v_T/r_T^2 + v_C/r_C^2

    None when an arm has fewer than two users or a ratio of 0 or less. A fixed-sample interval: whoever looks at
    it all the time will see it exclude 0 by chance. Source: the delta method, as in A. Deng et al. (2018), KDD.
    """
    contrast = log_ratio(treated, base)
    if contrast is None:
        return None
    d, error = contrast
    tail = erfc(abs(d) / (error * sqrt(2))) if error > 0 else float(d == 0)
    return _lift(treated, base, contrast, z * error, tail)


def lift_sequence(treated: Moments, base: Moments, n_star: float, alpha: float = 0.05) -> Lift | None:
    """Return the lift with an interval and a p-value that hold at all times at once.

    The sequence of `sequences.half_width` around the log ratio; its unit is the user, so `n_star` is how many
    users of both arms are expected at the time of decision. None as for `lift`.
    """
    contrast = log_ratio(treated, base)
    if contrast is None:
        return None
    n = treated.n + base.n
    half = half_width(contrast[1], n, n_star, alpha)
    return _lift(treated, base, contrast, half, p_value(log_e_value(*contrast, n, n_star, alpha)))


class Bound(NamedTuple):
    """A lift that the true one is above (or below) at all times, and the p-value of "not above (below) 0"."""

    lift: float
    p_value: float


def lift_bound(treated: Moments, base: Moments, n_star: float, side: Side, alpha: float = 0.05) -> Bound | None:
    """Return the one-sided sequence of the lift: "above" for a claim, "below" for a guardrail. None as for `lift`."""
    contrast = log_ratio(treated, base)
    if contrast is None:
        return None
    d, error = contrast
    sign = 1 if side == "above" else -1
    n = treated.n + base.n
    edge = d - sign * bound_width(error, n, n_star, alpha)
    return Bound(_relative(edge), p_value(log_e_value_above(sign * d, error, n, n_star, alpha)))


def log_ratio(treated: Moments, base: Moments) -> tuple[float, float] | None:
    """Return the log of the ratio of two ratios and its standard error; None as for `lift`."""
    one, other = ratio(treated), ratio(base)
    if one is None or other is None or one.value <= 0 or other.value <= 0:
        return None
    d = log(one.value) - log(other.value)
    return d, sqrt(one.variance / one.value**2 + other.variance / other.value**2)


def _lift(treated: Moments, base: Moments, contrast: tuple[float, float], half: float, p: float) -> Lift:
    d, error = contrast
    return Lift(expm1(d), treated.n + base.n, expm1(d - half), _relative(d + half), p, d, error)


def _relative(log_ratio: float) -> float:
    # A bound may leave the floats when there is hardly any evidence; no bound is better than an exception.
    return expm1(log_ratio) if log_ratio < 700 else inf
