"""Amazon Personalize: interactions quote the recommendation, and repeat the list that was shown."""

from typing import Any

import pytest

from producers.adapt_personalize import from_personalize
from producers.foreign import Adapted, digest
from producers.listing import decision_key, session_key
from stream_app.core.events import Cart, Click, Conversion, Decision, DecisionItem, Event, Impression
from tests.foreign import records

RECORDS = records("aws-personalize")
USER = "USER_ID"
SESSION = session_key("ap", USER, "session1")
AT: dict[str, Any] = {"ts": 1_559_263_760_000, "user": USER, "session": SESSION}


def listed(decision: str, *items: str) -> tuple[Event, ...]:
    """Return what a list that was shown gives."""
    places = [(item, place, None) for place, item in enumerate(items, 1)]
    event_id = f"ap-{digest(USER, decision, places)}"
    return (
        Decision(
            **AT, id=f"{event_id}.d", decision=decision,
            items=tuple(DecisionItem(item=item, position=place) for item, place, _ in places),
        ),
        *(
            Impression(**AT, id=f"{event_id}.i{place}", decision=decision, item=item, position=place)
            for item, place, _ in places
        ),
    )  # fmt: skip


def unnamed(name: str) -> str:
    """Return the id that an event without an id gets."""
    return f"ap-{digest(USER, SESSION, RECORDS[name]['eventList'][0])}"


ALONE = ("session1", session_key("ap", "session1", "session1"))
OWN = decision_key("ap", USER, SESSION, "item1", "item2")
EXPECTED: dict[str, tuple[Event, ...]] = {
    "click": (
        *listed("RID-a1", "item1", "item2", "item3"),
        Click(**AT, id="event1", decision="RID-a1", item="item2", position=2),
    ),
    "impression_without_recommendation": (
        *listed(OWN, "item1", "item2"),
        Click(**AT, id=unnamed("impression_without_recommendation"), decision=OWN, item="item1", position=1),
    ),
    "add_to_cart": (Cart(**AT, id=unnamed("add_to_cart"), action="add", item="item2", decision="RID-a1"),),
    # 25.5 of what, nobody says
    "purchase": (Conversion(**AT, id=unnamed("purchase"), goal="purchase", item="item2", decision="RID-a1"),),
    "anonymous": (
        Conversion(
            id=f"ap-{digest(*ALONE, RECORDS['anonymous']['eventList'][0])}",
            ts=1_559_263_760_000, user=ALONE[0], session=ALONE[1],
            goal="purchase", item="item2",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_an_interaction_is_what_amazon_says_it_means(name: str) -> None:
    """Every documented interaction that we have a word for gives exactly these events, and refuses nothing."""
    assert Adapted(EXPECTED[name], ()) == from_personalize(RECORDS[name])  # type: ignore[arg-type]  # tuples of events


def test_a_list_that_is_repeated_is_shown_once() -> None:
    """Every event on a list repeats it: its decision and impressions have the same ids each time."""
    first = RECORDS["click"]["eventList"][0]
    again = first | {"eventId": "event2", "itemId": "item3", "sentAt": 1_559_263_790}
    events = from_personalize(RECORDS["click"] | {"eventList": [first, again]}).events
    ids = [event.id for event in events]
    assert (10, 6) == (len(ids), len(set(ids)))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sentAt": None}, "eventList[0].sentAt"),
        ({"sentAt": 1_559_263_760_000}, "eventList[0].sentAt"),
        ({"sentAt": "2019-05-31T00:49:20"}, "eventList[0].sentAt"),
        ({"eventType": None}, "eventList[0].eventType"),
        ({"eventType": "watch", "eventValue": 0.5}, "eventList[0].eventType"),
        ({"itemId": None}, "eventList[0].itemId"),
        ({"recommendationId": None}, "eventList[0].recommendationId"),
        ({"impression": "item1"}, "eventList[0].impression"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, Any], field: str) -> None:
    """Whatever is wrong with an event, exactly one refusal names the field as Amazon does."""
    event = {key: value for key, value in RECORDS["click"]["eventList"][0].items() if key != "impression"}
    adapted = from_personalize(RECORDS["click"] | {"eventList": [event | change]})
    assert ((), [field]) == (adapted.events, [refused.field for refused in adapted.refused])


def test_a_request_of_nobody_is_refused() -> None:
    """Without a user and a session there is nobody to attribute anything to."""
    adapted = from_personalize({"eventList": []})
    assert ["userId"] == [refused.field for refused in adapted.refused]
