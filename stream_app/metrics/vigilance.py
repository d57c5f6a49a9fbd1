"""Vigilance: what the watch over a surface is fed with, told in the pane in which it happens.

What people earn is elsewhere credited to the impression that earned it, and settles; here a sealed pane never changes.
Only the first click and the first conversion of a session count, so that what is counted is independent: one session
is one chance, however much of it there is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Final

from stream_app.core.attribution import MICROS, micros
from stream_app.core.events import Impression
from stream_app.core.tally import Measure, Occasion, Spread
from stream_app.metrics.clicked_lists import PLACES
from stream_app.metrics.methods import Mean, Proportion, Rate
from stream_app.metrics.metric import Family, Metric

_RELEVANCE: Final = attrgetter("relevance")


def _micros(impression: Impression) -> int:
    return micros(_RELEVANCE(impression))


def _seen_at(masks: Mapping[int, int]) -> Mapping[int, int]:
    """Return how many positions were seen by place, of masks (bit 0 is position 1) that were seen so often each."""
    seen = Counter[int]()
    for mask, times in masks.items():
        for place in _places(mask):
            seen[place] += times
    return seen


def _places(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield min(lowest.bit_length(), PLACES)
        mask ^= lowest


def _clicked_at(positions: Mapping[int, int]) -> Mapping[int, int]:
    """Return how many clicks were at each place, of positions that got so many each; 0 is one that nobody knows."""
    clicked = Counter[int]()
    for position, times in positions.items():
        if position:
            clicked[min(position, PLACES)] += times
    return clicked


MEASURES: Final = (
    Measure(
        "at_risk_impressions",
        "Impressions of sessions that had not clicked there before; none of people who deny analytics.",
        "items",
        Occasion.AT_RISK,
    ),
    Measure(
        "first_clicks",
        "Sessions that clicked there for the first time, in the pane of that click.",
        "sessions",
        Occasion.FIRST_CLICK,
    ),
    Measure(
        "first_conversions",
        "Sessions that converted for the first time, in the pane of that conversion.",
        "sessions",
        Occasion.FIRST_CONVERSION,
    ),
    Measure(
        "first_scores",
        "Sessions whose first impression there states its relevance.",
        "sessions",
        Occasion.SESSION,
        given="relevance",
    ),
    Measure(
        "first_score_micros",
        "Sum of the relevance of those impressions, in millionths.",
        "millionths",
        Occasion.SESSION,
        _micros,
        given="relevance",
    ),
    Measure(
        "first_score_squares",
        "Sum of its squares, in millionths.",
        "millionths",
        Occasion.SESSION,
        lambda impression: _micros(impression) ** 2 // MICROS,
        given="relevance",
    ),
)

SPREADS: Final = (
    Spread(
        "at_risk_by_position",
        f"Positions of lists that sessions saw which had not clicked there before; from {PLACES} on they are one.",
        "items",
        Occasion.POSITIONS_AT_RISK,
        _seen_at,
    ),
    Spread(
        "first_clicks_by_position",
        f"First clicks of sessions by the position of what was clicked; from {PLACES} on they are one.",
        "sessions",
        Occasion.FIRST_CLICK_AT,
        _clicked_at,
    ),
)

METRICS: Final = (
    Metric(
        name="first_click_rate",
        title="First clicks",
        help="First clicks of sessions for each impression that might have got one, as they happen.",
        unit="ratio",
        formula="sessions that clicked for the first time in the window / impressions of sessions without a click yet",
        caveat="Not the click-through rate: further clicks of a session count no more, nor what it sees after the "
        "first. Clicks are told when they happen, so a window of a minute may have clicks on what was seen before it.",
        method=Proportion("first_clicks", "at_risk_impressions"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="first_conversion_rate",
        title="First conversions",
        help="Sessions that convert for the first time in the window, for each session that began in it.",
        unit="ratio",
        formula="sessions that converted for the first time in the window / sessions that began in the window",
        caveat="Who converts today may have come a week ago: where traffic changes it is no share of those who came, "
        "and may pass 100 %. Both arms share the delay, so held against each other they can be compared at once.",
        method=Rate("first_conversions", "sessions"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
    ),
    Metric(
        name="first_relevance",
        title="Relevance at first sight",
        help="Mean stated relevance of the impression by which a session begins to see the surface, 0 to 1.",
        unit="ratio",
        formula="sum of the stated relevance of first impressions / sessions whose first impression states one",
        caveat="One value a session, so that each is independent: it says nothing of the rest of the list. A session "
        "begins with the impression that arrives first: where the network lets another one overtake it, the other one "
        "is told. As all stated relevance it is the recommender's own opinion.",
        method=Mean("first_score_micros", "first_scores", "first_score_squares", scale=MICROS, squares_scale=MICROS),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
        at_least=2,
    ),
)

FAMILY: Final = Family(
    "vigilance",
    "Vigilance",
    "What the watch is fed with: first clicks, first conversions and first relevance, as they happen.",
    MEASURES,
    METRICS,
    SPREADS,
)
