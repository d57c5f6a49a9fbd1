"""Lowering: every metric of the catalogue, from tallies to estimates."""

from math import sqrt

import pytest
from scipy import stats

from stream_app.metrics.catalogue import INDEX, MEASURES, METRICS
from stream_app.statistics.estimates import Estimate, student
from stream_app.statistics.lowering import contrast, lower
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import risk_ratio

METRIC = {metric.name: metric for metric in METRICS}


def tally(**amounts: int) -> list[int]:
    return [amounts.get(measure.name, 0) for measure in MEASURES]


def test_every_metric_reads_measures_of_the_catalogue() -> None:
    """No metric names a measure that nobody counts."""
    read = {name for m in METRICS for name in (m.total, m.count, m.squares) if name}
    assert set() == read - set(INDEX)


def test_an_empty_tally_is_not_enough_for_any_metric() -> None:
    """Where nothing was counted there is no estimate, and certainly not 0."""
    assert [None] * len(METRICS) == [lower(metric, tally(), INDEX) for metric in METRICS]


def test_ctr_is_clicks_of_impressions() -> None:
    """The click-through rate is the Wilson estimate of clicks among impressions."""
    assert wilson(69, 10_000) == lower(METRIC["ctr"], tally(impressions=10_000, clicks=69), INDEX)


def test_no_clicks_are_a_rate_of_zero_with_an_interval() -> None:
    """Impressions without a click are data: the rate is 0 and its upper bound is not."""
    estimate = lower(METRIC["ctr"], tally(impressions=100), INDEX)
    assert estimate is not None
    assert (0.0, 0.0, True) == (estimate.value, estimate.low, estimate.high > 0.03)


def test_relevance_is_a_mean_over_sessions() -> None:
    """Two sessions, shown 0.5 and 1.0, 1.0: a mean of 5/6, cut at 1; the interval is Student's over two sessions."""
    scores = tally(
        scored_impressions=3,
        relevance_micros=2_500_000,
        scored_sessions=2,
        session_relevance_squares=250_000 + 4_000_000,
        session_scored_squares=1 + 4,
        session_relevance_products=500_000 + 4_000_000,
    )
    estimate = lower(METRIC["relevance"], scores, INDEX)
    # Residuals y - r x of the sessions: 0.5 - 5/6 and 2 - 10/6, so v = 2 (1/3)^2 / 3^2 * 2/1.
    low = 5 / 6 - 12.706204736 * sqrt(2 * (1 / 3) ** 2 / 9 * 2)
    assert estimate is not None
    assert (pytest.approx(5 / 6), max(0.0, low), 1.0, 3) == (estimate.value, estimate.low, estimate.high, estimate.n)


def test_student_is_scipys() -> None:
    """The quantile of Student's t, from few degrees of freedom to many."""
    degrees = (1, 2, 3, 4, 5, 7, 10, 30, 100, 10_000)
    assert pytest.approx([stats.t(v).ppf(0.975) for v in degrees], rel=2e-4) == [student(v) for v in degrees]


def test_one_amount_is_not_enough_for_a_mean() -> None:
    """A mean needs two observations: one says nothing about the spread."""
    assert None is lower(METRIC["relevance"], tally(scored_impressions=1, relevance_micros=5), INDEX)


def test_revenue_is_shown_in_major_units() -> None:
    """Sessions that earned 10.00 and 30.00 earned 20.00 on average."""
    money = tally(sessions=2, session_revenue_minor=4_000, session_revenue_squares=1_000_000 + 9_000_000)
    estimate = lower(METRIC["revenue_per_session"], money, INDEX)
    assert isinstance(estimate, Estimate)
    assert (20.0, 2) == (estimate.value, estimate.n)


def test_contradicting_measures_are_no_data() -> None:
    """More clicks than impressions give no estimate: a wrong number must not look like a right one."""
    assert None is lower(METRIC["ctr"], tally(impressions=1, clicks=2), INDEX)


def test_a_contrast_is_the_risk_ratio_of_two_tallies() -> None:
    """CTR of one arm against another is the ratio of the two proportions."""
    one, base = tally(impressions=10_000, clicks=69), tally(impressions=10_000, clicks=46)
    assert risk_ratio(69, 10_000, 46, 10_000) == contrast(METRIC["ctr"], one, base, INDEX)


def test_there_is_no_contrast_without_data_or_for_a_mean() -> None:
    """An arm that saw nothing cannot be compared, and a mean has no risk ratio."""
    one = tally(impressions=10, clicks=6, scored_impressions=10, relevance_micros=5)
    assert [None, None, None] == [
        contrast(METRIC["ctr"], one, tally(), INDEX),
        contrast(METRIC["ctr"], tally(impressions=1, clicks=2), one, INDEX),
        contrast(METRIC["relevance"], one, one, INDEX),
    ]
