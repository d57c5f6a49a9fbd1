"""Segment and RudderStack: each call becomes the event that it tells of, and nothing is made up."""

from typing import Any

import pytest

from producers.adapt_segment import from_segment
from producers.foreign import Adapted, Refused, digest
from producers.listing import decision_key, session_key
from producers.pseudonyms import Pseudonyms
from stream_app.core.events import (
    Assignment,
    Cart,
    Click,
    ConsentChange,
    Decision,
    DecisionItem,
    Event,
    Impression,
    Message,
    Order,
    OrderLine,
    PageView,
    Refund,
    Search,
)
from tests.foreign import records

RECORDS = records("segment")
ID = "022bb90c-bbac-11e4-8dfc-aa07a5b093db"
USER = "97980cfea0067"
AT: dict[str, Any] = {"ts": 1_449_720_511_905, "user": USER}
SAID: dict[str, Any] = AT | {"id": ID}
MONOPOLY, UNO = "507f1f77bcf86cd799439011", "505bd76785ebb509fc183733"
DEALS = decision_key("seg", USER, None, "hot_deals_1")
BANNER = decision_key("seg", USER, None, "promotion", "home_banner_top", "promo_1")
ORDER = "50314b8e9bcf000000000000"

EXPECTED: dict[str, tuple[Event, ...]] = {
    "product_list_viewed": (
        Decision(
            **AT, id=f"{ID}.d", surface="hot_deals_1", decision=DEALS,
            items=(DecisionItem(item=MONOPOLY, position=1), DecisionItem(item=UNO, position=2)),
        ),
        Impression(**AT, id=f"{ID}.i1", surface="hot_deals_1", decision=DEALS, item=MONOPOLY, position=1),
        Impression(**AT, id=f"{ID}.i2", surface="hot_deals_1", decision=DEALS, item=UNO, position=2),
    ),
    "product_clicked": (Click(**SAID, surface="hot_deals_1", decision=DEALS, item=MONOPOLY, position=1),),
    "promotion_viewed": (
        Decision(
            **AT, id=f"{ID}.d", surface="home_banner_top", decision=BANNER,
            items=(DecisionItem(item="promo_1", position=1),),
        ),
        Impression(**AT, id=f"{ID}.i1", surface="home_banner_top", decision=BANNER, item="promo_1", position=1),
    ),
    "promotion_clicked": (Click(**SAID, surface="home_banner_top", decision=BANNER, item="promo_1", position=1),),
    "product_added": (Cart(**SAID, action="add", item=MONOPOLY, quantity=1, price_minor=1_899, currency="USD"),),
    "product_removed": (Cart(**SAID, action="remove", item=MONOPOLY, quantity=1),),
    "cart_viewed": (
        Cart(**AT, id=f"{ID}.c1", action="view", item=MONOPOLY, quantity=1, price_minor=1_900, currency="USD"),
        Cart(**AT, id=f"{ID}.c2", action="view", item=UNO, quantity=2, price_minor=300, currency="USD"),
    ),
    "products_searched": (Search(**SAID, query_hash=digest("blue roses")),),
    "order_completed": (
        Order(
            **SAID, order=ORDER, currency="USD", total_minor=2_750, tax_minor=200, shipping_minor=300,
            discount_minor=250,
            lines=(
                OrderLine(item=MONOPOLY, quantity=1, price_minor=1_900),
                OrderLine(item=UNO, quantity=2, price_minor=300),
            ),
        ),
    ),
    # revenue 25.00 excludes the tax of 2 and the shipping of 3
    "order_completed_without_total": (
        Order(
            **SAID, order=ORDER, currency="USD", total_minor=3_000, tax_minor=200, shipping_minor=300,
            discount_minor=250,
        ),
    ),
    "order_refunded": (Refund(**SAID, order=ORDER, amount_minor=3_000, currency="USD"),),
    "experiment_viewed": (Assignment(**SAID, experiment="1234", arm="holdout"),),
    "consent_updated": (ConsentChange(**AT, id=f"{ID}.analytics", scope="analytics", granted=False),),
    "email_opened": (Message(**SAID, channel="email", message="18vzF7u3z", state="opened", campaign="123"),),
    "page": (PageView(id=ID, ts=AT["ts"], user="507f191e810c19729de860ea", page="/academy/"),),
    # receivedAt - (sentAt - originalTimestamp): a minute and a bit before it was received
    "rudderstack_screen": (
        PageView(
            id="m-7", ts=1_579_847_344_403, user="b4064b1d", page="Home", channel="app", device="Android",
            session=session_key("seg", "b4064b1d", "1641389840"),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_call_is_the_event_that_it_tells_of(name: str) -> None:
    """Every documented call that we have a word for gives exactly these events, and refuses nothing."""
    assert Adapted(EXPECTED[name], ()) == from_segment(RECORDS[name])  # type: ignore[arg-type]  # tuples of events


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        (
            "product_clicked_as_documented",
            ("properties.list_id", "is missing: nothing would join what was shown and what was clicked"),
        ),
        (
            "experiment_of_somebody_else",
            ("properties.variation_name", "'Red' is none of personalized, context_blind, holdout"),
        ),
        ("identify", ("type", "'identify' is no interaction")),
    ],
)
def test_what_cannot_be_said_is_refused(name: str, refused: tuple[str, str]) -> None:
    """A call that lacks what an event needs gives none, and says which field it was."""
    assert Adapted((), (Refused(*refused),)) == from_segment(RECORDS[name])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messageId": None}, "messageId"),
        ({"userId": None, "anonymousId": ""}, "userId"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2015-12-10T04:08:31"}, "timestamp"),
        ({"timestamp": None}, "timestamp"),
        ({"event": "Product Viewed"}, "event"),
        ({"event": None}, "event"),
        ({"properties": []}, "properties"),
        ({"properties": {"order_id": "o", "total": 1}}, "properties.currency"),
        ({"properties": {"order_id": "o", "total": 1, "currency": "euro"}}, "properties.currency"),
        ({"properties": {"order_id": "o", "total": -1, "currency": "EUR"}}, "properties.total"),
        ({"properties": {"order_id": "o", "total": True, "currency": "EUR"}}, "properties.total"),
        ({"properties": {"order_id": "o", "currency": "EUR"}}, "properties.total"),
        ({"properties": {"total": 1, "currency": "EUR"}}, "properties.order_id"),
        ({"properties": {"order_id": "o", "total": 1, "currency": "EUR", "products": [7]}}, "properties.products[0]"),
        ({"userId": "jane@example.com"}, "user"),
        ({"userId": "jane@example.com" * 9}, "userId"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with an order, exactly one refusal names the field as Segment does."""
    adapted = from_segment(RECORDS["order_completed"] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])


def test_a_batch_is_taken_call_by_call() -> None:
    """A bad call of a batch is refused with its place, and costs the others nothing."""
    adapted = from_segment(RECORDS["batch"])
    assert EXPECTED["products_searched"] == adapted.events
    assert (Refused("batch[1].event", "is missing"),) == adapted.refused


def test_a_user_goes_through_the_pseudonym() -> None:
    """An address becomes a key before anything is derived from it, the same in every call."""
    pseudonym = Pseudonyms({"k1": b"0123456789abcdef"}, "k1").of
    seen = from_segment(RECORDS["product_list_viewed"] | {"userId": "jane@example.com"}, pseudonym).events
    clicked = from_segment(RECORDS["product_clicked"] | {"userId": "jane@example.com"}, pseudonym).events
    assert {pseudonym("jane@example.com")} == {event.user for event in (*seen, *clicked)}
    assert {seen[1].decision} == {event.decision for event in clicked}  # type: ignore[union-attr]  # all have one


def test_the_device_s_clock_is_corrected_only_where_segment_can() -> None:
    """Without the time of receipt the device's own time is all there is."""
    call = RECORDS["rudderstack_screen"] | {"receivedAt": None}
    (event,) = from_segment(call).events
    assert 1_579_847_342_403 == event.ts


def test_a_long_list_keeps_its_impressions() -> None:
    """A list of more than a hundred products is too long for a decision, and all of it was seen."""
    products = [{"product_id": f"p-{number}", "position": number} for number in range(1, 121)]
    call = RECORDS["product_list_viewed"] | {"properties": {"list_id": "all", "products": products}}
    adapted = from_segment(call)
    assert [Impression] * 120 == [type(event) for event in adapted.events]
    assert ["properties.products"] == [refused.field for refused in adapted.refused]


def test_ids_are_the_same_in_every_process() -> None:
    """What is derived depends on the record alone: an import can be repeated, and joins hold across processes."""
    assert DEALS == "seg-984190420843f49f8251fdab7beb3521"
