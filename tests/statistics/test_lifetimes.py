"""Lifetimes: the closed form is the sum it stands for, and what popular formulas get wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lifetimes import lifetime_value, of_period, per_period, value_forecast
from stream_app.statistics.survival import restricted_mean


def test_the_lifetime_value_by_hand() -> None:
    """20 a year, four of five stay, at 10 %: 16 / 1.1 + 12.8 / 1.21 + ... = 20 * 0.8 / 0.3."""
    assert pytest.approx(53.3333333) == lifetime_value(20, 0.8, 0.1)


@given(st.floats(-100, 100), st.floats(0, 0.97), st.floats(0, 1))
def test_the_closed_form_is_the_sum(margin: float, retention: float, discount: float) -> None:
    """M r / (1 + d - r) is the discounted sum over a thousand periods."""
    total = sum(margin * (retention / (1 + discount)) ** t for t in range(1, 1_000))
    assert pytest.approx(total, abs=1e-6) == lifetime_value(margin, retention, discount)


def test_value_times_lifespan_is_no_lifetime_value() -> None:
    """Revenue 100 a year at a margin of 20, four of five stay, 10 % discount: 53 and not 500."""
    popular = 100 * (1 / 0.2)
    assert (500.0, pytest.approx(53.33, abs=0.01)) == (popular, lifetime_value(20, 0.8, 0.1))


def test_one_over_churn_needs_a_constant_hazard() -> None:
    """With the same chance each period 1 / churn is the mean lifetime; of two kinds of customers it is not.

    Half leave with 0.5, half with 0.02 each period: the mean lifetime is 26 periods, and 1 / (the first churn) 3.8.
    """
    alike = {t: (round(1e6 * 0.8 ** (t - 1) * 0.2), 0) for t in range(1, 60)}
    assert pytest.approx(1 / 0.2, rel=1e-3) == restricted_mean(alike, 60).value
    mixed = {
        t: (round(1e6 * (0.5**t + 0.98 ** (t - 1) * 0.02)), 0) for t in range(1, 1_000)
    }  # fmt: skip
    churn = mixed[1][0] / sum(ended for ended, _ in mixed.values())
    assert pytest.approx(26, rel=1e-3) == restricted_mean(mixed, 1_000).value
    assert pytest.approx(3.846, abs=0.001) == 1 / churn


def test_a_forecast_has_the_bounds_of_its_inputs() -> None:
    """Margin 20 (18 to 22), retention 0.8 (0.75 to 0.85): 53 between 39 and 75; of 300 customers."""
    found = value_forecast(Estimate(20, 500, 18, 22), Estimate(0.8, 300, 0.75, 0.85), 0.1)
    assert (300, pytest.approx(18 * 0.75 / 0.35), pytest.approx(22 * 0.85 / 0.25)) == (found.n, found.low, found.high)
    assert found.low < found.value < found.high


def test_a_forecast_without_end_is_none() -> None:
    """Undiscounted, and with a retention that may be 1, there is no finite value."""
    assert value_forecast(Estimate(20, 500, 18, 22), Estimate(0.99, 30, 0.9, 1.0), 0.0) is None


@pytest.mark.parametrize(("retention", "discount"), [(1.0, 0.0), (-0.1, 0.1), (1.1, 0.2), (0.5, -0.1)])
def test_what_has_no_finite_sum_is_refused(retention: float, discount: float) -> None:
    """No retention but a share, no discount below 0, and something must end."""
    with pytest.raises(ValueError, match="no finite value"):
        lifetime_value(1.0, retention, discount)


def test_a_retention_of_days_is_taken_to_a_period() -> None:
    """Of 0.64 after 56 days 0.8 stay 28; the bounds with it. 10 % a year are 0.73 % in 28 days."""
    found = per_period(Estimate(0.64, 100, 0.49, 0.81), 56, 28)
    assert pytest.approx((0.8, 0.7, 0.9)) == (found.value, found.low, found.high)
    assert (100, pytest.approx(0.00734, abs=1e-5)) == (found.n, of_period(0.1, 28))
