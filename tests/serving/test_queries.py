"""Queries: one metric of one window over some slices, or a clear no with the nearest names."""

from dataclasses import replace

import msgspec
import pytest

from stream_app.serving.queries import BadQueryError, no_parameters, query, query_series
from stream_app.statistics.proportions import wilson
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
        ("metric is missing", "ctr", []),
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
