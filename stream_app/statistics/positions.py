"""What position does to clicks, and click-through rates with that taken out.

The state is two short vectors per slice: impressions and clicks by position. A *reference* is the same pair from
traffic whose order was random (the holdout): there, what the positions differ by is position alone.
"""

from collections.abc import Sequence
from math import exp, inf, log, sqrt
from typing import Final, NamedTuple

from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.poisson import poisson_interval
from stream_app.statistics.proportions import wilson

LARGEST_CORRECTION: Final = 20.0
"""A click counts for at most this many: otherwise one in a place nobody looks at would rule the number."""


class ByPosition(NamedTuple):
    """Impressions and clicks by position; the first entry of both is position 1."""

    seen: Sequence[int]
    clicked: Sequence[int]


def ctr_by_position(own: ByPosition) -> list[Estimate | None]:
    """Return the click-through rate of each position, with its Wilson interval; None where nothing was seen."""
    return [wilson(c, n) if 0 <= c <= n and n else None for n, c in zip(own.seen, own.clicked, strict=True)]


def clicks_over_expected(own: ByPosition, reference: ByPosition) -> Estimate | None:
    """Return the clicks over those that random order would get in the same positions (COEC); 1 is par.

        COEC = O / E      O = sum_p c_p      E = sum_p n_p e_p,  e_p the reference's rate at position p

    The interval joins the exact Poisson bounds of O with the normal ones of E, sum_p n_p^2 e_p (1 - e_p) / m_p, on
    the log scale (G. Zou, A. Donner (2008), "Construction of confidence limits about effect measures", Stat. Med. 27).
    Source of the measure: V. Zhang, R. Jones (2007), "Comparing click logs and editorial labels", WWW workshop.
    None when a seen position has no reference impressions, or the reference has no clicks.
    """
    expected = variance = 0.0
    for n, m, c in zip(own.seen, reference.seen, reference.clicked, strict=True):
        if not n:
            continue
        if not m:
            return None
        rate = c / m
        expected += n * rate
        variance += n * n * rate * (1 - rate) / m
    observed = sum(own.clicked)
    if expected <= 0 or observed < 0:
        return None
    width = Z_95 * sqrt(variance) / expected  # of ln E
    fewest, most = poisson_interval(observed)
    value = observed / expected
    above = exp(sqrt(log(most / max(observed, 1)) ** 2 + width**2)) * max(observed, 1) / expected
    below = value * exp(-sqrt(log(observed / fewest) ** 2 + width**2)) if observed else 0.0
    return Estimate(value, sum(own.seen), below, above)


def examination_corrected_ctr(own: ByPosition, reference: ByPosition) -> Estimate | None:
    """Return the click-through rate that all impressions would have at position 1.

        sum_p c_p w_p / n      w_p = 1 / theta_p = min(e_1 / e_p, 20)

    theta_p is how much less a position is looked at than the first, read off the reference's rates e_p. The interval
    is normal; it contains what the clicks vary by and what the reference's rates do. Source: T. Joachims, A.
    Swaminathan, T. Schnabel (2017), "Unbiased learning-to-rank with biased feedback", WSDM (propensity by swapping,
    clipping); the delta method for the rates. None for fewer than two impressions, without any click, or when the
    reference has none at position 1.
    """
    shown = sum(own.seen)
    if shown < 2 or not sum(own.clicked) or not reference.clicked[0]:
        return None
    first = _rate(reference, 0)
    total = squares = doubt = movable = 0.0
    for place, clicks in enumerate(own.clicked):
        rate = _rate(reference, place)
        weight = min(first / rate if rate else inf, LARGEST_CORRECTION)
        total += clicks * weight
        squares += clicks * weight * weight
        if place and weight < LARGEST_CORRECTION:
            movable += clicks * weight
            doubt += (clicks * weight) ** 2 * (1 - rate) / reference.clicked[place]
    doubt += movable**2 * (1 - first) / reference.clicked[0]  # all weights that are not cut move with e_1
    value = total / shown
    variance = (squares - total * value) / (shown - 1) / shown + doubt / shown**2
    half = Z_95 * sqrt(max(0.0, variance))
    return Estimate(value, shown, max(0.0, value - half), value + half)


def _rate(reference: ByPosition, place: int) -> float:
    return reference.clicked[place] / reference.seen[place] if reference.seen[place] else 0.0
