"""Intervals that may be looked at as often as one likes: asymptotic confidence sequences.

A wall that refreshes every second peeks thousands of times a day, and a fixed-sample 95 % interval then excludes
the truth sooner or later (four times in ten, looked at hourly for four weeks). A confidence sequence covers the
truth at all times at once with 95 %. The price is width: about 1.5 times where it is tightest, at `n_star`.

Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy & A. Ramdas (2024), "Time-uniform central limit theory
and asymptotic confidence sequences", Annals of Statistics 52 (arXiv 2103.06476v7, equations 9, 155 and 161, and
the one-sided form of its appendix B).
"""

from math import exp, expm1, inf, log, log1p, sqrt
from typing import Literal

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.means import standard_error

Side = Literal["above", "below"]
"""Of a one-sided bound: "above" is the lower bound, for showing that the truth is above something."""


def tuning(n_star: float, alpha: float) -> float:
    """Return the rho^2 that makes the sequence tightest when `n_star` units have been seen.

        rho^2 = (-2 ln alpha + ln(-2 ln alpha + 1)) / N*

    It must be chosen beforehand: N* is how many units are expected at the time of decision, not how many there are.

    Raises ValueError unless n_star > 0 and 0 < alpha < 1.
    """
    if not (n_star > 0 and 0 < alpha < 1):
        raise ValueError(f"n_star {n_star} must be above 0 and alpha {alpha} between 0 and 1")
    return (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / n_star


def half_width(standard_error: float, n: int, n_star: float, alpha: float = 0.05) -> float:
    """Return the half-width of the two-sided sequence around an estimate of `n` units.

    half = se * sqrt(2 (N rho^2 + 1)/(N rho^2) * ln(sqrt(N rho^2 + 1)/alpha))
    """
    spread = n * tuning(n_star, alpha)
    return standard_error * sqrt(2 * (spread + 1) / spread * (log1p(spread) / 2 - log(alpha)))


def bound_width(standard_error: float, n: int, n_star: float, alpha: float = 0.05) -> float:
    """Return how far the one-sided bound of the sequence lies from the estimate: for guardrails.

        width = se * sqrt(2 (N rho^2 + 1)/(N rho^2) * ln(1 + sqrt(N rho^2 + 1)/(2 alpha)))

    rho is that of 2 alpha, as a one-sided bound at alpha is about as far out as a two-sided one at 2 alpha.
    """
    spread = n * _one_sided_tuning(n_star, alpha)
    return standard_error * sqrt(2 * (spread + 1) / spread * log1p(sqrt(spread + 1) / (2 * alpha)))


def _one_sided_tuning(n_star: float, alpha: float) -> float:
    return tuning(n_star, min(2 * alpha, 0.5))


def log_e_value(estimate: float, standard_error: float, n: int, n_star: float, alpha: float = 0.05) -> float:
    """Return the log of the evidence against 0, two-sided: at any stopping time E[e] <= 1 if the truth is 0.

        ln e = N rho^2 z^2 / (2 (N rho^2 + 1)) - ln(N rho^2 + 1)/2      z = estimate/se

    The sequence at `alpha` excludes 0 exactly when e >= 1/alpha. `alpha` enters through rho only.
    """
    spread = n * tuning(n_star, alpha)
    return _exponent(estimate, standard_error, spread) - log1p(spread) / 2


def log_e_value_above(estimate: float, standard_error: float, n: int, n_star: float, alpha: float = 0.05) -> float:
    """Return the log of the evidence against "not above 0"; -inf for an estimate of 0 or less.

        e = 2 (exp(N rho^2 z^2 / (2 (N rho^2 + 1))) - 1) / sqrt(N rho^2 + 1)

    The lower bound at `alpha` excludes 0 exactly when e >= 1/alpha.
    """
    spread = n * _one_sided_tuning(n_star, alpha)
    if estimate <= 0:
        return -inf
    exponent = _exponent(estimate, standard_error, spread)
    grown = exponent if exponent > 700 else log(expm1(exponent)) if exponent > 0 else -inf
    return log(2) + grown - log1p(spread) / 2


def _exponent(estimate: float, standard_error: float, spread: float) -> float:
    if standard_error == 0:
        return 0.0 if estimate == 0 else inf
    return spread * (estimate / standard_error) ** 2 / (2 * (spread + 1))


def p_value(log_e: float) -> float:
    """Return the p-value that is valid at any stopping time: min(1, 1/e)."""
    return exp(-max(0.0, log_e))


def mean_sequence(
    n: int,
    total: int,
    squares: int,
    n_star: float,
    alpha: float = 0.05,
    scale: int = 1,
    squares_scale: int = 1,
) -> Estimate:
    """Return the mean of `n` amounts (sums scaled as in `means.mean`) with its two-sided sequence.

    Raises ValueError for fewer than two amounts.
    """
    half = half_width(standard_error(n, total, squares, scale, squares_scale), n, n_star, alpha)
    value = total / (n * scale)
    return Estimate(value, n, value - half, value + half)


def mean_bound(
    n: int,
    total: int,
    squares: int,
    n_star: float,
    side: Side,
    alpha: float = 0.05,
    scale: int = 1,
    squares_scale: int = 1,
) -> float:
    """Return the bound that the mean is always "above" or "below", with certainty 1 - alpha.

    Raises ValueError for fewer than two amounts.
    """
    width = bound_width(standard_error(n, total, squares, scale, squares_scale), n, n_star, alpha)
    return total / (n * scale) + (-width if side == "above" else width)
