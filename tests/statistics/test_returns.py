"""Costs and returns, against hand-made figures, scipy and statsmodels."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.returns import (
    Amounts,
    cost_per,
    cost_per_extra,
    gain,
    return_on_investment,
    return_ratio,
)

AMOUNTS = st.lists(st.integers(0, 50_000), min_size=2, max_size=30)


def amounts_of(cents: list[int]) -> Amounts:
    """Return the sums of amounts in cents, of units of a hundred."""
    return Amounts(len(cents), sum(cents), sum(cent**2 for cent in cents), 100, 10_000)


def test_a_customer_costs_what_was_spent_on_all_of_them() -> None:
    """600 for 30 customers are 20 each; the interval is that of 30 events (20.24 to 42.83), turned over."""
    found = cost_per(600.0, 30)
    low, high = chi2.ppf(0.025, 60) / 2, chi2.ppf(0.975, 62) / 2
    assert (20.0, 30) == (found.value, found.n)
    assert [600 / high, 600 / low] == pytest.approx([found.low, found.high], rel=1e-9)
    assert cost_per(600.0, 0) is None


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 300), st.integers(1, 300))
def test_an_extra_one_costs_what_statsmodels_says(x1: int, n1: int, x0: int, n0: int) -> None:
    """The interval is that of the difference by Newcombe, turned over; where that reaches 0 there is none."""
    assume(x1 <= n1 and x0 <= n0)
    low, high = confint_proportions_2indep(x1, n1, x0, n0, compare="diff", method="newcomb")
    assume(abs(low) > 1e-9)
    found = cost_per_extra(1_000.0, x1, n1, x0, n0)
    assert (found is None) == (low <= 0)
    if found is not None:
        expected = [1_000 / (high * n1), 1_000 / (low * n1)]
        assert expected == pytest.approx([found.low, found.high], rel=1e-6)
        assert found.low <= found.value <= found.high


@given(AMOUNTS, AMOUNTS)
def test_the_gain_is_the_difference_of_means_of_statsmodels(treated: list[int], base: list[int]) -> None:
    """With unequal variances and the normal quantile, times margin and sessions."""
    found = gain(amounts_of(treated), amounts_of(base), 0.35)
    one, other = (DescrStatsW(np.array(cents) / 100) for cents in (treated, base))
    low, high = CompareMeans(one, other).zconfint_diff(usevar="unequal")
    times = 0.35 * len(treated)
    expected = [times * (one.mean - other.mean), times * low, times * high]
    assert expected == pytest.approx([found.value, found.low, found.high], rel=1e-6, abs=1e-6)


def test_a_return_on_investment_by_hand() -> None:
    """1,000 sessions of 6.00 against 4.00 at a margin of 0.35 gain 700; at a cost of 500 that is an ROI of 40 %."""
    treated = Amounts(1_000, 600_000, 1_000 * 600**2 * 2, 100, 10_000)
    base = Amounts(100, 40_000, 100 * 400**2 * 2, 100, 10_000)
    gained = gain(treated, base, 0.35)
    found = return_on_investment(gained, 500.0)
    assert (700.0, 0.4) == pytest.approx((gained.value, found.value))
    assert [(gained.low - 500) / 500, (gained.high - 500) / 500] == pytest.approx([found.low, found.high])


@given(st.floats(1.0, 1e6), st.floats(-1e6, 1e6))
def test_investment_over_its_own_cost_is_always_a_hundred_per_cent(cost: float, gained: float) -> None:
    """The popular "total investment / total cost of investment" says 100 % whatever was gained; an ROI does not."""
    popular = cost / cost * 100
    found = return_on_investment(Estimate(gained, 10, gained, gained), cost)
    assert (100.0, True) == (popular, found.value == pytest.approx(gained / cost - 1))


def test_390_back_for_each_one_spent_is_no_return_on_investment() -> None:
    """Revenue of 390 per cost: an ROI of 38,900 %, were it all profit; half of it extra at a margin of 0.3, 5,750 %."""
    revenue = Amounts(1_000, 39_000_000, 1_000 * 39_000**2, 100, 10_000)
    as_many, half, nothing = 1_000.0, Amounts(1_000, 19_500_000, 1_000 * 19_500**2, 100, 10_000), Amounts(1_000, 0, 0)
    ratio = return_ratio(revenue, as_many)
    if_all_profit = return_on_investment(gain(revenue, nothing, 1.0), as_many)
    honest = return_on_investment(gain(revenue, half, 0.3), as_many)
    assert (390.0, 389.0, 57.5) == pytest.approx((ratio.value, if_all_profit.value, honest.value))


@given(AMOUNTS, st.floats(0.5, 1e5))
def test_a_return_ratio_has_the_interval_of_a_sum(cents: list[int], cost: float) -> None:
    """Student's interval of the mean, times the number, over the cost; never below 0."""
    found = return_ratio(amounts_of(cents), cost)
    low, high = DescrStatsW(np.array(cents) / 100).tconfint_mean()
    expected = [sum(cents) / 100 / cost, max(0.0, low * len(cents) / cost), high * len(cents) / cost]
    # Student's quantile is known to four digits: of the width, for the bounds may cancel.
    assert expected == pytest.approx([found.value, found.low, found.high], abs=1e-4 * (expected[2] + 1e-5))


def test_what_cannot_be_told_is_not() -> None:
    """Fewer than two sessions in an arm, or nothing spent: no answer, and certainly not 0 or infinity."""
    one, two = Amounts(1, 5, 25), Amounts(2, 10, 50)
    assert [None] * 6 == [
        gain(one, two, 0.3),
        gain(two, one, 0.3),
        return_on_investment(Estimate(1, 4, 1, 1), 0.0),
        return_ratio(one, 5.0),
        return_ratio(two, 0.0),
        cost_per_extra(5.0, 1, 10, 1, 10),
    ]
