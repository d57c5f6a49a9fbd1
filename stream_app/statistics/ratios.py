"""How many times as likely: the ratio of two proportions."""

from math import exp, sqrt

from stream_app.statistics.estimates import Z_95, Estimate


def risk_ratio(successes: int, trials: int, base_successes: int, base_trials: int) -> Estimate | None:
    """Return (successes/trials) / (base_successes/base_trials) with its log interval; None for a count of 0.

        r = (x1/n1) / (x0/n0)      interval = r * exp(-+ z * sqrt(1/x1 - 1/n1 + 1/x0 - 1/n0))

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
    variance = (trials - successes) / (trials * successes) + (base_trials - base_successes) / (
        base_trials * base_successes
    )
    factor = exp(Z_95 * sqrt(variance))
    return Estimate(value, trials + base_trials, value / factor, value * factor)
