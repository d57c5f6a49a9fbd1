"""What a logged choice adds to the sums that value another policy than the one that chose.

An impression with a logged propensity p, which the other policy would have shown with probability q, speaks for it
with weight w = min(q / p, cap). It contributes with reward 0; each reward adds the difference of contributions.
"""

from operator import sub
from typing import Final, NamedTuple

NANOS: Final = 10**9
WEIGHT_CAP: Final = 20.0
"""Weights above are cut to it: some bias against a variance that a single impression could rule."""


class WeightSums(NamedTuple):
    """The additive integers of inverse propensity weighting; w is the weight, r the reward."""

    choices: int = 0
    capped: int = 0
    weight_nanos: int = 0
    weight_square_nanos: int = 0
    rewarded_nanos: int = 0
    """Sum of w r."""
    rewarded_square_nanos: int = 0
    """Sum of w^2 r^2."""
    weighted_cross_nanos: int = 0
    """Sum of w^2 r."""


class RobustSums(NamedTuple):
    """The additive integers of the doubly robust value: sums of z = m + w (r - q), see `robust_contribution`."""

    choices: int = 0
    value_nanos: int = 0
    value_square_nanos: int = 0


def weight(target: float, propensity: float) -> float:
    """Return min(target / propensity, cap): how much the choice counts for the policy that takes it with `target`."""
    return min(target / propensity, WEIGHT_CAP)


def contribution(target: float, propensity: float, reward: float) -> WeightSums:
    """Return what one choice contributes once it has earned `reward`, 0 to begin with."""
    w = weight(target, propensity)
    return WeightSums(
        choices=1,
        capped=int(target / propensity > WEIGHT_CAP),
        weight_nanos=round(w * NANOS),
        weight_square_nanos=round(w * w * NANOS),
        rewarded_nanos=round(w * reward * NANOS),
        rewarded_square_nanos=round(w * w * reward * reward * NANOS),
        weighted_cross_nanos=round(w * w * reward * NANOS),
    )


def growth(target: float, propensity: float, before: float, after: float) -> WeightSums:
    """Return what to add when the reward of a choice changes."""
    return WeightSums(*map(sub, contribution(target, propensity, after), contribution(target, propensity, before)))


def robust_contribution(target: float, propensity: float, reward: float, predicted: float, mean: float) -> RobustSums:
    """Return what one choice contributes to the doubly robust value.

    `predicted` is the model's reward q of what was chosen, `mean` its mean reward m over what the other policy
    would have chosen: z = m + w (r - q). Source: M. Dudik, J. Langford, L. Li (2011), "Doubly robust policy
    evaluation and learning", ICML.
    """
    z = mean + weight(target, propensity) * (reward - predicted)
    return RobustSums(choices=1, value_nanos=round(z * NANOS), value_square_nanos=round(z * z * NANOS))


def robust_growth(
    target: float, propensity: float, before: float, after: float, predicted: float, mean: float
) -> RobustSums:
    """Return what to add when the reward of a choice changes."""
    return RobustSums(
        *map(
            sub,
            robust_contribution(target, propensity, after, predicted, mean),
            robust_contribution(target, propensity, before, predicted, mean),
        )
    )
