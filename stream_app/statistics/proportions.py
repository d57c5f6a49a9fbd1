"""The share of trials that succeeded, with intervals that are honest for rare events and small samples.

Both take a design effect: trials that come in clusters (the impressions of one user) say less than as many
independent ones, and the interval must be as wide as `trials / design_effect` independent trials would make it.
"""

from math import sqrt

from stream_app.statistics.estimates import Z_95, Estimate


def wilson(successes: int, trials: int, z: float = Z_95, design_effect: float = 1.0) -> Estimate:
    """Return the proportion `successes / trials` with its Wilson score interval.

    With p = x/n and n_e = n/design_effect, the interval is centre -+ half, where

        centre = (p + z^2/2n_e) / (1 + z^2/n_e)      half = z * sqrt(p(1-p)/n_e + z^2/4n_e^2) / (1 + z^2/n_e)

    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and statistical
    inference", JASA 22; the effective sample size is L. Kish (1965), "Survey Sampling", 8.2.

    Raises ValueError unless 0 <= successes <= trials, trials >= 1 and design_effect > 0.
    """
    value = _proportion(successes, trials, design_effect)
    effective = trials / design_effect
    spread = z * z / effective
    centre = (value + spread / 2) / (1 + spread)
    half = z * sqrt((value * (1 - value) + spread / 4) / effective) / (1 + spread)
    # At the ends the formula gives exactly 0 and 1; floating point misses them by an ulp.
    low = 0.0 if successes == 0 else min(value, centre - half)
    high = 1.0 if successes == trials else max(value, centre + half)
    return Estimate(value, trials, low, high)


def agresti_coull(successes: int, trials: int, z: float = Z_95, design_effect: float = 1.0) -> Estimate:
    """Return the proportion `successes / trials` with its Agresti-Coull interval, cut at 0 and 1.

    With n_e = n/design_effect and x_e = x/design_effect, add z^2/2 successes and as many failures:

        n' = n_e + z^2      p' = (x_e + z^2/2) / n'      interval = p' -+ z * sqrt(p'(1-p')/n')

    It has Wilson's centre, contains Wilson's interval, and needs one square root: what a spreadsheet or a
    PromQL expression can check. Source: A. Agresti & B. A. Coull (1998), "Approximate is better than exact for
    interval estimation of binomial proportions", The American Statistician 52.

    Raises ValueError unless 0 <= successes <= trials, trials >= 1 and design_effect > 0.
    """
    value = _proportion(successes, trials, design_effect)
    effective = trials / design_effect
    padded = effective + z * z
    centre = (value * effective + z * z / 2) / padded
    half = z * sqrt(centre * (1 - centre) / padded)
    return Estimate(value, trials, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def equal_clusters_effect(clusters: int, successes: int, squares: int, proportion: float, trials: int) -> float:
    """Return how many times as much successes vary that come by clusters as if each trial were by itself; 1 at least.

        deff = max(1, k/(k - 1) * (n - 1)/n * (sum s^2 - (sum s)^2 / k) / (sum s * (1 - p)))

    `clusters` is k, `successes` the sum of s, those of a cluster, `squares` the sum of s^2, `trials` n; where each
    trial is a cluster it is 1. Clusters are taken as if all had the same number of trials. Where they have not, and
    successes grow with them, it is too large: an interval then is wider than it need be, never narrower.
    It is `clusters.design_effect` where nobody has summed the trials of clusters. Source: L. Kish (1965), "Survey
    Sampling", 5.4 and 8.2.
    """
    if clusters < 2 or successes <= 0 or not 0 < proportion < 1:
        return 1.0
    spread = (squares - successes * successes / clusters) * clusters / (clusters - 1) * (trials - 1) / trials
    return max(1.0, spread / (successes * (1 - proportion)))


def _proportion(successes: int, trials: int, design_effect: float) -> float:
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes in {trials} trials are no proportion")
    if not design_effect > 0:
        raise ValueError(f"a proportion with a design effect of {design_effect} has no interval; it is 1 or so")
    return successes / trials
