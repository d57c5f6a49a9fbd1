"""Ratios by user: the changes of sums add up exactly, and the variance is that of users, not of impressions."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.statistics.clusters import Moments, design_effect, ratio, ratio_estimate, shift

seen = st.tuples(st.integers(0, 50), st.integers(0, 200))
states = st.none() | seen
moments = st.builds(Moments, *[st.integers(-1000, 1000)] * 6)


def of_users(users: list[tuple[int, int]]) -> Moments:
    return sum((shift(None, user) for user in users), Moments())


def test_the_squares_of_a_user_seen_in_two_panes_are_of_the_sum() -> None:
    """A user with 3 impressions in one pane and 4 in the next has a square of 49, not of 25."""
    assert Moments(1, 1, 7, 1, 49, 7) == shift(None, (1, 3)) + shift((1, 3), (1, 7))


@given(states, st.lists(states), states)
def test_changes_add_up_whatever_the_way(
    first: tuple[int, int] | None, way: list, last: tuple[int, int] | None
) -> None:
    """However a user got from one state to another, the changes add up to the direct change."""
    path = [first, *way, last]
    steps = [shift(old, new) for old, new in pairwise(path)]
    assert shift(first, last) == sum(steps, Moments())


@given(moments, moments, moments)
def test_moments_are_a_commutative_group(a: Moments, b: Moments, c: Moments) -> None:
    """Merging panes is the whole, in any order, and can be undone."""
    assert ((a + b) + c, b + a, a + Moments(), a) == (a + (b + c), a + b, a, (a + b) - b)


@given(st.lists(st.tuples(st.integers(0, 9), seen), max_size=60), st.randoms(use_true_random=False))
def test_panes_merge_to_the_users_as_they_are(events: list, random) -> None:
    """Changes of many users, over panes, in any order of adding, are the moments of the users' totals."""
    totals: dict[int, tuple[int, int]] = {}
    changes = []
    for user, (y, x) in events:
        old = totals.get(user)
        totals[user] = (y, x) if old is None else (old[0] + y, old[1] + x)
        changes.append(shift(old, totals[user]))
    random.shuffle(changes)
    assert of_users(list(totals.values())) == sum(changes, Moments())


def test_a_ratio_has_the_hand_computed_variance() -> None:
    """Users (1, 2), (0, 2), (2, 4): r = 3/8, residuals 1/4, -3/4, 1/2, variance 7/8 / 64 * 3/2."""
    found = ratio(of_users([(1, 2), (0, 2), (2, 4)]))
    assert found is not None
    assert (3 / 8, pytest.approx(float(Fraction(7, 8) / 64 * Fraction(3, 2)), rel=1e-15)) == found


@given(st.lists(seen, min_size=2, max_size=30).filter(lambda users: any(x for _, x in users)))
def test_the_variance_is_that_of_the_residuals(users: list[tuple[int, int]]) -> None:
    """The variance from five sums is that of the users' residuals y - r x, computed one by one without rounding."""
    n, total = len(users), sum(x for _, x in users)
    r = Fraction(sum(y for y, _ in users), total)
    expected = sum((y - r * x) ** 2 for y, x in users) / total**2 * Fraction(n, n - 1)
    found = ratio(of_users(users))
    assert found is not None
    assert pytest.approx((float(r), float(expected)), rel=1e-12) == tuple(found)


@pytest.mark.parametrize("users", [[], [(1, 2)], [(0, 0), (0, 0)]])
def test_one_user_or_no_impressions_have_no_ratio(users: list[tuple[int, int]]) -> None:
    """Where nothing can be said of the spread between users there is no estimate."""
    assert [None, None, None] == [f(of_users(users)) for f in (ratio, ratio_estimate, design_effect)]


def test_an_interval_is_cut_at_its_bounds() -> None:
    """Two very different users have a share that may be anything between 0 and 1, but nothing beyond."""
    estimate = ratio_estimate(of_users([(0, 5), (5, 5)]), lowest=0.0, highest=1.0)
    assert estimate is not None
    assert (0.0, 0.5, 1.0, 2) == (estimate.low, estimate.value, estimate.high, estimate.n)


def test_the_design_effect_of_users_alike_is_their_size() -> None:
    """When each user clicks always or never, ten impressions of a user say as much as one: the effect is ten."""
    users = [(10, 10)] * 500 + [(0, 10)] * 500
    assert 10.0 == pytest.approx(design_effect(of_users(users)), rel=2e-3)


def test_the_design_effect_of_independent_impressions_is_one() -> None:
    """Users who all click alike say as much per impression as independent impressions do."""
    rng = np.random.default_rng(3)
    x = rng.integers(1, 20, 20_000)
    effect = design_effect(of_users(list(zip(rng.binomial(x, 0.1).tolist(), x.tolist(), strict=True))))
    assert 1.0 == pytest.approx(effect, abs=0.03)


def test_a_share_of_nothing_or_all_has_no_design_effect() -> None:
    """Where nobody or everybody clicked, how users differ cannot be seen."""
    assert [None, None] == [design_effect(of_users([(y, 5)] * 9)) for y in (0, 5)]
