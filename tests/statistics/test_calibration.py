"""Calibration from additive sums: by hand, against the predictions, and against the noise of a true model."""

from operator import add

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2
from statsmodels.stats.weightstats import DescrStatsW

from stream_app.metrics.fixed_point import NANOS, nanos
from stream_app.metrics.predictions import (
    CALIBRATION_BINS,
    SCORE_BINS,
    PredictionSums,
    calibration_bin,
    contribution,
    score_bin,
)
from stream_app.statistics.calibration import (
    CalibrationError,
    brier,
    by_calibration_bin,
    calibration_error,
    log_loss,
    normalised_entropy,
    observed_over_expected,
)
from stream_app.statistics.estimates import Estimate

Judged = list[tuple[float, bool]]
judged = st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=2, max_size=40)


def pane(many: Judged) -> PredictionSums:
    sums = PredictionSums()
    for predicted, is_clicked in many:
        sums = PredictionSums(*map(add, sums, contribution(nanos(predicted), is_clicked=is_clicked)))
    return sums


def binned(many: Judged) -> tuple[list[int], list[int], list[int]]:
    """Return predictions, clicks and sums of predictions by calibration bin, the first two through score bins."""
    seen, clicked, predicted = [0] * SCORE_BINS, [0] * SCORE_BINS, [0] * CALIBRATION_BINS
    for p, is_clicked in many:
        bin_ = score_bin(nanos(p))
        seen[bin_] += 1
        clicked[bin_] += is_clicked
        predicted[calibration_bin(bin_)] += nanos(p)
    return by_calibration_bin(seen), by_calibration_bin(clicked), predicted


def triple(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.low, estimate.value, estimate.high


def test_the_hand_computed_pane() -> None:
    """Clicked at 0.8, not clicked at 0.2 and 0.5: 1 of 1.5, (0.04 + 0.04 + 0.25) / 3, ln(1/0.8/0.8/0.5) / 3 nats."""
    sums = pane([(0.8, True), (0.2, False), (0.5, False)])
    losses = np.log([1 / 0.8, 1 / 0.8, 2]).mean()
    third = -np.log(1 / 3) / 3 - np.log(2 / 3) * 2 / 3
    expected = [1 / 1.5, 0.11, losses, losses / third]
    measures = (observed_over_expected, brier, log_loss, normalised_entropy)
    assert pytest.approx(expected, abs=1e-8) == [triple(measure(sums))[1] for measure in measures]


@given(judged)
@settings(max_examples=30)
def test_scores_are_those_of_the_predictions(many: Judged) -> None:
    """Brier score and log loss have the means and intervals that statsmodels finds in all predictions."""
    p, y = np.array([p for p, _ in many]), np.array([c for _, c in many], dtype=float)
    assume(0 < y.sum() < len(y))
    for measure, amounts in ((brier, (p - y) ** 2), (log_loss, -np.log(np.where(y == 1, p, 1 - p)))):
        low, high = DescrStatsW(amounts).tconfint_mean()
        expected = (max(0.0, low), amounts.mean(), high if measure is log_loss else min(1.0, high))
        assert pytest.approx(expected, rel=1e-4, abs=1e-4) == triple(measure(pane(many)))


@given(judged)
@settings(max_examples=30)
def test_normalised_entropy_has_the_interval_of_the_delta_method(many: Judged) -> None:
    """Its width is that of the mean of l - NE H'(y) y over the predictions, divided by H(y)."""
    p, y = np.array([p for p, _ in many]), np.array([c for _, c in many], dtype=float)
    assume(0 < y.sum() < len(y))
    losses, rate = -np.log(np.where(y == 1, p, 1 - p)), y.mean()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    value = losses.mean() / entropy
    low, high = DescrStatsW(losses - value * np.log((1 - rate) / rate) * y).tconfint_mean()
    half = (high - low) / 2 / entropy
    expected = (max(0.0, value - half), value, value + half)
    assert pytest.approx(expected, rel=1e-4, abs=1e-4) == triple(normalised_entropy(pane(many)))


def test_a_true_model_is_par_and_covered() -> None:
    """For predictions that are true, the intervals of O/E hold 1 and those of the entropy its true value."""
    source = np.random.default_rng(11)
    p = 1 / (1 + np.exp(-source.normal(-3, 1, 3_000)))
    rate, truth = p.mean(), 0.0
    truth = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean() / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    both = [[contribution(nanos(q), is_clicked=flag) for flag in (False, True)] for q in p.tolist()]
    table = np.array(both, dtype=object)
    par = covered = 0
    for _ in range(60):
        y = (source.random(len(p)) < p).astype(int)
        sums = PredictionSums(*(int(total) for total in table[np.arange(len(p)), y].sum(axis=0)))
        low, _, high = triple(observed_over_expected(sums))
        par += low <= 1 <= high
        low, _, high = triple(normalised_entropy(sums))
        covered += low <= truth <= high
    assert (True, True) == (par >= 54, covered >= 54)


def test_observed_over_expected_has_the_exact_poisson_interval() -> None:
    """Twelve clicks where ten were promised: 1.2, between the chi-square bounds of 12 over 10."""
    sums = PredictionSums(predictions=100, clicks=12, predicted_nanos=10 * NANOS)
    expected = (chi2.ppf(0.025, 24) / 20, 1.2, chi2.ppf(0.975, 26) / 20)
    assert pytest.approx(expected) == triple(observed_over_expected(sums))


@given(judged, judged)
@settings(max_examples=25)
def test_the_sums_of_panes_are_those_of_the_whole(one: Judged, other: Judged) -> None:
    """Adding two panes gives the pane of all their predictions, to the unit, by bin too."""
    assert pane(one + other) == PredictionSums(*map(add, pane(one), pane(other)))
    assert binned(one + other) == tuple(
        [a + b for a, b in zip(x, y, strict=True)] for x, y in zip(binned(one), binned(other), strict=True)
    )


def test_the_hand_computed_calibration_error() -> None:
    """One bin promises 2 of 10 and gets 3, another 5 of 10 and gets 5: (1 + 0) / 20."""
    sizes, clicks, promised = [10, 10, 0], [3, 5, 0], [2 * NANOS, 5 * NANOS, 0]
    misses = [abs(np.arange(11) - 10 * p) @ binom.pmf(np.arange(11), 10, p) for p in (0.2, 0.5)]
    spread = 1.6 + 2.5 - misses[0] ** 2 - misses[1] ** 2
    found = calibration_error(sizes, clicks, promised)
    assert found is not None
    expected = (0.05, 20, sum(misses) / 20, (sum(misses) + 1.6448536 * spread**0.5) / 20)
    assert pytest.approx(expected) == (found.value, found.n, found.floor, found.floor_95)


def test_the_floor_is_what_a_perfect_model_shows() -> None:
    """20,000 true predictions miss by about 0.002 by chance: mean and 95 % quantile of 300 draws are as stated."""
    source = np.random.default_rng(2)
    p = 1 / (1 + np.exp(-source.normal(-3, 1.2, 20_000)))
    place = np.array([calibration_bin(score_bin(nanos(q))) for q in p.tolist()])
    sizes = np.bincount(place, minlength=CALIBRATION_BINS)
    promised = [nanos(total) for total in np.bincount(place, p, CALIBRATION_BINS)]
    found = []
    for _ in range(300):
        clicks = np.bincount(place, source.random(len(p)) < p, CALIBRATION_BINS)
        error = calibration_error(sizes.tolist(), [int(c) for c in clicks], promised)
        assert error is not None
        found.append(error.value)
    assert pytest.approx((np.mean(found), np.quantile(found, 0.95)), rel=0.08) == (error.floor, error.floor_95)
    assert 0.0015 < error.floor < 0.004


def test_a_large_bin_has_the_floor_of_the_normal_limit() -> None:
    """Ten million predictions of a half: the mean miss is sqrt(n / 2 pi), and no factorial is lost on the way."""
    n = 10**7
    found = calibration_error([n], [n // 2], [n * NANOS // 2])
    exact = np.sqrt(n / (2 * np.pi)) / n
    assert pytest.approx((0.0, exact), rel=1e-6) == (found.value, found.floor)  # type: ignore[union-attr]


def test_certain_predictions_have_no_noise() -> None:
    """A model that says 0 and is right misses nothing, and by chance would not either."""
    assert CalibrationError(0.0, 5, 0.0, 0.0) == calibration_error([5], [0], [0])


def test_nothing_predicted_says_nothing() -> None:
    """Without predictions there is no estimate, and without clicks no score: its spread would come from them."""
    measures = (observed_over_expected, brier, log_loss, normalised_entropy)
    assert [None] * 4 == [measure(PredictionSums()) for measure in measures]
    assert None is calibration_error([0], [0], [0])
    silent = pane([(0.1, False)] * 9)
    assert [0.0, None, None, None] == [e and e.value for e in (measure(silent) for measure in measures)]


def test_being_right_97_times_of_100_may_be_knowing_nothing() -> None:
    """The popular share of right guesses praises a model that always says 3 %; its normalised entropy is 1: no news."""
    many = [(0.03, True)] * 3 + [(0.03, False)] * 97
    accuracy = sum((p >= 0.5) == is_clicked for p, is_clicked in many) / len(many)
    assert (0.97, 1.0) == (accuracy, round(triple(normalised_entropy(pane(many)))[1], 6))
