"""What the words of a declaration mean to a reader."""

from typing import Final

from stream_app.core.records import Aged
from stream_app.core.tally import Binned, Measure, Occasion
from stream_app.metrics.contrasting import has_ratio, refusal
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
    "four_weeks": "when four weeks have passed",
}


def settled(metric: Metric) -> str:
    """Return when a pane of the metric changes no more."""
    return _SETTLED.get(metric.settles) or f"when those who began are {metric.cohort_days} days old"


def interval(metric: Metric) -> str:
    """Return what the bounds are."""
    return f"95 %, {metric.method.interval}" if metric.has_interval else "none: it claims nothing beyond its window"


def contrast(metric: Metric) -> str:
    """Return what holding an arm against another one gives, or why nothing does."""
    why = refusal(metric)
    if why:
        return f"not to be had: {why}"
    return "difference and ratio" if has_ratio(metric) else "difference"


def good(metric: Metric) -> str:
    """Return which way is good."""
    if metric.is_up_good is None:
        return "neither"
    return "up" if metric.is_up_good else "down"


def occasion(counted: Measure | Binned) -> str:
    """Return when a measure or a histogram grows."""
    on = counted.on
    # Four cases: every event of a type, what attribution decides about, a change of a kind of records, at once or late.
    if isinstance(on, type):
        name = on.__name__
    elif isinstance(on, Aged):
        name = f"change of a {on.kind.name}, told at {on.days} days"
    else:
        name = on.name.lower().replace("_", " ") if isinstance(on, Occasion) else f"change of a {on.name}"
    given = getattr(counted, "given", None)
    return f"{name}, with {given}" if given else name
