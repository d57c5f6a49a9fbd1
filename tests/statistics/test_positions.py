"""Click-through rates by position and corrected for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.poisson import poisson_interval
from stream_app.statistics.positions import (
    ByPosition,
    clicks_over_expected,
    ctr_by_position,
    examination_corrected_ctr,
)
from stream_app.statistics.proportions import wilson

REFERENCE = ByPosition((1_000, 1_000), (100, 50))


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


@given(st.integers(0, 9_999))
def test_the_poisson_interval_equals_scipy(count: int) -> None:
    """The bounds are the chi-square quantiles that scipy finds, to ten digits."""
    expected = (chi2.ppf(0.025, 2 * count) / 2 if count else 0.0, chi2.ppf(0.975, 2 * count + 2) / 2)
    assert pytest.approx(expected, rel=1e-10) == poisson_interval(count)


@pytest.mark.parametrize("count", [10_000, 10_001, 10**6, 10**9])
def test_the_poisson_interval_of_many_is_close_to_scipy(count: int) -> None:
    """Large counts are approximated, to 1e-7 of the bound."""
    expected = (chi2.ppf(0.025, 2 * count) / 2, chi2.ppf(0.975, 2 * count + 2) / 2)
    assert pytest.approx(expected, rel=1e-7) == poisson_interval(count)


def test_the_poisson_interval_of_none_and_ten() -> None:
    """Seeing none is compatible with up to 3.69, ten with 4.80 to 18.39: the numbers of the tables."""
    assert [(0.0, 3.69), (4.80, 18.39)] == [
        (round(low, 2), round(high, 2)) for low, high in map(poisson_interval, (0, 10))
    ]


def test_a_negative_count_is_refused() -> None:
    """A count below 0 is a mistake of the caller."""
    with pytest.raises(ValueError, match="-1 is no count"):
        poisson_interval(-1)


def test_each_position_has_its_rate() -> None:
    """Each position's clicks over its impressions, with Wilson's interval; none where nothing was seen."""
    assert [wilson(10, 100), wilson(0, 50), None, None] == ctr_by_position(ByPosition((100, 50, 0, 1), (10, 0, 0, 2)))


def test_the_hand_computed_corrections() -> None:
    """12 clicks where random order would get 10 + 5 are 0.8; a click at 2 counts twice: (10 + 2 * 2) / 200."""
    own = ByPosition((100, 100), (10, 2))
    assert (0.8, 0.07) == (
        round(value(clicks_over_expected(own, REFERENCE)), 12),
        round(value(examination_corrected_ctr(own, REFERENCE)), 12),
    )


def test_a_low_place_is_not_a_bad_item() -> None:
    """The popular comparison of rates calls the item at place 2 half as good; corrected for its place it is par."""
    top, below = ByPosition((1_000, 0), (100, 0)), ByPosition((0, 1_000), (0, 50))
    rates = [sum(own.clicked) / sum(own.seen) for own in (top, below)]
    assert ([0.1, 0.05], [1.0, 1.0], [0.1, 0.1]) == (
        rates,
        [value(clicks_over_expected(own, REFERENCE)) for own in (top, below)],
        [value(examination_corrected_ctr(own, REFERENCE)) for own in (top, below)],
    )


def test_a_click_counts_for_at_most_twenty() -> None:
    """A place that the reference saw clicked 100 times as rarely, or never, is corrected by 20."""
    for clicks in (1, 0):
        reference = ByPosition((1_000, 1_000), (100, clicks))
        assert 0.2 == value(examination_corrected_ctr(ByPosition((50, 50), (0, 1)), reference))


def test_intervals_cover_what_they_should() -> None:
    """Where both slices are drawn from known rates, 95 % intervals hold the truth in at least 92 of 100 cases."""
    source = np.random.default_rng(5)
    seen, shown = np.array([4_000, 3_000, 3_000]), np.array([9_000, 4_000, 500])
    rates = np.array([0.03, 0.015, 0.006])
    par = corrected = 0
    for _ in range(300):
        reference = ByPosition(seen.tolist(), source.binomial(seen, rates).tolist())
        own = ByPosition(shown.tolist(), source.binomial(shown, 1.2 * rates).tolist())
        one, other = clicks_over_expected(own, reference), examination_corrected_ctr(own, reference)
        assert one is not None
        assert other is not None
        par += one.low <= 1.2 <= one.high
        corrected += other.low <= 0.036 <= other.high
    assert (True, True) == (par >= 0.92 * 300, corrected >= 0.92 * 300)


def test_no_clicks_of_many_expected_are_a_finding() -> None:
    """15 expected and none seen is 0, with an upper bound below par."""
    none = clicks_over_expected(ByPosition((100, 100), (0, 0)), REFERENCE)
    assert none is not None
    assert (0.0, 0.0, True) == (none.value, none.low, 3.69 / 15 < none.high < 1)


def test_without_a_reference_there_is_no_correction() -> None:
    """A position that random order never showed, a reference without clicks, no impressions: no estimate."""
    own, unseen, idle = ByPosition((9, 9), (1, 1)), ByPosition((9, 0), (3, 0)), ByPosition((9, 9), (0, 0))
    assert [None] * 6 == [
        clicks_over_expected(own, unseen), clicks_over_expected(own, idle),
        clicks_over_expected(ByPosition((0, 0), (0, 0)), REFERENCE),
        examination_corrected_ctr(own, idle), examination_corrected_ctr(idle, REFERENCE),
        examination_corrected_ctr(ByPosition((1, 0), (1, 0)), REFERENCE),
    ]  # fmt: skip
