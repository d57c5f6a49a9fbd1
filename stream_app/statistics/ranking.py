"""How good the order of a list was, by the clicks it got: precision, hit rate, reciprocal rank, nDCG.

All are functions of the additive sums in `metrics.clicked_lists`; sums that contradict each other give None. Clicks
say what was liked among what was *seen*: an item at the top is clicked more because it is at the top, so compare arms,
not lists of different lengths or places.
`statistics.positions` has the measures that correct for position.
"""

from math import sqrt

from stream_app.metrics.clicked_lists import ListSums
from stream_app.metrics.fixed_point import MICROS
from stream_app.statistics.estimates import Estimate, student
from stream_app.statistics.means import mean
from stream_app.statistics.proportions import wilson


def hit_rate(sums: ListSums) -> Estimate | None:
    """Return the share of lists with a click within the first k; Wilson interval over lists."""
    return wilson(sums.hits, sums.lists) if 0 <= sums.hits <= sums.lists and sums.lists else None


def precision(sums: ListSums) -> Estimate | None:
    """Return the share of clicked positions among the first k that were seen; None for fewer than two lists.

        r = C/S      var = (sum c^2 - 2 r sum c s + r^2 sum s^2) / S^2 * n / (n - 1)

    over n lists with c clicks in s positions: clicks of one list go together, so the list is the unit. `n` of the
    estimate is the number of positions. Source: W. Cochran (1977), "Sampling techniques", 6.3 (ratio estimator).
    Without any click the upper bound is that of the hit rate, which precision cannot exceed.
    """
    lists, slots = sums.lists, sums.slots
    if lists < 2 or not 0 <= sums.clicks <= slots or not slots:
        return None
    if sums.clicks in (0, slots):
        bound = wilson(lists if sums.clicks else 0, lists)
        return Estimate(bound.value, slots, bound.low, bound.high)
    value = sums.clicks / slots
    # Over S^2, in integers: the three terms nearly cancel when all lists are alike.
    spread = (
        sums.click_squares * slots * slots
        - 2 * sums.clicks * slots * sums.click_slots
        + sums.clicks * sums.clicks * sums.slot_squares
    )
    half = student(lists - 1) * sqrt(max(0, spread) / slots**4 * lists / (lists - 1))
    return Estimate(value, slots, max(0.0, value - half), min(1.0, value + half))


def reciprocal_rank(sums: ListSums) -> Estimate | None:
    """Return the mean over all lists of 1 / position of the highest click, 0 for a list without (MRR).

    Source: E. Voorhees (1999), "The TREC-8 question answering track report". None for fewer than two lists.
    """
    return _mean(sums.lists, sums.reciprocal_micros, sums.reciprocal_square_micros)


def reciprocal_rank_given_click(sums: ListSums) -> Estimate | None:
    """Return the mean of 1 / position of the highest click over the lists that were clicked.

    It says where they clicked, not how often: a list that loses its unhappy half looks better by it.
    """
    return _mean(sums.clicked_lists, sums.reciprocal_micros, sums.reciprocal_square_micros)


def ndcg(sums: ListSums) -> Estimate | None:
    """Return the mean normalised discounted cumulative gain at k over all lists, 0 for a list without a click."""
    return _mean(sums.lists, sums.ndcg_micros, sums.ndcg_square_micros)


def ndcg_given_click(sums: ListSums) -> Estimate | None:
    """Return the mean normalised discounted cumulative gain at k over the lists that were clicked."""
    return _mean(sums.clicked_lists, sums.ndcg_micros, sums.ndcg_square_micros)


def _mean(lists: int, total: int, squares: int) -> Estimate | None:
    """Return the mean of amounts from 0 to 1; when all are 0, or all 1, with the bounds that a share would have."""
    if lists < 2 or not 0 <= total <= lists * MICROS:
        return None
    if total in (0, lists * MICROS):
        return wilson(total // MICROS, lists)
    return mean(lists, total, squares, MICROS, MICROS, lowest=0.0, highest=1.0)
