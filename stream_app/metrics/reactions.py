"""What came of decisions that nobody asked for, or that context made: offers taken, and what people reject unasked.

Joined by the decision that an offer, a hide or a thumb names, whichever arrives first, and at home where the decision
is; of two decisions under one name, where the first to arrive is. What names no decision is in none of these numbers.
That join holds nothing of the person, so consent to analytics does not matter for it.

An opt-out is joined by the person, and does not depend on the order of arrival either, unless a contextual decision
that was made after the opt-out overtakes it.
"""

from typing import Final, NamedTuple

from stream_app.core.events import AnyEvent, ConsentChange, Decision, Feedback, Offer
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Measure
from stream_app.metrics.decisions import is_contextual
from stream_app.metrics.methods import Proportion, Rate
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.windows import windows_from

OPT_OUT_MS: Final = DAY_MS
"""How long after a contextual decision an opt-out may be its fault."""


class Reaction(NamedTuple):
    """What came of a decision; flags are 0 or 1. The last two are known once the decision itself has arrived."""

    is_offered: int = 0
    is_accepted: int = 0
    negatives: int = 0
    is_proactive: int = 0
    is_contextual: int = 0

    @property
    def is_decided(self) -> bool:
        """Whether the decision has arrived."""
        return bool(self.is_proactive or self.is_contextual)


def is_negative(event: AnyEvent) -> bool:
    """Say whether somebody rejects unasked what was decided for them: a hide, a thumb down, an offer dismissed."""
    if isinstance(event, Feedback):
        return event.kind == "hide" or (event.kind == "thumb" and event.score is not None and event.score < 0)
    return isinstance(event, Offer) and event.response == "dismissed"


def _decision_of(event: Decision | Offer | Feedback) -> str | None:
    if isinstance(event, Decision):
        return event.decision if event.proactive or is_contextual(event) else None
    return event.decision if isinstance(event, Offer) or is_negative(event) else None


def react(record: Reaction, event: AnyEvent) -> Reaction:
    """Return the record after the event."""
    if isinstance(event, Decision):
        return Reaction(
            *record[:3], record.is_proactive | bool(event.proactive), record.is_contextual | is_contextual(event)
        )
    negatives = record.negatives + is_negative(event)
    if not isinstance(event, Offer):
        return record._replace(negatives=negatives)
    is_accepted = event.response in ("accepted", "redeemed")
    is_offered = is_accepted or event.response in ("shown", "dismissed")
    return record._replace(
        negatives=negatives,
        is_offered=record.is_offered | is_offered,
        is_accepted=record.is_accepted | is_accepted,
    )


REACTIONS: Final = Kind(
    "reactions",
    (Decision, Offer, Feedback),
    _decision_of,
    Reaction(),
    react,
    moves=lambda record, event: isinstance(event, Decision) and not record.is_decided,
    horizon_ms=7 * DAY_MS,
    is_personal=False,
)


class OptOut(NamedTuple):
    """The latest contextual decision for a person, their latest opt-out, and the latest such decision before that."""

    contextual_ms: int = 0
    opt_out_ms: int = 0
    before_ms: int = 0

    @property
    def is_after_context(self) -> bool:
        """Whether the opt-out came within a day of a contextual decision."""
        return self.before_ms > 0 and self.opt_out_ms - self.before_ms <= OPT_OUT_MS


def opt_out(record: OptOut, event: Decision | ConsentChange) -> OptOut:
    """Return the record after the event."""
    if isinstance(event, Decision):
        before_ms = max(record.before_ms, event.ts) if event.ts <= record.opt_out_ms else record.before_ms
        return OptOut(max(record.contextual_ms, event.ts), record.opt_out_ms, before_ms)
    if record.opt_out_ms:
        return record  # an earlier one that arrives later
    return OptOut(record.contextual_ms, event.ts, record.contextual_ms if record.contextual_ms <= event.ts else 0)


def _opts_out(event: Decision | ConsentChange) -> bool:
    return isinstance(event, ConsentChange) and event.scope == "personalization" and not event.granted


OPT_OUTS: Final = Kind(
    "opt_outs",
    (Decision, ConsentChange),
    lambda event: event.user if _opts_out(event) or (isinstance(event, Decision) and is_contextual(event)) else None,
    OptOut(),
    opt_out,
    begins_anew=lambda record, event: _opts_out(event) and event.ts > record.opt_out_ms,
    leaves=lambda record: OptOut(record.contextual_ms),
)

MEASURES: Final = (
    Measure(
        "offered_decisions",
        "Proactive decisions whose offer was shown.",
        "decisions",
        REACTIONS,
        growth(lambda record: record.is_proactive and record.is_offered),
    ),
    Measure(
        "adopted_decisions",
        "Proactive decisions whose offer was accepted or redeemed.",
        "decisions",
        REACTIONS,
        growth(lambda record: record.is_proactive and record.is_accepted),
    ),
    Measure(
        "contextual_negatives",
        "Hides, thumbs down and dismissed offers that name a contextual decision.",
        "reactions",
        REACTIONS,
        growth(lambda record: record.negatives if record.is_contextual else 0),
    ),
    Measure(
        "contextual_opt_outs",
        "Withdrawals of consent to personalization within a day of a contextual decision.",
        "users",
        OPT_OUTS,
        growth(lambda record: record.is_after_context),
    ),
)

METRICS: Final = (
    Metric(
        name="proactive_adoption",
        title="Adoption of proactive offers",
        help="Share of proactive decisions whose offer was taken, of those whose offer was shown.",
        unit="ratio",
        formula="proactive decisions with an offer accepted or redeemed / proactive decisions with an offer shown",
        caveat="Only offers that name their decision are found. One accepted, redeemed or dismissed has been shown, "
        "also where nobody said so. Taking is not needing: compare with people to whom nothing was offered.",
        method=Proportion("adopted_decisions", "offered_decisions"),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=True,
        highest=1.0,
        windows=windows_from("1h"),
    ),
    Metric(
        name="context_rejections",
        title="Rejections per 1,000 contextual decisions",
        help="How often people hide, thumb down or dismiss what context made for them, per 1,000 contextual decisions.",
        unit="reactions",
        formula="hides, thumbs down and dismissed offers that name a contextual decision / contextual decisions, times "
        "1,000, where the decision is",
        caveat="Silence is no approval. People who reject once do so again, so the interval is too narrow. Arms "
        "without context have none: compare with `hide_rate`, or with what was before.",
        method=Rate("contextual_negatives", "contextual_decisions", per=1_000),
        honesty="estimate",
        settles="conversion_window",
        is_up_good=False,
        windows=windows_from("1h"),
    ),
    Metric(
        name="context_opt_outs",
        title="Opt-outs per 1,000 contextual decisions",
        help="How many people withdraw consent to personalization within a day of a contextual decision, per 1,000 "
        "such decisions.",
        unit="users",
        formula="withdrawals of consent to personalization at most 24 h after the person's last contextual decision / "
        "contextual decisions, times 1,000, where the withdrawal is",
        caveat="After is not because: set it against the opt-outs of the other arms. A withdrawal names no surface, so "
        "it is not told by surface.",
        method=Rate("contextual_opt_outs", "contextual_decisions", per=1_000),
        honesty="estimate",
        settles="at_once",
        is_up_good=False,
        dimensions=("arm", "segment", "channel", "device"),
        windows=windows_from("1h"),
    ),
)

FAMILY: Final = Family(
    "reactions",
    "Reactions",
    "What people take, reject and refuse of what was decided for them without their asking.",
    MEASURES,
    METRICS,
)
