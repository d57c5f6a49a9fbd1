"""Sample-ratio mismatch: did the arms get the users they were promised? If not, no lift can be believed.

The chi-square test is not made for looking every hour (51 % false alarms at 5 % in four weeks); the Bayes factor
of a Dirichlet-multinomial alternative may be looked at any time, and needs nothing but the counts.
"""

from collections.abc import Mapping, Sequence
from math import lgamma, log, log1p, pi

import msgspec

CONCENTRATION = 10_000.0
"""How closely the alternative sticks to the promised shares: finds a mismatch of 1 % of them, not one of 0.01 %."""


class Mismatch(msgspec.Struct, frozen=True):
    """The log of the evidence against the promised shares, and what it must reach to be an alarm."""

    log_evidence: float
    log_threshold: float

    @property
    def is_found(self) -> bool:
        """Whether the evidence reaches the threshold. Once found it stays found: the caller latches it."""
        return self.log_evidence >= self.log_threshold


def log_bayes_factor(
    counts: Sequence[float], shares: Sequence[float], concentration: float = CONCENTRATION, design_effect: float = 1.0
) -> float:
    """Return ln B of the counts per arm: at any stopping time E[B] <= 1 while the `shares` are kept.

        ln B = lnG(C) - sum lnG(C w) + sum lnG(C w + n) - lnG(C + N) - sum n ln w

    `shares` are positive and are scaled to sum to 1. `design_effect` divides the counts: 1 for users, whose
    assignment is independent; more for impressions, which come in clusters (there the bound is approximate).
    Source: M. Lindon & A. Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS.

    Raises ValueError for negative counts, shares of 0, or different lengths.
    """
    if len(counts) != len(shares) or not shares or min(shares) <= 0 or min(counts) < 0 or not design_effect > 0:
        raise ValueError(f"counts {list(counts)} do not fit shares {list(shares)} and design effect {design_effect}")
    n = [count / design_effect for count in counts]
    w = [share / sum(shares) for share in shares]
    total = concentration + sum(n)
    # lnG is 1e9 for 1e8 users, and its differences would lose what matters. So Stirling's leading terms are
    # cancelled on paper; what is left is relative deviations, ln(total/C), and the small rests of the series.
    log_b = -(len(w) - 1) / 2 * log(total / concentration) - _rest(total) + _rest(concentration)
    for n_i, w_i in zip(n, w, strict=True):
        prior = concentration * w_i
        deviation = (n_i - sum(n) * w_i) / (total * w_i)
        log_b += (prior + n_i - 0.5) * log1p(deviation) + _rest(prior + n_i) - _rest(prior)
    return log_b


def _rest(z: float) -> float:
    """Return lnG(z) less Stirling's (z - 1/2) ln z - z + ln(2 pi)/2."""
    if z < 30:
        return lgamma(z) - ((z - 0.5) * log(z) - z + log(2 * pi) / 2)
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * z * z)) / (z * z)) / (z * z)) / z


def mismatches(
    strata: Mapping[str, Sequence[float]],
    shares: Sequence[float],
    alpha: float = 0.001,
    concentration: float = CONCENTRATION,
    design_effects: Mapping[str, float] | None = None,
) -> dict[str, Mismatch]:
    """Return the mismatch of each stratification (users, impressions, users on phones, ...) of the same arms.

    Bonferroni: each has the threshold ln(K/alpha), so that the chance that *any* ever gives a false alarm is at
    most alpha, whatever their dependence. For a share of false findings instead, hand the evidence to
    `multiplicity.e_bh`.

    Raises ValueError unless 0 < alpha < 1, and as `log_bayes_factor`.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} must be between 0 and 1")
    threshold = log(len(strata) / alpha) if strata else 0.0
    design_effects = design_effects or {}
    return {
        name: Mismatch(log_bayes_factor(counts, shares, concentration, design_effects.get(name, 1.0)), threshold)
        for name, counts in strata.items()
    }
