"""Percentiles, cut and geometric means, distinct counts: from sketches and sums, against the amounts themselves."""

from math import ceil, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, gmean, norm, t
from scipy.stats.mstats import winsorize

from stream_app.core.quantile_sketch import QuantileSketch
from stream_app.metrics.fixed_point import NANOS
from stream_app.metrics.logarithms import log_nanos, log_square_nanos
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.heavy_tails import log_mean, winsorised_mean
from stream_app.statistics.quantiles import MEDIAN, P95, P99, quantile

SHARES = (MEDIAN, P95, P99)


def sketch_of(many) -> QuantileSketch:
    sketch = QuantileSketch()
    for amount in many:
        sketch.add(int(amount))
    return sketch


def sure(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def test_the_hand_computed_median() -> None:
    """Of 1 to 20 the median is 10, between the 5th (10 - 4.38) and the 15th (10 + 4.38) amount."""
    assert Estimate(10.0, 20, 5.0, 15.0) == quantile(sketch_of(range(1, 21)), MEDIAN)


def test_a_scale_turns_stored_into_shown_amounts() -> None:
    """Cents are shown as euros."""
    assert Estimate(0.1, 20, 0.05, 0.15) == quantile(sketch_of(range(1, 21)), MEDIAN, scale=100)


def drawn(seed: int, size: int) -> list[int]:
    """Return amounts with a heavy tail, some of them 0."""
    return np.random.default_rng(seed).lognormal(4, 3, size).astype(int).tolist()


@given(st.integers(0, 2**32), st.integers(400, 900))
@settings(max_examples=25)
def test_percentiles_are_within_one_per_cent_of_numpy(seed: int, size: int) -> None:
    """p50, p95 and p99 are within 1 % of the amounts that numpy finds at them, and inside their intervals."""
    many = drawn(seed, size)
    for share in SHARES:
        exact = np.quantile(many, ceil(round(share * size, 6)) / size - 0.5 / size, method="inverted_cdf")
        found = sure(quantile(sketch_of(many), share))
        assert pytest.approx(exact, rel=0.01) == found.value
        assert found.low <= exact <= found.high


@pytest.mark.parametrize(("share", "least"), [(MEDIAN, 8), (P95, 73), (P99, 381)])
def test_a_percentile_needs_its_amounts(share: float, least: int) -> None:
    """Below the stated number of amounts one bound would lie outside the sample, so there is no estimate."""
    assert [None, least] == [
        quantile(sketch_of(range(least - 1)), share),
        sure(quantile(sketch_of(range(least)), share)).n,
    ]


@pytest.mark.parametrize("share", SHARES)
def test_the_order_statistics_cover(share: float) -> None:
    """By the exact binomial law, the ranks hold the percentile with at least 94.7 %, for every number of amounts."""
    n = np.arange(8, 3_000)
    half = 1.959963984540054 * np.sqrt(n * share * (1 - share))
    low, high = np.floor(n * share - half), np.ceil(n * share + half)
    inside = (low >= 1) & (high <= n)
    coverage = binom.cdf(high - 1, n, share) - binom.cdf(low - 1, n, share)
    assert coverage[inside].min() >= 0.947


def test_the_intervals_cover() -> None:
    """Of 200 samples of 500 amounts, 95 % intervals hold the percentiles of their distribution."""
    truths = np.exp(4 + 3 * norm.ppf(SHARES))
    covered = np.zeros(3, dtype=int)
    for seed in range(200):
        sketch = sketch_of(drawn(seed, 500))
        found = [sure(quantile(sketch, share)) for share in SHARES]
        covered += [e.low <= truth <= e.high + 1 for e, truth in zip(found, truths, strict=True)]  # amounts are floors
    assert [True] * 3 == (covered >= 0.93 * 200).tolist()


def test_the_mean_of_percentiles_is_not_the_percentile() -> None:
    """The popular average over panes: nine quiet ones and a slow one have a p95 of 2,000 ms, not of 290."""
    panes = [[100] * 900] * 9 + [[2_000] * 900]
    whole = QuantileSketch()
    for pane in panes:
        whole.merge(sketch_of(pane))
    averaged = np.mean([sure(quantile(sketch_of(pane), P95)).value for pane in panes])
    assert (2_000, 290) == (round(sure(quantile(whole, P95)).value, -2), round(averaged, -1))


@given(st.integers(0, 2**32), st.integers(100, 400))
@settings(max_examples=25)
def test_the_winsorised_mean_is_that_of_scipy(seed: int, size: int) -> None:
    """It is within 1 % of the mean after scipy has cut the same upper hundredth."""
    many = drawn(seed, size)
    exact = winsorize(np.array(many, dtype=float), limits=(0, (size // 100 + 0.5) / size)).mean()
    found = sure(winsorised_mean(sketch_of(many)))
    assert pytest.approx(exact, rel=0.0101) == found.value
    assert found.low <= exact <= found.high


def test_the_hand_computed_winsorised_mean() -> None:
    """100 amounts of 0, 98 of 10, two of 40: of mean 5 when cut; ranks 196 and 200, 30 apart, say how the cut moves."""
    found = sure(winsorised_mean(sketch_of([0] * 100 + [10] * 98 + [40] * 2)))
    moved = 0.01 * 200 * 30 / 4
    variance = 5_000 / 199 + 2 * moved * 0.01 * (10 - 5) + moved**2 * 0.01 * 0.99
    half = 1.959963984540054 * sqrt(variance / 200)
    assert pytest.approx((5.0, (5 - half) / 1.01, (5 + half) / 0.99)) == (found.value, found.low, found.high)


def test_one_giant_order_does_not_move_the_winsorised_mean() -> None:
    """Of 1,000 orders of 1.00 to 10.00, one of a million makes the mean 180 times as large and the cut one not."""
    orders = [100 * (1 + number % 10) for number in range(999)]
    calm = sure(winsorised_mean(sketch_of([*orders, 1_000]), scale=100)).value
    upset = sure(winsorised_mean(sketch_of([*orders, 100_000_000]), scale=100)).value
    assert (True, True) == (abs(upset / calm - 1) < 0.01, np.mean([*orders, 100_000_000]) / np.mean(orders) > 180)


def test_the_geometric_mean_is_that_of_scipy() -> None:
    """It is exp of the mean logarithm of 1 + x, less 1, from two sums; zeros do no harm. Its interval holds it."""
    seconds = [0, 1, 5, 30, 30, 600, 7_200]
    found = log_mean(len(seconds), sum(map(log_nanos, seconds)), sum(map(log_square_nanos, seconds)), NANOS)
    exact = gmean([second + 1 for second in seconds]) - 1
    logs = np.log1p(seconds)
    half = t.ppf(0.975, 6) * logs.std(ddof=1) / sqrt(len(logs))
    expected = (exact, max(0, np.expm1(logs.mean() - half)), np.expm1(logs.mean() + half))
    assert pytest.approx(expected, rel=1e-7) == (sure(found).value, sure(found).low, sure(found).high)


def test_there_is_no_mean_of_too_few() -> None:
    """Below 100 amounts nothing would be cut, and one logarithm has no spread."""
    assert [None, None] == [winsorised_mean(sketch_of(range(99))), log_mean(1, 5, 25, 1)]
