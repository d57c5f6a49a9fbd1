"""What a logged choice adds to the sums that value another policy than the one that chose.

An impression with a logged propensity p, which the other policy would have shown with probability q, speaks for it
with weight w = min(q / p, cap). It contributes with reward 0; each reward adds the difference of contributions. A
reward is an integer: 1 for a click, or minor units.
"""

from operator import sub
from typing import Final, NamedTuple

from stream_app.metrics.fixed_point import NANOS, divided, nanos

WEIGHT_CAP: Final = 20
"""Weights above are cut to it: some bias against a variance that a single impression could rule."""
_CAP_NANOS: Final = WEIGHT_CAP * NANOS


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


def weight_nanos(target: float, propensity: float) -> int:
    """Return min(target / propensity, cap) in units of 10^-9: what to remember of a choice.

    `target` is the probability with which the other policy would have made it, `propensity` that with which it was
    made, above 0.
    """
    return _CAP_NANOS if target > WEIGHT_CAP * propensity else nanos(target / propensity)


def contribution(weight: int, reward: int) -> WeightSums:
    """Return what one choice of `weight` nanos contributes once it has earned `reward`, 0 to begin with."""
    square = divided(weight * weight, NANOS)
    return WeightSums(
        1, int(weight >= _CAP_NANOS), weight, square, weight * reward, square * reward * reward, square * reward
    )


def growth(weight: int, before: int, after: int) -> WeightSums:
    """Return what to add when the reward of a choice changes."""
    return WeightSums(*map(sub, contribution(weight, after), contribution(weight, before)))


def robust_contribution(weight: int, reward: int, predicted: int, mean: int) -> RobustSums:
    """Return what one choice contributes to the doubly robust value; all but the reward in nanos.

    `predicted` is the model's reward q of what was chosen, `mean` its mean reward m over what the other policy
    would have chosen: z = m + w (r - q). Source: M. Dudik, J. Langford, L. Li (2011), "Doubly robust policy
    evaluation and learning", ICML.
    """
    z = mean + divided(weight * (reward * NANOS - predicted), NANOS)
    return RobustSums(1, z, divided(z * z, NANOS))


def robust_growth(weight: int, before: int, after: int, predicted: int, mean: int) -> RobustSums:
    """Return what to add when the reward of a choice changes."""
    return RobustSums(
        *map(
            sub,
            robust_contribution(weight, after, predicted, mean),
            robust_contribution(weight, before, predicted, mean),
        )
    )
