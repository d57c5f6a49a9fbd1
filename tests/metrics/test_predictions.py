"""What a prediction adds to the sums of calibration, and in which bin it is counted."""

from math import exp, log
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.metrics.fixed_point import NANOS, nanos
from stream_app.metrics.logarithms import log_nanos, log_square_nanos
from stream_app.metrics.predictions import (
    CALIBRATION_BINS,
    SCORE_BINS,
    PredictionSums,
    calibration_bin,
    click_growth,
    contribution,
    score_bin,
)
from stream_app.metrics.surveys import is_satisfied, nps_kind

LN2 = 693_147_181
predictions = st.integers(0, NANOS)


def sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def test_the_hand_computed_predictions() -> None:
    """A half is wrong by a quarter either way, and costs ln 2; 0.1 clicked misses by 0.81 and costs ln 10."""
    assert [
        PredictionSums(1, 0, 500_000_000, 250_000_000, 62_500_000_000, LN2, 480_453_014, 0),
        PredictionSums(1, 1, 500_000_000, 250_000_000, 62_500_000_000, LN2, 480_453_014, LN2),
        PredictionSums(1, 1, 100_000_000, 810_000_000, 656_100_000_000, 2_302_585_093, 5_301_898_110, 2_302_585_093),
    ] == [
        contribution(NANOS // 2, is_clicked=False),
        contribution(NANOS // 2, is_clicked=True),
        contribution(NANOS // 10, is_clicked=True),
    ]


@given(predictions)
def test_a_click_makes_the_contribution_that_of_a_clicked_one(predicted: int) -> None:
    """Impression and late click together add what a clicked impression would have added at once, to the unit."""
    together = map(add, contribution(predicted, is_clicked=False), click_growth(predicted))
    assert contribution(predicted, is_clicked=True) == PredictionSums(*together)


@given(predictions)
def test_every_prediction_has_a_bin(predicted: int) -> None:
    """From 0 to 1, each lies in one of 200 score bins, and that in one of 15 calibration bins."""
    bin_ = score_bin(predicted)
    assert (True, True) == (0 <= bin_ < SCORE_BINS, 0 <= calibration_bin(bin_) < CALIBRATION_BINS)


@given(predictions, predictions)
def test_a_higher_prediction_is_in_no_lower_bin(one: int, other: int) -> None:
    """Bins keep the order of scores, which is what the area under the curve lives on."""
    low, high = sorted((one, other))
    assert (True, True) == (
        score_bin(low) <= score_bin(high),
        calibration_bin(score_bin(low)) <= calibration_bin(score_bin(high)),
    )


@pytest.mark.parametrize(
    ("logit", "score", "calibration"),
    [(-11, 0, 0), (-6.55, 34, 0), (-6.45, 35, 1), (-5.55, 44, 1), (-5.45, 45, 2), (0.05, 100, 7), (6.45, 164, 13),
     (6.55, 165, 14), (11, 199, 14)],
)  # fmt: skip
def test_bins_are_even_in_the_logit(logit: float, score: int, calibration: int) -> None:
    """A score bin spans 0.1 of the logit from -9.9 on, a calibration bin 1 from -6.5 on."""
    assert (score, calibration) == (score_bin(nanos(sigmoid(logit))), calibration_bin(score_bin(nanos(sigmoid(logit)))))


def test_a_certainty_that_fails_costs_a_bounded_loss() -> None:
    """A prediction of 0 that is clicked costs -ln 10^-6, not infinitely much."""
    assert round(-log(1e-6) * 1e9) == contribution(0, is_clicked=True).loss_nanos


def test_logarithms_of_amounts_are_fixed_point() -> None:
    """ln(1 + 0) is 0, ln(1 + 1) and its square are those of 2."""
    assert (0, 0, LN2, 480_453_014) == (log_nanos(0), log_square_nanos(0), log_nanos(1), log_square_nanos(1))


def test_an_answer_is_of_one_kind() -> None:
    """0 to 6 detract, 7 and 8 are passive, 9 and 10 promote; what is none of the eleven answers is none."""
    expected = ["detractor"] * 7 + ["passive"] * 2 + ["promoter"] * 2 + [None] * 3
    assert expected == [nps_kind(score) for score in (*range(11), 11, -1, 8.5)]


def test_four_and_five_are_satisfied() -> None:
    """1 to 3 are not, 4 and 5 are, and 0, 6 or 4.5 are no rating."""
    assert [False] * 3 + [True] * 2 + [None] * 3 == [is_satisfied(rating) for rating in (1, 2, 3, 4, 5, 0, 6, 4.5)]
