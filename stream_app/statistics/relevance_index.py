"""Contextual relevance as one number from 0 to 100, for a wall. Alerts use the parts, never this."""

from typing import Final

import msgspec

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.waterfall import Step

AT_LEAST: Final = 100
"""Signals, changes, answers, and conversions in either arm: with fewer of any there is no index."""
FULL_LIFT: Final = 0.5
"""A contextual lift of +50 % is all that the index can credit, one of -50 % all that it can blame."""


class RelevanceIndex(msgspec.Struct, frozen=True):
    """`value` = 100 `response`^(1/2) `lift`^(1/4) `feedback`^(1/4); the three parts lie between 0 and 1."""

    value: float
    response: float
    lift: float
    feedback: float


def relevance_index(
    response: Estimate | None,
    change: Estimate | None,
    context: Step | None,
    feedback: Estimate | None,
    at_least: int = AT_LEAST,
) -> RelevanceIndex | None:
    """Return CRI = 100 A^(1/2) B^(1/4) C^(1/4); None unless all four have `at_least` so many behind them.

        A = response within the SLA x effective change      B = 1/2 + lift / (2 x 0.5), cut to 0...1      C = feedback

    `context` is the step from context_blind to personalized; its lift is ratio - 1, and what must be `at_least` are its
    successes in either arm, for a lift of few conversions is chance. The weights are a convention, not a measurement.
    Without interval, and so without alerts: a product of parts hides which of them fell.
    """
    if response is None or change is None or context is None or feedback is None:
        return None
    if lacking(response, change, context, feedback, at_least):
        return None
    a = response.value * change.value
    b = min(max(0.5 + (context.ratio - 1) / (2 * FULL_LIFT), 0.0), 1.0)
    c = feedback.value
    return RelevanceIndex(100 * a**0.5 * b**0.25 * c**0.25, a, b, c)


def lacking(
    response: Estimate | None,
    change: Estimate | None,
    context: Step | None,
    feedback: Estimate | None,
    at_least: int = AT_LEAST,
) -> dict[str, int]:
    """Return what has fewer than `at_least` behind it, and how many: why there is no index."""
    behind = {
        "response": response.n if response else 0,
        "change": change.n if change else 0,
        "lift": context.successes if context else 0,
        "feedback": feedback.n if feedback else 0,
    }
    return {part: n for part, n in behind.items() if n < at_least}
