"""The typed methods of the SDK, one for every type of event; `Tracker` and `AsyncTracker` say what becomes of them.

The first argument says whose event it is: a user, or a decision token, which then also gives surface, arm, policy,
session, dimensions, consent and the decision. Every method takes the fields of `Common` by name as well, and raises
InvalidEventError before anything is queued.
"""

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar, Unpack

from producers.composition import Common, Who
from producers.tokens import DecisionToken
from stream_app.core import events
from stream_app.core.events import Arm, Event, OrderLine

R_co = TypeVar("R_co", covariant=True)


class DecisionFields(Common, total=False):
    """What a decision may say beside its items and what every event may carry."""

    policy_version: str | None
    context_ts: int | None
    signal: str | None
    depth: Literal["substitution", "segment", "individual", "contextual"] | None
    proactive: bool | None
    automation: Literal["auto", "manual"] | None
    latency_ms: int | None
    explore: bool | None
    changed: bool | None
    delta_topk: float | None


class Interactions(Generic[R_co]):
    """One method for each event type. `R_co` is what a call returns: the id of its event, or an awaitable of it."""

    def _record(self, kind: type[Event], who: Who, common: Common, /, **own: object) -> R_co:
        raise NotImplementedError

    def impression(
        self,
        decision: DecisionToken,
        item: str,
        *,
        position: int | None = None,
        viewable_ms: int | None = None,
        relevance: float | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record that an item of a decision was seen. Position, propensity and prediction come from the token."""
        own = {"position": position, "viewable_ms": viewable_ms, "relevance": relevance}
        return self._record(events.Impression, decision, common, item=item, **own)

    def click(
        self,
        decision: DecisionToken,
        item: str,
        *,
        position: int | None = None,
        kind: Literal["click", "swipe", "expand", "play", "add"] = "click",
        **common: Unpack[Common],
    ) -> R_co:
        """Record that a person acted on an item of a decision."""
        return self._record(events.Click, decision, common, item=item, position=position, kind=kind)

    def conversion(
        self,
        who: Who,
        goal: str,
        *,
        value_minor: int | None = None,
        currency: str | None = None,
        item: str | None = None,
        new_customer: bool | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record that a goal was reached; quote the decision that earned it, else the user's last touch does."""
        own = {"value_minor": value_minor, "currency": currency, "item": item, "new_customer": new_customer}
        return self._record(events.Conversion, who, common, goal=goal, **own)

    def order(
        self,
        who: Who,
        order: str,
        *,
        total_minor: int,
        currency: str,
        lines: Sequence[OrderLine] = (),
        tax_minor: int | None = None,
        shipping_minor: int | None = None,
        discount_minor: int | None = None,
        cost_minor: int | None = None,
        new_customer: bool | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record a purchase. Money is in minor units; which decision earned what is said by each line."""
        own = {"tax_minor": tax_minor, "shipping_minor": shipping_minor, "discount_minor": discount_minor}
        own |= {"cost_minor": cost_minor, "total_minor": total_minor}
        rest = {"currency": currency, "lines": tuple(lines), "new_customer": new_customer}
        return self._record(events.Order, who, common, order=order, **own, **rest)

    def refund(self, who: Who, order: str, *, amount_minor: int, currency: str, **common: Unpack[Common]) -> R_co:
        """Record that money of an order went back."""
        return self._record(events.Refund, who, common, order=order, amount_minor=amount_minor, currency=currency)

    def context_signal(
        self, who: Who, kind: str, *, signal: str, strength: float | None = None, **common: Unpack[Common]
    ) -> R_co:
        """Record that the context of a user changed; `signal` is the id that a decision quotes."""
        return self._record(events.ContextSignal, who, common, signal=signal, kind=kind, strength=strength)

    def feedback(
        self,
        who: Who,
        kind: Literal["relevance", "context_relevance", "thumb", "hide", "csat", "nps", "rating", "transparency"],
        *,
        score: float | None = None,
        timely: float | None = None,
        appropriate: float | None = None,
        sentiment: float | None = None,
        asked_prob: float | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record what a person thinks; `asked_prob` is the probability with which they were asked."""
        own = {"score": score, "timely": timely, "appropriate": appropriate}
        own |= {"sentiment": sentiment, "asked_prob": asked_prob}
        return self._record(events.Feedback, who, common, kind=kind, **own)

    def page_view(self, who: Who, page: str, *, referrer_class: str | None = None, **common: Unpack[Common]) -> R_co:
        """Record that a page was opened."""
        return self._record(events.PageView, who, common, page=page, referrer_class=referrer_class)

    def engagement(
        self,
        who: Who,
        view: str,
        *,
        elapsed_ms: int,
        final: bool,
        next_checkin_ms: int | None = None,
        scroll_pct: float | None = None,
        active_ms: int | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record a heartbeat of attention to one view; `final` closes it."""
        own = {"elapsed_ms": elapsed_ms, "next_checkin_ms": next_checkin_ms, "active_ms": active_ms}
        return self._record(events.Engagement, who, common, view=view, final=final, scroll_pct=scroll_pct, **own)

    def search(self, who: Who, query_hash: str, *, results: int | None = None, **common: Unpack[Common]) -> R_co:
        """Record that a search was made; the query itself stays where it is."""
        return self._record(events.Search, who, common, query_hash=query_hash, results=results)

    def cart(
        self,
        who: Who,
        action: Literal["add", "remove", "view"],
        item: str,
        *,
        quantity: int | None = None,
        price_minor: int | None = None,
        currency: str | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record what happened to the cart."""
        own = {"quantity": quantity, "price_minor": price_minor}
        return self._record(events.Cart, who, common, action=action, item=item, currency=currency, **own)

    def message(
        self,
        who: Who,
        message: str,
        state: Literal["sent", "delivered", "opened", "clicked", "bounced", "unsubscribed"],
        *,
        campaign: str | None = None,
        personalized: bool | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record that a message changed its state."""
        own = {"message": message, "state": state, "campaign": campaign}
        return self._record(events.Message, who, common, personalized=personalized, **own)

    def offer(
        self,
        who: Who,
        offer: str,
        response: Literal["shown", "accepted", "redeemed", "dismissed", "expired"],
        **common: Unpack[Common],
    ) -> R_co:
        """Record how a person responded to an offer."""
        return self._record(events.Offer, who, common, offer=offer, response=response)

    def journey_step(
        self,
        who: Who,
        journey: str,
        *,
        instance: str,
        step: int,
        of: int,
        outcome: Literal["done", "error", "back"] | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record a step of a journey; `instance` is one person's way through it."""
        own = {"journey": journey, "instance": instance, "outcome": outcome}
        return self._record(events.JourneyStep, who, common, step=step, of=of, **own)

    def feature_use(self, who: Who, feature: str, **common: Unpack[Common]) -> R_co:
        """Record that a feature was used."""
        return self._record(events.FeatureUse, who, common, feature=feature)

    def account(
        self,
        who: Who,
        status: Literal["active", "paused", "cancelled", "reactivated"],
        *,
        plan: str | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record that an account changed its status."""
        return self._record(events.Account, who, common, status=status, plan=plan)

    def consent_change(
        self, who: Who, scope: Literal["analytics", "personalization"], *, granted: bool, **common: Unpack[Common]
    ) -> R_co:
        """Record that a person gave or withdrew consent. It is always sent as it is: it has to be obeyed."""
        return self._record(events.ConsentChange, who, common, scope=scope, granted=granted)

    def assignment(
        self,
        who: Who,
        experiment: str,
        arm: Arm,
        /,
        *,
        prob: float | None = None,
        salt_version: str | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record an assignment that was made elsewhere; `assign` of a tracker makes one and records it."""
        own = {"experiment": experiment, "prob": prob, "salt_version": salt_version}
        return self._record(events.Assignment, who, common, arm=arm, **own)

    def api_call(self, who: Who, endpoint: str, *, ms: float, ok: bool, **common: Unpack[Common]) -> R_co:
        """Record that a personalization API answered after `ms` milliseconds."""
        return self._record(events.ApiCall, who, common, endpoint=endpoint, ms=ms, ok=ok)

    def profile_sync(
        self,
        who: Who,
        *,
        source: str,
        target: str,
        applied: bool,
        fields_filled: int | None = None,
        fields_total: int | None = None,
        lag_ms: int | None = None,
        **common: Unpack[Common],
    ) -> R_co:
        """Record that a profile record travelled between systems."""
        own = {"fields_filled": fields_filled, "fields_total": fields_total, "lag_ms": lag_ms}
        return self._record(events.ProfileSync, who, common, source=source, target=target, applied=applied, **own)
