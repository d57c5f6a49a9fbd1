"""Queries: one metric of one window over some slices, or a clear no with the nearest names."""

from dataclasses import replace

import msgspec
import pytest

from stream_app.core.events import Search
from stream_app.core.histograms import Bin
from stream_app.core.quantile_sketch import QuantileSketch, bucket_of
from stream_app.core.tally import Histogram
from stream_app.metrics.catalogue import HISTOGRAMS, METRICS
from stream_app.metrics.contrasting import refusal
from stream_app.metrics.methods import Quantile
from stream_app.metrics.metric import Metric
from stream_app.serving.queries import BadQueryError, Held, no_parameters, query, query_series
from stream_app.statistics.differences import difference
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import risk_ratio
from tests.serving.stored import HOLDOUT, HOME, NOW_MS
from tests.serving.viewing import MEANING, view_of

NEW = HOME._replace(segment="new", device="tv")
VIEW = view_of((NOW_MS, HOME, 100, 7), (NOW_MS, HOLDOUT, 50, 1), (NOW_MS, NEW, 10, 5))


@pytest.mark.parametrize(
    ("expected", "where"),
    [
        (wilson(13, 160), {}),
        (wilson(12, 110), {"arm": "personalized"}),
        (wilson(5, 10), {"surface": "home.hero", "segment": "new", "device": "tv"}),
        (wilson(7, 100), {"device": "phone", "arm": "personalized"}),
        (None, {"surface": "nowhere"}),
    ],
)
def test_omitted_dimensions_are_summed_over(expected, where) -> None:
    """A query adds the slices that have all the values it names, before it lowers them."""
    assert expected == query(VIEW, MEANING, {"metric": "ctr", "window": "1h", **where}.items()).estimate


def test_the_answer_says_what_was_asked_and_how_far_to_trust_it() -> None:
    """Window, bounds, completeness and maturity come along; five minutes are the default."""
    answer = query(VIEW, MEANING, [("metric", "ctr"), ("surface", "nowhere")])
    window = VIEW.snapshot.windows["5m"]
    assert ("5m", window.start_ms, window.end_ms, True, 0.0, ("surface",), {"surface": "nowhere"}, 0) == (
        answer.window,
        answer.start_ms,
        answer.end_ms,
        answer.complete,
        answer.maturity,
        answer.unseen,
        answer.where,
        answer.measures["impressions"],
    )


@pytest.mark.parametrize(
    ("message", "near", "parameters"),
    [
        ("unknown metric 'crt'", "ctr", [("metric", "crt")]),
        ("metric is missing", min(metric.name for metric in METRICS), []),
        ("unknown window '5min'", "5m", [("metric", "ctr"), ("window", "5min")]),
        ("unknown parameter 'surfaec'", "surface", [("metric", "ctr"), ("surfaec", "home")]),
    ],
)
def test_an_unknown_name_is_refused_with_its_neighbours(message, near, parameters) -> None:
    """A name that does not exist is never ignored; the nearest that exist are named."""
    with pytest.raises(BadQueryError) as caught:
        query(VIEW, MEANING, parameters)
    assert (message, True) == (caught.value.message, near in caught.value.near)


@pytest.mark.parametrize(
    ("message", "near", "parameters"),
    [
        ("ctr makes no sense in window '5m'", ["7d", "28d", "all"], [("window", "5m")]),
        ("ctr is not known by device", ["surface", "arm"], [("device", "phone")]),
    ],
)
def test_what_makes_no_sense_for_a_metric_is_refused(message, near, parameters) -> None:
    """A window or dimension that it is not declared for is refused, with those it is."""
    (ctr,) = (metric for metric in MEANING.metrics if metric.name == "ctr")
    declared = replace(ctr, windows=("7d", "28d"), dimensions=("surface", "arm"))
    meaning = msgspec.structs.replace(MEANING, metrics=(declared,))
    with pytest.raises(BadQueryError) as caught:
        query(VIEW, meaning, [("metric", "ctr"), *parameters])
    assert (message, near) == (caught.value.message, caught.value.near)
    assert ["7d", "all"] == [
        query(VIEW, meaning, [("metric", "ctr"), *window]).window for window in ([], [("window", "all")])
    ]


def test_a_percentile_is_that_of_the_histogram() -> None:
    """Waits of 1 to 40 in one arm and of 100 in the other: a query merges the bins of what it asks for."""
    waits = Histogram("waits", "Waits.", "seconds", Search, lambda _: 0)
    (ctr,) = (metric for metric in MEANING.metrics if metric.name == "ctr")
    median = replace(ctr, name="wait", method=Quantile("waits", 0.5), highest=None, dimensions=("surface", "arm"))
    meaning = msgspec.structs.replace(MEANING, metrics=(median,), histograms=(waits,))
    bins = {Bin("home.hero", "personalized", waits.number, bucket_of(n)): (1,) for n in range(1, 41)}
    bins[Bin("home.hero", "holdout", waits.number, bucket_of(100))] = (60,)
    bins[Bin("home.hero", "holdout", waits.number + 1, 1)] = (1_000,)
    view = view_of((NOW_MS, HOME, 1, 0), meaning=meaning)
    view = view._replace(bins={**view.bins, "5m": bins})
    answers = [query(view, meaning, [("metric", "wait"), *where]) for where in ([("arm", "personalized")], [])]
    assert [(20, 40), (bucket_middle(100), 100)] == [
        (answer.estimate.value, answer.estimate.n) for answer in answers if answer.estimate
    ]


def bucket_middle(amount: int) -> float:
    """Return what stands for an amount in a sketch."""
    return QuantileSketch.of({bucket_of(amount): 1}).quantile(0.5).middle


def test_a_parameter_given_twice_is_refused() -> None:
    """Two values for one dimension have no meaning here."""
    with pytest.raises(BadQueryError, match="twice"):
        query(VIEW, MEANING, [("metric", "ctr"), ("arm", "a"), ("arm", "b")])


def test_parameters_are_refused_where_none_are_read() -> None:
    """A filter that would be ignored must not look like one that was obeyed."""
    with pytest.raises(BadQueryError, match="unknown parameter 'surface'"):
        no_parameters([("surface", "home")])


def test_a_series_of_one_surface() -> None:
    """The last point of a surface has the estimates of that surface alone."""
    one = query_series(VIEW, MEANING, [("surface", "home.hero")]).points[-1].arms
    none = query_series(VIEW, MEANING, [("surface", "nowhere")]).points[-1].arms
    assert (wilson(12, 110), {}) == (one["personalized"]["ctr"], none)
    assert VIEW.snapshot.series == query_series(VIEW, MEANING, [])


def test_what_is_told_against_a_random_order_is_held_against_the_holdout() -> None:
    """8 clicks at the first place where the holdout gets 4 in as many are twice par, whatever arm was asked for."""
    metric = next(metric for metric in METRICS if metric.name == "clicks_over_expected")
    lists = next(histogram for histogram in HISTOGRAMS if histogram.name in metric.needs)
    counted = {
        Bin("home.hero", "personalized", lists.number, 100): (100,),
        Bin("home.hero", "personalized", lists.number, 120): (8,),
        Bin("home.hero", "holdout", lists.number, 100): (50,),
        Bin("home.hero", "holdout", lists.number, 120): (2,),
        Bin("elsewhere", "holdout", lists.number, 100): (50,),
    }
    view = VIEW._replace(bins=dict.fromkeys(VIEW.bins, counted))
    meaning = msgspec.structs.replace(MEANING, metrics=METRICS, histograms=HISTOGRAMS)
    arms = ("personalized", "holdout", "context_blind")
    asked = [[("metric", metric.name), ("surface", "home.hero"), ("arm", arm)] for arm in arms]
    found = [query(view, meaning, parameters).estimate for parameters in asked]
    assert [2.0, 1.0, None] == [estimate and estimate.value for estimate in found]


def test_an_arm_is_held_against_another_one() -> None:
    """12 of 110 against 1 of 50, of personalized where no arm is named; dimensions hold for both."""
    found = query(VIEW, MEANING, [("metric", "ctr"), ("window", "1h"), ("against", "holdout")])
    turned = query(
        VIEW, MEANING, [("metric", "ctr"), ("window", "1h"), ("arm", "holdout"), ("against", "personalized")]
    )
    phones = query(VIEW, MEANING, [("metric", "ctr"), ("against", "holdout"), ("window", "1h"), ("device", "phone")])
    one, other = wilson(12, 110), wilson(1, 50)
    assert ({"arm": "personalized"}, one) == (found.where, found.estimate)
    assert Held("holdout", other, risk_ratio(12, 110, 1, 50), difference(one, other)) == found.contrast
    assert Held("personalized", one, risk_ratio(1, 50, 12, 110), difference(other, one)) == turned.contrast
    assert (wilson(7, 100), risk_ratio(7, 100, 1, 50)) == (phones.estimate, phones.contrast and phones.contrast.ratio)
    assert None is query(VIEW, MEANING, [("metric", "ctr")]).contrast


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_contrasted_or_says_why_not(metric: Metric) -> None:
    """Each is held against the holdout, and where nothing of it was counted without an answer, or refused with why."""
    parameters = [("metric", metric.name), ("against", "holdout")]
    why = refusal(metric)
    if why is None:
        assert "holdout" == (query(VIEW, MEANING, parameters).contrast or Held("", None, None, None)).against
        return
    with pytest.raises(BadQueryError) as caught:
        query(VIEW, MEANING, parameters)
    assert f"{metric.name} cannot be held against another arm: {why}" == caught.value.message


@pytest.mark.parametrize(
    ("message", "near", "parameters"),
    [
        ("unknown arm 'holdot'", "holdout", [("against", "holdot")]),
        ("unknown arm 'persnalized'", "personalized", [("against", "holdout"), ("arm", "persnalized")]),
        ("holdout cannot be held against itself", "context_blind", [("against", "holdout"), ("arm", "holdout")]),
    ],
)
def test_an_arm_that_does_not_exist_is_refused(message: str, near: str, parameters: list[tuple[str, str]]) -> None:
    """Two arms that are known, or were counted, and are not the same."""
    with pytest.raises(BadQueryError) as caught:
        query(VIEW, MEANING, [("metric", "ctr"), *parameters])
    assert (message, True) == (caught.value.message, near in caught.value.near)


def test_percentiles_of_arms_are_held_against_each_other() -> None:
    """What reads bins is contrasted by the bins of either arm."""
    metric = next(metric for metric in METRICS if metric.name == "order_value_median")
    (histogram,) = (each for each in HISTOGRAMS if each.name in metric.needs)
    bins = {Bin("home.hero", arm, histogram.number, bucket_of(cents)): (50,) for arm, cents in (("personalized", 4_000),
            ("holdout", 2_000))}  # fmt: skip
    view = VIEW._replace(bins=dict.fromkeys(VIEW.bins, bins))
    meaning = msgspec.structs.replace(MEANING, histograms=HISTOGRAMS)
    held = query(view, meaning, [("metric", metric.name), ("against", "holdout")]).contrast
    assert (2.0, 20.0) == (pytest.approx(held.ratio.value, rel=0.02), pytest.approx(held.difference.value, rel=0.02))


def test_a_window_contrasts_nothing_that_it_cannot_answer() -> None:
    """A metric that is not there yet has no contrast either."""
    window = msgspec.structs.replace(VIEW.snapshot.windows["5m"], not_yet=("ctr",))
    windows = {**VIEW.snapshot.windows, "5m": window}
    young = VIEW._replace(snapshot=msgspec.structs.replace(VIEW.snapshot, windows=windows))
    assert (
        Held("holdout", None, None, None) == query(young, MEANING, [("metric", "ctr"), ("against", "holdout")]).contrast
    )
