"""The value of another policy: by hand, against the logs themselves, covered, and hidden where it would mislead."""

from operator import add

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from stream_app.metrics.fixed_point import NANOS, nanos
from stream_app.metrics.off_policy import RobustSums, WeightSums, contribution, robust_contribution, weight_nanos
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.offpolicy import (
    LEAST_EFFECTIVE,
    capped_share,
    doubly_robust_value,
    effective_size,
    inverse_propensity_value,
    mean_weight,
    self_normalised_value,
)
from stream_app.statistics.proportions import wilson

TRUE_RATES = np.array([0.02, 0.05, 0.10])
LOGGING = np.array([0.6, 0.3, 0.1])
TARGET = np.array([0.1, 0.3, 0.6])
MODEL = np.array([0.03, 0.03, 0.08])


def triple(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.low, estimate.value, estimate.high


def total(kind, parts):
    sums = kind()
    for part in parts:
        sums = kind(*map(add, sums, part))
    return sums


def test_the_hand_computed_values() -> None:
    """300 choices of weight 2 and 300 of weight 1, 60 and 30 rewarded: IPW 150/600, SNIPW 150/900, ESS 900^2/1500."""
    parts = [contribution(2 * NANOS, 1)] * 60 + [contribution(2 * NANOS, 0)] * 240
    parts += [contribution(NANOS, 1)] * 30 + [contribution(NANOS, 0)] * 270
    sums = total(WeightSums, parts)
    measures = (mean_weight, inverse_propensity_value, self_normalised_value, capped_share)
    assert [540.0, 1.5, 0.25, 1 / 6, 0.0] == [effective_size(sums), *(triple(measure(sums))[1] for measure in measures)]
    spread = (60 * 4 + 30) * (5 / 6) ** 2 + (240 * 4 + 270) * (1 / 6) ** 2
    half = 1.959963984540054 * spread**0.5 / 900
    assert pytest.approx((1 / 6 - half, 1 / 6, 1 / 6 + half)) == triple(self_normalised_value(sums))


@given(st.lists(st.tuples(st.sampled_from([0.5, 1.0, 1.5, 4.0]), st.booleans()), min_size=3, max_size=12))
@settings(max_examples=40)
def test_inverse_propensity_has_the_interval_of_a_mean(choices: list[tuple[float, bool]]) -> None:
    """Value and interval are those that statsmodels finds in all weighted rewards."""
    rewards = np.array([w * is_clicked for w, is_clicked in choices] * 150)
    assume(rewards.any() and len(set(rewards)) > 1)
    sums = total(WeightSums, [contribution(nanos(w), int(c)) for w, c in choices])
    sums = WeightSums(*(150 * amount for amount in sums))
    low, high = DescrStatsW(rewards).tconfint_mean()
    assert pytest.approx((low, rewards.mean(), high), abs=1e-6) == triple(inverse_propensity_value(sums))


def test_values_cover_the_truth_that_the_log_was_drawn_from() -> None:
    """A policy of 7.7 % valued from the log of another of 3.7 %: 95 % intervals of all three estimators hold it."""
    source = np.random.default_rng(8)
    truth, mean = float(TARGET @ TRUE_RATES), float(TARGET @ MODEL)
    assert pytest.approx(0.077) == truth
    table = np.array(
        [[contribution(weight_nanos(t, p), r) for r in (0, 1)] for t, p in zip(TARGET, LOGGING, strict=True)], object
    )
    robust = np.array(
        [[robust_contribution(weight_nanos(t, p), r, nanos(q), nanos(mean)) for r in (0, 1)]
         for t, p, q in zip(TARGET, LOGGING, MODEL, strict=True)], object
    )  # fmt: skip
    covered = np.zeros(3, dtype=int)
    for _ in range(200):
        sizes = source.multinomial(4_000, LOGGING)
        clicks = source.binomial(sizes, TRUE_RATES)
        counts = np.stack([sizes - clicks, clicks], axis=1)
        sums = WeightSums(*(int(x) for x in (table * counts[:, :, None]).sum(axis=(0, 1))))
        corrected = RobustSums(*(int(x) for x in (robust * counts[:, :, None]).sum(axis=(0, 1))))
        found = (inverse_propensity_value(sums), self_normalised_value(sums), doubly_robust_value(corrected, sums))
        covered += [low <= truth <= high for low, _, high in map(triple, found)]
    assert [True] * 3 == (covered >= 0.92 * 200).tolist()


def test_too_few_effective_choices_hide_the_value() -> None:
    """With an effective sample size below 200 there is no value, however many choices were logged."""
    even = [contribution(NANOS, 1)] * 200
    gate = [total(WeightSums, even[1:]), total(WeightSums, even)]
    robust = RobustSums(200, NANOS, NANOS)
    assert [199.0, 200.0, LEAST_EFFECTIVE] == [*map(effective_size, gate), 200]
    for value in (inverse_propensity_value, self_normalised_value, lambda sums: doubly_robust_value(robust, sums)):
        assert [True, False] == [value(sums) is None for sums in gate]


def test_without_a_cap_two_choices_rule_a_thousand() -> None:
    """The popular uncapped weights: propensities of a millionth leave an effective sample of 2; the cap leaves more."""
    propensities = [1e-6] * 2 + [0.1] * 998
    uncapped = [0.1 / p for p in propensities]
    plain = sum(uncapped) ** 2 / sum(w * w for w in uncapped)
    sums = total(WeightSums, [contribution(weight_nanos(0.1, p), 0) for p in propensities])
    assert (2, 599, wilson(2, 1_000)) == (round(plain), int(effective_size(sums)), capped_share(sums))
    assert 20 * NANOS == weight_nanos(0.1, 1e-6)


def test_the_mean_weight_tells_wrong_propensities() -> None:
    """Logged right, weights average 1; a log that says twice the propensity averages a half."""
    source = np.random.default_rng(1)
    chosen = source.choice(3, size=3_000, p=LOGGING)
    right = total(WeightSums, [contribution(weight_nanos(TARGET[a], LOGGING[a]), 0) for a in chosen])
    wrong = total(WeightSums, [contribution(weight_nanos(TARGET[a], 2 * LOGGING[a]), 0) for a in chosen])
    (low, _, high), doubled = triple(mean_weight(right)), triple(mean_weight(wrong))
    assert (True, True) == (low <= 1 <= high, doubled[2] < 1)


def test_nothing_chosen_or_rewarded_has_no_value() -> None:
    """Without choices, and without any reward, there is no value: a normal interval would be the point 0."""
    unrewarded = total(WeightSums, [contribution(NANOS, 0)] * 300)
    measures = (capped_share, mean_weight, inverse_propensity_value, self_normalised_value)
    assert [None] * 4 == [measure(WeightSums()) for measure in measures]
    assert [None, None] == [measure(unrewarded) for measure in measures[2:]]
    assert None is doubly_robust_value(RobustSums(), unrewarded)
