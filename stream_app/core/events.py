"""The canonical events: what one JSON record in `lynceus.events` may say, strictly typed and bounded.

One class per event type; the tag `type` chooses among them. Everything that is not listed here is either ignored
(an unknown field) or refused (an unknown type); nothing is guessed. The JSON Schema that `lynceus schema` prints
is generated from these classes.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

SCHEMA_VERSION: Final = 1
MAX_RECORD_BYTES: Final = 65_536
EARLIEST_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z. Smaller numbers are seconds, or nothing that an event time can be."""
LATEST_MS: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z. Larger numbers are microseconds, or nothing that an event time can be."""

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Label = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Path = Annotated[str, Meta(min_length=1, max_length=256)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 alphabetic code")]
MinorUnits = Annotated[int, Meta(ge=0, le=10**12, description="money in minor units of `currency`, e.g. cents")]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Position = Annotated[int, Meta(ge=1, le=10_000, description="1 is the first place")]
Milliseconds = Annotated[int, Meta(ge=0, le=31 * 86_400_000)]
Timestamp = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS, description="ms since the epoch, UTC")]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Signed = Annotated[float, Meta(ge=-1.0, le=1.0)]
Propensity = Annotated[float, Meta(gt=0.0, le=1.0, description="probability with which the policy chose this")]
Arm = Literal["personalized", "context_blind", "holdout"]


class Consent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the person agreed to. Without `analytics` an event counts in totals and leaves no state behind."""

    analytics: bool = True
    personalization: bool = True


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="type"):
    """What every event carries.

    `id` is the idempotency key, `ts` the event time, `user` the pseudonymous key that is also the Kafka key.
    """

    id: Id
    ts: Timestamp
    user: Id
    v: Annotated[int, Meta(ge=1, le=1_000)] = SCHEMA_VERSION
    session: Id | None = None
    surface: Label | None = None
    arm: Arm | None = None
    policy: Label | None = None
    segment: Label | None = None
    channel: Label | None = None
    device: Label | None = None
    consent: Consent | None = None
    bot: bool = False
    test: bool = False


class DecisionItem(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One item of a decided list."""

    item: Id
    position: Position
    propensity: Propensity | None = None
    predicted: Unit | None = None


class Decision(Event, tag="decision", frozen=True, kw_only=True):
    """A recommender, offer or layout engine decided what to show."""

    decision: Id
    items: Annotated[tuple[DecisionItem, ...], Meta(min_length=1, max_length=100)]
    policy_version: Label | None = None
    context_ts: Timestamp | None = None
    signal: Id | None = None
    depth: Literal["substitution", "segment", "individual", "contextual"] | None = None
    proactive: bool | None = None
    automation: Literal["auto", "manual"] | None = None
    latency_ms: Milliseconds | None = None
    explore: bool | None = None
    changed: bool | None = None
    delta_topk: Unit | None = None


class Impression(Event, tag="impression", frozen=True, kw_only=True):
    """An item was seen. `relevance` is how well it matched the context when it was decided, by the caller's model."""

    decision: Id
    item: Id
    position: Position
    viewable_ms: Milliseconds | None = None
    propensity: Propensity | None = None
    predicted: Unit | None = None
    relevance: Unit | None = None


class Click(Event, tag="click", frozen=True, kw_only=True):
    """A person acted on an item that was shown."""

    decision: Id
    item: Id
    position: Position | None = None
    kind: Literal["click", "swipe", "expand", "play", "add"] = "click"


class PageView(Event, tag="page_view", frozen=True, kw_only=True):
    """A page was opened."""

    page: Path
    referrer_class: Label | None = None


class Engagement(Event, tag="engagement", frozen=True, kw_only=True):
    """A heartbeat of attention to one view; `final` closes the view."""

    view: Id
    elapsed_ms: Milliseconds
    final: bool
    next_checkin_ms: Milliseconds | None = None
    scroll_pct: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    active_ms: Milliseconds | None = None


class Search(Event, tag="search", frozen=True, kw_only=True):
    """A search was made; the query itself never leaves its source, only its hash."""

    query_hash: Id
    results: Annotated[int, Meta(ge=0, le=10**9)] | None = None


class Cart(Event, tag="cart", frozen=True, kw_only=True):
    """Something happened to the cart."""

    action: Literal["add", "remove", "view"]
    item: Id
    quantity: Quantity | None = None
    price_minor: MinorUnits | None = None
    currency: Currency | None = None
    decision: Id | None = None


class Conversion(Event, tag="conversion", frozen=True, kw_only=True):
    """A goal was reached. `decision` names what earned it; without it, the user's last touch does."""

    goal: Label
    value_minor: MinorUnits | None = None
    currency: Currency | None = None
    decision: Id | None = None
    item: Id | None = None
    new_customer: bool | None = None


class OrderLine(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One line of an order."""

    item: Id
    quantity: Quantity
    price_minor: MinorUnits
    decision: Id | None = None


class Order(Event, tag="order", frozen=True, kw_only=True):
    """A purchase. Net revenue is `total_minor` less tax and shipping."""

    order: Id
    currency: Currency
    total_minor: MinorUnits
    tax_minor: MinorUnits | None = None
    shipping_minor: MinorUnits | None = None
    discount_minor: MinorUnits | None = None
    cost_minor: MinorUnits | None = None
    lines: Annotated[tuple[OrderLine, ...], Meta(max_length=200)] = ()
    new_customer: bool | None = None


class Refund(Event, tag="refund", frozen=True, kw_only=True):
    """Money went back."""

    order: Id
    amount_minor: MinorUnits
    currency: Currency


class Message(Event, tag="message", frozen=True, kw_only=True):
    """A message changed its state."""

    message: Id
    state: Literal["sent", "delivered", "opened", "clicked", "bounced", "unsubscribed"]
    campaign: Label | None = None
    personalized: bool | None = None


class Offer(Event, tag="offer", frozen=True, kw_only=True):
    """A person responded to an offer."""

    offer: Id
    response: Literal["shown", "accepted", "redeemed", "dismissed", "expired"]
    decision: Id | None = None


class Feedback(Event, tag="feedback", frozen=True, kw_only=True):
    """A person said what they think; `asked_prob` is the probability with which they were asked."""

    kind: Literal["relevance", "context_relevance", "thumb", "hide", "csat", "nps", "rating", "transparency"]
    score: Annotated[float, Meta(ge=-100.0, le=100.0)] | None = None
    timely: Signed | None = None
    appropriate: Signed | None = None
    decision: Id | None = None
    sentiment: Signed | None = None
    asked_prob: Propensity | None = None


class ContextSignal(Event, tag="context_signal", frozen=True, kw_only=True):
    """The context of a user changed: location, weather, intent, stock, ..."""

    signal: Id
    kind: Label
    strength: Unit | None = None


class JourneyStep(Event, tag="journey_step", frozen=True, kw_only=True):
    """A step of a journey."""

    journey: Label
    instance: Id
    step: Annotated[int, Meta(ge=1, le=1_000)]
    of: Annotated[int, Meta(ge=1, le=1_000)]
    outcome: Literal["done", "error", "back"] | None = None


class FeatureUse(Event, tag="feature_use", frozen=True, kw_only=True):
    """A feature was used."""

    feature: Label


class Account(Event, tag="account", frozen=True, kw_only=True):
    """An account changed its status."""

    status: Literal["active", "paused", "cancelled", "reactivated"]
    plan: Label | None = None


class ConsentChange(Event, tag="consent_change", frozen=True, kw_only=True):
    """A person gave or withdrew consent."""

    scope: Literal["analytics", "personalization"]
    granted: bool


class Assignment(Event, tag="assignment", frozen=True, kw_only=True):
    """A user was assigned to an arm of an experiment; later events of the user inherit the arm."""

    experiment: Label
    arm: Arm
    prob: Propensity | None = None
    salt_version: Label | None = None


class ApiCall(Event, tag="api_call", frozen=True, kw_only=True):
    """A personalization API answered."""

    endpoint: Name
    ms: Annotated[float, Meta(ge=0.0, le=86_400_000.0)]
    ok: bool


class ProfileSync(Event, tag="profile_sync", frozen=True, kw_only=True):
    """A profile record travelled between systems."""

    source: Label
    target: Label
    applied: bool
    fields_filled: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    fields_total: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    lag_ms: Milliseconds | None = None


class Input(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What an administrator says on `lynceus.inputs`: never an interaction, always with its author and date."""

    id: Id
    ts: Timestamp
    v: Annotated[int, Meta(ge=1, le=1_000)] = SCHEMA_VERSION


class BusinessInput(Input, tag="business_input", frozen=True, kw_only=True):
    """A figure that no event can give: a cost, a margin, a benchmark."""

    key: Literal["cost", "margin_rate", "unit_cost", "benchmark", "market_share", "discount_rate"]
    value: Annotated[float, Meta(ge=-1e15, le=1e15)]
    from_ts: Timestamp
    to_ts: Timestamp
    currency: Currency | None = None
    scope: Name | None = None
    author: Name | None = None
    source: Path | None = None


class ProgrammeRecord(Input, tag="programme_record", frozen=True, kw_only=True):
    """A fact about the experimentation programme itself."""

    kind: Literal["test_ended", "maturity", "participation", "audit", "survey"]
    value: Annotated[float, Meta(ge=-1e15, le=1e15)]
    evidence: Path | None = None


AnyEvent = (
    Decision | Impression | Click | PageView | Engagement | Search | Cart | Conversion | Order | Refund | Message
    | Offer | Feedback | ContextSignal | JourneyStep | FeatureUse | Account | ConsentChange | Assignment | ApiCall
    | ProfileSync
)  # fmt: skip
AnyInput = BusinessInput | ProgrammeRecord

EVENT_TYPES: Final[tuple[type[Event], ...]] = AnyEvent.__args__
INPUT_TYPES: Final[tuple[type[Input], ...]] = AnyInput.__args__
