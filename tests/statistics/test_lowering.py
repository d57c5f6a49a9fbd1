"""Lowering: every method, and every metric of the catalogue, from tallies to estimates."""

from math import exp, log, log1p, sqrt
from typing import Any, get_args

import pytest
from scipy import stats

from stream_app.metrics.catalogue import INDEX, MEASURES, METRICS
from stream_app.metrics.methods import (
    ClusteredMean,
    Clusters,
    Count,
    LogMean,
    Mean,
    Method,
    NetScore,
    Proportion,
    Rate,
    Ratio,
    WeightedProportion,
)
from stream_app.metrics.metric import Metric
from stream_app.statistics.contrasts import contrast
from stream_app.statistics.estimates import Z_95, Estimate, student
from stream_app.statistics.lowering import LOWERED, lower
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import incremental_share, risk_ratio
from stream_app.statistics.surveys import net_promoter_score
from tests.statistics.frozen import ORACLES

METRIC = {metric.name: metric for metric in METRICS}


def tally(**amounts: int) -> list[int]:
    return [amounts.get(measure.name, 0) for measure in MEASURES]


def declared(method: Method, lowest: float | None = 0.0, highest: float | None = None, at_least: int = 1) -> Metric:
    """Return a metric of that method."""
    return Metric(
        name="some",
        title="Some",
        help="Some.",
        unit="ratio",
        formula="some",
        caveat="None.",
        method=method,
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        lowest=lowest,
        highest=highest,
        at_least=at_least,
    )


def lowered(metric: Metric, **amounts: int) -> Estimate | None:
    """Lower a tally of these measures alone."""
    return lower(metric, list(amounts.values()), {name: at for at, name in enumerate(amounts)})


def test_an_empty_tally_is_not_enough_for_any_metric() -> None:
    """Where nothing was counted there is no estimate, and certainly not 0; only a count of nothing is 0."""
    expected = {m.name: Estimate(0.0, m.at_least, 0.0, 0.0) if isinstance(m.method, Count) else None for m in METRICS}
    assert expected == {metric.name: lower(metric, tally(), INDEX) for metric in METRICS}


def test_every_method_can_be_lowered() -> None:
    """No method can be declared that has no function."""
    assert set(get_args(Method)) == set(LOWERED)


def test_a_rate_is_a_count_over_what_was_expected() -> None:
    """3 hides in 2,000 impressions are 1.5 per 1,000, with scipy's Poisson interval; 0 hides are data too."""
    hides = declared(Rate("hides", "impressions", per=1_000))
    low, high = stats.chi2.ppf(0.025, 6) / 2 / 2, stats.chi2.ppf(0.975, 8) / 2 / 2
    found, none = lowered(hides, hides=3, impressions=2_000), lowered(hides, hides=0, impressions=2_000)
    assert found is not None
    assert none is not None
    assert (1.5, pytest.approx(low), pytest.approx(high), 2_000) == (found.value, found.low, found.high, found.n)
    assert (0.0, 0.0, True) == (none.value, none.low, none.high > 1)
    assert [None, None] == [lowered(hides, hides=3, impressions=0), lowered(hides, hides=-1, impressions=9)]


def test_a_rate_over_what_a_model_expected_counts_its_predictions() -> None:
    """5 clicks where 4 were expected, of 100 predictions: 1.25, and 100 is what is behind it."""
    method = Rate("clicks", "expected_micros", count="predictions", scale=10**6)
    found = lowered(declared(method), clicks=5, expected_micros=4_000_000, predictions=100)
    assert found is not None
    assert (1.25, 100) == (found.value, found.n)


def test_a_ratio_claims_nothing_beyond_itself() -> None:
    """Of 40.00 net revenue 10.00 came from recommendations: a quarter, and its bounds are the same."""
    share = declared(Ratio("recommended_minor", "order_minor - refunded_minor"), highest=1.0)
    money = {"recommended_minor": 1_000, "order_minor": 5_000, "refunded_minor": 1_000}
    assert Estimate(0.25, 4_000, 0.25, 0.25) == lowered(share, **money)
    assert None is lowered(share, **{**money, "order_minor": 1_500})
    assert None is lowered(share, **{**money, "order_minor": 1_000})


def test_a_count_is_its_sum_also_when_it_is_nothing() -> None:
    """7 that came and 2 that left are 5; none at all are 0, which is known exactly."""
    net = declared(Count("opted_in - opted_out"), lowest=None)
    assert [Estimate(5.0, 5, 5.0, 5.0), Estimate(0.0, 1, 0.0, 0.0), Estimate(-2.0, 1, -2.0, -2.0)] == [
        lowered(net, opted_in=came, opted_out=left) for came, left in ((7, 2), (0, 0), (0, 2))
    ]


def test_a_net_score_is_that_of_its_answers() -> None:
    """60 promoters and 20 detractors of 100 give the net promoter score of surveys; more than answered, none."""
    nps = declared(NetScore("promoters", "detractors", "answers"), lowest=-1.0, highest=1.0)
    assert net_promoter_score(60, 20, 100) == lowered(nps, promoters=60, detractors=20, answers=100)
    assert None is lowered(nps, promoters=60, detractors=50, answers=100)
    assert None is lowered(nps, promoters=0, detractors=0, answers=0)


def test_a_weighted_proportion_counts_whom_an_answer_stands_for() -> None:
    """Two asked with probability 1/2 (one positive) and two with 1/4 (both): 10 of 12 in weight, not 3 of 4."""
    method = WeightedProportion("positive", "weights", "squares", "answers", scale=1_000, squares_scale=1_000)
    sums = {"positive": 10_000, "weights": 12_000, "squares": 40_000, "answers": 4}
    found = lowered(declared(method, highest=1.0), **sums)
    assert found is not None
    assert (pytest.approx(10 / 12), 4) == (found.value, found.n)
    assert None is lowered(declared(method, highest=1.0), **{**sums, "positive": 13_000})
    assert None is lowered(declared(method, highest=1.0), positive=0, weights=0, squares=0, answers=0)


def test_a_winsorised_mean_is_a_mean_of_capped_amounts() -> None:
    """Orders of 10.00, 20.00 and 900.00 with a cap of 50.00: the mean of 10, 20 and 50, and the spread of these."""
    cap = 5_000
    amounts = [min(amount, cap) for amount in (1_000, 2_000, 90_000)]
    method = Mean("total", "orders", "squares", scale=100, squares_scale=10_000, cap=cap)
    found = lowered(
        declared(method, at_least=2), total=sum(amounts), orders=3, squares=sum(amount**2 for amount in amounts)
    )
    spread = stats.tstd([10, 20, 50]) / sqrt(3) * stats.t.ppf(0.975, 2)
    assert found is not None
    assert (pytest.approx(80 / 3), pytest.approx(80 / 3 + spread)) == (found.value, found.high)


def test_a_log_mean_is_a_geometric_one() -> None:
    """Durations of 9 and 99 seconds: sqrt(10 * 100) - 1."""
    logs = [round(log1p(seconds) * 10**9) for seconds in (9, 99)]
    squares = [round(log1p(seconds) ** 2 * 10**9) for seconds in (9, 99)]
    found = lowered(declared(LogMean("logs", "views", "squares", 10**9)), logs=sum(logs), views=2, squares=sum(squares))
    assert found is not None
    assert (pytest.approx(sqrt(1_000) - 1), 2) == (found.value, found.n)


def test_too_few_observations_are_not_enough() -> None:
    """With fewer than its declaration asks for, a metric has no estimate."""
    share = declared(Proportion("positive", "answers"), highest=1.0, at_least=10)
    assert (None, 10) == (
        lowered(share, positive=9, answers=9),
        getattr(lowered(share, positive=9, answers=10), "n", 0),
    )


def test_an_answer_beyond_its_bounds_is_no_data() -> None:
    """A mean that lies above what an amount can be is the sum of something that went wrong."""
    mean_ = declared(Mean("total", "count", "squares"), highest=5.0, at_least=2)
    assert None is lowered(mean_, total=100, count=2, squares=5_000)


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


def test_there_is_no_contrast_without_data() -> None:
    """An arm that saw nothing cannot be compared, nor one whose measures contradict each other, nor a quantile."""
    one = tally(impressions=10, clicks=6, scored_impressions=10, relevance_micros=5)
    assert [None] * 4 == [
        contrast(METRIC["ctr"], one, tally(), INDEX),
        contrast(METRIC["ctr"], tally(impressions=1, clicks=2), one, INDEX),
        contrast(METRIC["aov"], tally(orders=2, order_net_minor=8, order_net_squares=40), tally(orders=2), INDEX),
        contrast(METRIC["order_value_median"], one, one, INDEX),
    ]


@pytest.mark.parametrize("frozen", ORACLES["lifts"])
@pytest.mark.parametrize(("scale", "squares_scale"), [(1, 1), (100, 10_000), (1_000, 1)])
def test_a_contrast_of_clustered_means_is_that_of_gbstats(
    frozen: dict[str, Any], scale: int, squares_scale: int
) -> None:
    """Value and standard error of the relative difference are gbstats', however amounts are stored."""
    names = ("number", "total", "count", "squares", "count_squares", "products")
    method = ClusteredMean(
        "total", "count", Clusters("number", "squares", "count_squares", "products"), scale, squares_scale
    )
    stored = (1, scale, 1, squares_scale, 1, scale)
    one, base = ([n * of for n, of in zip(frozen[arm], stored, strict=True)] for arm in ("treated", "base"))
    found = contrast(declared(method), one, base, {name: at for at, name in enumerate(names)})
    assert found is not None
    error = log(found.high / found.low) / 2 / Z_95
    assert (pytest.approx(1 + frozen["value"], rel=1e-9), pytest.approx(frozen["standard_error"], rel=1e-9)) == (
        found.value,
        error * found.value,
    )


def test_a_contrast_of_means_by_hand() -> None:
    """Orders of 10.00 and 30.00 against two of 10.00: twice as high, log 2 -+ 1.96 sqrt(v) with v = 2 / 2 / 2^2."""
    one = tally(orders=2, order_net_minor=4_000, order_net_squares=1_000**2 + 3_000**2)
    base = tally(orders=2, order_net_minor=2_000, order_net_squares=2 * 1_000**2)
    found = contrast(METRIC["aov"], one, base, INDEX)
    assert found is not None
    # Variance of the amounts 200 (in 10.00^2: 2), of their mean half of it, relative to the squared mean a quarter.
    factor = exp(Z_95 * sqrt(2 / 2 / 4))
    assert pytest.approx((2.0, 2.0 / factor, 2.0 * factor)) == (found.value, found.low, found.high)
    assert 4 == found.n


def test_more_orders_lower_their_average_and_are_good_news() -> None:
    """Half again as many orders, the new ones small: AOV falls by a sixth, revenue per user rises by a quarter."""
    sold = {"personalized": [40_00] * 100 + [20_00] * 50, "holdout": [40_00] * 100}
    one, base = (
        tally(
            orders=len(values),
            order_net_minor=sum(values),
            order_net_squares=sum(v * v for v in values),
            user_days=1_000,
            user_day_revenue_minor=sum(values),
            user_day_revenue_squares=sum(v * v for v in values),
        )
        for values in sold.values()
    )
    found = [contrast(METRIC[name], one, base, INDEX) for name in ("aov", "revenue_per_user")]
    assert [pytest.approx(5 / 6), pytest.approx(1.25)] == [each.value for each in found if each is not None]


def test_the_incremental_share_is_carried_over() -> None:
    """Of 1.25 (1.00 to 2.00) times as much a fifth is incremental (0 to a half); of less than 1, less than 0."""
    assert Estimate(0.2, 9, 0.0, 0.5) == incremental_share(Estimate(1.25, 9, 1.0, 2.0))
    assert Estimate(-1.0, 9, -3.0, 0.0) == incremental_share(Estimate(0.5, 9, 0.25, 1.0))
    assert None is incremental_share(Estimate(0.5, 9, 0.0, 1.0))
