"""Visits, views, messages, offers and presence: what they add up to depends on the events alone."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import (
    Cart,
    Click,
    Consent,
    Engagement,
    Event,
    FeatureUse,
    Message,
    Offer,
    Order,
    PageView,
    Search,
)
from stream_app.metrics import attention, messages, offers, presence, visits
from tests.metrics.families import NOON, added, plan_of, state_of, sums

PLAN = plan_of(visits.FAMILY, attention.FAMILY, messages.FAMILY, offers.FAMILY, presence.FAMILY)
AT_MOST_MS = 290_000
"""How far apart events are: what is told in any order is never late, and no silence ends a visit."""
NAMES = st.sampled_from(["a", "b"])
STATES = ["sent", "delivered", "opened", "clicked", "bounced", "unsubscribed"]


@st.composite
def an_event(draw: st.DrawFn) -> Event:
    """Draw something that somebody does, told without an id yet."""
    who: dict[str, Any] = {
        "id": "x",
        "ts": NOON + draw(st.integers(0, AT_MOST_MS)),
        "user": draw(st.sampled_from("uvw")),
        "session": draw(st.sampled_from([None, "s1", "s2"])),
        "surface": draw(st.sampled_from([None, "home"])),
        "arm": "holdout",
        "consent": draw(st.sampled_from([None, None, None, Consent(analytics=False)])),
    }
    match draw(st.integers(0, 8)):
        case 0:
            return PageView(page="/", **who)
        case 1:
            return Search(query_hash="q", **who)
        case 2:
            return Click(decision="d", item=draw(NAMES), **who)
        case 3:
            return Cart(action=draw(st.sampled_from(["add", "remove", "view"])), item="i", **who)
        case 4:
            return Order(order=who["id"], currency="EUR", total_minor=100, **who)
        case 5:
            return Message(
                message=draw(NAMES),
                state=draw(st.sampled_from(STATES)),  # type: ignore[arg-type]  # a literal
                personalized=draw(st.sampled_from([None, True, False])),
                **who,
            )
        case 6:
            answers = st.sampled_from(["shown", "accepted", "redeemed", "dismissed", "expired"])
            return Offer(offer=draw(NAMES), response=draw(answers), **who)  # type: ignore[arg-type]  # a literal
        case 7:
            return FeatureUse(feature=draw(NAMES), **who)
        case _:
            elapsed_ms = draw(st.sampled_from([0, 4_999, 5_000, 15_000, 100_000, 700_000]))
            return Engagement(
                view=draw(NAMES),
                elapsed_ms=elapsed_ms,
                final=draw(st.booleans()),
                next_checkin_ms=draw(st.sampled_from([None, elapsed_ms + 1, elapsed_ms + 20_000])),
                active_ms=draw(st.sampled_from([None, elapsed_ms // 2])),
                scroll_pct=draw(st.sampled_from([None, 0.0, 24.9, 25.0, 100.0])),
                **who,
            )


EVENTS = st.lists(an_event(), max_size=30).map(
    lambda drawn: [type(event)(**_fields(event) | _names(event, f"e{number}")) for number, event in enumerate(drawn)]
)


def _names(event: Event, name: str) -> dict[str, Any]:
    """Return the id, and that of an order: of two that share one, which counts is a matter of which comes first."""
    return {"id": name, "order": name} if isinstance(event, Order) else {"id": name}


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


@settings(deadline=None)
@given(EVENTS, st.data())
def test_only_the_events_count(events: list[Event], data: st.DataObject) -> None:
    """Another order, repetitions and a restart change no sum, and two partitions add up to the whole."""
    whole = sums(state_of(events, PLAN))
    mixed = data.draw(st.permutations(events))
    assert whole == sums(state_of(mixed, PLAN))
    again = data.draw(st.permutations([*events, *events[::2]]))
    assert whole == sums(state_of(again, PLAN))
    assert whole == sums(state_of(mixed, PLAN, restart_after=data.draw(st.integers(0, 30))))
    mine, theirs = ([event for event in events if (event.user == "u") is is_u] for is_u in (True, False))
    assert whole == added(sums(state_of(mine, PLAN)), sums(state_of(theirs, PLAN)))


@settings(deadline=None)
@given(EVENTS)
def test_parts_are_no_more_than_their_wholes(events: list[Event]) -> None:
    """Whatever is told, nothing is opened that was not delivered, and no view lasts longer than it lasts."""
    found = sums(state_of(events, PLAN))
    chains = (
        ("searching_visits", "visits"),
        ("timed_visits", "visits"),
        *((f"views_reached_{at}s", f"views_known_{at}s") for at in attention.POINTS_S),
        *((f"views_known_{at}s", "views") for at in attention.POINTS_S),
        *((f"views_scrolled_{depth}", "scrolled_views") for depth in attention.DEPTHS),
        ("messages_clicked", "messages_opened"),
        ("messages_opened", "messages_delivered"),
        ("personalized_messages_clicked", "personalized_messages_opened"),
        ("personalized_messages_opened", "personalized_messages_delivered"),
        ("blasts_clicked", "blasts_opened"),
        ("blasts_opened", "blasts_delivered"),
        ("offers_redeemed", "offers_accepted"),
        ("offers_accepted", "offers_shown"),
        ("feature_users", "active_users"),
        ("feature_adopters", "active_users"),
    )
    assert [] == [(part, of) for part, of in chains if not 0 <= found.get(part, 0) <= found.get(of, 0)]
    assert found.get("messages_delivered", 0) + found.get("messages_bounced", 0) <= found.get("messages", 0)


def test_without_consent_nothing_of_people_is_kept() -> None:
    """Whoever denies analytics is in no visit, no view and no count of people."""
    denied: dict[str, Any] = {"ts": NOON, "user": "u", "consent": Consent(analytics=False)}
    events = [
        PageView(id="1", page="/", **denied),
        Engagement(id="2", view="v", elapsed_ms=1, final=True, **denied),
        Message(id="3", message="m", state="sent", **denied),
        Offer(id="4", offer="o", response="shown", **denied),
        FeatureUse(id="5", feature="f", **denied),
    ]
    state = state_of(events, PLAN)
    assert ({}, 0) == (sums(state), sum(len(records) for records in state.joins.records.values()))
