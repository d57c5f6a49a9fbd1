"""Whether a prediction ranks the clicked above the not clicked: the area under the ROC curve, from two histograms.

The exact area needs all scores sorted; two histograms of them add over panes, and what their bins hide is bounded.
"""

from collections.abc import Sequence
from itertools import accumulate
from math import sqrt

from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.proportions import wilson


def binning_error(clicked: Sequence[int], unclicked: Sequence[int]) -> float:
    """Return by how much the binned area may differ from that of the scores themselves.

        sum_b P_b N_b / (2 P N)

    Pairs within a bin are taken for ties, worth a half; the scores may make each of them 0 or 1.
    """
    pairs = sum(clicked) * sum(unclicked)
    return sum(p * n for p, n in zip(clicked, unclicked, strict=True)) / (2 * pairs) if pairs else 0.5


def area_under_curve(clicked: Sequence[int], unclicked: Sequence[int]) -> Estimate | None:
    """Return the probability that a clicked one scored above an unclicked one, ties worth a half (AUC).

        AUC = sum_b P_b (N_<b + N_b / 2) / (P N)

    `clicked` and `unclicked` count by score bin, lowest first. The interval is normal, with the variance of E. DeLong
    et al. (1988), "Comparing the areas under two or more correlated ROC curves", Biometrics 44, widened on both
    sides by `binning_error`. None for fewer than two of either, or for negative counts.
    """
    hits, misses = sum(clicked), sum(unclicked)
    if hits < 2 or misses < 2 or min(*clicked, *unclicked) < 0:
        return None
    below = (0, *accumulate(unclicked))
    reached = (0, *accumulate(clicked))
    # The share of the other kind that each bin beats: unclicked below a click, clicks above an unclicked.
    beaten = [(low + n / 2) / misses for low, n in zip(below, unclicked, strict=False)]
    beating = [(hits - low - p / 2) / hits for low, p in zip(reached, clicked, strict=False)]
    value = sum(p * share for p, share in zip(clicked, beaten, strict=True)) / hits
    spread = sum(p * (share - value) ** 2 for p, share in zip(clicked, beaten, strict=True)) / (hits - 1)
    others = sum(n * (share - value) ** 2 for n, share in zip(unclicked, beating, strict=True)) / (misses - 1)
    half = Z_95 * sqrt(spread / hits + others / misses) + binning_error(clicked, unclicked)
    low, high = max(0.0, value - half), min(1.0, value + half)
    if value in (0.0, 1.0):  # perfectly apart: as sure as the rarer kind is many
        bound = wilson(round(value) * min(hits, misses), min(hits, misses))
        low, high = min(low, bound.low), max(high, bound.high)
    return Estimate(value, hits + misses, low, high)
