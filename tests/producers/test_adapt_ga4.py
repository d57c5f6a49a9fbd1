"""Google Analytics 4: payloads and rows of the export say the same things, and become the same events."""

from typing import Any

import pytest

from producers.adapt_ga4 import from_ga4
from producers.foreign import Adapted, Refused, digest
from producers.listing import decision_key, session_key
from stream_app.core.events import (
    Cart,
    Click,
    Consent,
    Decision,
    DecisionItem,
    Engagement,
    Event,
    Impression,
    Order,
    OrderLine,
    PageView,
    Refund,
    Search,
)
from tests.foreign import records

RECORDS = records("ga4")
USER = "1234567.7654321"
SESSION = session_key("ga4", USER, "1664522406")
AT: dict[str, Any] = {"ts": 1_770_000_000_123, "user": USER, "session": SESSION}
RELATED = decision_key("ga4", USER, SESSION, "related_products")
SUMMER = decision_key("ga4", USER, SESSION, "promotion", "featured_app_1", "P_12345")
LIST: dict[str, Any] = AT | {"surface": "related_products", "decision": RELATED}
SLOT: dict[str, Any] = AT | {"surface": "featured_app_1", "decision": SUMMER}
MONEY: dict[str, Any] = {"currency": "USD", "quantity": 1}

SHOPPER = "1026454.4271112504"
SHOPPING: dict[str, Any] = {
    "user": SHOPPER, "session": session_key("ga4", SHOPPER, "661084800"), "channel": "web", "device": "mobile",
}  # fmt: skip
APPAREL: dict[str, Any] = SHOPPING | {
    "ts": 1_612_069_510_766, "surface": "Apparel", "consent": Consent(),
    "decision": decision_key("ga4", SHOPPER, SHOPPING["session"], "Apparel"),
}  # fmt: skip


def payload_id(name: str) -> str:
    """Return the id that an event of a payload gets: it has none of its own."""
    return f"ga4-{digest(USER, AT['ts'], RECORDS[name]['events'][0])}"


def row_id(name: str) -> str:
    """Return the id that a row of the export gets, of what tells two rows apart."""
    row = RECORDS[name]
    parts = ("stream_id", "user_pseudo_id", "user_id", "event_timestamp", "event_name", "event_bundle_sequence_id")
    return f"ga4-{digest(*(row.get(part) for part in parts), None, None, None)}"


EXPECTED: dict[str, tuple[Event, ...]] = {
    # Google's index starts at 0, our positions at 1.
    "view_item_list": (
        Decision(
            **LIST, id=f"{payload_id('view_item_list')}.l1.d",
            items=(DecisionItem(item="SKU_12345", position=1), DecisionItem(item="SKU_12346", position=2)),
        ),
        Impression(**LIST, id=f"{payload_id('view_item_list')}.l1.i1", item="SKU_12345", position=1),
        Impression(**LIST, id=f"{payload_id('view_item_list')}.l1.i2", item="SKU_12346", position=2),
    ),
    "select_item": (Click(**LIST, id=f"{payload_id('select_item')}.k1", item="SKU_12345", position=1),),
    "view_promotion": (
        Decision(
            **SLOT, id=f"{payload_id('view_promotion')}.l1.d", items=(DecisionItem(item="P_12345", position=1),)
        ),
        Impression(**SLOT, id=f"{payload_id('view_promotion')}.l1.i1", item="P_12345", position=1),
    ),
    "select_promotion": (Click(**SLOT, id=f"{payload_id('select_promotion')}.k1", item="P_12345", position=1),),
    "page_view": (PageView(**AT, id=payload_id("page_view"), page="/home"),),
    "user_engagement": (
        Engagement(
            **AT, id=payload_id("user_engagement"), view=f"ga4-{digest(USER, SESSION, '/home')}", elapsed_ms=1_200,
            active_ms=1_200, final=False,
        ),
    ),
    "search": (Search(**AT, id=payload_id("search"), query_hash=digest("t-shirts")),),
    "add_to_cart": (
        Cart(**AT, **MONEY, id=f"{payload_id('add_to_cart')}.c1", action="add", item="SKU_12345", price_minor=1_001),
    ),
    "remove_from_cart": (
        Cart(
            **AT, **MONEY, id=f"{payload_id('remove_from_cart')}.c1", action="remove", item="SKU_12345",
            price_minor=1_001,
        ),
    ),
    "view_cart": (
        Cart(**AT, **MONEY, id=f"{payload_id('view_cart')}.c1", action="view", item="SKU_12345", price_minor=1_001),
        Cart(**AT, **MONEY, id=f"{payload_id('view_cart')}.c2", action="view", item="SKU_12346", price_minor=2_002),
    ),
    # value 30.03 is without the tax of 1.11 and the shipping of 3.33
    "purchase": (
        Order(
            **AT, id=payload_id("purchase"), order="T_12345", currency="USD", total_minor=3_447, tax_minor=111,
            shipping_minor=333, lines=(OrderLine(item="SKU_12345", quantity=3, price_minor=1_001),),
        ),
    ),
    "refund": (Refund(**AT, id=payload_id("refund"), order="T_12345", amount_minor=3_447, currency="USD"),),
    "row_view_item_list": (
        Decision(
            **APPAREL, id=f"{row_id('row_view_item_list')}.l1.d",
            items=(DecisionItem(item="GGOEGXXX0906", position=1), DecisionItem(item="GGOEGXXX0908", position=2)),
        ),
        Impression(**APPAREL, id=f"{row_id('row_view_item_list')}.l1.i1", item="GGOEGXXX0906", position=1),
        Impression(**APPAREL, id=f"{row_id('row_view_item_list')}.l1.i2", item="GGOEGXXX0908", position=2),
    ),
    # 19.989999771118164 is what a 32-bit float makes of 19.99
    "row_purchase": (
        Order(
            **SHOPPING, ts=1_612_069_520_000, id=row_id("row_purchase"), order="741471", currency="USD",
            total_minor=2_659, tax_minor=160, shipping_minor=500,
            lines=(OrderLine(item="GGOEGXXX0906", quantity=1, price_minor=1_999),),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_an_event_is_what_google_says_it_means(name: str) -> None:
    """Every documented event that we have a word for gives exactly these events, and refuses nothing."""
    assert Adapted(EXPECTED[name], ()) == from_ga4(RECORDS[name])  # type: ignore[arg-type]  # tuples of events


def test_what_has_no_word_is_refused() -> None:
    """An event that says nothing of personalization is named as such."""
    expected = Adapted((), (Refused("events[0].name", "no event of ours says 'generate_lead'"),))
    assert expected == from_ga4(RECORDS["generate_lead"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client_id": None}, "app_instance_id"),
        ({"timestamp_micros": None}, "events[0].timestamp_micros"),
        ({"timestamp_micros": 1_770_000_000_123}, "timestamp_micros"),
        ({"events": {}}, "events"),
        ({"events": [None]}, "events[0]"),
        ({"events": [{"name": "view_item_list", "params": {}}]}, "events[0].params.items"),
        (
            {"events": [{"name": "view_item_list", "params": {"items": [{"item_id": "a", "item_list_id": "l"}]}}]},
            "events[0].params.items[0].index",
        ),
        (
            {"events": [{"name": "view_item_list", "params": {"items": [{"item_id": "a", "index": 0}]}}]},
            "events[0].params.items[0].item_list_id",
        ),
        (
            {"events": [{"name": "purchase", "params": {"transaction_id": "T", "value": 1}}]},
            "events[0].params.currency",
        ),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with a payload, exactly one refusal names the field as Google does."""
    adapted = from_ga4(RECORDS["view_item_list"] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])


def test_the_user_s_own_id_stands_before_the_browser_s() -> None:
    """`user_id` is who it is on every device; without it, it is the browser or the app."""
    (event,) = from_ga4(RECORDS["page_view"] | {"user_id": "u-7"}).events
    assert "u-7" == event.user


def test_items_of_several_lists_are_several_decisions() -> None:
    """The item's own list stands before that of the event."""
    items = [{"item_id": "a", "index": 0, "item_list_id": "top"}, {"item_id": "b", "index": 0}]
    event = {"name": "view_item_list", "params": {"item_list_id": "bottom", "items": items}}
    events = from_ga4(RECORDS["view_item_list"] | {"events": [event]}).events
    assert [("top", Decision), ("top", Impression), ("bottom", Decision), ("bottom", Impression)] == [
        (event.surface, type(event)) for event in events
    ]


def test_a_row_whose_analytics_storage_was_denied_leaves_no_state() -> None:
    """Consent mode is the consent of the event."""
    row = RECORDS["row_view_item_list"] | {"privacy_info": {"analytics_storage": "No"}}
    assert {Consent(analytics=False)} == {event.consent for event in from_ga4(row).events}
