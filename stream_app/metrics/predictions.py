"""What a prediction adds to the sums of calibration: a click's predicted probability, and whether the click came.

An impression that states `predicted` contributes as not clicked; its click adds the difference to the contribution
of a clicked one. So the sums always speak of all impressions so far, and a late click corrects the impression's pane.

Predictions are integers here, in units of 10^-9 (`fixed_point.nanos`): what is remembered of the impression until its
click comes. Scores are counted in 200 bins of 0.1 in the logit, from below -9.9 to above +9.9: enough for the area
under the ROC curve with a small, known error. The 15 coarser bins of the calibration error are unions of them.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from math import exp, log
from operator import sub
from typing import Final, NamedTuple

from stream_app.core.followed import Stated
from stream_app.metrics.fixed_point import MICROS, NANOS, nanos

SCORE_BINS: Final = 200
CALIBRATION_BINS: Final = 15

_SEEN, _CLICKED, _PREDICTED = 100, 300, 500
"""In the bins: the sums from 0; impressions and clicks by score bin; predictions in nanos by calibration bin."""
_TWICE: Final = 2 * NANOS
_HALF_MICRO: Final = MICROS // 2
_CLIP: Final = 1_000
"""Log loss is that of at least a millionth: a certainty that fails costs much, not infinitely much."""
_EDGES: Final = tuple(nanos(1 / (1 + exp(-(edge - 99) / 10))) for edge in range(SCORE_BINS - 1))
_FIRST_EDGE: Final = 34
"""Score bins below it lie below a logit of -6.5, the first edge between calibration bins; each of these spans 1."""


class PredictionSums(NamedTuple):
    """The additive integers of calibration; `click_loss_nanos` is the part of the loss that clicked ones have.

    Squared Brier scores are in units of 10^-12: those of small probabilities are small.
    """

    predictions: int = 0
    clicks: int = 0
    predicted_nanos: int = 0
    brier_nanos: int = 0
    brier_square_picos: int = 0
    loss_nanos: int = 0
    loss_square_nanos: int = 0
    click_loss_nanos: int = 0


def contribution(predicted: int, *, is_clicked: bool) -> PredictionSums:
    """Return what one impression contributes that was predicted to be clicked with probability `predicted` nanos.

        Brier (p - y)^2        log loss -ln p if clicked, else -ln(1 - p), with p clipped to [1e-6, 1 - 1e-6]

    Source: G. Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78;
    I. Good (1952), "Rational decisions", JRSS B 14.
    """
    missed = NANOS - predicted if is_clicked else predicted
    loss = -log(min(max(NANOS - missed, _CLIP), NANOS - _CLIP) / NANOS)
    # This runs for every impression that states a prediction, so `nanos` and `divided` are written out.
    brier = (2 * missed * missed + NANOS) // _TWICE
    loss_nanos = int(loss * NANOS + 0.5)
    return PredictionSums(
        1,
        int(is_clicked),
        predicted,
        brier,
        (brier * brier + MICROS // 2) // MICROS,
        loss_nanos,
        int(loss * loss * NANOS + 0.5),
        loss_nanos if is_clicked else 0,
    )


@lru_cache(maxsize=4_096)  # models say few different things of what is clicked
def click_growth(predicted: int) -> PredictionSums:
    """Return what to add when the first click on an impression with that prediction arrives."""
    return PredictionSums(
        *map(sub, contribution(predicted, is_clicked=True), contribution(predicted, is_clicked=False))
    )


def score_bin(predicted: int) -> int:
    """Return the number of the score bin, from 0 to 199, that holds a prediction in nanos."""
    return bisect_right(_EDGES, predicted)


def score_bin_from(logit: float) -> int:
    """Return the number of the score bin that begins at `logit`, a multiple of 0.1 within 9.9 of 0."""
    return round(10 * logit) + SCORE_BINS // 2


def calibration_bin(bin_: int) -> int:
    """Return the number of the calibration bin, from 0 to 14, that a score bin is part of."""
    return min(max((bin_ - _FIRST_EDGE + 9) // 10, 0), CALIBRATION_BINS - 1)


_CALIBRATION_BINS: Final = tuple(map(calibration_bin, range(SCORE_BINS)))


def amounts(stated: Mapping[Stated, int]) -> Mapping[int, int]:
    """Return what predictions add to the bins, each so many times."""
    n = predicted = briers = squares = losses = loss_squares = 0
    grown: defaultdict[int, int] = defaultdict(int)
    for subject, times in stated.items():
        if isinstance(subject, tuple):
            probable = nanos(subject[0])
            grown[_CLICKED + score_bin(probable)] += times
            for place, amount in enumerate(click_growth(probable)):
                grown[place] += amount * times
            continue
        # `contribution`, written out: most events come here.
        probable = int(subject * NANOS + 0.5)
        loss = -log((NANOS - probable) / NANOS) if _CLIP <= probable <= NANOS - _CLIP else _clipped_loss(probable)
        brier = (2 * probable * probable + NANOS) // _TWICE
        bin_ = bisect_right(_EDGES, probable)
        grown[_SEEN + bin_] += times
        grown[_PREDICTED + _CALIBRATION_BINS[bin_]] += probable * times
        n += times
        predicted += probable * times
        briers += brier * times
        squares += (brier * brier + _HALF_MICRO) // MICROS * times
        losses += int(loss * NANOS + 0.5) * times
        loss_squares += int(loss * loss * NANOS + 0.5) * times
    for place, amount in enumerate((n, 0, predicted, briers, squares, losses, loss_squares)):
        grown[place] += amount
    return grown


def _clipped_loss(probable: int) -> float:
    return -log((NANOS - min(max(probable, _CLIP), NANOS - _CLIP)) / NANOS)


def sums_of(bins: Mapping[int, int]) -> PredictionSums:
    """Read the sums off the bins."""
    return PredictionSums(*(bins.get(place, 0) for place in range(len(PredictionSums._fields))))


def seen_and_clicked(bins: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """Read impressions and clicks by score bin off the bins."""
    seen, clicked = ([bins.get(first + bin_, 0) for bin_ in range(SCORE_BINS)] for first in (_SEEN, _CLICKED))
    return seen, clicked


def predicted_nanos(bins: Mapping[int, int]) -> list[int]:
    """Read the sums of predictions by calibration bin off the bins."""
    return [bins.get(_PREDICTED + bin_, 0) for bin_ in range(CALIBRATION_BINS)]
