"""Net promoter score and satisfaction."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.proportions import wilson
from stream_app.statistics.surveys import net_promoter_score, satisfaction, weighted_share

answers = st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500)).filter(any)


def triple(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.low, estimate.value, estimate.high


def test_the_hand_computed_score() -> None:
    """60 promoters and 20 detractors of 100: 0.4; three quarters more of each, of 103, have the interval."""
    half = 1.959963984540054 * sqrt((81.5 / 103 - (40 / 103) ** 2) / 103)
    assert pytest.approx((40 / 103 - half, 0.4, 40 / 103 + half)) == triple(net_promoter_score(60, 20, 100))


@given(answers)
def test_the_score_is_the_mean_of_plus_and_minus_one(counts: tuple[int, int, int]) -> None:
    """Counting +1, 0 and -1, its value is their mean and it lies in order between -1 and 1."""
    promoters, detractors, passives = counts
    low, value, high = triple(net_promoter_score(promoters, detractors, sum(counts)))
    marks = np.repeat([1, -1, 0], [promoters, detractors, passives])
    assert pytest.approx(marks.mean()) == value
    assert sorted([-1.0, low, value, high, 1.0]) == [-1.0, low, value, high, 1.0]


@given(answers)
def test_turning_the_answers_round_turns_the_score_round(counts: tuple[int, int, int]) -> None:
    """Exchanging promoters and detractors changes the sign."""
    promoters, detractors, _ = counts
    low, value, high = triple(net_promoter_score(detractors, promoters, sum(counts)))
    assert pytest.approx((-high, -value, -low)) == triple(net_promoter_score(promoters, detractors, sum(counts)))


def test_the_interval_covers_and_popular_ones_do_not() -> None:
    """Of 200 answers at 45 % and 30 %: ours covers; a share's variance of the score, a popular one, covers far less."""
    source = np.random.default_rng(6)
    covered = naive = 0
    for _ in range(500):
        promoters, detractors, _ = source.multinomial(200, [0.45, 0.30, 0.25])
        low, value, high = triple(net_promoter_score(int(promoters), int(detractors), 200))
        covered += low <= 0.15 <= high
        naive += abs(value - 0.15) <= 1.96 * (abs(value) * (1 - abs(value)) / 200) ** 0.5
    assert (True, True) == (covered >= 0.93 * 500, naive <= 0.75 * 500)


def test_answers_of_one_kind_are_no_certainty() -> None:
    """Ten out of ten promoters, detractors or passives leave a doubt, and a hundred out of a hundred leave less."""
    for few, many in (((10, 0, 10), (100, 0, 100)), ((0, 10, 10), (0, 100, 100)), ((0, 0, 10), (0, 0, 100))):
        (low, value, high), (lower, same, higher) = (triple(net_promoter_score(*counts)) for counts in (few, many))
        assert (True, True, value) == (0.15 < high - low < 0.7, higher - lower < (high - low) / 4, same)


def test_satisfaction_is_a_share_of_answers() -> None:
    """It is the share that answered 4 or 5; a mean of 3 of 5 is not 60 % satisfied."""
    assert [wilson(7, 10), wilson(0, 5), None] == [satisfaction(7, 10), satisfaction(0, 5), satisfaction(0, 0)]


def test_nobody_asked_or_impossible_answers() -> None:
    """Without answers there is no score; more of them than answers is a mistake of the caller."""
    assert None is net_promoter_score(0, 0, 0)
    with pytest.raises(ValueError, match="2 promoters and 1 detractors are no part of 2 answers"):
        net_promoter_score(2, 1, 2)


asked = st.lists(st.tuples(st.sampled_from([1, 2, 4, 10, 20]), st.booleans()), min_size=1, max_size=60)
"""Answers: 1 / the probability of being asked, and whether it is positive."""


def weigh(answers: list[tuple[int, bool]], scale: int = 1) -> Estimate:
    positive = sum(weight for weight, is_positive in answers if is_positive)
    weights, squares = sum(weight for weight, _ in answers), sum(weight**2 for weight, _ in answers)
    return weighted_share(len(answers), positive * scale, weights * scale, squares * scale, scale, scale)


@given(asked)
def test_a_weighted_share_is_wilsons_of_the_effective_answers(answers: list[tuple[int, bool]]) -> None:
    """Its bounds are those that statsmodels gives n_e p successes in n_e = (sum w)^2 / sum w^2 trials."""
    weights = np.array([weight for weight, _ in answers], dtype=float)
    marks = np.array([is_positive for _, is_positive in answers], dtype=float)
    value, effective = np.average(marks, weights=weights), weights.sum() ** 2 / (weights**2).sum()
    low, high = proportion_confint(value * effective, effective, method="wilson")
    assert pytest.approx((low, value, high), abs=1e-9) == triple(weigh(answers))


@given(asked)
def test_equal_weights_are_none(answers: list[tuple[int, bool]]) -> None:
    """When everybody is asked with the same probability it is the plain share, at whatever scale it was stored."""
    positive = sum(is_positive for _, is_positive in answers)
    plain = [(4, is_positive) for _, is_positive in answers]
    assert pytest.approx(triple(wilson(positive, len(answers)))) == triple(weigh(plain, 10**6))


def test_weights_undo_who_was_asked() -> None:
    """Half of a public is pleased, and pleased ones are asked nine times as often: unweighted 90 %, weighted 50 %."""
    answers = [(10, False)] * 100 + [(1, True)] * 900 + [(1, True)] * 100
    weighted = weigh(answers)
    assert (0.5, True, 1_100) == (weighted.value, weighted.high - weighted.low > 0.1, weighted.n)


def test_no_weight_is_no_share() -> None:
    """Without answers or weights there is nothing to divide by."""
    with pytest.raises(ValueError, match="have no share"):
        weighted_share(0, 0, 0, 0)
