"""What a logged choice adds to the sums of off-policy value."""

import random
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from stream_app.metrics.off_policy import (
    RobustSums,
    WeightSums,
    contribution,
    growth,
    robust_contribution,
    robust_growth,
    weight,
)

shares = st.floats(0.001, 1)
rewards = st.lists(st.floats(0, 1), max_size=5)


def test_the_hand_computed_choices() -> None:
    """0.5 over 0.25 weighs 2; a reward of 0.5 adds 1, squares of 1 and a cross of 2. 1 over 0.01 is cut to 20."""
    assert [
        WeightSums(1, 0, 2 * 10**9, 4 * 10**9, 10**9, 10**9, 2 * 10**9),
        WeightSums(1, 1, 20 * 10**9, 400 * 10**9, 0, 0, 0),
        RobustSums(1, 900_000_000, 810_000_000),
    ] == [
        contribution(0.5, 0.25, 0.5),
        contribution(1.0, 0.01, 0.0),
        robust_contribution(0.5, 0.25, 0.5, 0.2, 0.3),
    ]


def test_a_choice_that_the_other_policy_never_makes_weighs_nothing() -> None:
    """It is counted, and says nothing about that policy."""
    assert (0.0, WeightSums(choices=1)) == (weight(0.0, 0.3), contribution(0.0, 0.3, 1.0))


@given(shares, shares, rewards)
def test_growths_end_at_the_contribution(target: float, propensity: float, steps: list[float]) -> None:
    """However often a reward changes, the pane ends with what its last value contributes, to the unit."""
    sums, robust, last = (
        contribution(target, propensity, 0.0),
        robust_contribution(target, propensity, 0, 0.1, 0.2),
        0.0,
    )
    for reward in steps:
        sums = WeightSums(*map(add, sums, growth(target, propensity, last, reward)))
        robust = RobustSums(*map(add, robust, robust_growth(target, propensity, last, reward, 0.1, 0.2)))
        last = reward
    expected = contribution(target, propensity, last), robust_contribution(target, propensity, last, 0.1, 0.2)
    assert expected == (sums, robust)


@given(st.lists(st.tuples(shares, shares, st.booleans()), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_choices_and_clicks_does_not_matter(choices, source: random.Random) -> None:
    """Impressions and late clicks in any order give the sums of choices with their final rewards."""
    growths = [contribution(target, propensity, 0.0) for target, propensity, _ in choices]
    growths += [growth(target, propensity, 0.0, 1.0) for target, propensity, is_clicked in choices if is_clicked]
    source.shuffle(growths)
    sums = whole = WeightSums()
    for one in growths:
        sums = WeightSums(*map(add, sums, one))
    for target, propensity, is_clicked in choices:
        whole = WeightSums(*map(add, whole, contribution(target, propensity, float(is_clicked))))
    assert whole == sums
