"""Google Analytics 4: payloads of the Measurement Protocol, and rows of the BigQuery export.

https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference (payload: one user, many events),
https://support.google.com/analytics/answer/7029846 (rows: one event each, parameters as key and typed value),
https://developers.google.com/analytics/devguides/collection/ga4/reference/events (what the events mean).
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from producers.fields import Fields
from producers.foreign import Pseudonym, Refused, UnfitError, adapting, digest, each, part_of, user_key
from producers.listing import Names, Shown, carted, decision_key, lines, session_key, shown
from stream_app.core.events import Click, Consent, Engagement, Event, Order, PageView, Refund, Search

Made = Iterator[Event | Refused]
_NAMES: Final = Names("items", ("item_id", "item_name"))
_NOT_SET: Final = ("(not set)", "")
_CHANNELS: Final = {"WEB": "web", "ANDROID": "app", "IOS": "app"}
_ANALYTICS: Final = {"Yes": True, "No": False}
_TYPED: Final = ("string_value", "int_value", "double_value", "float_value")
_MICROS: Final = 1_000_000
_FIRST_INDEX: Final = 0
"""Google's own examples count the `index` of the first item as 0."""
_EXPORT_ID: Final = (
    "stream_id", "user_pseudo_id", "user_id", "event_timestamp", "event_name", "event_bundle_sequence_id",
    "batch_page_id", "batch_ordering_id", "batch_event_index",
)  # fmt: skip
"""What tells two rows of the export apart. Neither they nor payloads have ids."""


class _Hit(NamedTuple):
    """One event of either form: what is made of it shares `common`; `params` include the items."""

    common: dict[str, Any]
    params: Fields
    user: str
    session: str | None
    name: str


@adapting
def from_ga4(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    """Yield what a row of the export says, or each event of a payload of the Measurement Protocol."""
    if "event_name" in record:
        return _row(Fields(record), pseudonym)
    payload = Fields(record)
    who = next((name for name in ("user_id", "client_id") if record.get(name) not in (None, "")), "app_instance_id")
    user = _user(payload, who, pseudonym)
    sent_ms = payload.epoch_ms("timestamp_micros", _MICROS)
    device = payload.within("device").identifier("category")
    common: dict[str, Any] = {"ts": sent_ms, "user": user, "device": device}
    return each(record.get("events"), "events", lambda event: _payload_event(common, Fields(event)))


def _row(row: Fields, pseudonym: Pseudonym) -> Made:
    who = "user_id" if row.get("user_id") not in (None, "") else "user_pseudo_id"
    user = _user(row, who, pseudonym)
    at_ms = row.epoch_ms("event_timestamp", _MICROS)
    if at_ms is None:
        raise row.unfit("event_timestamp", "is missing")
    params = Fields(_parameters(row), "event_params")
    session = session_key("ga4", user, params.identifier("ga_session_id"))
    agreed = _ANALYTICS.get(str(row.within("privacy_info").get("analytics_storage")))
    common: dict[str, Any] = {
        "id": f"ga4-{digest(*(row.get(name) for name in _EXPORT_ID))}",
        "ts": at_ms,
        "user": user,
        "session": session,
        "channel": _CHANNELS.get(str(row.get("platform"))),
        "device": row.within("device").identifier("category"),
        "consent": None if agreed is None else Consent(analytics=agreed),
    }
    return _events(_Hit(common, params, user, session, row.text("event_name") or ""), "event_name")


def _parameters(row: Fields) -> dict[str, Any]:
    """Return the parameters of a row as those of a payload: by name, with the items among them."""
    found: dict[str, Any] = {}
    for entry in row.each("event_params"):
        name, value = entry.text("key"), entry.within("value")
        if name is not None:
            found[name] = next((value.get(kind) for kind in _TYPED if value.get(kind) is not None), None)
    bought = row.within("ecommerce")
    # Columns of their own repeat these parameters; the parameter is what was sent.
    for name, column in (("tax", "tax_value"), ("shipping", "shipping_value"), ("transaction_id", "transaction_id")):
        found.setdefault(name, bought.get(column))
    found.setdefault("value", bought.get("purchase_revenue" if row.get("event_name") == "purchase" else "refund_value"))
    found["items"] = [{name: _set(value) for name, value in item.values.items()} for item in row.each("items")]
    for item in found["items"]:
        item.setdefault("index", item.get("item_list_index"))
    return {name: _set(value) for name, value in found.items()}


def _set(value: object) -> object:
    return None if isinstance(value, str) and value in _NOT_SET else value


def _payload_event(shared: dict[str, Any], event: Fields) -> Made:
    params, user = event.within("params"), shared["user"]
    # An event's own time stands before that of the request, as Google has it.
    at_ms = event.epoch_ms("timestamp_micros", _MICROS) or shared["ts"]
    if at_ms is None:
        raise event.unfit("timestamp_micros", "is missing: only Google knows when this arrived")
    session = session_key("ga4", user, params.identifier("session_id"))
    common = shared | {"id": f"ga4-{digest(user, at_ms, event.values)}", "ts": at_ms, "session": session}
    return _events(_Hit(common, params, user, session, event.text("name") or ""), "name")


def _events(hit: _Hit, field: str) -> Made:
    if hit.name not in _KINDS:
        raise UnfitError(field, f"no event of ours says {hit.name[:40]!r}")
    return _KINDS[hit.name](hit)


def _user(fields: Fields, who: str, pseudonym: Pseudonym) -> str:
    raw = fields.long_identifier(who)
    if raw is None:
        raise fields.unfit(who, "is missing, and so is every other id of the user")
    return user_key(raw, who, pseudonym)


def _list_viewed(hit: _Hit) -> Made:
    lists: dict[str | None, list[Shown]] = {}
    for item in hit.params.each("items"):
        place = item.position("index", _FIRST_INDEX)
        if place is None:
            raise item.unfit("index", "is missing: an impression has a place")
        lists.setdefault(_list(hit, item), []).append(Shown(item.required(*_NAMES.item), place))
    if not lists:
        yield Refused(hit.params.where("items"), "is empty: nothing was shown")
    for number, (place_name, items) in enumerate(lists.items(), 1):
        common = hit.common | {"id": part_of(hit.common["id"], f"l{number}"), "surface": place_name}
        yield from shown(common, _decision(hit, place_name), items, hit.params.where("items"))


def _item_selected(hit: _Hit) -> Made:
    items = list(hit.params.each("items"))
    if not items:
        yield Refused(hit.params.where("items"), "is empty: nothing was clicked on")
    for number, item in enumerate(items, 1):
        place = _list(hit, item)
        yield Click(
            **hit.common | {"id": part_of(hit.common["id"], f"k{number}"), "surface": place},
            decision=_decision(hit, place),
            item=item.required(*_NAMES.item),
            position=item.position("index", _FIRST_INDEX),
        )


def _promotions(hit: _Hit) -> list[tuple[str, str | None]]:
    """Return promotion and slot, of the event or of its items, each once and in order."""
    found: dict[tuple[str, str | None], None] = {}
    for fields in (*hit.params.each("items"), hit.params):
        promotion = fields.identifier("promotion_id", "promotion_name")
        if promotion is not None:
            slot = fields.identifier("creative_slot") or hit.params.identifier("creative_slot")
            found[promotion, slot] = None
    if not found:
        raise hit.params.unfit("promotion_id", "is missing")
    return list(found)


def _promotion_viewed(hit: _Hit) -> Made:
    # A promotion stands alone in its slot: a list of one.
    for number, (promotion, slot) in enumerate(_promotions(hit), 1):
        common = hit.common | {"id": part_of(hit.common["id"], f"l{number}"), "surface": slot}
        yield from shown(common, _decision(hit, "promotion", slot, promotion), [Shown(promotion, 1)], "promotion_id")


def _promotion_selected(hit: _Hit) -> Made:
    for number, (promotion, slot) in enumerate(_promotions(hit), 1):
        yield Click(
            **hit.common | {"id": part_of(hit.common["id"], f"k{number}"), "surface": slot},
            decision=_decision(hit, "promotion", slot, promotion),
            item=promotion,
            position=1,
        )


def _page_viewed(hit: _Hit) -> Made:
    yield PageView(**hit.common, page=_page(hit))


def _engaged(hit: _Hit) -> Made:
    elapsed = hit.params.integer("engagement_time_msec", 0, 31 * 86_400_000)
    if elapsed is None:
        raise hit.params.unfit("engagement_time_msec", "is missing")
    # Time in the foreground since the last such event; nobody says whether it was the last.
    yield Engagement(
        **hit.common, view=f"ga4-{digest(hit.user, hit.session, _page(hit))}", elapsed_ms=elapsed, active_ms=elapsed,
        final=False,
    )  # fmt: skip


def _page(hit: _Hit) -> str:
    page = hit.params.url_path("page_location") or hit.params.identifier("firebase_screen", "screen_name")
    if page is None:
        raise hit.params.unfit("page_location", "is missing, and so is the screen")
    return page


def _searched(hit: _Hit) -> Made:
    term = hit.params.text("search_term")
    if term is None:
        raise hit.params.unfit("search_term", "is missing")
    yield Search(**hit.common, query_hash=digest(term))


def _cart(action: str) -> Callable[[_Hit], Made]:
    return lambda hit: carted(hit.common, action, hit.params, _NAMES, hit.params.currency("currency"))


def _purchased(hit: _Hit) -> Made:
    order, currency, total = _paid(hit)
    bought, refused = lines(hit.params, _NAMES, currency)
    yield from refused
    yield Order(
        **hit.common,
        order=order,
        currency=currency,
        total_minor=total,
        tax_minor=hit.params.money("tax", currency),
        shipping_minor=hit.params.money("shipping", currency),
        lines=bought,
    )


def _refunded(hit: _Hit) -> Made:
    order, currency, amount = _paid(hit)
    yield Refund(**hit.common, order=order, amount_minor=amount, currency=currency)


def _paid(hit: _Hit) -> tuple[str, str, int]:
    """Return order, currency and what was paid: `value`, which excludes tax and shipping, with both."""
    params = hit.params
    order, currency = params.required("transaction_id"), params.currency("currency")
    if currency is None:
        raise params.unfit("currency", "is missing: an amount without it has no meaning")
    value = params.money("value", currency)
    if value is None:
        raise params.unfit("value", "is missing")
    return order, currency, value + (params.money("tax", currency) or 0) + (params.money("shipping", currency) or 0)


def _list(hit: _Hit, item: Fields) -> str:
    # The item's own list stands before that of the event, as Google has it.
    place = item.identifier("item_list_id", "item_list_name") or hit.params.identifier("item_list_id", "item_list_name")
    if place is None:
        raise item.unfit("item_list_id", "is missing: nothing would join what was shown and what was clicked")
    return place


def _decision(hit: _Hit, *place: str | None) -> str:
    return decision_key("ga4", hit.user, hit.session, *place)


_KINDS: Final[dict[str, Callable[[_Hit], Made]]] = {
    "view_item_list": _list_viewed,
    "select_item": _item_selected,
    "view_promotion": _promotion_viewed,
    "select_promotion": _promotion_selected,
    "page_view": _page_viewed,
    "screen_view": _page_viewed,
    "user_engagement": _engaged,
    "search": _searched,
    "view_search_results": _searched,
    "add_to_cart": _cart("add"),
    "remove_from_cart": _cart("remove"),
    "view_cart": _cart("view"),
    "purchase": _purchased,
    "refund": _refunded,
}
