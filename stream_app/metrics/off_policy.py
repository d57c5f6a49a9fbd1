"""What a logged choice adds to the sums that value another policy than the one that chose.

The policy that a stream can value is the *random choice*: every item that could be shown, as likely as any other. Of
another one nobody logs how likely it would have made the choice. Nor is it known among how many N the choice was; but
1/p is N on average, whatever the policy, as it makes each of N choices with its own p. So what is kept is 1/p, by bins
of 0.1 in its logarithm, and the weight w = (1/N)/p, its cap and the effective sample size follow when they are read.

The doubly robust value needs what a model predicts for the items that were *not* shown. Events do not say it, so it is
not in the catalogue; its sums are here for those who have it.

An impression with a logged propensity p, which the other policy would have shown with probability q, speaks for it
with weight w = min(q / p, cap). It contributes with reward 0; each reward adds the difference of contributions. A
reward is an integer: 1 for a click, or minor units.
"""

from collections import defaultdict
from collections.abc import Mapping
from math import log
from operator import add, sub
from typing import Final, NamedTuple

from stream_app.core.followed import Stated
from stream_app.metrics.fixed_point import MICROS, NANOS, divided, nanos

WEIGHT_CAP: Final = 20
"""Weights above are cut to it: some bias against a variance that a single impression could rule."""
_CAP_NANOS: Final = WEIGHT_CAP * NANOS

_PER_BIN: Final = 3
_CHOICES, _CLICKS, _INVERSES = range(_PER_BIN)
_ONE: Final = NANOS * MICROS
"""Of each bin of 0.1 in ln 1/p: choices, clicks on them, and the sum of 1/p in millionths."""


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


def amounts(stated: Mapping[Stated, int]) -> Mapping[int, int]:
    """Return what propensities add to the bins, each so many times."""
    grown: defaultdict[int, int] = defaultdict(int)
    for subject, times in stated.items():
        if isinstance(subject, tuple):
            grown[_first_of(max(1, nanos(subject[0]))) + _CLICKS] += times
            continue
        likely = int(subject * NANOS + 0.5) or 1
        first = int(-10 * log(likely / NANOS)) * _PER_BIN
        grown[first] += times
        grown[first + _INVERSES] += (2 * _ONE + likely) // (2 * likely) * times
    return grown


def _first_of(likely: int) -> int:
    return int(-10 * log(likely / NANOS)) * _PER_BIN


def choices_of(bins: Mapping[int, int]) -> float:
    """Return the mean of 1/p: among how many a choice was, on average; 0 without any."""
    choices = sum(amount for bin_, amount in bins.items() if bin_ % _PER_BIN == _CHOICES)
    inverses = sum(amount for bin_, amount in bins.items() if bin_ % _PER_BIN == _INVERSES)
    return inverses / MICROS / choices if choices > 0 else 0.0


def weights_of(bins: Mapping[int, int]) -> WeightSums:
    """Return the sums of weights for the random choice; within a bin of 10 % all weigh as their mean.

    Where all propensities of a bin are the same, as with few items, nothing is lost.
    """
    among = choices_of(bins)
    sums = WeightSums()
    for first in sorted({bin_ - bin_ % _PER_BIN for bin_ in bins}):
        choices, clicks, inverses = (bins.get(first + of, 0) for of in range(_PER_BIN))
        if choices <= 0:
            continue
        weight = weight_nanos(1 / among, MICROS * choices / inverses)
        shown, clicked = contribution(weight, 0), growth(weight, 0, 1)
        sums = WeightSums(*map(add, sums, (s * choices + c * clicks for s, c in zip(shown, clicked, strict=True))))
    return sums
