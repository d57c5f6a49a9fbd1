"""Engagement: what was shown, and what was acted on."""

from typing import Final

from stream_app.core.records import growth
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.methods import Proportion, SuccessClusters
from stream_app.metrics.metric import Family, Metric

MEASURES: Final = (
    Measure("impressions", "Items seen.", "items", Occasion.IMPRESSION, is_counter=True),
    Measure(
        "clicks",
        "Impressions acted on within the click window, credited to the pane of the impression; one per impression.",
        "items",
        Occasion.CLICK,
        is_counter=True,
    ),
    Measure("repeat_clicks", "Further clicks on an impression that had one.", "clicks", Occasion.REPEAT_CLICK),
    Measure(
        "sessions", "Sessions that saw the surface, at their first impression there.", "sessions", Occasion.SESSION
    ),
    Measure(
        "clicked_sessions",
        "Exposed sessions with at least one click, at the session's first impression.",
        "sessions",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.clicks > 0),
    ),
    Measure(
        "session_clicks",
        "The clicks whose session is known, at the session's first impression; one per impression.",
        "items",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.clicks),
    ),
    Measure(
        "session_click_squares",
        "Sum over exposed sessions of the square of session_clicks.",
        "items squared",
        Occasion.EXPOSURE,
        growth(lambda exposure: exposure.clicks**2),
    ),
    Measure("excluded", "Events of bots and tests, kept out of every metric.", "events", Occasion.EXCLUDED),
    Measure("other_events", "Events of types that no metric reads yet.", "events", Occasion.OTHER),
)

METRICS: Final = (
    Metric(
        name="ctr",
        title="Click-through rate",
        help="Share of impressions that were clicked. Clicks settle for the click window after the impression.",
        unit="ratio",
        formula="clicks / impressions, at most one click per impression, in the pane of the impression",
        caveat="Clicks of one session are alike, and the interval is wider for it, taking sessions as if they saw as "
        "many impressions each; sessions of one person still count as independent. It is not the share of people who "
        "click: for that, see the sessions that clicked.",
        method=Proportion(
            "clicks", "impressions", SuccessClusters("sessions", "session_clicks", "session_click_squares")
        ),
        honesty="exact",
        settles="click_window",
        is_up_good=True,
        is_exported=True,
        highest=1.0,
    ),
    Metric(
        name="session_ctr",
        title="Sessions that clicked",
        help="Share of sessions exposed to the surface that clicked there at least once. Not the click-through rate: "
        "that is of impressions, and one session has many.",
        unit="ratio",
        formula="exposed sessions with at least one click / exposed sessions",
        caveat='Often quoted as "users who click": a user of two sessions counts twice here. A session that saw more '
        "had more chances, so it rises with the number of impressions per session.",
        method=Proportion("clicked_sessions", "sessions"),
        honesty="exact",
        settles="click_window",
        is_up_good=True,
        is_exported=True,
        highest=1.0,
    ),
)

FAMILY: Final = Family("engagement", "Engagement", "What was shown, and what was acted on.", MEASURES, METRICS)
