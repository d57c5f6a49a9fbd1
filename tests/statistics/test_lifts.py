"""Lift and its intervals: against gbstats, and as laws."""

from math import exp, inf, log, log1p, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.statistics.clusters import Moments, shift
from stream_app.statistics.lifts import lift, lift_bound, lift_sequence, log_ratio
from stream_app.statistics.sequences import half_width, log_e_value, p_value
from tests.statistics.frozen import ORACLES

LIFTS = ORACLES["lifts"]

users = st.lists(st.tuples(st.integers(0, 5), st.integers(5, 30)), min_size=2, max_size=20)
arms = users.map(lambda seen: sum((shift(None, user) for user in seen), Moments())).filter(lambda m: m.y > 0)


@pytest.mark.parametrize("frozen", LIFTS)
def test_the_lift_equals_gbstats(frozen: dict) -> None:
    """The relative difference and its standard error (ours in logs, times the ratio) are those of gbstats."""
    found = lift(Moments(*frozen["treated"]), Moments(*frozen["base"]))
    assert found is not None
    expected = pytest.approx((frozen["value"], frozen["standard_error"]), rel=1e-10)
    assert expected == (found.value, found.standard_error * (1 + found.value))


@pytest.mark.parametrize("frozen", LIFTS)
def test_the_sequential_interval_equals_gbstats(frozen: dict) -> None:
    """The half-width and p-value of the sequence are those of gbstats, for its estimate and standard error."""
    n = frozen["treated"][0] + frozen["base"][0]
    value, error = frozen["value"], frozen["standard_error"]
    expected = [(s["low"], s["high"], s["p_value"]) for s in frozen["sequential"]]
    found = []
    for n_star in (s["n_star"] for s in frozen["sequential"]):
        half = half_width(error, n, n_star)
        found.append((value - half, value + half, p_value(log_e_value(value, error, n, n_star))))
    assert [pytest.approx(triple, rel=1e-10) for triple in expected] == found


def test_a_lift_has_the_hand_computed_interval() -> None:
    """Two users of 1 and 3 clicks of 10 against two of 1 and 1: log 2 -+ 1.96 sqrt(1/4)."""
    treated, base = (sum((shift(None, (y, 10)) for y in ys), Moments()) for ys in ((1, 3), (1, 1)))
    found = lift(treated, base)
    assert found is not None
    # Residuals -1 and 1: v = 2/400 * 2 = 0.01; v/r^2 = 0.01/0.04 = 1/4. The base has none.
    expected = (1.0, exp(log(2) - 1.959963984540054 / 2) - 1, exp(log(2) + 1.959963984540054 / 2) - 1)
    assert pytest.approx(expected) == (found.value, found.low, found.high)
    assert 0.1656 == pytest.approx(found.p_value, abs=1e-4)  # of z = 1.386


@given(arms, arms)
def test_lifts_are_ordered_and_exchange(treated: Moments, base: Moments) -> None:
    """It is low <= value <= high, and exchanging the arms exchanges the bounds of 1 + lift as inverses."""
    forth, back = lift_sequence(treated, base, 100), lift_sequence(base, treated, 100)
    assert forth is not None
    assert back is not None
    assert [forth.low, forth.value, forth.high] == sorted([forth.low, forth.value, forth.high])
    assert pytest.approx(forth.p_value) == back.p_value
    assert pytest.approx((1 + forth.value) * (1 + back.value)) == 1.0


@given(arms, arms, st.floats(10, 1e6), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_p_value_says_what_the_interval_says(one: Moments, two: Moments, n_star: float, alpha: float) -> None:
    """The sequence excludes 0 exactly when its p-value is below alpha, two-sided and one-sided."""
    found, above = lift_sequence(one, two, n_star, alpha), lift_bound(one, two, n_star, "above", alpha)
    assert found is not None
    assert above is not None
    low, p = above
    near = min(abs(found.low), abs(found.high), abs(low)) < 1e-9
    assert near or (not found.low <= 0 <= found.high, low > 0) == (found.p_value < alpha, p < alpha)


@given(arms, arms)
def test_looking_always_costs_width(treated: Moments, base: Moments) -> None:
    """The interval for all times contains that for one time; the one-sided bound is closer than the two-sided."""
    once, always, above = lift(treated, base), lift_sequence(treated, base, 50), lift_bound(treated, base, 50, "above")
    assert once is not None
    assert always is not None
    assert above is not None
    assert [True, True, True] == [always.low <= once.low, once.high <= always.high, always.low <= above[0] + 1e-12]


@given(arms, arms)
def test_a_guardrail_is_a_claim_with_the_arms_exchanged(treated: Moments, base: Moments) -> None:
    """The upper bound of T against C is the inverse of the lower bound of C against T, with the same p-value."""
    below, above = lift_bound(treated, base, 50, "below"), lift_bound(base, treated, 50, "above")
    assert below is not None
    assert above is not None
    assert (pytest.approx(-log1p(above.lift)), above.p_value) == (log1p(below.lift), below.p_value)


def test_a_bound_beyond_the_floats_is_no_bound() -> None:
    """Arms of two users that have hardly anything in common leave the upper bound open."""
    wild = Moments(2, 10**6, 2, 10**12, 2, 10**6)
    found = lift_sequence(wild, Moments(2, 1, 10**6, 1, 10**12, 1), 1e9)
    assert found is not None
    assert inf == found.high


def test_arms_without_clicks_or_users_have_no_lift() -> None:
    """A ratio to or of nothing has no logarithm, so there is no lift."""
    some, none, one = Moments(2, 3, 10, 5, 50, 15), Moments(2, 0, 10, 0, 50, 0), Moments(1, 1, 5, 1, 25, 5)
    assert [None] * 4 == [
        lift(some, none), lift(none, some), lift_sequence(some, one, 9), lift_bound(one, some, 9, "above"),
    ]  # fmt: skip


def test_the_standard_errors_of_arms_add_in_squares() -> None:
    """A lift of an arm against itself is none, with sqrt(2) times the arm's own relative error."""
    arm = Moments(*LIFTS[0]["base"])
    found = log_ratio(arm, arm)
    n, y, x, yy, xx, xy = LIFTS[0]["base"]
    r = y / x
    relative = (yy - 2 * r * xy + r * r * xx) / x**2 * n / (n - 1) / r**2
    assert (0.0, pytest.approx(sqrt(2 * relative))) == found
