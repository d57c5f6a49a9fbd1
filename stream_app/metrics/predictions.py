"""What a prediction adds to the sums of calibration: a click's predicted probability, and whether the click came.

An impression that states `predicted` contributes as not clicked; its click adds the difference to the contribution
of a clicked one. So the sums always speak of all impressions so far, and a late click corrects the impression's pane.

Scores are counted in 200 bins of 0.1 in the logit, from below -9.9 to above +9.9: enough for the area under the ROC
curve with a small, known error, and the 15 coarser bins of the calibration error are unions of them.
"""

from bisect import bisect_right
from math import exp, log
from operator import sub
from typing import Final, NamedTuple

NANOS: Final = 10**9
PICOS: Final = 10**12
"""Squares are kept in millionths of millionths: those of small probabilities are small."""
SCORE_BINS: Final = 200
CALIBRATION_BINS: Final = 15

_CLIP: Final = 1e-6
_EDGES: Final = tuple(1 / (1 + exp(-(edge - 99) / 10)) for edge in range(SCORE_BINS - 1))
_FIRST_EDGE: Final = 34
"""Score bins below it lie below a logit of -6.5, the first edge between calibration bins; each of these spans 1."""


class PredictionSums(NamedTuple):
    """The additive integers of calibration. y is 1 for a click, p the prediction, l its log loss."""

    predictions: int = 0
    clicks: int = 0
    predicted_nanos: int = 0
    brier_nanos: int = 0
    brier_square_picos: int = 0
    loss_nanos: int = 0
    loss_square_nanos: int = 0
    click_loss_nanos: int = 0


def contribution(predicted: float, *, is_clicked: bool) -> PredictionSums:
    """Return what one impression contributes that was predicted to be clicked with probability `predicted`.

        Brier (p - y)^2        log loss -ln p if clicked, else -ln(1 - p), with p clipped to [1e-6, 1 - 1e-6]

    Source: G. Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78;
    I. Good (1952), "Rational decisions", JRSS B 14.
    """
    y = int(is_clicked)
    brier = (predicted - y) ** 2
    clipped = min(max(predicted, _CLIP), 1 - _CLIP)
    loss = -log(clipped if is_clicked else 1 - clipped)
    # By position, and rounded by hand: this runs for every impression that states a prediction.
    loss_nanos = int(loss * NANOS + 0.5)
    return PredictionSums(
        1,
        y,
        int(predicted * NANOS + 0.5),
        int(brier * NANOS + 0.5),
        int(brier * brier * PICOS + 0.5),
        loss_nanos,
        int(loss * loss * NANOS + 0.5),
        loss_nanos * y,
    )


def click_growth(predicted: float) -> PredictionSums:
    """Return what to add when the first click on an impression with that prediction arrives."""
    return PredictionSums(
        *map(sub, contribution(predicted, is_clicked=True), contribution(predicted, is_clicked=False))
    )


def score_bin(predicted: float) -> int:
    """Return the number of the score bin, from 0 to 199, that holds a prediction."""
    return bisect_right(_EDGES, predicted)


def calibration_bin(bin_: int) -> int:
    """Return the number of the calibration bin, from 0 to 14, that a score bin is part of."""
    return min(max((bin_ - _FIRST_EDGE + 9) // 10, 0), CALIBRATION_BINS - 1)
