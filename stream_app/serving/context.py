"""What a view says of context beyond single metrics: waterfalls of shares, the index, the gap between arms.

Pure, from a view and parameters to values. Windows that cannot answer a metric yet have nothing of it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import Tally
from stream_app.metrics.metric import Metric
from stream_app.serving.queries import TREATED, named, once, reach_of, unseen
from stream_app.serving.views import Meaning, View
from stream_app.statistics.differences import difference
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.relevance_index import AT_LEAST, RelevanceIndex, lacking, relevance_index
from stream_app.statistics.waterfall import Step, Waterfall, waterfall_of

DEFAULT_WINDOW: Final = "24h"
"""Lifts of a few minutes are chance."""
OVERALL: Final = ("conversion", "ctr")
TRIGGERED: Final = ("signal_conversion", "signal_ctr")
"""Of the moments in which context changed, which are the same in every arm: less diluted by all the others."""
LIFTED: Final = "conversion"
"""The share whose lift by context is part of the index."""
PARTS: Final = {"response": "context_response", "change": "context_change", "feedback": "context_fitting"}
"""The metrics of the index, of the personalized arm; the fourth part is the lift."""
ASKED: Final = ("context_answer_rate", "context_blind")
"""Where one arm answers more readily than the other, their answers do not compare."""
SHARE: Final = "incremental_revenue_share"
_ARM: Final = DIMENSIONS.index("arm")


class Indexed(msgspec.Struct, frozen=True):
    """The index of contextual relevance, over all surfaces, and the estimates that it is made of.

    There is none unless everything has `at_least` behind it: `lacking` says what has not, and how many it has.
    """

    index: RelevanceIndex | None
    parts: dict[str, Estimate | None]
    at_least: int
    lacking: dict[str, int]


class ContextAnswer(msgspec.Struct, frozen=True):
    """What a window says of context: `waterfalls` by metric, triggered ones too; the index; two checks beside them.

    `incremental_share` is the share of revenue that personalization is the cause of, `answer_gap` by how much more of
    those who are asked answer in the personalized arm than in `context_blind`. The index and the share are of all
    surfaces together, so there are none of a single one. The other fields are as in `queries.Answer`; `maturity` is
    that of `conversion`.
    """

    window: str
    where: dict[str, str]
    unseen: tuple[str, ...]
    start_ms: int
    end_ms: int
    complete: bool
    replaying: bool
    gapped: bool
    rekeyed: bool
    maturity: float
    waterfalls: dict[str, Waterfall | None]
    relevance: Indexed | None
    incremental_share: Estimate | None
    answer_gap: Estimate | None


def context(view: View, meaning: Meaning, parameters: Iterable[tuple[str, str]]) -> ContextAnswer:
    """Answer `window` (default 24h) and `surface` (default: all of them).

    Raises BadQueryError for a name that does not exist or is given twice.
    """
    where = once(parameters, ("window", "surface"))
    name = named(where.pop("window", DEFAULT_WINDOW), "window", view.snapshot.windows)
    window, reach = view.snapshot.windows[name], reach_of(view, name)
    known = {metric.name for metric in meaning.metrics_of(name)}
    return ContextAnswer(
        name,
        where,
        unseen(view, where),
        window.start_ms,
        window.end_ms,
        reach.is_whole,
        view.snapshot.replaying,
        reach.is_gapped,
        reach.is_rekeyed,
        window.maturities.get(LIFTED, 1.0),
        {
            metric: context_waterfall(view, meaning, metric, name, where)
            for metric in (*OVERALL, *TRIGGERED)
            if metric in known
        },
        None if where else context_index(view, meaning, name),
        None if where else _incremental_share(view, meaning, name),
        gap(view, meaning, ASKED[0], name, TREATED, ASKED[1], where),
    )


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


def context_index(view: View, meaning: Meaning, window: str) -> Indexed:
    """Return the index of contextual relevance of a window, over all surfaces; for a wall, never for an alert."""
    by_arm = arms(view, meaning, window, {})
    parts = {part: _estimate(view, meaning, name, window, by_arm.get(TREATED)) for part, name in PARTS.items()}
    lifts = context_waterfall(view, meaning, LIFTED, window, {})
    made_of: tuple[Estimate | None, Estimate | None, Step | None, Estimate | None] = (
        parts["response"],
        parts["change"],
        lifts.context if lifts else None,
        parts["feedback"],
    )
    return Indexed(relevance_index(*made_of), parts, AT_LEAST, lacking(*made_of))


def gap(
    view: View, meaning: Meaning, metric: str, window: str, arm: str, against: str, where: Mapping[str, str]
) -> Estimate | None:
    """Return by how much a metric is above that of another arm; of `context_answer_rate`, whether answers compare."""
    by_arm = arms(view, meaning, window, where)
    one, other = (_estimate(view, meaning, metric, window, by_arm.get(name)) for name in (arm, against))
    return difference(one, other) if one and other else None


# -- inside ----------------------------------------------------------------------------------------------------------


def _answerable(view: View, meaning: Meaning, metric: str, window: str) -> Metric | None:
    if metric in view.snapshot.windows[window].not_yet:
        return None
    return next((each for each in meaning.metrics if each.name == metric), None)


def _estimate(view: View, meaning: Meaning, metric: str, window: str, tally: Tally | None) -> Estimate | None:
    declared = _answerable(view, meaning, metric, window)
    return lower(declared, tally, meaning.index) if declared and tally is not None else None


def _incremental_share(view: View, meaning: Meaning, window: str) -> Estimate | None:
    declared = _answerable(view, meaning, SHARE, window)
    if declared is None or declared.arms is None:
        return None
    by_arm = arms(view, meaning, window, {})
    one, other = (by_arm.get(arm) for arm in declared.arms)
    return lower(declared, one, meaning.index, base=other) if one and other else None
