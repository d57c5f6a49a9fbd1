"""How long until it happens, when for many it has not happened yet: retention, churn, the second order.

The state is additive: for each duration, how many ended there and how many were last seen there still going. Leaving
the latter out (or counting them as ended) is the usual error; 1/churn is a lifetime only if the hazard is constant.
"""

from collections.abc import Mapping
from math import exp, log, sqrt
from typing import NamedTuple

from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.proportions import wilson

Durations = Mapping[int, tuple[int, int]]
"""Duration -> (how many ended then, how many were censored then). Censored at t counts as at risk at t."""


class Step(NamedTuple):
    """The share that goes on beyond `at`, with its interval; `at_risk` were still there just before."""

    at: int
    at_risk: int
    ended: int
    survival: float
    standard_error: float
    low: float
    high: float


def merge(one: Durations, other: Durations) -> dict[int, tuple[int, int]]:
    """Return the durations of both: of two panes, partitions or cohorts."""
    times = {*one, *other}
    pairs = {t: (one.get(t, (0, 0)), other.get(t, (0, 0))) for t in times}
    return {t: (a[0] + b[0], a[1] + b[1]) for t, (a, b) in pairs.items()}


def kaplan_meier(durations: Durations, z: float = Z_95) -> list[Step]:
    """Return the survival after each duration at which something ended.

        S(t) = prod (1 - d_i/n_i)      se = S(t) sqrt(sum d_i/(n_i (n_i - d_i)))
        interval = S(t)^exp(+- z se/(S |ln S|))

    The interval is that of ln(-ln S), which stays within 0 and 1; where S is 0 it is [0, 0], without a standard
    error. Sources: E. L. Kaplan & P. Meier (1958), JASA 53; M. Greenwood (1926) for the variance; J. D. Kalbfleisch
    & R. L. Prentice (1980), "The Statistical Analysis of Failure Time Data", 1.3, for the interval.

    Raises ValueError for negative counts.
    """
    steps: list[Step] = []
    survival, greenwood = 1.0, 0.0
    for at, at_risk, ended in _risk_sets(durations):
        survival *= (at_risk - ended) / at_risk
        if ended == at_risk:
            steps.append(Step(at, at_risk, ended, 0.0, 0.0, 0.0, 0.0))
            break
        greenwood += ended / (at_risk * (at_risk - ended))
        stretch = exp(z * sqrt(greenwood) / -log(survival))
        error = survival * sqrt(greenwood)
        steps.append(Step(at, at_risk, ended, survival, error, survival**stretch, survival ** (1 / stretch)))
    return steps


def restricted_mean(durations: Durations, horizon: int, z: float = Z_95) -> Estimate | None:
    """Return the mean duration up to `horizon`: the area under the survival curve, with its normal interval.

        m = integral of S from 0 to h      Var = sum (integral of S from t_i to h)^2 d_i/(n_i (n_i - d_i))

    None when nobody was followed to the horizon and not all have ended: a longer curve is a guess. Source: P. Royston
    & M. Parmar (2013), "Restricted mean survival time", BMC Medical Research Methodology 13.
    """
    total = sum(ended + censored for ended, censored in durations.values())
    steps = [step for step in kaplan_meier(durations) if step.at < horizon]
    if not total or (max(durations) < horizon and not (steps and steps[-1].survival == 0)):
        return None
    area_after, variance, end = 0.0, 0.0, horizon
    for step in reversed(steps):
        area_after += step.survival * (end - step.at)
        end = step.at
        if step.ended < step.at_risk:
            variance += area_after**2 * step.ended / (step.at_risk * (step.at_risk - step.ended))
    value = area_after + end
    half = z * sqrt(variance)
    return Estimate(value, total, max(0.0, value - half), min(float(horizon), value + half))


def median_between(counts: Mapping[int, tuple[int, int]]) -> Estimate | None:
    """Return the median duration, where at some points it is known how many lasted so long, and nothing in between.

    `counts` has by point, above 0 and ascending, how many are known to have lasted it, and of how many that is known.
    With S(t) the share that lasts t, straight between points and never rising,

        value  S(value) = 1/2      low   the last point whose Wilson interval lies above 1/2 (0 if there is none)
                                   high  the first point whose Wilson interval lies below 1/2

    so the interval has room both for chance and for what happens between two points. None where no point lies surely
    beyond the median. Its `n` is the number known at the first point. Source: R. Brookmeyer & J. Crowley (1982), "A
    confidence interval for the median survival time", Biometrics 38, with Wilson's interval for S(t); interval
    censoring as in B. Turnbull (1976), JRSS B 38, where all examinations are at the same points.

    Raises ValueError for counts that are no proportion.
    """
    shares = [(at, wilson(*count)) for at, count in counts.items() if count[1]]
    low = max((at for at, share in shares if share.low > 0.5), default=0)
    high = min((at for at, share in shares if share.high < 0.5), default=None)
    if high is None or high <= low:
        return None
    before, lasting = 0, 1.0
    for at, share in shares:
        if share.value <= 0.5:
            middle = before + (at - before) * (lasting - 0.5) / (lasting - share.value)
            return Estimate(float(min(max(middle, low), high)), shares[0][1].n, float(low), float(high))
        before, lasting = at, min(lasting, share.value)
    return None


def _risk_sets(durations: Durations) -> list[tuple[int, int, int]]:
    """Return (duration, at risk, ended) for each duration at which something ended, ascending."""
    if any(min(counts) < 0 for counts in durations.values()):
        raise ValueError("negative counts cannot have ended or been censored")
    at_risk = sum(sum(counts) for counts in durations.values())
    found = []
    for at in sorted(durations):
        ended, censored = durations[at]
        if ended:
            found.append((at, at_risk, ended))
        at_risk -= ended + censored
    return found
