"""Whether predicted click probabilities are true: together, bin by bin, and in the sense of proper scores.

All are functions of the additive sums in `metrics.predictions`. Share of right guesses ("accuracy") is not among
them on purpose: with 3 clicks in 100, guessing "never" is right 97 times and knows nothing.
"""

from collections.abc import Sequence
from math import exp, lgamma, log, log1p, pi, sqrt

import msgspec

from stream_app.metrics.fixed_point import NANOS, PICOS
from stream_app.metrics.predictions import CALIBRATION_BINS, SCORE_BINS, PredictionSums, calibration_bin
from stream_app.statistics.estimates import Estimate, student
from stream_app.statistics.means import mean
from stream_app.statistics.poisson import poisson_rate


class CalibrationError(msgspec.Struct, frozen=True):
    """The expected calibration error of `n` predictions, and what a perfect model would show in the same bins.

    `floor` is the mean of that noise, `floor_95` its 95 % quantile: an error below says nothing against the model.
    """

    value: float
    n: int
    floor: float
    floor_95: float


def observed_over_expected(sums: PredictionSums) -> Estimate | None:
    """Return the clicks over the sum of the predictions (O/E); 1 is right, below 1 promises too much.

    The interval is the exact Poisson interval of O over E; E is known. None when nothing was predicted.
    """
    if sums.predicted_nanos <= 0 or sums.clicks < 0:
        return None
    return poisson_rate(sums.clicks, sums.predicted_nanos / NANOS, sums.predictions)


def brier(sums: PredictionSums) -> Estimate | None:
    """Return the mean of (p - y)^2, 0 to 1, lower is better; None unless some are clicked and some are not.

    The interval is Student's, and what it knows of the spread comes from the clicks: with few it is too narrow.
    """
    n = sums.predictions
    if not 0 < sums.clicks < n:
        return None
    return mean(n, sums.brier_nanos, sums.brier_square_picos, NANOS, PICOS, lowest=0.0, highest=1.0)


def log_loss(sums: PredictionSums) -> Estimate | None:
    """Return the mean of -ln p where clicked and -ln(1 - p) where not, in nats; interval and None as for Brier."""
    n = sums.predictions
    if not 0 < sums.clicks < n:
        return None
    return mean(n, sums.loss_nanos, sums.loss_square_nanos, NANOS, NANOS, lowest=0.0)


def normalised_entropy(sums: PredictionSums) -> Estimate | None:
    """Return the log loss over that of always predicting the click-through rate; below 1 the model knows something.

        NE = L / H(y)      H(y) = -y ln y - (1 - y) ln(1 - y),  y the click-through rate

    The interval is Student's, by the delta method: the variance of the mean of l - NE H'(y) y over H(y)^2. Source: X.
    He et al. (2014), "Practical lessons from predicting clicks on ads at Facebook", ADKDD. None unless some are clicked
    and some are not.
    """
    n, clicks = sums.predictions, sums.clicks
    if not 0 < clicks < n:
        return None
    rate = clicks / n
    entropy = -rate * log(rate) - (1 - rate) * log1p(-rate)
    value = sums.loss_nanos / NANOS / n / entropy
    pull = value * log((1 - rate) / rate)
    centre = (sums.loss_nanos / NANOS - pull * clicks) / n
    squares = sums.loss_square_nanos / NANOS - 2 * pull * sums.click_loss_nanos / NANOS + pull * pull * clicks
    half = student(n - 1) * sqrt(max(0.0, squares / n - centre * centre) / (n - 1)) / entropy
    return Estimate(value, n, max(0.0, value - half), value + half)


def by_calibration_bin(by_score: Sequence[int]) -> list[int]:
    """Return counts by score bin, 200 of them, as counts by calibration bin, 15."""
    counts = [0] * CALIBRATION_BINS
    for score, count in zip(range(SCORE_BINS), by_score, strict=True):
        counts[calibration_bin(score)] += count
    return counts


def calibration_error(
    sizes: Sequence[int], clicks: Sequence[int], predicted_nanos: Sequence[int]
) -> CalibrationError | None:
    """Return the expected calibration error (ECE) with its noise floor; None without predictions.

        ECE = sum_b |sum p - sum y| / n

    over bins of the logit, given by bin: predictions, clicks, sums of predictions. A perfect model does not show 0,
    because clicks are random: in a bin of m with mean p they miss m p by E|Y - m p| = 2 k C(m, k) p^k (1-p)^(m-k+1),
    k = floor(m p) + 1 (A. de Moivre; P. Diaconis, S. Zabell (1991), "Closed form summation for classical
    distributions", Statistical Science 6). The 95 % quantile adds 1.645 standard deviations of the sum over bins, each
    m p (1 - p) - E|Y - m p|^2. Source of the measure: M. Naeini, G. Cooper, M. Hauskrecht (2015), AAAI.
    """
    n = sum(sizes)
    if not n:
        return None
    missed = expected_miss = variance = 0.0
    for size, hits, nanos in zip(sizes, clicks, predicted_nanos, strict=True):
        if size:
            missed += abs(nanos / NANOS - hits)
            miss = _mean_deviation(size, min(max(nanos / NANOS / size, 0.0), 1.0))
            expected_miss += miss
            rate = nanos / NANOS / size
            variance += max(0.0, size * rate * (1 - rate) - miss * miss)
    return CalibrationError(missed / n, n, expected_miss / n, (expected_miss + 1.6448536 * sqrt(variance)) / n)


def _mean_deviation(trials: int, rate: float) -> float:
    """Return E|Y - trials * rate| of a binomial variable."""
    if rate in (0.0, 1.0):
        return 0.0
    k = min(int(trials * rate) + 1, trials)
    if trials * rate * (1 - rate) > 1e6:
        return sqrt(2 * trials * rate * (1 - rate) / pi)  # lgamma loses digits; the normal limit has them all
    choose = lgamma(trials + 1) - lgamma(k + 1) - lgamma(trials - k + 1)
    return 2 * k * exp(choose + k * log(rate) + (trials - k + 1) * log1p(-rate))
