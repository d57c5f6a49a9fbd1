"""Snowplow: enriched events and tracker payloads say the same things, and become the same events."""

from typing import Any

import pytest

from producers.adapt_snowplow import from_snowplow
from producers.foreign import Adapted, Refused
from producers.listing import decision_key, session_key
from stream_app.core.events import (
    Cart,
    Click,
    ConsentChange,
    Decision,
    DecisionItem,
    Event,
    Impression,
    Order,
    OrderLine,
    PageView,
    Refund,
)
from tests.foreign import records

RECORDS = records("snowplow")
ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
ENTITY = "contexts_com_snowplowanalytics_snowplow_ecommerce_"
ID = "f9a58d5d-cd13-4bfe-b9b2-5136ce1cb9fa"
USER = "bc2e92ec6c204a14"
PAGE = "a86c42e5-b831-45c8-b706-e214c26b4b3d"
SESSION = session_key("sp", USER, "63d1f81a-62a3-4b05-9bb8-d3cb6ac2d6d2")
AT: dict[str, Any] = {"ts": 1_647_964_196_734, "user": USER, "session": SESSION, "channel": "web"}
SAID: dict[str, Any] = AT | {"id": ID}
LOOK: dict[str, Any] = AT | {"surface": "shop the look", "decision": decision_key("sp", USER, PAGE, "shop the look")}
WINTER: dict[str, Any] = AT | {
    "surface": "sidebar-1", "decision": decision_key("sp", USER, PAGE, "promotion", "sidebar-1", "IP1234"),
}  # fmt: skip
SEEN: tuple[Event, ...] = (
    Decision(
        **LOOK, id=f"{ID}.d", items=(DecisionItem(item="1236", position=1), DecisionItem(item="1237", position=2))
    ),
    Impression(**LOOK, id=f"{ID}.i1", item="1236", position=1),
    Impression(**LOOK, id=f"{ID}.i2", item="1237", position=2),
)
TRACKED: dict[str, Any] = {"user": USER, "channel": "web"}
TRACKED_SESSION = session_key("sp", USER, "63d1f81a")

EXPECTED: dict[str, tuple[Event, ...]] = {
    "list_view": SEEN,
    "list_view_from_0": SEEN,
    "list_click": (Click(**LOOK, id=f"{ID}.k1", item="1236"),),
    "promo_view": (
        Decision(**WINTER, id=f"{ID}.l1.d", items=(DecisionItem(item="IP1234", position=1),)),
        Impression(**WINTER, id=f"{ID}.l1.i1", item="IP1234", position=1),
    ),
    "promo_click": (Click(**WINTER, id=f"{ID}.k1", item="IP1234", position=1),),
    "add_to_cart": (
        Cart(**AT, id=f"{ID}.c1", action="add", item="1236", quantity=2, price_minor=1_200, currency="EUR"),
    ),
    "remove_from_cart": (Cart(**AT, id=f"{ID}.c1", action="remove", item="1236", price_minor=1_200, currency="EUR"),),
    # revenue 13 is a hat of 12 and shipping of 1
    "transaction": (
        Order(
            **SAID, order="TtlZ3b", currency="EUR", total_minor=1_300, shipping_minor=100,
            lines=(OrderLine(item="1236", quantity=1, price_minor=1_200),),
        ),
    ),
    "refund": (Refund(**SAID, order="TtlZ3b", amount_minor=1_300, currency="EUR"),),
    "consent": (ConsentChange(**AT, id=f"{ID}.analytics", scope="analytics", granted=True),),
    "page_view": (PageView(**SAID, page="/hats"),),
    "tracker_payload": (
        PageView(
            **TRACKED, id="4e35e8c6-03c4-4c17-8202-80de5bd9d953", ts=1_647_964_196_734, session=TRACKED_SESSION,
            page="/hats",
        ),
        Click(
            **TRACKED, id="542a79d3-a3b8-421c-99d6-543ff140a56a.k1", ts=1_647_964_196_900, session=TRACKED_SESSION,
            surface="shop the look", item="1236",
            decision=decision_key("sp", USER, TRACKED_SESSION, "shop the look"),
        ),
        Order(
            **TRACKED, id="c6ef3124-b53a-4b13-a233-0088f79dcbcb", ts=1_647_964_197_000, order="12345", currency="EUR",
            total_minor=1_300, tax_minor=200, shipping_minor=100,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_an_event_is_what_snowplow_says_it_means(name: str) -> None:
    """Every documented event that we have a word for gives exactly these events, and refuses nothing."""
    assert Adapted(EXPECTED[name], ()) == from_snowplow(RECORDS[name])  # type: ignore[arg-type]  # tuples of events


def test_a_page_ping_is_refused() -> None:
    """A heartbeat that does not say how much time has passed is no engagement."""
    expected = Adapted((), (Refused("event", "a page ping does not say how long the page has been read"),))
    assert expected == from_snowplow(RECORDS["page_ping"])


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("page_view", {"event_id": None}, "event_id"),
        ("page_view", {"domain_userid": None, "network_userid": None}, "user_id"),
        ("page_view", {"derived_tstamp": None, "collector_tstamp": None}, "derived_tstamp"),
        ("page_view", {"derived_tstamp": 5}, "derived_tstamp"),
        ("page_view", {"page_urlpath": None}, "page_urlpath"),
        ("page_view", {"event": "struct"}, "event"),
        ("list_view", {ACTION: {"type": "list_view"}}, f"{ACTION}.name"),
        ("list_view", {f"{ENTITY}product_1": [{"id": "1"}]}, "product[0].position"),
        ("list_view", {f"{ENTITY}product_1": None}, "product"),
        ("list_view", {f"{ENTITY}product_1": {}}, f"{ENTITY}product_1"),
        ("transaction", {f"{ENTITY}transaction_1": None}, "transaction.currency"),
        ("refund", {f"{ENTITY}refund_1": [{"currency": "EUR"}]}, "refund[0].refund_amount"),
    ],
)
def test_a_refusal_names_the_field(name: str, change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with an event, exactly one refusal names the field or the entity."""
    adapted = from_snowplow(RECORDS[name] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])


def test_what_was_shown_and_what_was_clicked_meet() -> None:
    """View and click of a list on the same page are the same decision."""
    (decision, *_), (click,) = from_snowplow(RECORDS["list_view"]).events, from_snowplow(RECORDS["list_click"]).events
    assert decision.decision == click.decision  # type: ignore[union-attr]  # both have one


def test_a_time_without_a_zone_is_utc() -> None:
    """Snowplow's warehouses write UTC and do not say so."""
    (event,) = from_snowplow(RECORDS["page_view"] | {"derived_tstamp": "2022-03-22 15:49:56.734"}).events
    assert 1_647_964_196_734 == event.ts


@pytest.mark.parametrize(("word", "granted"), [("deny_all", False), ("withdrawn", False), ("allow_all", True)])
def test_all_or_nothing_is_both_scopes(word: str, granted: bool) -> None:
    """A choice of everything or nothing needs no names of scopes."""
    column = "unstruct_event_com_snowplowanalytics_snowplow_consent_preferences_1"
    events = from_snowplow(RECORDS["consent"] | {column: {"eventType": word}}).events
    assert [("analytics", granted), ("personalization", granted)] == [
        (event.scope, event.granted) for event in events if isinstance(event, ConsentChange)
    ]
