"""What the words of a declaration mean to a reader."""

from typing import Final

from stream_app.core.tally import Histogram, Measure, Occasion
from stream_app.metrics.metric import Honesty, Metric, Settling

HONEST: Final[dict[Honesty, str]] = {
    "exact": "exact in a settled window",
    "estimate": "an estimate",
    "input": "rests on figures that people told",
}
_SETTLED: Final[dict[Settling, str]] = {
    "at_once": "at once",
    "click_window": "when the click window after the impression has passed",
    "conversion_window": "when the conversion window after the impression has passed",
    "session_close": "when the session is over",
}


def settled(metric: Metric) -> str:
    """Return when a pane of the metric changes no more."""
    return _SETTLED.get(metric.settles) or f"when those who began are {metric.cohort_days} days old"


def interval(metric: Metric) -> str:
    """Return what the bounds are."""
    return f"95 %, {metric.method.interval}" if metric.has_interval else "none: it claims nothing beyond its window"


def good(metric: Metric) -> str:
    """Return which way is good."""
    if metric.is_up_good is None:
        return "neither"
    return "up" if metric.is_up_good else "down"


def occasion(counted: Measure | Histogram) -> str:
    """Return when a measure or a histogram grows."""
    on = counted.on
    # Three cases: every event of a type, what attribution decides about, or a change of a kind of records.
    if isinstance(on, type):
        name = on.__name__
    else:
        name = on.name.lower().replace("_", " ") if isinstance(on, Occasion) else f"change of a {on.name}"
    given = getattr(counted, "given", None)
    return f"{name}, with {given}" if given else name
