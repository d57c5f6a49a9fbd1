"""What a list adds to the sums of ranking quality, and by how much these grow when one more click arrives.

A list is a decision; two bitmasks remember of it which positions were seen and which of them were clicked. What it
contributes is a function of the two masks alone. So the pane of the decision gets the *difference* of two
contributions whenever a mask changes: the sums end the same in whatever order things arrive, a repeated click changes
nothing, and a late one corrects the pane in which the list was decided.

    seen     1 2 3 4 5          contributes C(11111, 00000)
    click          4            adds        C(11111, 01000) - C(11111, 00000)
    click, late  2              adds        C(11111, 01010) - C(11111, 01000)
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from math import log2
from operator import sub
from typing import Final, NamedTuple

from stream_app.core.followed import MOST_POSITIONS, ClickedList, Seen
from stream_app.metrics.fixed_point import MICROS, PICOS, divided

CUT_OFFS: Final = (5, 10)
"""The k that sums are kept for."""
PLACES: Final = 11
"""Positions told apart: the last one stands for itself and all below."""
_WIDTH: Final = 16
_SEEN, _CLICKED = 100, 120
"""In the bins: the sums of the first cut-off from 0, of the second from 16; impressions and clicks by position."""

_DISCOUNTS: Final = tuple(round(PICOS / log2(position + 1)) for position in range(1, MOST_POSITIONS + 1))
"""1 / log2(position + 1) in units of 10^-12: integers, so that a gain does not depend on the order of summing."""
_IDEALS: Final = tuple(sum(_DISCOUNTS[:clicks]) for clicks in range(MOST_POSITIONS + 1))
"""The discounted gain of the best list with that many clicks: all at the top."""


class ListSums(NamedTuple):
    """The additive integers of ranking quality at one cut-off k; the squares serve the intervals.

    `hits`, `clicks` and `slots` count within the first k positions, `clicked_lists` and the reciprocal rank within
    the whole list.
    """

    lists: int = 0
    clicked_lists: int = 0
    hits: int = 0
    clicks: int = 0
    slots: int = 0
    click_squares: int = 0
    slot_squares: int = 0
    click_slots: int = 0
    reciprocal_micros: int = 0
    reciprocal_square_micros: int = 0
    ndcg_micros: int = 0
    ndcg_square_micros: int = 0


def contribution(one: ClickedList, k: int) -> ListSums:
    """Return what a list contributes at cut-off `k`; a list of which nothing was seen contributes nothing.

        nDCG@k = sum over clicked p <= k of 1/log2(p+1), over the same of the best order of all the list's clicks

    Gains are binary: clicked or not. Source: K. Jarvelin, J. Kekalainen (2002), "Cumulated gain-based evaluation
    of IR techniques", TOIS 20, with the logarithm of C. Burges et al. (2005).
    """
    seen, clicked = one
    if not seen:
        return ListSums()
    top = (1 << k) - 1
    slots = (seen & top).bit_count()
    if not clicked:
        return ListSums(lists=1, slots=slots, slot_squares=slots * slots)
    inside = clicked & top
    clicks = inside.bit_count()
    first = (clicked & -clicked).bit_length()
    gain = sum(_DISCOUNTS[place] for place in range(inside.bit_length()) if inside >> place & 1)
    ideal = _IDEALS[min(clicked.bit_count(), k)]
    return ListSums(
        lists=1,
        clicked_lists=1,
        hits=int(clicks > 0),
        clicks=clicks,
        slots=slots,
        click_squares=clicks * clicks,
        slot_squares=slots * slots,
        click_slots=clicks * slots,
        reciprocal_micros=divided(MICROS, first),
        reciprocal_square_micros=divided(MICROS, first * first),
        ndcg_micros=divided(MICROS * gain, ideal),
        ndcg_square_micros=divided(MICROS * gain * gain, ideal * ideal),
    )


@lru_cache(maxsize=4_096)  # nearly all lists are seen from the top and never clicked: few arguments recur
def growth(before: ClickedList, after: ClickedList, k: int) -> ListSums:
    """Return what to add to the sums of the list's pane when it changes from `before` to `after`."""
    if before == after:
        return ListSums()
    return ListSums(*map(sub, contribution(after, k), contribution(before, k)))


def amounts(changes: Mapping[Seen, int]) -> Mapping[int, int]:
    """Return what lists add to the bins that changed so, each so many times: sums at every cut-off, and by position."""
    sums: defaultdict[int, int] = defaultdict(int)
    for change, times in changes.items():
        for bin_, amount in _growths(change):
            sums[bin_] += amount * times
    return sums


def sums_at(bins: Mapping[int, int], k: int) -> ListSums:
    """Read the sums at cut-off `k`, one of `CUT_OFFS`, off the bins."""
    first = CUT_OFFS.index(k) * _WIDTH
    return ListSums(*(bins.get(first + place, 0) for place in range(len(ListSums._fields))))


def seen_and_clicked(bins: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """Read impressions and clicks by position off the bins; each position of a list counts once."""
    seen, clicked = ([bins.get(first + place, 0) for place in range(PLACES)] for first in (_SEEN, _CLICKED))
    return seen, clicked


@lru_cache(maxsize=4_096)  # as above
def _growths(change: Seen) -> tuple[tuple[int, int], ...]:
    before, after = ClickedList(*change[:2]), ClickedList(*change[2:])
    grown: dict[int, int] = {}
    for number, k in enumerate(CUT_OFFS):
        grown |= enumerate(growth(before, after, k), number * _WIDTH)
    for first, old, new in ((_SEEN, before.seen, after.seen), (_CLICKED, before.clicked, after.clicked)):
        fresh = new & ~old
        for place in range(fresh.bit_length()):
            if fresh >> place & 1:
                at = first + min(place, PLACES - 1)
                grown[at] = grown.get(at, 0) + 1
    return tuple((bin_, amount) for bin_, amount in grown.items() if amount)
