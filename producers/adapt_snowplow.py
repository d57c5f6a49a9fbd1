"""Snowplow: enriched events as the analytics SDKs write them, and payloads as the trackers send them.

https://docs.snowplow.io/docs/fundamentals/canonical-event/ (fields of both forms),
https://docs.snowplow.io/docs/events/ootb-data/ecommerce-events/ (the e-commerce action and its entities),
https://docs.snowplow.io/docs/events/http-requests/ (payloads). A record is one enriched event, one tracker payload, or
the `payload_data` with several of them.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from producers.fields import Fields
from producers.foreign import Pseudonym, Refused, adapting, each, part_of, shortened, user_key
from producers.listing import Names, Shown, cart_event, decision_key, lines, session_key, shown
from stream_app.core.events import Click, ConsentChange, Event, Order, PageView, Refund

Made = Iterator[Event | Refused]
_PRODUCT: Final = Names("product", ("id",))
_CHANNELS: Final = {"web": "web", "mob": "app", "app": "app"}
_SHOP: Final = "com.snowplowanalytics.snowplow.ecommerce/"
_ACTION: Final = f"{_SHOP}snowplow_ecommerce_action"
_CONSENT: Final = "com.snowplowanalytics.snowplow/consent_preferences"
_PAGE: Final = "com.snowplowanalytics.snowplow/web_page"
_SHORT: Final = {"pv": "page_view", "pp": "page_ping", "ue": "unstruct", "tr": "transaction"}
"""The trackers' words for the kinds of events, and those of the enriched event."""


class _Act(NamedTuple):
    """One event of either form: what is made of it shares `common`; entities are by vendor and name."""

    common: dict[str, Any]
    fields: Fields
    action: Fields
    entities: dict[str, list[Any]]
    session: str | None

    def each(self, name: str) -> list[Fields]:
        """Return the entities of this name of the shop's vocabulary."""
        found = self.entities.get(_SHOP + name, [])
        return [Fields(value, f"{name}[{number}]") for number, value in enumerate(found)]

    def the(self, name: str) -> Fields:
        """Return the one entity of this name; no fields when it is missing."""
        return next(iter(self.each(name)), Fields({}, name))

    def decision(self, *place: str | None) -> str:
        """Return the decision behind a list: that of the page view where there is one, else of the session."""
        pages = self.entities.get(_PAGE, [])
        page = Fields(pages[0], "web_page").identifier("id") if pages else None
        return decision_key("sp", self.common["user"], page or self.session, *place)


@adapting
def from_snowplow(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    """Yield what one event says, or each event of a `payload_data`."""
    if "schema" in record and "data" in record:
        return each(record["data"], "data", lambda payload: _tracked(Fields(payload), pseudonym))
    return _tracked(Fields(record), pseudonym) if "e" in record else _enriched(Fields(record), pseudonym)


def _enriched(fields: Fields, pseudonym: Pseudonym) -> Made:
    # derived_tstamp is Snowplow's own correction of the device's clock. All its times are UTC and do not say so.
    at_ms = fields.iso_ms("derived_tstamp", is_utc=True)
    at_ms = fields.iso_ms("collector_tstamp", is_utc=True) if at_ms is None else at_ms
    entities: dict[str, list[Any]] = {}
    for name in (_PAGE, *(_SHOP + entity for entity in ("product", "promotion", "transaction", "refund"))):
        column = f"contexts_{name.replace('.', '_').replace('/', '_')}_1"
        found = fields.get(column)
        if found is not None:
            entities[name] = _listed(fields, column, found)
    schema = next((name for name in (_ACTION, _CONSENT) if fields.get(_unstruct(name)) is not None), "")
    action = fields.within(_unstruct(schema)) if schema else Fields({}, "unstruct_event")
    act = _act(fields, pseudonym, at_ms, ("user_id", "domain_userid", "network_userid"), "domain_sessionid")
    act = act._replace(action=action, entities=entities)
    return _events(act, fields.text("event") or "", schema, fields.text("page_urlpath"))


def _unstruct(schema: str) -> str:
    return f"unstruct_event_{schema.replace('.', '_').replace('/', '_')}_1"


def _tracked(fields: Fields, pseudonym: Pseudonym) -> Made:
    # The true timestamp is what the shop vouches for; else the device's clock: the collector's is not in the payload.
    at_ms = fields.epoch_ms("ttm", 1000)
    at_ms = fields.epoch_ms("dtm", 1000) if at_ms is None else at_ms
    entities: dict[str, list[Any]] = {}
    for entity in _packed(fields, "co", "cx").each("data"):
        entities.setdefault(_schema(entity), []).append(entity.get("data"))
    told = _packed(fields, "ue_pr", "ue_px").within("data")
    schema = _schema(told)
    act = _act(fields, pseudonym, at_ms, ("uid", "duid", "nuid"), "sid")
    act = act._replace(action=told.within("data"), entities=entities)
    kind = fields.text("e") or ""
    return _events(act, _SHORT.get(kind, kind), schema, fields.url_path("url"))


def _packed(fields: Fields, plain: str, coded: str) -> Fields:
    """Return self-describing JSON that a tracker has sent as a string, plain or in URL-safe base64."""
    text, name = fields.text(plain), plain
    try:
        if text is None and (packed := fields.text(coded)) is not None:
            name = coded
            text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
        return Fields({} if text is None else json.loads(text), fields.where(name))
    except (binascii.Error, ValueError, RecursionError):
        raise fields.unfit(name, "is no JSON") from None


def _schema(fields: Fields) -> str:
    """Return vendor and name of `iglu:vendor/name/jsonschema/1-0-0`."""
    return "/".join((fields.text("schema") or "").removeprefix("iglu:").split("/")[:2])


def _act(fields: Fields, pseudonym: Pseudonym, at_ms: int | None, users: tuple[str, ...], session: str) -> _Act:
    who = next((name for name in users if fields.get(name) not in (None, "")), None)
    raw = None if who is None else fields.long_identifier(who)
    if who is None or raw is None:
        raise fields.unfit(users[0], "is missing, and so is every other id of the user")
    if at_ms is None:
        raise fields.unfit("derived_tstamp" if "event" in fields.values else "dtm", "is missing")
    user = user_key(raw, who, pseudonym)
    known = session_key("sp", user, fields.identifier(session))
    common: dict[str, Any] = {
        "id": fields.required("event_id", "eid"),
        "ts": at_ms,
        "user": user,
        "session": known,
        "channel": _CHANNELS.get(str(fields.get("platform") or fields.get("p"))),
    }
    return _Act(common, fields, Fields({}), {}, known)


def _events(act: _Act, kind: str, schema: str, page: str | None) -> Made:
    if kind == "page_view":
        if page is None:
            raise act.fields.unfit("page_urlpath", "is missing")
        yield PageView(**act.common, page=shortened(page, 256))
    elif kind == "transaction":
        yield _legacy_order(act)
    elif kind == "unstruct" and schema == _ACTION:
        word = act.action.text("type")
        if word not in _ACTIONS:
            raise act.action.unfit("type", f"no event of ours says {str(word)[:40]!r}")
        yield from _ACTIONS[word](act)
    elif kind == "unstruct" and schema == _CONSENT:
        yield from _consented(act)
    elif kind == "page_ping":
        raise act.fields.unfit("event", "a page ping does not say how long the page has been read")
    else:
        raise act.fields.unfit("event", f"no event of ours says {(schema or kind)[:80]!r}")


def _list_viewed(act: _Act) -> Made:
    products, name = act.each("product"), _list(act)
    # Snowplow allows places from 0 and does not say where it starts: a list with a place 0 counts from 0.
    first = 0 if any(product.decimal("position") == 0 for product in products) else 1
    items = []
    for product in products:
        place = product.position("position", first)
        if place is None:
            raise product.unfit("position", "is missing: an impression has a place")
        items.append(Shown(product.required("id"), place))
    return shown(act.common | {"surface": name}, act.decision(name), items, "product")


def _list_clicked(act: _Act) -> Made:
    name = _list(act)
    for number, product in enumerate(_some(act, "product"), 1):
        # Alone, a place does not show where its list starts: it is left out.
        common = act.common | {"id": part_of(act.common["id"], f"k{number}"), "surface": name}
        yield Click(**common, decision=act.decision(name), item=product.required("id"))


def _list(act: _Act) -> str:
    name = act.action.identifier("name")
    if name is None:
        raise act.action.unfit("name", "is missing: nothing would join what was shown and what was clicked")
    return name


def _promotion_viewed(act: _Act) -> Made:
    for number, promotion in enumerate(_some(act, "promotion"), 1):
        # A promotion is alone in its slot: a list of one.
        item, slot = promotion.required("id"), promotion.identifier("slot")
        common = act.common | {"id": part_of(act.common["id"], f"l{number}"), "surface": slot}
        yield from shown(common, act.decision("promotion", slot, item), [Shown(item, 1)], promotion.path)


def _promotion_clicked(act: _Act) -> Made:
    for number, promotion in enumerate(_some(act, "promotion"), 1):
        item, slot = promotion.required("id"), promotion.identifier("slot")
        common = act.common | {"id": part_of(act.common["id"], f"k{number}"), "surface": slot}
        yield Click(**common, decision=act.decision("promotion", slot, item), item=item, position=1)


def _carted(action: str) -> Callable[[_Act], Made]:
    def carted(act: _Act) -> Made:
        for number, product in enumerate(_some(act, "product"), 1):
            common = act.common | {"id": part_of(act.common["id"], f"c{number}")}
            yield cart_event(common, action, product, _PRODUCT, None)

    return carted


def _purchased(act: _Act) -> Made:
    paid = act.the("transaction")
    currency = _currency(paid)
    bought, refused = lines(
        Fields({"product": [product.values for product in act.each("product")]}), _PRODUCT, currency
    )
    yield from refused
    # `revenue` is the total value: in Snowplow's example 13 for a product of 12 and shipping of 1.
    yield _order(act, paid, "transaction_id", "revenue", currency, lines=bought)


def _order(act: _Act, paid: Fields, order: str, total: str, currency: str, **more: Any) -> Order:
    prefix = "tr_" if total == "tr_total" else ""
    amount = paid.money(total, currency)
    if amount is None:
        raise paid.unfit(total, "is missing")
    return Order(
        **act.common,
        **more,
        order=paid.required(order),
        currency=currency,
        total_minor=amount,
        tax_minor=paid.money(f"{prefix}tax", currency),
        shipping_minor=paid.money(f"{prefix}shipping", currency),
        discount_minor=paid.money("discount_amount", currency),
    )


def _legacy_order(act: _Act) -> Order:
    """Return the order of the first e-commerce plugin, whose fields are of the event itself."""
    tracked = {
        "tr_id": "tr_orderid",
        "tr_tt": "tr_total",
        "tr_tx": "tr_tax",
        "tr_sh": "tr_shipping",
        "tr_cu": "tr_currency",
    }
    said = {tracked.get(name, name): value for name, value in act.fields.values.items()}
    paid = Fields(said)
    return _order(act, paid, "tr_orderid", "tr_total", _currency(paid, "tr_currency"))


def _refunded(act: _Act) -> Made:
    paid = act.the("refund")
    currency = _currency(paid)
    amount = paid.money("refund_amount", currency)
    if amount is None:
        raise paid.unfit("refund_amount", "is missing")
    yield Refund(**act.common, order=paid.required("transaction_id"), amount_minor=amount, currency=currency)


def _currency(paid: Fields, name: str = "currency") -> str:
    currency = paid.currency(name)
    if currency is None:
        raise paid.unfit(name, "is missing: an amount without it has no meaning")
    return currency


def _consented(act: _Act) -> Made:
    """Yield what was agreed to or withdrawn. Of a selection, only the scopes that bear our names are known."""
    word = act.action.text("eventType") or act.action.text("event_type")
    listed = act.action.get("consentScopes") or act.action.get("consent_scopes") or []
    granted = word in ("allow_all", "allow_selected")
    if not granted and word not in ("deny_all", "withdrawn", "expired"):
        raise act.action.unfit("eventType", f"{str(word)[:40]!r} neither gives nor withdraws consent")
    for scope in ("analytics", "personalization"):
        if word != "allow_selected" or (isinstance(listed, list) and scope in listed):
            common = act.common | {"id": part_of(act.common["id"], scope)}
            yield ConsentChange(**common, scope=scope, granted=granted)


def _some(act: _Act, name: str) -> list[Fields]:
    found = act.each(name)
    if not found:
        raise act.fields.unfit(f"contexts.{name}", "is missing")
    return found


def _listed(fields: Fields, column: str, found: object) -> list[Any]:
    if not isinstance(found, list):
        raise fields.unfit(column, "an array was expected")
    return found


_ACTIONS: Final[dict[str, Callable[[_Act], Made]]] = {
    "list_view": _list_viewed,
    "list_click": _list_clicked,
    "promo_view": _promotion_viewed,
    "promo_click": _promotion_clicked,
    "add_to_cart": _carted("add"),
    "remove_from_cart": _carted("remove"),
    "transaction": _purchased,
    "refund": _refunded,
}
