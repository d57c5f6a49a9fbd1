"""What a logged choice adds to the sums of off-policy value."""

import random
from operator import add

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.metrics.fixed_point import NANOS
from stream_app.metrics.off_policy import (
    RobustSums,
    WeightSums,
    contribution,
    growth,
    robust_contribution,
    robust_growth,
    weight_nanos,
)

weights = st.integers(0, 20 * NANOS)
rewards = st.lists(st.integers(0, 10**6), max_size=5)


def test_the_hand_computed_choices() -> None:
    """0.5 over 0.25 weighs 2; a reward of 3 adds 6, squares of 36 and a cross of 12. 1 over 0.01 is cut to 20."""
    two, cut = weight_nanos(0.5, 0.25), weight_nanos(1.0, 0.01)
    assert [2 * NANOS, 20 * NANOS, 20 * NANOS, 0] == [two, cut, weight_nanos(1.0, 5e-324), weight_nanos(0.0, 0.3)]
    assert [
        WeightSums(1, 0, 2 * NANOS, 4 * NANOS, 6 * NANOS, 36 * NANOS, 12 * NANOS),
        WeightSums(1, 1, 20 * NANOS, 400 * NANOS, 0, 0, 0),
        WeightSums(choices=1),
        RobustSums(1, 1_900_000_000, 3_610_000_000),
    ] == [
        contribution(two, 3),
        contribution(cut, 0),
        contribution(0, 1),
        robust_contribution(two, 1, 200_000_000, 300_000_000),
    ]


@given(weights, rewards)
def test_growths_end_at_the_contribution(weight: int, steps: list[int]) -> None:
    """However often a reward changes, the pane ends with what its last value contributes, to the unit."""
    sums, robust, last = contribution(weight, 0), robust_contribution(weight, 0, NANOS // 7, NANOS // 3), 0
    for reward in steps:
        sums = WeightSums(*map(add, sums, growth(weight, last, reward)))
        robust = RobustSums(*map(add, robust, robust_growth(weight, last, reward, NANOS // 7, NANOS // 3)))
        last = reward
    expected = contribution(weight, last), robust_contribution(weight, last, NANOS // 7, NANOS // 3)
    assert expected == (sums, robust)


@given(st.lists(st.tuples(weights, st.booleans()), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_choices_and_clicks_does_not_matter(choices, source: random.Random) -> None:
    """Impressions and late clicks in any order give the sums of choices with their final rewards."""
    growths = [contribution(weight, 0) for weight, _ in choices]
    growths += [growth(weight, 0, 1) for weight, is_clicked in choices if is_clicked]
    source.shuffle(growths)
    sums = whole = WeightSums()
    for one in growths:
        sums = WeightSums(*map(add, sums, one))
    for weight, is_clicked in choices:
        whole = WeightSums(*map(add, whole, contribution(weight, int(is_clicked))))
    assert whole == sums
