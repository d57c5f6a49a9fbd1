"""What a list adds to the sums of ranking quality, and by how much these grow when one more click arrives.

A list is a decision; two bitmasks remember of it which positions were seen and which of them were clicked. What it
contributes is a function of the two masks alone. So the pane of the decision gets the *difference* of two
contributions whenever a mask changes: the sums end the same in whatever order things arrive, a repeated click changes
nothing, and a late one corrects the pane in which the list was decided.

    seen     1 2 3 4 5          contributes C(11111, 00000)
    click          4            adds        C(11111, 01000) - C(11111, 00000)
    click, late  2              adds        C(11111, 01010) - C(11111, 01000)
"""

from functools import lru_cache
from math import log2
from operator import sub
from typing import Final, NamedTuple

from stream_app.metrics.fixed_point import MICROS, PICOS, divided

MOST_POSITIONS: Final = 64
"""Positions beyond are no part of a list: nobody sees them together, and the masks fit 64 bits."""

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


class ClickedList(NamedTuple):
    """Which positions of a list were seen and clicked: bit 0 is position 1. A clicked position was seen."""

    seen: int = 0
    clicked: int = 0

    def with_impression(self, position: int) -> "ClickedList":
        """Return the list once `position` (from 1) was seen; itself when it was before, or is beyond the list."""
        if position > MOST_POSITIONS:
            return self
        return ClickedList(self.seen | 1 << position - 1, self.clicked)

    def with_click(self, position: int) -> "ClickedList":
        """Return the list once `position` (from 1) was clicked; itself when it was before, or is beyond the list."""
        if position > MOST_POSITIONS:
            return self
        bit = 1 << position - 1
        return ClickedList(self.seen | bit, self.clicked | bit)


EMPTY: Final = ClickedList()


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
