"""How things were decided: how deep, with how fresh a context, by whom. Decisions say all of it themselves."""

from typing import Final

from stream_app.core.events import Decision
from stream_app.core.quantile_sketch import bucket_of
from stream_app.core.tally import Histogram, Measure
from stream_app.metrics.methods import Proportion, Quantile
from stream_app.metrics.metric import Family, Metric

STALE_MS: Final = 1_800_000
"""Context older than a session's silence is that of another visit."""


def context_age_ms(decision: Decision) -> int | None:
    """Return how old the context was that a decision used; 0 where its clock is ahead, None where it states none."""
    return None if decision.context_ts is None else max(0, decision.ts - decision.context_ts)


def is_contextual(decision: Decision) -> bool:
    """Say whether context made this decision: by its depth, or because it names the signal."""
    return decision.depth == "contextual" or decision.signal is not None


def _is_stale(decision: Decision) -> int:
    return int((context_age_ms(decision) or 0) > STALE_MS)


def _age_bin(decision: Decision) -> int | None:
    age_ms = context_age_ms(decision)
    return None if age_ms is None else bucket_of(age_ms)


MEASURES: Final = (
    Measure("decisions", "Lists, offers and layouts that were decided.", "decisions", Decision),
    Measure("deep_decisions", "Decisions that state their depth.", "decisions", Decision, given="depth"),
    Measure(
        "substitution_decisions",
        "Decisions of depth substitution: a slot was filled, by the same rule for everybody.",
        "decisions",
        Decision,
        lambda decision: int(decision.depth == "substitution"),
        given="depth",
    ),
    Measure(
        "segment_decisions",
        "Decisions of depth segment.",
        "decisions",
        Decision,
        lambda decision: int(decision.depth == "segment"),
        given="depth",
    ),
    Measure(
        "individual_decisions",
        "Decisions of depth individual.",
        "decisions",
        Decision,
        lambda decision: int(decision.depth == "individual"),
        given="depth",
    ),
    Measure(
        "contextual_depth_decisions",
        "Decisions of depth contextual.",
        "decisions",
        Decision,
        lambda decision: int(decision.depth == "contextual"),
        given="depth",
    ),
    Measure(
        "contextual_decisions",
        "Decisions that context made: of depth contextual, or naming a signal.",
        "decisions",
        Decision,
        lambda decision: int(is_contextual(decision)),
    ),
    Measure(
        "driven_decisions",
        "Decisions that say whether they were made automatically.",
        "decisions",
        Decision,
        given="automation",
    ),
    Measure(
        "automatic_decisions",
        "Decisions made automatically.",
        "decisions",
        Decision,
        lambda decision: int(decision.automation == "auto"),
        given="automation",
    ),
    Measure(
        "dated_decisions",
        "Decisions that state of when their context is.",
        "decisions",
        Decision,
        given="context_ts",
    ),
    Measure(
        "stale_decisions",
        "Decisions whose context was older than 30 minutes.",
        "decisions",
        Decision,
        _is_stale,
        given="context_ts",
    ),
)

HISTOGRAMS: Final = (
    Histogram(
        "context_age_ms",
        "Milliseconds between the context that a decision used and the decision.",
        "decisions",
        Decision,
        _age_bin,
    ),
)


def _depth(name: str, title: str, measure: str, help_: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="ratio",
        formula=f"{measure} / decisions that state their depth",
        caveat="It says how a decision was made, not whether it was better for it. Those that state no depth are in "
        "neither number.",
        method=Proportion(measure, "deep_decisions"),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
    )


def _age(name: str, share: float, title: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        help="How old the context was that decisions used, in seconds: it grows when the pipe of context is dead, also "
        "when no signals come at all.",
        unit="seconds",
        formula=f"quantile {share} of decision time - context_ts over the decisions that state context_ts",
        caveat="It ages by itself where nothing changes about a person, so its level depends on how often context is "
        "refreshed; a jump is what matters. A context from after its decision, by clocks that differ, has age 0.",
        method=Quantile("context_age_ms", share, scale=1_000),
        honesty="exact",
        settles="at_once",
        is_up_good=False,
        dimensions=("surface", "arm"),
    )


METRICS: Final = (
    _depth(
        "substitution_depth",
        "Decisions by substitution",
        "substitution_decisions",
        "Share of decisions that only filled a slot, the same for everybody.",
    ),
    _depth(
        "segment_depth",
        "Decisions by segment",
        "segment_decisions",
        "Share of decisions made for a segment that the person belongs to.",
    ),
    _depth(
        "individual_depth",
        "Decisions for the individual",
        "individual_decisions",
        "Share of decisions made for this person, whatever the moment.",
    ),
    _depth(
        "contextual_depth",
        "Decisions in context",
        "contextual_depth_decisions",
        "Share of decisions made for this person at this moment.",
    ),
    Metric(
        name="automation",
        title="Automated decisions",
        help="Share of decisions that nobody made by hand.",
        unit="ratio",
        formula="decisions with automation auto / decisions that state automation",
        caveat="What automation saves or costs is a business input, and not in it.",
        method=Proportion("automatic_decisions", "driven_decisions"),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
    ),
    _age("context_age_p50", 0.5, "Age of context, median"),
    _age("context_age_p95", 0.95, "Age of context, 95 %"),
    Metric(
        name="stale_context",
        title="Stale context",
        help="Share of decisions whose context was older than 30 minutes: that of another visit.",
        unit="ratio",
        formula="decisions with context_ts more than 30 min before them / decisions that state context_ts",
        caveat="A decision that states no context_ts is in neither number: see `dated_context`, which falls where a "
        "dead pipe shows as nothing at all.",
        method=Proportion("stale_decisions", "dated_decisions"),
        honesty="exact",
        settles="at_once",
        is_up_good=False,
        highest=1.0,
    ),
    Metric(
        name="dated_context",
        title="Decisions with context",
        help="Share of decisions that state of when the context is that they used.",
        unit="ratio",
        formula="decisions with context_ts / decisions",
        caveat="Arms without context state none, by design: read it in `personalized`.",
        method=Proportion("dated_decisions", "decisions"),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
    ),
)

FAMILY: Final = Family(
    "decisions",
    "Decisions",
    "How deep, how automatic and on how fresh a context things were decided.",
    MEASURES,
    METRICS,
    HISTOGRAMS,
)
