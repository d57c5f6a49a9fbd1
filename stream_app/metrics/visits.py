"""Visits: how long they last, what is done in them, and one score for all of it.

What a visit is, and what belongs to it, is said in `visit_records`. All of a visit is counted where it began, while it
goes on: nothing waits for its end, and the sums of squares are those of whole visits.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from stream_app.core.quantile_sketch import bucket_of
from stream_app.core.records import growth
from stream_app.core.tally import Histogram, Measure
from stream_app.metrics.fixed_point import NANOS, divided
from stream_app.metrics.logarithms import log_nanos, log_square_nanos
from stream_app.metrics.methods import LogMean, Mean, Proportion, Quantile
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.visit_records import ACTIONS, MOST_POINTS, VISITS, Visit

_MS: Final = 1_000
_OF_PEOPLE: Final = ("arm", "segment", "channel", "device")
"""A visit goes over many surfaces, so it is not known by them."""
_OF_HISTOGRAMS: Final = ("arm",)


def _of_visits(name: str, help_: str, unit: str, of: Callable[[Visit], int]) -> Measure:
    """Return a measure that adds `of` each visit that is one."""
    return Measure(name, help_, unit, VISITS, growth(lambda visit: of(visit) if visit.is_seen else 0))


def _square_seconds(ms: int) -> int:
    return divided(ms * ms, _MS * _MS)


@lru_cache(maxsize=4_096)  # few visits last longer than an hour
def _log_second_nanos(seconds: int) -> int:
    return log_nanos(seconds)


@lru_cache(maxsize=4_096)  # as above
def _log_second_square_nanos(seconds: int) -> int:
    return log_square_nanos(seconds)


MEASURES: Final = (
    Measure("visits", "Visits, where they began.", "visits", VISITS, growth(lambda visit: visit.is_seen)),
    _of_visits("visit_pages", "Pages viewed in visits.", "pages", lambda visit: visit.pages),
    _of_visits(
        "visit_page_squares",
        "Sum over visits of the square of the number of their pages.",
        "pages squared",
        lambda visit: visit.pages**2,
    ),
    _of_visits("visit_searches", "Searches made in visits.", "searches", lambda visit: visit.searches),
    _of_visits(
        "visit_search_squares",
        "Sum over visits of the square of the number of their searches.",
        "searches squared",
        lambda visit: visit.searches**2,
    ),
    _of_visits(
        "searching_visits",
        "Visits with a search at least.",
        "visits",
        lambda visit: int(visit.searches > 0),
    ),
    _of_visits(
        "visit_interactions",
        "Clicks of every kind, also repeated ones, and additions to the cart, in visits.",
        "interactions",
        lambda visit: visit.interactions,
    ),
    _of_visits(
        "visit_interaction_squares",
        "Sum over visits of the square of the number of their interactions.",
        "interactions squared",
        lambda visit: visit.interactions**2,
    ),
    _of_visits(
        "visit_log_span_nanos",
        "Sum over visits of ln(1 + whole seconds from first to last sign of life), in 10^-9.",
        "10^-9",
        lambda visit: _log_second_nanos(visit.span_ms // _MS),
    ),
    _of_visits(
        "visit_log_span_square_nanos",
        "Sum over visits of the square of ln(1 + whole seconds from first to last sign of life), in 10^-9.",
        "10^-9",
        lambda visit: _log_second_square_nanos(visit.span_ms // _MS),
    ),
    _of_visits(
        "timed_visits",
        "Visits of which a view said that it was over, and so how long it was looked at.",
        "visits",
        lambda visit: int(visit.views_left > 0),
    ),
    _of_visits(
        "visit_active_ms",
        "Time for which views were looked at, of those that said that they were over.",
        "milliseconds",
        lambda visit: visit.active_ms,
    ),
    _of_visits(
        "visit_active_square_seconds",
        "Sum over visits of the square of visit_active_ms, in seconds squared.",
        "seconds squared",
        lambda visit: _square_seconds(visit.active_ms),
    ),
    _of_visits(
        "engagement_points",
        f"Points of the engagement score, of {MOST_POINTS} possible in a visit.",
        "points",
        lambda visit: visit.points,
    ),
    _of_visits(
        "engagement_point_squares",
        "Sum over visits of the square of their points.",
        "points squared",
        lambda visit: visit.points**2,
    ),
)
HISTOGRAMS: Final = (
    Histogram(
        "visit_spans",
        "Visits by the milliseconds from their first to their last sign of life.",
        "visits",
        VISITS,
        lambda visit: bucket_of(visit.span_ms) if visit.is_seen else None,
    ),
    Histogram(
        "visit_active_times",
        "Timed visits by the milliseconds for which their views were looked at.",
        "visits",
        VISITS,
        lambda visit: bucket_of(visit.active_ms) if visit.is_seen and visit.views_left else None,
    ),
)

_WEIGHTS: Final = ", ".join(f"{action.counted.replace('_', ' ')} {action.weight} x {action.cap}" for action in ACTIONS)
_ALIKE: Final = "Visits of one person are alike, so where few people make many visits the interval is too narrow. "
_SPAN_CAVEAT: Final = (
    "A visit of one page without heartbeats lasts 0 seconds, though somebody read it: where heartbeats are sent, the "
    "time on the last page is in it, otherwise it is not. A page left open in the background counts while it sends "
    "heartbeats; for the time looked at, see the active time. Times of visits add to no total of people's time."
)

METRICS: Final = (
    Metric(
        name="interactions_per_session",
        title="Clicked items per exposed session",
        help="Mean number of different items that an exposed session acted on at the surface: clicks, swipes, "
        "expansions, plays, additions.",
        unit="items",
        formula="clicks of exposed sessions, one per impression / exposed sessions",
        caveat="Items that were acted on, not how often. It rises with the number of items shown, as the share of "
        "sessions that clicked does. " + _ALIKE.replace("Visits", "Sessions").replace("visits", "sessions").strip(),
        method=Mean("session_clicks", "sessions", "session_click_squares"),
        honesty="exact",
        settles="click_window",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="interactions_per_visit",
        title="Interactions per visit",
        help="Mean number of clicks of every kind, and of additions to the cart, in a visit.",
        unit="interactions",
        formula="(clicks, repeated ones too, + additions to the cart) / visits",
        caveat=_ALIKE + "A source that tells one act both as a click of kind add and as an addition to the cart has "
        "it counted twice.",
        method=Mean("visit_interactions", "visits", "visit_interaction_squares"),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        at_least=2,
        dimensions=_OF_PEOPLE,
    ),
    Metric(
        name="pages_per_visit",
        title="Pages per visit",
        help="Mean number of pages viewed in a visit.",
        unit="pages",
        formula="page views in visits / visits",
        caveat=_ALIKE + "More pages can mean more interest or a longer way to what was wanted. Where a source tells "
        "clicks but no page views, its visits have none.",
        method=Mean("visit_pages", "visits", "visit_page_squares"),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        at_least=2,
        dimensions=_OF_PEOPLE,
    ),
    Metric(
        name="searches_per_visit",
        title="Searches per visit",
        help="Mean number of searches in a visit.",
        unit="searches",
        formula="searches in visits / visits",
        caveat=_ALIKE + "A rise can mean that recommendations fail, and that people have to look for themselves: it "
        "is read beside the click-through rate, and between arms.",
        method=Mean("visit_searches", "visits", "visit_search_squares"),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        at_least=2,
        dimensions=_OF_PEOPLE,
    ),
    Metric(
        name="searching_visits_share",
        title="Visits that search",
        help="Share of visits with one search at least.",
        unit="ratio",
        formula="visits with at least one search / visits",
        caveat=_ALIKE + "A rise can mean that recommendations fail.",
        method=Proportion("searching_visits", "visits"),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        highest=1.0,
        dimensions=_OF_PEOPLE,
    ),
    Metric(
        name="visit_duration_median",
        title="Visit duration, median",
        help="How long half of all visits last at most, from the first to the last sign of life.",
        unit="seconds",
        formula="median over visits of (last event - first event), heartbeats included",
        caveat=_SPAN_CAVEAT,
        method=Quantile("visit_spans", 0.5, _MS),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        at_least=8,
        dimensions=_OF_HISTOGRAMS,
    ),
    Metric(
        name="visit_duration_p90",
        title="Visit duration, 90th percentile",
        help="How long nine of ten visits last at most.",
        unit="seconds",
        formula="90 % quantile over visits of (last event - first event), heartbeats included",
        caveat=_SPAN_CAVEAT,
        method=Quantile("visit_spans", 0.9, _MS),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        dimensions=_OF_HISTOGRAMS,
    ),
    Metric(
        name="visit_duration",
        title="Visit duration, geometric mean",
        help="How long a typical visit lasts: a mean that the few very long ones do not make.",
        unit="seconds",
        formula="exp(mean over visits of ln(1 + whole seconds from first to last event)) - 1",
        caveat="Not the arithmetic mean: times the number of visits it is no total. " + _SPAN_CAVEAT,
        method=LogMean("visit_log_span_nanos", "visits", "visit_log_span_square_nanos", NANOS),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        at_least=2,
        dimensions=_OF_PEOPLE,
    ),
    Metric(
        name="active_time_per_visit",
        title="Active time per visit",
        help="Mean time for which the pages of a visit were looked at, by heartbeats that closed a view.",
        unit="seconds",
        formula="active time of views that said that they were over / visits with such a view; elapsed time where no "
        "active time is told",
        caveat="Preferred to the duration, which takes silence for attention, and cannot see the last page. A view "
        "whose last heartbeat is lost is missing: the time is a little too short. " + _ALIKE.strip(),
        method=Mean("visit_active_ms", "timed_visits", "visit_active_square_seconds", scale=_MS, squares_scale=1),
        honesty="estimate",
        settles="session_close",
        is_up_good=None,
        at_least=2,
        dimensions=_OF_PEOPLE,
    ),
    Metric(
        name="active_time_median",
        title="Active time of a visit, median",
        help="For how long the pages of half of all visits were looked at, at most.",
        unit="seconds",
        formula="median over visits with a closed view of the active time of their closed views",
        caveat="A view whose last heartbeat is lost is missing: the time is a little too short.",
        method=Quantile("visit_active_times", 0.5, _MS),
        honesty="estimate",
        settles="session_close",
        is_up_good=None,
        at_least=8,
        dimensions=_OF_HISTOGRAMS,
    ),
    Metric(
        name="engagement_score",
        title="Personalized Engagement Score",
        help=f"Mean of what a visit did, of all that counts: {_WEIGHTS} (weight x most), {MOST_POINTS} points in all.",
        unit="ratio",
        formula="mean over visits of: sum of weight x min(times, cap) over actions / sum of weight x cap",
        caveat='The usual "weighted actions / total possible weighted actions" has no meaning without caps: the total '
        "possible is unbounded, and divided by the highest seen, one visit changes the score of all others. The "
        "weights are a judgement, the same for every arm: compare arms, not sites. " + _ALIKE.strip(),
        method=Mean(
            "engagement_points",
            "visits",
            "engagement_point_squares",
            scale=MOST_POINTS,
            squares_scale=MOST_POINTS**2,
        ),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        highest=1.0,
        at_least=2,
        dimensions=_OF_PEOPLE,
    ),
)

FAMILY: Final = Family("visits", "Visits", "How long people stay, and what they do.", MEASURES, METRICS, HISTOGRAMS)
