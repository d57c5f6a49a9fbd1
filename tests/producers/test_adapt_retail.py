"""Google's Retail API: the attribution token is the decision, and revenue includes tax and shipping."""

from typing import Any

import pytest

from producers.adapt_retail import from_retail
from producers.foreign import Adapted, digest
from producers.listing import session_key
from stream_app.core.events import (
    Cart,
    Click,
    Decision,
    DecisionItem,
    Event,
    Impression,
    Order,
    PageView,
    Search,
)
from tests.foreign import records

RECORDS = records("google-retail")
AT: dict[str, Any] = {"ts": 1_577_849_613_000, "user": "visitor0"}


def event_id(name: str) -> str:
    """Return the id that a user event gets: it has none of its own."""
    return f"gr-{digest(RECORDS[name])}"


def listed(common: dict[str, Any], prefix: str, decision: str, *items: tuple[str, int]) -> tuple[Event, ...]:
    """Return what a list that was shown gives."""
    return (
        Decision(
            **common, id=f"{prefix}.d", decision=decision,
            items=tuple(DecisionItem(item=item, position=place) for item, place in items),
        ),
        *(
            Impression(**common, id=f"{prefix}.i{number}", decision=decision, item=item, position=place)
            for number, (item, place) in enumerate(items, 1)
        ),
    )  # fmt: skip


SEARCHED: dict[str, Any] = AT | {"session": session_key("gr", "visitor0", "s1")}
EXPECTED: dict[str, tuple[Event, ...]] = {
    "home-page-view": (PageView(**AT, id=f"{event_id('home-page-view')}.p", page="/", arm="holdout"),),
    "category-page-view": (
        PageView(**AT, id=f"{event_id('category-page-view')}.p", page="/shoes"),
        *listed(
            AT | {"surface": "frequently-bought"}, f"{event_id('category-page-view')}.n1", "PT", ("123", 1), ("456", 2)
        ),
    ),
    "detail-page-view": (
        PageView(**AT, id=f"{event_id('detail-page-view')}.p", page="/p/123"),
        Click(**AT, id=f"{event_id('detail-page-view')}.k1", decision="ABC", item="123"),
    ),
    # `offset` counts from 0: the first product of this page of results is the 21st.
    "search": (
        Search(**SEARCHED, id=f"{event_id('search')}.s", query_hash=digest("shoes")),
        *listed(SEARCHED | {"surface": "search"}, event_id("search"), "ABC", ("123", 21), ("456", 22)),
    ),
    "add-to-cart": (Cart(**AT, id=f"{event_id('add-to-cart')}.c1", action="add", item="123", quantity=2),),
    "remove-from-cart": (Cart(**AT, id=f"{event_id('remove-from-cart')}.c1", action="remove", item="123", quantity=1),),
    "shopping-cart-page-view": (
        Cart(**AT, id=f"{event_id('shopping-cart-page-view')}.c1", action="view", item="123", quantity=1),
        Cart(**AT, id=f"{event_id('shopping-cart-page-view')}.c2", action="view", item="456", quantity=1),
    ),
    "purchase-complete": (
        Order(
            **AT, id=event_id("purchase-complete"), order="order-1", currency="USD", total_minor=2_000, tax_minor=350,
            cost_minor=1_075,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_user_event_is_what_google_says_it_means(name: str) -> None:
    """Every documented user event gives exactly these events, and refuses nothing."""
    assert Adapted(EXPECTED[name], ()) == from_retail(RECORDS[name])  # type: ignore[arg-type]  # tuples of events


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("search", {"eventType": "promotion-offered"}, "eventType"),
        ("search", {"visitorId": ""}, "visitorId"),
        ("search", {"eventTime": None}, "eventTime"),
        ("search", {"searchQuery": None, "attributionToken": None}, "searchQuery"),
        ("home-page-view", {"uri": None}, "uri"),
        ("home-page-view", {"uri": "http://[1/"}, "uri"),
        ("detail-page-view-nobody-decided", {}, "attributionToken"),
        ("add-to-cart", {"productDetails": None}, "productDetails"),
        ("add-to-cart", {"productDetails": [{}]}, "productDetails[0].product.id"),
        ("purchase-complete", {"purchaseTransaction": None}, "purchaseTransaction.currencyCode"),
        ("purchase-complete", {"purchaseTransaction": {"currencyCode": "USD"}}, "purchaseTransaction.revenue"),
    ],
)
def test_a_refusal_names_the_field(name: str, change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with a user event, exactly one refusal names the field as Google does."""
    adapted = from_retail(RECORDS[name] | change)
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])


def test_a_long_token_is_shortened_to_the_same_decision_everywhere() -> None:
    """Tokens are long; what was shown and what was clicked still meet."""
    token = {"attributionToken": "T" * 500}
    (_, decision, *_) = from_retail(RECORDS["search"] | token).events
    (_, click) = from_retail(RECORDS["detail-page-view"] | token).events
    assert isinstance(decision, Decision)
    assert isinstance(click, Click)
    assert (64, decision.decision) == (len(click.decision), click.decision)
