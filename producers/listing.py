"""What adapters of shops have in common: lists that were shown, lines that were bought.

A source that names no decision still says who saw which list, and the click names the same list: `decision_key`
makes one decision of both. The same list shown again to the same user in the same session is the same decision, so
its impressions are counted again and its clicks go to the first showing; that is as much as such a source tells.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from producers.fields import MAX_QUANTITY, Fields
from producers.foreign import Refused, digest, part_of
from stream_app.core.events import Cart, Decision, DecisionItem, Event, Impression, OrderLine

MAX_DECIDED: Final = 100
MAX_LINES: Final = 200


class Shown(NamedTuple):
    """One item of a list, and its place counted from 1."""

    item: str
    position: int
    propensity: float | None = None


class Names(NamedTuple):
    """How a source names the fields of a product."""

    items: str
    item: tuple[str, ...]
    quantity: str = "quantity"
    price: str = "price"


def decision_key(source: str, user: str, session: str | None, *place: str | None) -> str:
    """Return the id of the decision behind a list that only names its place."""
    return f"{source}-{digest(user, session, *place)}"


def session_key(source: str, user: str, session: str | None) -> str | None:
    """Return the id of a session whose own id is only unique within its user."""
    return None if session is None else f"{source}-{digest(user, session)}"


def shown(common: dict[str, Any], decision: str, items: Sequence[Shown], field: str) -> Iterator[Event | Refused]:
    """Yield the decision of a list and the impression of each of its items.

    A decision has at most 100 items: that of a longer list is refused, its impressions are not.
    """
    event_id = common["id"]
    if not items:
        yield Refused(field, "is empty: nothing was shown")
    elif len(items) > MAX_DECIDED:
        yield Refused(field, f"{len(items)} items: a decision has at most {MAX_DECIDED}, the impressions are kept")
    else:
        decided = tuple(DecisionItem(item=i.item, position=i.position, propensity=i.propensity) for i in items)
        yield Decision(**common | {"id": part_of(event_id, "d")}, decision=decision, items=decided)
    for number, one in enumerate(items, 1):
        yield Impression(
            **common | {"id": part_of(event_id, f"i{number}")},
            decision=decision,
            item=one.item,
            position=one.position,
            propensity=one.propensity,
        )


def carted(
    common: dict[str, Any], action: str, fields: Fields, names: Names, currency: str | None
) -> Iterator[Event | Refused]:
    """Yield what happened to the cart, a product at a time. A price without a currency says nothing, and is absent."""
    products = list(fields.each(names.items))
    if not products:
        yield Refused(fields.where(names.items), "is empty: no product to speak of")
    for number, product in enumerate(products, 1):
        yield cart_event(common | {"id": part_of(common["id"], f"c{number}")}, action, product, names, currency)


def cart_event(common: dict[str, Any], action: str, product: Fields, names: Names, currency: str | None) -> Cart:
    """Return what happened to the cart with one product."""
    currency = product.currency("currency") or currency
    price = None if currency is None else product.money(names.price, currency)
    return Cart(
        **common,
        action=action,  # type: ignore[arg-type]  # one of three words of the adapters' own tables
        item=product.required(*names.item),
        quantity=product.integer(names.quantity, 1, MAX_QUANTITY),
        price_minor=price,
        currency=None if price is None else currency,
    )


def lines(fields: Fields, names: Names, currency: str) -> tuple[tuple[OrderLine, ...], tuple[Refused, ...]]:
    """Return the lines of an order, if each product has an id, a quantity and a price; else none of them.

    Some lines of an order would look like all of them. More than 200 are refused, the order is not.
    """
    made: list[OrderLine] = []
    for product in fields.each(names.items):
        item = product.identifier(*names.item)
        quantity = product.integer(names.quantity, 1, MAX_QUANTITY)
        price = product.money(names.price, currency)
        if item is None or quantity is None or price is None:
            return (), ()
        made.append(OrderLine(item=item, quantity=quantity, price_minor=price))
    if len(made) > MAX_LINES:
        reason = f"{len(made)} lines: an order has at most {MAX_LINES}, the order is kept without them"
        return (), (Refused(fields.where(names.items), reason),)
    return tuple(made), ()
