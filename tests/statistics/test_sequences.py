"""Confidence sequences: their formula recomputed, their tuning, and what peeking does to them."""

from decimal import Decimal, getcontext
from math import inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peeking import false_lifts
from stream_app.statistics.estimates import student
from stream_app.statistics.means import mean
from stream_app.statistics.sequences import (
    bound_width,
    half_width,
    log_e_value,
    log_e_value_above,
    mean_bound,
    mean_sequence,
    p_value,
)

errors = st.floats(1e-6, 1e3)
sizes = st.integers(2, 10**8)
alphas = st.sampled_from([0.001, 0.01, 0.05, 0.2])


@given(errors, sizes, st.integers(10, 10**7), alphas)
def test_the_half_width_is_the_published_formula(error: float, n: int, n_star: int, alpha: float) -> None:
    """Equation 9 of the paper, written as printed (sigma, rho, t) with fifty digits, is the half-width."""
    getcontext().prec = 50
    a, t = Decimal(alpha), Decimal(n)
    rho = ((-2 * a.ln() + (-2 * a.ln() + 1).ln()) / Decimal(n_star)).sqrt()
    sigma = Decimal(error) * t.sqrt()
    root = (t * rho**2 + 1).sqrt()
    expected = sigma * (2 * (t * rho**2 + 1) / (t**2 * rho**2) * (root / a).ln()).sqrt()
    assert pytest.approx(float(expected), rel=1e-12) == half_width(error, n, n_star, alpha)


@given(errors, sizes, st.integers(10, 10**7), alphas)
def test_the_one_sided_width_is_the_published_formula(error: float, n: int, n_star: int, alpha: float) -> None:
    """The one-sided bound, written as printed with fifty digits and the rho of 2 alpha, is the width."""
    getcontext().prec = 50
    a, t = Decimal(alpha), Decimal(n)
    b = 2 * a
    rho = ((-2 * b.ln() + (-2 * b.ln() + 1).ln()) / Decimal(n_star)).sqrt()
    root = (t * rho**2 + 1).sqrt()
    variance = 2 * (t * rho**2 + 1) / (t**2 * rho**2) * (1 + root / (2 * a)).ln()
    assert pytest.approx(float(Decimal(error) * (t * variance).sqrt()), rel=1e-9) == bound_width(
        error, n, n_star, alpha
    )


def test_the_sequence_is_tightest_where_it_was_told_to_be() -> None:
    """In fixed-sample half-widths the sequence is narrowest within a tenth of N*, and about 1.5 of them there."""
    n_star = 10_000
    widths = {n: half_width(1.0, n, n_star) / 1.96 for n in range(1_000, 40_000, 100)}
    best = min(widths, key=widths.__getitem__)
    assert (pytest.approx(n_star, rel=0.1), pytest.approx(1.5, abs=0.1)) == (best, widths[best])


@given(st.floats(-50, 50).filter(lambda z: abs(z) > 1e-3), sizes, alphas)
def test_e_values_and_widths_say_the_same(z: float, n: int, alpha: float) -> None:
    """Evidence of 1/alpha or more is there exactly when the estimate is further from 0 than the width."""
    pairs = [
        (log_e_value(z, 1.0, n, 5_000, alpha), abs(z) - half_width(1.0, n, 5_000, alpha)),
        (log_e_value_above(z, 1.0, n, 5_000, alpha), z - bound_width(1.0, n, 5_000, alpha)),
    ]
    assert [beyond > 0 for _, beyond in pairs] == [log_e > -log(alpha) for log_e, _ in pairs]


def test_an_estimate_without_error_is_certain() -> None:
    """Without a standard error any difference is beyond doubt, and none is no evidence."""
    assert (inf, inf, -inf, True) == (
        log_e_value(1.0, 0.0, 10, 10),
        log_e_value_above(1.0, 0.0, 10, 10),
        log_e_value_above(-1.0, 0.0, 10, 10),
        log_e_value(0.0, 0.0, 10, 10) < 0,
    )
    assert (0.0, 1.0, 1.0) == (p_value(inf), p_value(-inf), p_value(-3.0))


def test_huge_evidence_does_not_overflow() -> None:
    """An estimate of a thousand standard errors is evidence, not an exception."""
    assert pytest.approx(log_e_value(1e3, 1.0, 10**6, 10**4), rel=1e-2) == log_e_value_above(1e3, 1.0, 10**6, 10**4)


def test_the_mean_has_its_sequence() -> None:
    """The sequence of a mean is centred like the fixed interval, with the half-width of its standard error."""
    once, always = mean(100, 5_000, 300_000), mean_sequence(100, 5_000, 300_000, n_star=100)
    error = (once.high - once.value) / student(99)
    assert (50.0, pytest.approx(50 - half_width(error, 100, 100)), 100) == (always.value, always.low, always.n)
    bounds = [mean_bound(100, 5_000, 300_000, 100, side) for side in ("above", "below")]
    width = bound_width(error, 100, 100)
    assert [pytest.approx(50 - width), pytest.approx(50 + width)] == bounds
    scaled = mean_sequence(100, 50_000, 30_000_000, 100, scale=10, squares_scale=100)
    assert (always.low, always.high) == (pytest.approx(scaled.low), pytest.approx(scaled.high))


@pytest.mark.parametrize("call", [
    lambda: half_width(1.0, 10, 0), lambda: half_width(1.0, 10, 10, 1.0), lambda: mean_sequence(1, 1, 1, 10),
])  # fmt: skip
def test_impossible_tunings_are_refused(call) -> None:
    """No sequence for no users, a certainty of 0, or one amount."""
    with pytest.raises(ValueError, match=r"n_star|amounts"):
        call()


def test_a_mean_may_be_looked_at_all_the_time() -> None:
    """Of 400 sequences of means, looked at 672 times, at most 5 % ever exclude the truth; fixed ones do a third."""
    rng = np.random.default_rng(7)
    y = np.cumsum(rng.geometric(0.2, (400, 672, 20)).sum(axis=2), axis=1) - 0.0
    n = np.arange(1, 673) * 20
    error = np.sqrt(0.8 / 0.04 / n)  # of a geometric distribution with mean 5
    z = (y / n - 5) / error
    widths = np.array([half_width(1.0, int(k), 6_720) for k in n])
    assert (True, True) == (
        bool((abs(z) > 1.96).any(axis=1).mean() > 0.3),
        bool((abs(z) > widths).any(axis=1).mean() <= 0.05),
    )


def test_a_lift_may_be_looked_at_all_the_time() -> None:
    """Two equal arms of returning users, looked at hourly: the sequence finds nothing, the fixed interval something."""
    _, peeked, always = false_lifts(np.random.default_rng(2), 40, 1_000, users=1_000, hours=336)
    assert (True, True) == (always <= 0.05, peeked > always)
