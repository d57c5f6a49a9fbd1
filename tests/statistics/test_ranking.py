"""Ranking quality from additive sums: by hand, against the lists themselves, and against popular mistakes."""

from operator import add

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t
from statsmodels.stats.weightstats import DescrStatsW

from stream_app.metrics.clicked_lists import ClickedList, ListSums, contribution
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ranking import (
    hit_rate,
    ndcg,
    ndcg_given_click,
    precision,
    reciprocal_rank,
    reciprocal_rank_given_click,
)

K = 3
ALL = (hit_rate, precision, reciprocal_rank, reciprocal_rank_given_click, ndcg, ndcg_given_click)
lists = st.lists(
    st.integers(1, 8).flatmap(lambda size: st.integers(0, 2**size - 1).map(lambda c: ClickedList(2**size - 1, c))),
    min_size=2,
    max_size=30,
)


def pane(many: list[ClickedList], k: int = K) -> ListSums:
    sums = ListSums()
    for one in many:
        sums = ListSums(*map(add, sums, contribution(one, k)))
    return sums


def bounds(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.low, estimate.value, estimate.high


def test_the_hand_computed_pane() -> None:
    """Of four lists of three, one clicked at 1, one at 2 and 3, two not at all: each measure is what it should be."""
    sums = pane([ClickedList(7, 1), ClickedList(7, 6), ClickedList(7), ClickedList(7)])
    gain = (1 / np.log2(3) + 1 / 2) / (1 + 1 / np.log2(3))
    expected = [2 / 4, 3 / 12, 1.5 / 4, 1.5 / 2, (1 + gain) / 4, (1 + gain) / 2]
    assert pytest.approx(expected, abs=1e-6) == [bounds(measure(sums))[1] for measure in ALL]
    assert [4, 12, 4, 2, 4, 2] == [measure(sums).n for measure in ALL]  # type: ignore[union-attr]


@given(lists)
@settings(max_examples=30)
def test_means_and_intervals_are_those_of_the_lists(many: list[ClickedList]) -> None:
    """The reciprocal rank from the sums has the mean and the interval that statsmodels finds in the lists."""
    ranks = [1 / ((one.clicked & -one.clicked).bit_length()) if one.clicked else 0.0 for one in many]
    assume(len(set(ranks)) > 1)
    low, high = DescrStatsW(ranks).tconfint_mean()
    expected = (max(0.0, low), np.mean(ranks), min(1.0, high))
    assert pytest.approx(expected, abs=1e-4) == bounds(reciprocal_rank(pane(many)))


@given(lists)
@settings(max_examples=30)
def test_precision_has_the_interval_of_a_ratio_over_lists(many: list[ClickedList]) -> None:
    """The variance from the sums is that of the residuals c - r s of the lists."""
    clicks = np.array([(one.clicked & 7).bit_count() for one in many])
    slots = np.array([(one.seen & 7).bit_count() for one in many])
    assume(0 < clicks.sum() < slots.sum())
    r = clicks.sum() / slots.sum()
    error = np.sqrt(((clicks - r * slots) ** 2).sum() * len(many) / (len(many) - 1)) / slots.sum()
    half = t.ppf(0.975, len(many) - 1) * error
    expected = (max(0.0, r - half), r, min(1.0, r + half))
    assert pytest.approx(expected, abs=1e-4) == bounds(precision(pane(many)))


@given(lists, lists)
@settings(max_examples=25)
def test_the_sums_of_panes_are_those_of_the_whole(one: list[ClickedList], other: list[ClickedList]) -> None:
    """Adding two panes gives the pane of all their lists, to the unit, so every measure is the same."""
    assert pane(one + other) == ListSums(*map(add, pane(one), pane(other)))


@given(lists)
@settings(max_examples=30)
def test_every_measure_is_ordered_and_within_bounds(many: list[ClickedList]) -> None:
    """0 <= low <= value <= high <= 1, wherever there is an estimate."""
    for measure in ALL:
        if (estimate := measure(pane(many))) is not None:
            found = [0.0, estimate.low, estimate.value, estimate.high, 1.0]
            assert sorted(found) == found


def test_there_is_no_measure_without_lists() -> None:
    """Nothing decided, nothing to say; and one list has no interval but as a share."""
    assert [None] * 6 == [measure(ListSums()) for measure in ALL]
    one = pane([ClickedList(7, 1)])
    assert [wilson(1, 1), None, None, None, None, None] == [measure(one) for measure in ALL]


def test_no_click_at_all_is_no_certainty() -> None:
    """A hundred lists without a click have a precision of 0 whose upper bound is that of a share of lists, not 0."""
    sums = pane([ClickedList(7)] * 100)
    expected = [wilson(0, 100).high] * 4
    assert expected == [bounds(measure(sums))[2] for measure in (hit_rate, precision, reciprocal_rank, ndcg)]


def test_positions_of_one_list_are_not_independent() -> None:
    """The popular interval that counts each slot as a trial is too narrow: lists are clicked all or not at all."""
    source = np.random.default_rng(3)
    covered = naive = 0
    for _ in range(200):
        happy = int(source.binomial(200, 0.2))
        sums = ListSums(
            lists=200, clicked_lists=happy, hits=happy, clicks=3 * happy, slots=600,
            click_squares=9 * happy, slot_squares=1_800, click_slots=9 * happy,
        )  # fmt: skip
        low, _, high = bounds(precision(sums))
        popular = wilson(sums.clicks, sums.slots)
        covered += low <= 0.2 <= high
        naive += popular.low <= 0.2 <= popular.high
    assert (True, True) == (covered >= 0.92 * 200, naive <= 0.80 * 200)


def test_leaving_out_lists_without_a_click_hides_them() -> None:
    """The popular mean over clicked lists does not notice that half of them lost their clicks; ours over all does."""
    before = pane([ClickedList(7, 1)] * 40 + [ClickedList(7)] * 60)
    after = pane([ClickedList(7, 1)] * 20 + [ClickedList(7)] * 80)
    assert [(1.0, 1.0), (0.4, 0.2)] == [
        (bounds(measure(before))[1], bounds(measure(after))[1])
        for measure in (reciprocal_rank_given_click, reciprocal_rank)
    ]


def test_contradicting_sums_are_no_data() -> None:
    """More hits than lists, more clicks than slots, a rank above 1: a wrong number must not look like a right one."""
    wrong = ListSums(lists=2, clicked_lists=2, hits=3, clicks=9, slots=6, reciprocal_micros=2_000_001, ndcg_micros=-1)
    assert [None] * 6 == [measure(wrong) for measure in ALL]
