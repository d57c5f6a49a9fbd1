"""Engagement: what was shown, and what was acted on."""

from typing import Final

from stream_app.core.records import growth
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.metric import Metric

MEASURES: Final = (
    Measure("impressions", "Items seen.", "items", Occasion.IMPRESSION),
    Measure(
        "clicks",
        "Impressions acted on within the click window, credited to the pane of the impression; one per impression.",
        "items",
        Occasion.CLICK,
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
    Measure("excluded", "Events of bots and tests, kept out of every metric.", "events", Occasion.EXCLUDED),
    Measure("other_events", "Events of types that no metric reads yet.", "events", Occasion.OTHER),
)

METRICS: Final = (
    Metric(
        "ctr",
        "Click-through rate",
        "Share of impressions that were clicked. Clicks settle for the click window after the impression.",
        "ratio",
        "proportion",
        total="clicks",
        count="impressions",
        highest=1.0,
    ),
    Metric(
        "session_ctr",
        "Sessions that clicked",
        "Share of sessions exposed to the surface that clicked there at least once. Not the click-through rate: that "
        "is of impressions, and one session has many.",
        "ratio",
        "proportion",
        total="clicked_sessions",
        count="sessions",
        highest=1.0,
    ),
)
