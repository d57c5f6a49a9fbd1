"""Google's Retail API (Vertex AI Search for commerce): user events, as they are written and imported.

https://cloud.google.com/retail/docs/reference/rest/v2/projects.locations.catalogs.userEvents. A record is one
UserEvent. `attributionToken` belongs to one response of the search or the recommender, so it is the decision.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from producers.fields import Fields
from producers.foreign import ARMS, Pseudonym, Refused, adapting, digest, part_of, shortened, user_key
from producers.listing import Names, Shown, cart_event, decision_key, session_key, shown
from stream_app.core.events import Click, Event, Order, PageView, Search

Made = Iterator[Event | Refused]
_NAMES: Final = Names("productDetails", ("id",))
_ARM_NAMES: Final = tuple(ARMS)  # a tuple can be asked about anything, also about what has no hash


class _Visit(NamedTuple):
    """One user event: what every event made of it shares, its fields, and the decision it quotes."""

    common: dict[str, Any]
    fields: Fields
    decision: str | None


@adapting
def from_retail(record: dict[str, Any], pseudonym: Pseudonym) -> Made:
    """Yield what one UserEvent says."""
    fields = Fields(record)
    kind = fields.text("eventType")
    if kind not in _KINDS:
        raise fields.unfit("eventType", f"no event of ours says {str(kind)[:40]!r}")
    # `visitorId` stays the same when somebody logs in or out, which the joins need; `userInfo.userId` does not.
    visitor = fields.long_identifier("visitorId")
    at_ms = fields.iso_ms("eventTime")
    if visitor is None or at_ms is None:
        raise fields.unfit("visitorId" if visitor is None else "eventTime", "is missing")
    user = user_key(visitor, "visitorId", pseudonym)
    groups = fields.get("experimentIds")
    arms = [ARMS[group] for group in groups if group in _ARM_NAMES] if isinstance(groups, list) else []
    common: dict[str, Any] = {
        # A user event has no id of its own: the same event is the same id.
        "id": f"gr-{digest(record)}",
        "ts": at_ms,
        "user": user,
        "session": session_key("gr", user, fields.identifier("sessionId")),
        "arm": arms[0] if len(arms) == 1 else None,
    }
    yield from _KINDS[kind](_Visit(common, fields, fields.identifier("attributionToken")))


def _viewed(visit: _Visit) -> Made:
    page = visit.fields.url_path("uri")
    if page is not None:
        yield PageView(**visit.common | {"id": part_of(visit.common["id"], "p")}, page=page)
    panels = list(visit.fields.each("panels"))
    for number, panel in enumerate(panels, 1):
        # Panels are what Google calls page-level impressions: each is a list with its own response.
        common = visit.common | {
            "id": part_of(visit.common["id"], f"n{number}"),
            "surface": panel.identifier("panelId"),
        }
        token = panel.identifier("attributionToken")
        decision = token or decision_key("gr", visit.common["id"], None, panel.required("panelId"))
        yield from shown(common, decision, _products(panel, 0), panel.where("productDetails"))
    if page is None and not panels:
        raise visit.fields.unfit("uri", "is missing, and so are panels: nothing says what was viewed")


def _detail_viewed(visit: _Visit) -> Made:
    page = visit.fields.url_path("uri")
    if page is not None:
        yield PageView(**visit.common | {"id": part_of(visit.common["id"], "p")}, page=page)
    if visit.decision is None:
        if page is None:
            raise visit.fields.unfit("attributionToken", "is missing, and so is uri: nobody decided this view")
        return
    for number, product in enumerate(_details(visit.fields), 1):
        yield Click(
            **visit.common | {"id": part_of(visit.common["id"], f"k{number}")},
            decision=visit.decision,
            item=product.required("id"),
        )


def _searched(visit: _Visit) -> Made:
    query = visit.fields.text("searchQuery")
    if query is not None:
        yield Search(**visit.common | {"id": part_of(visit.common["id"], "s")}, query_hash=digest(query))
    if visit.decision is not None:
        # The products of a search event are those of this page of results, from `offset` on, which counts from 0.
        offset = visit.fields.integer("offset", 0, 9_000) or 0
        items = _products(visit.fields, offset)
        yield from shown(visit.common | {"surface": "search"}, visit.decision, items, "productDetails")
    elif query is None:
        raise visit.fields.unfit("searchQuery", "is missing, and so is attributionToken")


def _carted(action: str) -> Callable[[_Visit], Made]:
    def carted(visit: _Visit) -> Made:
        products = list(visit.fields.each("productDetails"))
        if not products:
            yield Refused("productDetails", "is empty: no product to speak of")
        for number, product in enumerate(products, 1):
            # The quantity stands beside the product, its id in it.
            inner = product.within("product")
            merged = Fields({"id": inner.get("id"), "quantity": product.get("quantity")}, inner.path)
            common = visit.common | {"id": part_of(visit.common["id"], f"c{number}")}
            yield cart_event(common, action, merged, _NAMES, None)

    return carted


def _purchased(visit: _Visit) -> Made:
    paid = visit.fields.within("purchaseTransaction")
    currency = paid.currency("currencyCode")
    if currency is None:
        raise paid.unfit("currencyCode", "is missing: an amount without it has no meaning")
    total = paid.money("revenue", currency)
    if total is None:
        raise paid.unfit("revenue", "is missing")
    # `revenue` is the grand total, with tax and shipping. The tax is told apart, shipping is not: it stays in.
    yield Order(
        **visit.common,
        # Google makes the id optional; then the event is the order.
        order=paid.identifier("id") or visit.common["id"],
        currency=currency,
        total_minor=total,
        tax_minor=paid.money("tax", currency),
        cost_minor=paid.money("cost", currency),
    )


def _details(fields: Fields) -> Iterator[Fields]:
    return (detail.within("product") for detail in fields.each("productDetails"))


def _products(fields: Fields, offset: int) -> list[Shown]:
    details = enumerate(_details(fields), offset + 1)
    return [Shown(shortened(product.required("id")), place) for place, product in details]


_KINDS: Final[dict[str, Callable[[_Visit], Made]]] = {
    "home-page-view": _viewed,
    "category-page-view": _viewed,
    "detail-page-view": _detail_viewed,
    "search": _searched,
    "add-to-cart": _carted("add"),
    "remove-from-cart": _carted("remove"),
    "shopping-cart-page-view": _carted("view"),
    "purchase-complete": _purchased,
}
