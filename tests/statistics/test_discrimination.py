"""The area under the ROC curve from two histograms: against its definition over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.metrics.fixed_point import nanos
from stream_app.metrics.predictions import SCORE_BINS, score_bin
from stream_app.statistics.discrimination import area_under_curve, binning_error
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.proportions import wilson

histogram = st.lists(st.integers(0, 20), min_size=6, max_size=6).filter(lambda counts: sum(counts) >= 2)


def pairs(clicked, unclicked):
    """Return for each pair of a clicked and an unclicked score 1, 1/2 or 0: above, tied or below."""
    p, n = np.asarray(clicked)[:, None], np.asarray(unclicked)[None, :]
    return (p > n) + 0.5 * (p == n)


def spelt(counts: list[int]):
    return np.repeat(np.arange(len(counts)), counts)


def area(clicked: list[int], unclicked: list[int]) -> Estimate:
    found = area_under_curve(clicked, unclicked)
    assert found is not None
    return found


def test_the_hand_computed_area() -> None:
    """Clicks in bins 1, 2, 2 against misses in 0, 1: of six pairs five are won and one is tied."""
    assert (5.5 / 6, 1 / 12) == (area([0, 1, 2], [1, 1, 0]).value, binning_error([0, 1, 2], [1, 1, 0]))


@given(histogram, histogram)
@settings(max_examples=30)
def test_area_and_interval_are_those_of_all_pairs(clicked: list[int], unclicked: list[int]) -> None:
    """The value is the mean over all pairs, and the width DeLong's plus the error of the bins."""
    won = pairs(spelt(clicked), spelt(unclicked))
    error = np.sqrt(won.mean(axis=1).var(ddof=1) / len(won) + won.mean(axis=0).var(ddof=1) / won.shape[1])
    found = area(clicked, unclicked)
    assert pytest.approx(won.mean()) == found.value
    if 0 < found.value < 1:
        half = 1.959963984540054 * error + binning_error(clicked, unclicked)
        expected = (max(0.0, won.mean() - half), min(1.0, won.mean() + half))
        assert pytest.approx(expected) == (found.low, found.high)


def test_200_bins_are_within_their_bound_of_the_exact_area() -> None:
    """Of 3,000 scores, the binned area differs from the exact one by less than the bound, which is below 0.02."""
    source = np.random.default_rng(4)
    truth = source.normal(-3, 1, 3_000)
    y = source.random(3_000) < 1 / (1 + np.exp(-truth))
    scores = 1 / (1 + np.exp(-(truth + source.normal(0, 0.7, 3_000))))
    bins = np.array([score_bin(nanos(score)) for score in scores.tolist()])
    clicked, unclicked = (np.bincount(bins[y == kind], minlength=SCORE_BINS).tolist() for kind in (True, False))
    exact = pairs(scores[y], scores[~y]).mean()
    bound = binning_error(clicked, unclicked)
    assert (True, True) == (abs(area(clicked, unclicked).value - exact) <= bound, bound < 0.02)


def test_the_interval_covers_the_true_area() -> None:
    """For normal scores one standard deviation apart, whose area is 0.76025, 95 % intervals hold it."""
    source = np.random.default_rng(9)
    covered = 0
    for _ in range(300):
        scores = 1 / (1 + np.exp(-source.normal(0, 1, 240)))
        above = 1 / (1 + np.exp(-source.normal(1, 1, 60)))
        clicked, unclicked = [0] * SCORE_BINS, [0] * SCORE_BINS
        for histogram_, many in ((clicked, above), (unclicked, scores)):
            for score in many.tolist():
                histogram_[score_bin(nanos(score))] += 1
        found = area(clicked, unclicked)
        covered += found.low <= 0.7602499389 <= found.high
    assert covered >= 0.92 * 300


@given(histogram, histogram, histogram, histogram)
@settings(max_examples=25)
def test_merged_halves_are_the_whole(a: list[int], b: list[int], c: list[int], d: list[int]) -> None:
    """Adding histograms and adding the scores themselves is the same, so any split into panes gives one area."""
    clicked, unclicked = [x + y for x, y in zip(a, c, strict=True)], [x + y for x, y in zip(b, d, strict=True)]
    won = pairs(np.concatenate([spelt(a), spelt(c)]), np.concatenate([spelt(b), spelt(d)]))
    assert pytest.approx(won.mean()) == area(clicked, unclicked).value


def test_perfectly_apart_is_no_certainty() -> None:
    """Ten clicks above ten misses have an area of 1, with the lower bound of ten out of ten."""
    found = area([0, 10], [10, 0])
    assert (1.0, wilson(10, 10).low, 1.0) == (found.value, found.low, found.high)


def test_too_few_or_impossible_counts_have_no_area() -> None:
    """It takes two of each kind, and more clicks than impressions are no data."""
    assert [None, None, None, 0.5] == [
        area_under_curve([1, 0], [5, 5]), area_under_curve([5, 5], [0, 1]), area_under_curve([5, 5], [9, -1]),
        binning_error([0], [3]),
    ]  # fmt: skip
