"""What a view says of context beyond single metrics: the waterfall of a share, the index, the gap between arms.

Pure, from a view to values; names are checked by who asks. Windows that cannot answer a metric yet have none of them.
"""

from collections.abc import Mapping

from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import Tally
from stream_app.metrics.metric import Metric
from stream_app.serving.views import Meaning, View
from stream_app.statistics.differences import difference
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.relevance_index import RelevanceIndex, relevance_index
from stream_app.statistics.waterfall import Waterfall, waterfall_of

_ARM = DIMENSIONS.index("arm")
TREATED = "personalized"


def arms(view: View, meaning: Meaning, window: str, where: Mapping[str, str]) -> dict[str, Tally]:
    """Return the tally of each arm in a window, over the slices that have the values of `where`."""
    wanted = [(DIMENSIONS.index(dimension), value) for dimension, value in where.items()]
    found: dict[str, list[Tally]] = {}
    for slice_, tally in view.totals[window].items():
        if all(slice_[at] == value for at, value in wanted):
            found.setdefault(slice_[_ARM], []).append(Tally(tally))
    return {arm: Tally.total(tallies, len(meaning.index)) for arm, tallies in found.items()}


def context_waterfall(
    view: View, meaning: Meaning, metric: str, window: str, where: Mapping[str, str]
) -> Waterfall | None:
    """Return the waterfall of a share in a window: `conversion` for all, `signal_conversion` for the triggered.

    What context adds, what personalization adds without it, and the total; None without enough data.
    """
    declared = _answerable(view, meaning, metric, window)
    return None if declared is None else waterfall_of(declared, arms(view, meaning, window, where), meaning.index)


def context_index(view: View, meaning: Meaning, window: str) -> RelevanceIndex | None:
    """Return the index of contextual relevance of a window, over all surfaces; for a wall, never for an alert."""
    by_arm = arms(view, meaning, window, {})
    parts = [
        _estimate(view, meaning, name, window, by_arm.get(TREATED))
        for name in ("context_response", "context_change", "context_fitting")
    ]
    lifts = context_waterfall(view, meaning, "conversion", window, {})
    return relevance_index(parts[0], parts[1], lifts.context if lifts else None, parts[2])


def gap(
    view: View, meaning: Meaning, metric: str, window: str, arm: str, against: str, where: Mapping[str, str]
) -> Estimate | None:
    """Return by how much a metric is above that of another arm; of `context_answer_rate`, whether answers compare."""
    by_arm = arms(view, meaning, window, where)
    one, other = (_estimate(view, meaning, metric, window, by_arm.get(name)) for name in (arm, against))
    return difference(one, other) if one and other else None


def _answerable(view: View, meaning: Meaning, metric: str, window: str) -> Metric | None:
    if metric in view.snapshot.windows[window].not_yet:
        return None
    return next((each for each in meaning.metrics if each.name == metric), None)


def _estimate(view: View, meaning: Meaning, metric: str, window: str, tally: Tally | None) -> Estimate | None:
    declared = _answerable(view, meaning, metric, window)
    return lower(declared, tally, meaning.index) if declared and tally is not None else None
