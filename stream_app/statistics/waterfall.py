"""Contextual relevance, part 2: how much of what personalization gains is due to context, in steps that add up.

    ln(personalized / holdout) = ln(personalized / context_blind) + ln(context_blind / holdout)
         total                           context                       personalization without it

Ratios multiply and percentages do neither: +10 % and +20 % are +32 %. In logs the steps add, so they can be stacked.
They are served rounded to 2^-40 (about 10^-12), where sums of floats are exact: the two steps are the total to the last
bit.

The intervals are for one look at a fixed time. The steps have the middle arm in common, so the variance of the total is
less than the sum of theirs.
"""

from collections.abc import Mapping, Sequence
from math import exp, log, sqrt
from typing import Final, NamedTuple

import msgspec

from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Metric
from stream_app.statistics.counted import Counted
from stream_app.statistics.estimates import Z_95
from stream_app.statistics.lowering import clustering

ARMS: Final = ("personalized", "context_blind", "holdout")
_GRID: Final = 2.0**40


class Share(NamedTuple):
    """How many of an arm's sessions (signals, impressions) succeeded; and their design effect, if they are alike."""

    successes: int
    trials: int
    effect: float = 1.0


class Step(msgspec.Struct, frozen=True):
    """How many times as high a share is in `arm` as in `against`: `ratio` = exp(`log_ratio`), with its interval.

    `n` counts the trials of both arms, `successes` those of the arm that has fewer.
    """

    arm: str
    against: str
    log_ratio: float
    standard_error: float
    ratio: float
    low: float
    high: float
    n: int
    successes: int


class Waterfall(msgspec.Struct, frozen=True):
    """`context.log_ratio + personalization.log_ratio == total.log_ratio`, exactly."""

    context: Step
    personalization: Step
    total: Step


def waterfall(personalized: Share, context_blind: Share, holdout: Share) -> Waterfall | None:
    """Return the steps from the holdout by the arm without context to the personalized one.

        d = ln(x1/n1) - ln(x0/n0)      se^2 = e1 (1/x1 - 1/n1) + e0 (1/x0 - 1/n0)      interval = exp(d -+ z se)

    The delta method on the log of a proportion; each step is the risk ratio of D. Katz et al. (1978), Biometrics 34.
    Its unit is the trial, or what the design effects e say: where sessions of one user are alike it is too narrow.
    None where an arm has no success.

    Raises ValueError when there are more successes than trials, or negative counts.
    """
    shares = (personalized, context_blind, holdout)
    for successes, trials, _ in shares:
        if not 0 <= successes <= trials:
            raise ValueError(f"{successes} successes in {trials} trials are no proportion")
    if min(share.successes for share in shares) == 0:
        return None
    logs = [round((log(successes) - log(trials)) * _GRID) / _GRID for successes, trials, _ in shares]
    variances = [effect * (trials - successes) / (trials * successes) for successes, trials, effect in shares]

    def step(one: int, other: int) -> Step:
        d, error = logs[one] - logs[other], sqrt(variances[one] + variances[other])
        low, high = exp(d - Z_95 * error), exp(d + Z_95 * error)
        n = shares[one].trials + shares[other].trials
        least = min(shares[one].successes, shares[other].successes)
        return Step(ARMS[one], ARMS[other], d, error, exp(d), low, high, n, least)

    return Waterfall(step(0, 1), step(1, 2), step(0, 2))


def waterfall_of(metric: Metric, arms: Mapping[str, Sequence[int]], index: Mapping[str, int]) -> Waterfall | None:
    """Return the waterfall of a share, by the tallies of the arms; the measures stand where `index` says.

    Overall of `conversion` or `ctr`; triggered, of `signal_conversion` or `signal_ctr`: there only moments count in
    which context changed and something was decided, which is the same in every arm.

    None where an arm has no success, is missing, or has fewer trials than the metric needs, and where its measures
    contradict each other. Raises TypeError for a metric that is no proportion: a mean has no interval of a ratio here.
    """
    method = metric.method
    if not isinstance(method, Proportion):
        raise TypeError(f"{metric.name} is no share of trials; a waterfall is made of those")
    shares = []
    for arm in ARMS:
        if arm not in arms:
            return None
        counted = Counted(arms[arm], index)
        share = Share(counted.amount(method.successes), counted.amount(method.trials))
        if share.trials < max(1, metric.at_least) or not 0 <= share.successes <= share.trials:
            return None
        shares.append(share._replace(effect=clustering(method, counted)))
    return waterfall(*shares)
