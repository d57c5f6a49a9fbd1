"""Contrasts: any metric of one arm against another one, with the sharpest instrument that its sums allow."""

from functools import cache
from math import exp, hypot, inf, log

import numpy as np
import pytest

from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.metrics.contrasting import has_ratio, refusal
from stream_app.metrics.methods import ClusteredMean, Mean, Proportion
from stream_app.metrics.metric import Metric
from stream_app.statistics.contrasts import difference_between, ratio_between
from stream_app.statistics.counted import Counted
from stream_app.statistics.differences import difference, ratio
from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.poisson import poisson_rate
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import risk_ratio
from tests.metrics.listing import bins_of
from tests.metrics.worlds import ARM, run
from tests.producers.counting import by, totals

METRIC = {metric.name: metric for metric in METRICS}
ALL_METRICS = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def counted(**amounts: int) -> Counted:
    return Counted([amounts.get(name, 0) for name in INDEX], INDEX)


@cache
def arm_of_a_world(name: str) -> Counted:
    """Return what a simulated world counted in an arm: the tally, and the bins of all its surfaces."""
    state = run("seed 3").state
    amounts = by(totals(state), ARM)[name,]
    bins: dict[str, dict[int, int]] = {}
    for (_, arm), histograms in bins_of(state).items():
        for histogram, counts in histograms.items() if arm == name else ():
            into = bins.setdefault(histogram, {})
            for bin_, amount in counts.items():
                into[bin_] = into.get(bin_, 0) + amount
    return Counted([amounts.get(measure, 0) for measure in INDEX], INDEX, bins)


@ALL_METRICS
def test_an_arm_does_not_differ_from_itself(metric: Metric) -> None:
    """Of every metric that can be held against another arm, and has an answer, the difference is 0 and the ratio 1."""
    arm = arm_of_a_world("personalized")
    own = None if metric.arms else lower(metric, *arm)
    times, more = ratio_between(metric, arm, arm), difference_between(metric, arm, arm)
    assert (own is not None and refusal(metric) is None) == (more is not None)
    assert more is None or (more.value == 0.0 and more.low <= 0 <= more.high)
    assert times is None or (has_ratio(metric) and times.value == pytest.approx(1.0) and times.low <= 1 <= times.high)
    assert times is not None or not (own and has_ratio(metric) and own.low > 0)


@ALL_METRICS
def test_what_cannot_be_contrasted_says_why(metric: Metric) -> None:
    """It reads its arms, knows none, rests on what is told, is held against the holdout, counts, or claims nothing."""
    reads_tallies = isinstance(metric.method, Proportion | Mean | ClusteredMean)
    assert refusal(metric) is not None or metric.has_interval
    assert not (reads_tallies and "arm" in metric.dimensions and refusal(metric))


def test_shares_are_contrasted_by_katz_and_newcombe() -> None:
    """69 of 10,000 clicked against 46: the risk ratio, and Newcombe's difference of the two Wilson intervals."""
    of, base = counted(impressions=10_000, clicks=69), counted(impressions=10_000, clicks=46)
    assert risk_ratio(69, 10_000, 46, 10_000) == ratio_between(METRIC["ctr"], of, base)
    assert difference(wilson(69, 10_000), wilson(46, 10_000)) == difference_between(METRIC["ctr"], of, base)


def test_what_may_be_negative_has_a_difference_alone() -> None:
    """A net score of 0.1 is no multiple of one of -0.2; it is 0.3 more."""
    score = METRIC["nps"]
    arms = [counted(nps_answers=100, nps_promoters=40, nps_detractors=less) for less in (30, 60)]
    more = difference_between(score, *arms)
    assert (None, pytest.approx(0.3)) == (ratio_between(score, *arms), more and more.value)


def test_a_recovered_ratio_of_log_normal_intervals_is_the_delta_method() -> None:
    """Two estimates with errors 0.3 and 0.4 in logs: their ratio has 0.5."""
    one, other = (Estimate(v, 7, v * exp(-Z_95 * e), v * exp(Z_95 * e)) for v, e in ((6.0, 0.3), (2.0, 0.4)))
    found = ratio(one, other)
    assert found is not None
    assert (14, pytest.approx([3.0, 3 * exp(-Z_95 * 0.5), 3 * exp(Z_95 * 0.5)])) == (
        found.n,
        [found.value, found.low, found.high],
    )


def test_a_recovered_ratio_has_bounds_or_is_none() -> None:
    """A lower bound of 0 stays 0; what is held against something that may be 0 has no upper bound, and is no answer."""
    few, some = poisson_rate(1, 10, 10), Estimate(1.0, 5, 0.0, 2.0)
    below = ratio(some, few)
    assert (0.0, True) == (below and below.low, below is not None and below.high < inf)
    assert [None, None] == [ratio(few, some), ratio(poisson_rate(0, 10, 10), few)]


def test_a_recovered_ratio_of_rates_covers() -> None:
    """Of 2,000 pairs of Poisson counts with means 40 and 25, at least 95 % of the intervals hold the true ratio.

    Garwood's intervals are wider than need be for so few, so theirs is: at most 99 %.
    """
    rng = np.random.default_rng(7)
    held = 0
    for one, other in zip(rng.poisson(40, 2_000).tolist(), rng.poisson(25, 2_000).tolist(), strict=True):
        found = ratio(poisson_rate(one, 1.0, 1), poisson_rate(other, 1.0, 1))
        held += found is not None and found.low <= 1.6 <= found.high
    assert 0.95 <= held / 2_000 <= 0.99


def test_a_quantile_is_contrasted_by_its_order_statistics() -> None:
    """The median of one arm over that of another: the bounds are those of the two, carried over in logs."""
    metric = METRIC["order_value_median"]
    (histogram,) = metric.needs
    arms = [Counted([0] * len(INDEX), INDEX, {histogram: dict.fromkeys(bins, 40)}) for bins in ((900, 910, 920),
            (900, 905, 910))]  # fmt: skip
    one, other = (lower(metric, *arm) for arm in arms)
    found = ratio_between(metric, *arms)
    assert one is not None
    assert other is not None
    assert found is not None
    low = exp(log(one.value / other.value) - hypot(log(one.value / one.low), log(other.high / other.value)))
    assert (one.value / other.value, pytest.approx(low)) == (found.value, found.low)
