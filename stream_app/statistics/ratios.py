"""How many times as likely, or as much: the ratio of two proportions, and the share of the larger one that it means."""

from math import exp, sqrt

from stream_app.statistics.estimates import Z_95, Estimate


def risk_ratio(
    successes: int, trials: int, base_successes: int, base_trials: int, effects: tuple[float, float] = (1.0, 1.0)
) -> Estimate | None:
    """Return (successes/trials) / (base_successes/base_trials) with its log interval; None for a count of 0.

        r = (x1/n1) / (x0/n0)      interval = r * exp(-+ z * sqrt(d1 (1/x1 - 1/n1) + d0 (1/x0 - 1/n0)))

    `effects` are the design effects d1 and d0, of trials that come by clusters (`proportions.design_effect`).
    `n` of the estimate is the number of trials of both. Source: D. Katz et al. (1978), "Obtaining confidence
    intervals for the risk ratio in cohort studies", Biometrics 34. It is a fixed-sample interval: who looks
    at it all the time will see it exclude 1 by chance more often than once in twenty.

    Raises ValueError when there are more successes than trials, or negative counts.
    """
    for x, n in ((successes, trials), (base_successes, base_trials)):
        if not 0 <= x <= n:
            raise ValueError(f"{x} successes in {n} trials are no proportion")
    if successes == 0 or base_successes == 0:
        return None
    value = (successes * base_trials) / (trials * base_successes)
    variance = effects[0] * (trials - successes) / (trials * successes)
    variance += effects[1] * (base_trials - base_successes) / (base_trials * base_successes)
    factor = exp(Z_95 * sqrt(variance))
    return Estimate(value, trials + base_trials, value / factor, value * factor)


def incremental_share(ratio: Estimate) -> Estimate | None:
    """Return which share of an arm's amount is there because of what it gets: (T - C) / T = 1 - 1 / (T/C).

    `ratio` is T/C with its interval, as of revenue per user between arms; since the function grows with it, the bounds
    are those of the ratio carried over. Negative where the arm has less than the other. None where the ratio's interval
    reaches 0: then there is no lower bound. Causal for randomised arms alone; unlike the share of revenue *credited* to
    what was recommended, which is large also where recommendations change nothing.
    """
    if ratio.low <= 0:
        return None
    value, low, high = ((bound - 1) / bound for bound in (ratio.value, ratio.low, ratio.high))
    return Estimate(value, ratio.n, low, high)
