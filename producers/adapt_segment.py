"""Segment and RudderStack: the calls of their tracking specification, live or exported.

https://www.twilio.com/docs/segment/connections/spec/common (fields, times, ids),
https://www.twilio.com/docs/segment/connections/spec/ecommerce/v2 (events); RudderStack's are the same:
https://www.rudderstack.com/docs/event-spec/ecommerce-events-spec/. A record is one call, or a batch of them.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from producers.fields import Fields
from producers.foreign import ARMS, Pseudonym, Refused, adapting, digest, each, part_of, shortened, user_key
from producers.listing import Names, Shown, cart_event, carted, decision_key, lines, session_key, shown
from stream_app.core.events import (
    Assignment,
    Click,
    Consent,
    ConsentChange,
    Event,
    Message,
    Order,
    PageView,
    Refund,
    Search,
)

_NAMES: Final = Names("products", ("product_id", "sku"))
_CHANNELS: Final = {"web": "web", "mobile": "app"}
"""RudderStack's channel; its other two say how the call came, not where the person was."""
_SCOPES: Final[dict[str, Literal["analytics", "personalization"]]] = {
    "analytics": "analytics",
    "personalization": "personalization",
}
_MAIL: Final[dict[str, Literal["delivered", "opened", "clicked", "bounced", "unsubscribed"]]] = {
    "Email Delivered": "delivered",
    "Email Opened": "opened",
    "Email Link Clicked": "clicked",
    "Email Bounced": "bounced",
    "Unsubscribed": "unsubscribed",
}

Made = Iterator[Event | Refused]


class _Call(NamedTuple):
    """One call: what every event made of it shares, its properties, who speaks, and what they agreed to."""

    common: dict[str, Any]
    properties: Fields
    user: str
    session: str | None
    name: str
    consents: dict[str, bool]


@adapting
def from_segment(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    """Yield what one call says (`track`, `page`, `screen`), or each call of a `batch`."""
    if "batch" not in record:
        return _events(record, pseudonym)
    sent = {name: record[name] for name in ("sentAt", "receivedAt", "context") if name in record}
    return each(record["batch"], "batch", lambda call: _events(sent | call, pseudonym))


def _events(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    fields = Fields(record)
    kind = fields.text("type")
    if kind == "track":
        name = fields.text("event")
        if name is None:
            raise fields.unfit("event", "is missing")
        if name not in _TRACKS:
            raise fields.unfit("event", f"no event of ours says {name[:100]!r}")
        yield from _TRACKS[name](_call(fields, pseudonym, name))
    elif kind in ("page", "screen"):
        call = _call(fields, pseudonym, "")
        yield PageView(**call.common, page=_page(fields, call.properties))
    else:
        raise fields.unfit("type", f"{str(kind)[:40]!r} is no interaction")


def _call(fields: Fields, pseudonym: Pseudonym, name: str) -> _Call:
    who = "userId" if fields.get("userId") not in (None, "") else "anonymousId"
    raw = fields.long_identifier(who)
    if raw is None:
        raise fields.unfit("userId", "neither userId nor anonymousId")
    user = user_key(raw, who, pseudonym)
    context = fields.within("context")
    session = session_key("seg", user, context.identifier("sessionId"))
    consents = _consents(context)
    common: dict[str, Any] = {
        "id": fields.required("messageId"),
        "ts": _time_ms(fields),
        "user": user,
        "session": session,
        "channel": _CHANNELS.get(str(fields.get("channel"))),
        "device": context.within("device").identifier("type"),
        "consent": Consent(**consents) if consents else None,
    }
    return _Call(common, fields.within("properties"), user, session, name, consents)


def _time_ms(fields: Fields) -> int:
    """Return when it happened: as Segment has corrected it, or by Segment's formula, or as the device says.

    `timestamp` is `receivedAt` - (`sentAt` - `originalTimestamp`) already; a call that has not been through
    Segment lacks `receivedAt`, and then the device's clock is all there is.
    """
    corrected = fields.iso_ms("timestamp")
    if corrected is not None:
        return corrected
    original = fields.iso_ms("originalTimestamp")
    if original is None:
        raise fields.unfit("timestamp", "neither timestamp nor originalTimestamp")
    sent, received = fields.iso_ms("sentAt"), fields.iso_ms("receivedAt")
    return original if sent is None or received is None else received - (sent - original)


def _consents(context: Fields) -> dict[str, bool]:
    """Return the categories that bear our names; the others are this shop's own."""
    preferences = context.within("consent").within("categoryPreferences")
    found: dict[str, bool] = {}
    for name, value in preferences.values.items():
        if (scope := _SCOPES.get(name.lower())) is not None:
            if not isinstance(value, bool):
                raise preferences.unfit(name, "true or false was expected")
            found[scope] = value
    return found


def _page(fields: Fields, properties: Fields) -> str:
    page = (
        properties.text("path")
        or fields.within("context").within("page").text("path")
        or properties.url_path("url")
        or fields.text("name")
    )
    if page is None:
        raise fields.unfit("properties.path", "neither a path nor a name")
    return shortened(page, 256)


def _list_viewed(call: _Call) -> Made:
    products, place = call.properties, _list(call)
    items = [Shown(p.required(*_NAMES.item), _position(p)) for p in products.each("products")]
    return shown(call.common | {"surface": place}, _decision(call, place), items, products.where("products"))


def _product_clicked(call: _Call) -> Made:
    place = _list(call)
    yield Click(
        **call.common | {"surface": place},
        decision=_decision(call, place),
        item=call.properties.required(*_NAMES.item),
        position=call.properties.position("position"),
    )


def _promotion_viewed(call: _Call) -> Made:
    # `position` names the place, e.g. home_banner_top. One promotion is in it: a list of one.
    item, place = call.properties.required("promotion_id"), call.properties.identifier("position")
    decision = _decision(call, "promotion", place, item)
    return shown(call.common | {"surface": place}, decision, [Shown(item, 1)], "properties")


def _promotion_clicked(call: _Call) -> Made:
    item, place = call.properties.required("promotion_id"), call.properties.identifier("position")
    decision = _decision(call, "promotion", place, item)
    yield Click(**call.common | {"surface": place}, decision=decision, item=item, position=1)


def _product_added(call: _Call) -> Made:
    action = "add" if call.name.startswith(("Product Added", "Added")) else "remove"
    yield cart_event(call.common, action, call.properties, _NAMES, None)


def _cart_viewed(call: _Call) -> Made:
    return carted(call.common, "view", call.properties, _NAMES, call.properties.currency("currency"))


def _order_completed(call: _Call) -> Made:
    properties = call.properties
    currency = _currency(properties)
    bought, refused = lines(properties, _NAMES, currency)
    yield from refused
    yield Order(
        **call.common,
        order=properties.required("order_id"),
        currency=currency,
        total_minor=_total(properties, currency),
        tax_minor=properties.money("tax", currency),
        shipping_minor=properties.money("shipping", currency),
        discount_minor=properties.money("discount", currency),
        lines=bought,
    )


def _order_refunded(call: _Call) -> Made:
    currency = _currency(call.properties)
    yield Refund(
        **call.common,
        order=call.properties.required("order_id"),
        amount_minor=_total(call.properties, currency),
        currency=currency,
    )


def _total(properties: Fields, currency: str) -> int:
    """Return what was paid: `total`, or `subtotal` or `revenue`, which exclude tax and shipping, with both."""
    total = properties.money("total", currency)
    if total is not None:
        return total
    net = properties.money("subtotal", currency)
    net = properties.money("revenue", currency) if net is None else net
    if net is None:
        raise properties.unfit("total", "neither total, subtotal nor revenue")
    return net + (properties.money("tax", currency) or 0) + (properties.money("shipping", currency) or 0)


def _currency(properties: Fields) -> str:
    currency = properties.currency("currency")
    if currency is None:
        raise properties.unfit("currency", "is missing: an amount without it has no meaning")
    return currency


def _searched(call: _Call) -> Made:
    query = call.properties.get("query")  # a string or an object
    if query in (None, ""):
        raise call.properties.unfit("query", "is missing")
    yield Search(**call.common, query_hash=digest(query))


def _experiment_viewed(call: _Call) -> Made:
    properties = call.properties
    experiment = properties.required("experiment_id", "experiment_name")
    variants = [str(properties.get(name)) for name in ("variation_name", "variation_id")]
    arm = next((ARMS[variant] for variant in variants if variant in ARMS), None)
    if arm is None:
        raise properties.unfit("variation_name", f"{variants[0][:40]!r} is none of {', '.join(ARMS)}")
    yield Assignment(**call.common, experiment=experiment, arm=arm)


def _consent_updated(call: _Call) -> Made:
    if not call.consents:
        yield Refused("context.consent.categoryPreferences", f"names none of {', '.join(_SCOPES)}")
    for name, granted in call.consents.items():
        # The change is known to all; what it allows is not asked of itself.
        common = call.common | {"id": part_of(call.common["id"], name), "consent": None}
        yield ConsentChange(**common, scope=_SCOPES[name], granted=granted)


def _mail(call: _Call) -> Made:
    properties = call.properties
    yield Message(
        **call.common | {"channel": "email"},
        message=properties.required("email_id"),
        state=_MAIL[call.name],
        campaign=properties.identifier("campaign_id", "campaign_name"),
    )


def _position(product: Fields) -> int:
    position = product.position("position")
    if position is None:
        raise product.unfit("position", "is missing: an impression has a place")
    return position


def _list(call: _Call) -> str:
    place = call.properties.identifier("list_id")
    if place is None:
        raise call.properties.unfit("list_id", "is missing: nothing would join what was shown and what was clicked")
    return place


def _decision(call: _Call, *place: str | None) -> str:
    return decision_key("seg", call.user, call.session, *place)


_TRACKS: Final[dict[str, Callable[[_Call], Made]]] = {
    "Product List Viewed": _list_viewed,
    "Viewed Product Category": _list_viewed,
    "Product List Filtered": _list_viewed,
    "Product Clicked": _product_clicked,
    "Clicked Product": _product_clicked,
    "Promotion Viewed": _promotion_viewed,
    "Viewed Promotion": _promotion_viewed,
    "Promotion Clicked": _promotion_clicked,
    "Clicked Promotion": _promotion_clicked,
    "Product Added": _product_added,
    "Added Product": _product_added,
    "Product Removed": _product_added,
    "Removed Product": _product_added,
    "Cart Viewed": _cart_viewed,
    "Products Searched": _searched,
    "Order Completed": _order_completed,
    "Completed Order": _order_completed,
    "Order Refunded": _order_refunded,
    "Refunded Order": _order_refunded,
    "Experiment Viewed": _experiment_viewed,
    "Segment Consent Preference Updated": _consent_updated,
    **dict.fromkeys(_MAIL, _mail),
}
