"""Which of many findings to believe: control of the share of false ones among those reported."""

from collections.abc import Sequence
from math import inf, log


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values: reporting those <= q keeps the expected share of false findings <= q.

        adjusted_(i) = min over j >= i of  p_(j) * K/j

    For independent or positively dependent fixed-sample p-values. Source: Y. Benjamini & Y. Hochberg (1995),
    "Controlling the false discovery rate", JRSS B 57.

    Raises ValueError for a p-value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1: {list(p_values)}")
    k = len(p_values)
    adjusted = [1.0] * k
    least = 1.0
    for rank, i in sorted(enumerate(sorted(range(k), key=p_values.__getitem__), 1), reverse=True):
        least = min(least, p_values[i] * k / rank)
        adjusted[i] = least
    return adjusted


def e_bh(log_e_values: Sequence[float], alpha: float = 0.05) -> list[bool]:
    """Return which hypotheses are rejected, given the log of the evidence against each.

    With e_(1) >= e_(2) >= ..., the k largest are rejected for the largest k with e_(k) >= K/(alpha k). The expected
    share of false ones is <= alpha whatever the dependence, and at any common stopping time. The evidence is
    that of *now*: the largest ever seen is no e-value. Source: R. Wang & A. Ramdas (2022), "False discovery rate
    control with e-values", JRSS B 84.

    Raises ValueError unless 0 < alpha < 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} must be between 0 and 1")
    k = len(log_e_values)
    least = inf
    for rank, log_e in enumerate(sorted(log_e_values, reverse=True), 1):
        if log_e >= log(k / (alpha * rank)):
            least = log_e
    return [log_e >= least for log_e in log_e_values]
