"""What another policy would have earned, from what this one logged.

Each choice counts for the other policy as often as that one would have made it. All are functions of the additive
sums in `metrics.off_policy`. The effective sample size is a gate, not a footnote: where few weights carry everything,
the number is hidden. The intervals are normal and do not contain the bias of capped weights; `capped_share` says how
many were.
"""

from math import sqrt
from typing import Final

from stream_app.metrics.fixed_point import NANOS
from stream_app.metrics.off_policy import RobustSums, WeightSums
from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.means import mean
from stream_app.statistics.proportions import wilson

LEAST_EFFECTIVE: Final = 200
"""With a smaller effective sample size there is no value to show."""


def effective_size(sums: WeightSums) -> float:
    """Return how many equally weighted choices the weighted ones are worth: (sum w)^2 / sum w^2.

    Source: L. Kish (1965), "Survey sampling".
    """
    squares = sums.weight_square_nanos
    return sums.weight_nanos * sums.weight_nanos / (squares * NANOS) if squares > 0 else 0.0


def capped_share(sums: WeightSums) -> Estimate | None:
    """Return the share of choices whose weight was cut to the cap."""
    return wilson(sums.capped, sums.choices) if 0 <= sums.capped <= sums.choices and sums.choices else None


def mean_weight(sums: WeightSums) -> Estimate | None:
    """Return the mean weight: 1 when propensities are logged right, every choice was possible, and no cap cut any.

    It is the calibration of the propensities, sum of q / p over n. A mean whose interval lies away from 1 makes every
    value below doubtful.
    """
    n = sums.choices
    return mean(n, sums.weight_nanos, sums.weight_square_nanos, NANOS, NANOS, lowest=0.0) if n >= 2 else None


def inverse_propensity_value(sums: WeightSums) -> Estimate | None:
    """Return the other policy's mean reward by inverse propensity weighting (IPW), sum w r / n.

    Unbiased where no weight is capped; else too low, about by as much as `mean_weight` is below 1. Then the
    self-normalised value is the one to show. Source: D. Horvitz, D. Thompson (1952), JASA 47. None with an effective
    sample size below 200, or without any reward: a normal interval would then be a point.
    """
    if effective_size(sums) < LEAST_EFFECTIVE or sums.rewarded_square_nanos <= 0:
        return None
    return mean(sums.choices, sums.rewarded_nanos, sums.rewarded_square_nanos, NANOS, NANOS, lowest=0.0)


def self_normalised_value(sums: WeightSums) -> Estimate | None:
    """Return the other policy's mean reward with weights that sum to 1 (SNIPW).

        v = sum w r / sum w      var = sum w^2 (r - v)^2 / (sum w)^2

    Less variance than IPW for a little bias, and never beyond the range of rewards. Source: A. Swaminathan, T.
    Joachims (2015), "The self-normalized estimator for counterfactual learning", NIPS. None as for IPW.
    """
    if effective_size(sums) < LEAST_EFFECTIVE or sums.rewarded_square_nanos <= 0:
        return None
    total = sums.weight_nanos / NANOS
    value = sums.rewarded_nanos / NANOS / total
    spread = sums.rewarded_square_nanos - 2 * value * sums.weighted_cross_nanos + value**2 * sums.weight_square_nanos
    half = Z_95 * sqrt(max(0.0, spread / NANOS)) / total
    return Estimate(value, sums.choices, max(0.0, value - half), value + half)


def doubly_robust_value(robust: RobustSums, sums: WeightSums) -> Estimate | None:
    """Return the other policy's mean reward by a model, corrected by the weighted errors of the model (DR).

    Right on average when either the propensities or the model are. Source: M. Dudik, J. Langford, L. Li (2011). None
    with an effective sample size below 200: then it would be the model's opinion alone.
    """
    if effective_size(sums) < LEAST_EFFECTIVE or robust.choices < 2:
        return None
    return mean(robust.choices, robust.value_nanos, robust.value_square_nanos, NANOS, NANOS)
