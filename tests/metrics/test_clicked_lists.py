"""What a list adds to the sums of ranking quality: by hand, and whatever the order in which things arrive."""

import random
from math import log2
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.followed import EMPTY, ClickedList
from stream_app.metrics.clicked_lists import ListSums, contribution, growth
from stream_app.metrics.fixed_point import MICROS

ARRIVALS = st.lists(st.tuples(st.booleans(), st.integers(1, 70)), max_size=30)


def arrive(one: ClickedList, is_click: bool, position: int) -> ClickedList:
    return one.with_click(position) if is_click else one.with_impression(position)


def summed(arrivals, k: int) -> ListSums:
    """Return the sums of a pane to which each arrival added its growth."""
    one, sums = EMPTY, ListSums()
    for is_click, position in arrivals:
        after = arrive(one, is_click, position)
        sums, one = ListSums(*map(add, sums, growth(one, after, k))), after
    return sums


def ndcg_by_definition(clicked: list[int], k: int) -> float:
    gain = sum(1 / log2(position + 1) for position in clicked if position <= k)
    return gain / sum(1 / log2(place + 1) for place in range(1, min(len(clicked), k) + 1))


def test_the_hand_computed_list() -> None:
    """Five seen, 2 and 4 clicked, k = 3: one hit, one click in three slots, 1/2, and 0.6309 / (1 + 0.6309)."""
    one = ClickedList(0b11111, 0b01010)
    expected = ListSums(1, 1, 1, 1, 3, 1, 9, 3, 500_000, 250_000, 386_853, 149_655)
    assert expected == contribution(one, 3)


def test_a_late_click_corrects_the_same_sums() -> None:
    """A click at 4 is a reciprocal rank of 1/4; when one at 2 arrives, the difference makes it 1/2."""
    one, other = ClickedList(0b11111, 0b01000), ClickedList(0b11111, 0b01010)
    change = growth(one, other, 3)
    assert (0, 0, 1, 1, 250_000) == (
        change.lists, change.clicked_lists, change.hits, change.clicks, change.reciprocal_micros
    )  # fmt: skip


@pytest.mark.parametrize(("clicked", "k"), [([1], 5), ([2], 5), ([1, 3, 5], 3), ([4, 7], 5), ([6], 5), ([1, 2, 3], 2)])
def test_ndcg_is_that_of_the_definition(clicked: list[int], k: int) -> None:
    """The gain in fixed point is that of the formula in floating point, to a millionth."""
    one = ClickedList((1 << 10) - 1)
    for position in clicked:
        one = one.with_click(position)
    exact = ndcg_by_definition(clicked, k)
    sums = contribution(one, k)
    assert (round(exact * MICROS), round(exact * exact * MICROS)) == (sums.ndcg_micros, sums.ndcg_square_micros)


@given(ARRIVALS, st.integers(1, 64), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_order_duplicates_and_replay_do_not_matter(arrivals, k: int, source: random.Random) -> None:
    """However impressions and clicks of a list arrive, and how often, its pane ends with its one contribution."""
    final = EMPTY
    for is_click, position in arrivals:
        final = arrive(final, is_click, position)
    shuffled = [*arrivals, *arrivals]
    source.shuffle(shuffled)
    assert contribution(final, k) == summed(arrivals, k) == summed(shuffled, k)


@given(ARRIVALS, st.integers(1, 64))
@settings(max_examples=60)
def test_a_contribution_is_within_its_bounds(arrivals, k: int) -> None:
    """Clicks never exceed slots, slots never k, and no gain its ideal."""
    sums = summed(arrivals, k)
    assert 0 <= sums.hits <= sums.clicks <= sums.slots <= k
    assert sums.hits <= sums.clicked_lists <= sums.lists <= 1
    assert 0 <= sums.ndcg_square_micros <= sums.ndcg_micros <= MICROS
    assert 0 <= sums.reciprocal_square_micros <= sums.reciprocal_micros <= MICROS


def test_what_lies_beyond_the_masks_is_no_part_of_a_list() -> None:
    """Position 64 is the last one; 65 changes nothing."""
    assert (EMPTY, EMPTY, ClickedList(1 << 63, 1 << 63)) == (
        EMPTY.with_impression(65), EMPTY.with_click(65), EMPTY.with_click(64)
    )  # fmt: skip
