"""Messages and offers: what the states that are told of one say together, whatever their order."""

from itertools import permutations

import pytest

from stream_app.core.events import Event, Message, Offer
from stream_app.core.panes import DAY_MS
from stream_app.metrics import messages, offers
from stream_app.metrics.messages import Sent
from stream_app.metrics.offers import Offered
from stream_app.statistics.proportions import wilson
from tests.metrics.families import NOON, estimate, plan_of, state_of, sums

PLAN = plan_of(messages.FAMILY, offers.FAMILY)


def told(number: int, states: str, *, user: str = "u", personalized: bool | None = None) -> list[Event]:
    """Return the events of one message, a second apart."""
    return [
        Message(
            id=f"{user}{number}{state}{at}", ts=NOON + at * 1_000, user=user, message=f"m{number}",
            state=state, personalized=personalized,  # type: ignore[arg-type]  # a literal
        )
        for at, state in enumerate(states.split())
    ]  # fmt: skip


def answered(number: int, responses: str, user: str = "u") -> list[Event]:
    """Return the events of one offer, a second apart."""
    return [
        Offer(id=f"{user}{number}{what}{at}", ts=NOON + at * 1_000, user=user, offer=f"o{number}", response=what)  # type: ignore[arg-type]  # a literal
        for at, what in enumerate(responses.split())
    ]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("sent", (False, False, False)),
        ("sent delivered", (True, False, False)),
        ("sent delivered opened", (True, True, False)),
        ("clicked", (True, True, False)),
        ("sent unsubscribed", (True, True, False)),
        ("sent bounced", (False, False, True)),
        ("sent delivered bounced", (False, False, True)),
        ("sent bounced opened", (True, True, False)),
    ],
)
def test_states_imply_one_another(states: str, expected: tuple[bool, bool, bool]) -> None:
    """Delivered, opened and bounced follow from all that was told, in each order of telling it."""
    found = set()
    for order in permutations(told(1, states)):
        sent = Sent()
        for event in order:
            sent = messages.after(sent, event)  # type: ignore[arg-type]  # messages
        found.add((sent.is_delivered, sent.is_opened, sent.is_bounced))
    assert {expected} == found


def test_rates_of_messages_by_hand() -> None:
    """Of four delivered messages two are opened, one of them clicked; of five sent one bounces."""
    events = [
        *told(1, "sent delivered opened opened clicked", personalized=True),
        *told(2, "sent delivered opened", personalized=False),
        *told(3, "sent delivered", personalized=True),
        *told(4, "sent delivered", personalized=None),
        *told(5, "sent bounced", personalized=False),
    ]
    state = state_of(events)
    expected = {
        "message_open_rate": wilson(2, 4),
        "message_click_rate": wilson(1, 4),
        "personalized_open_rate": wilson(1, 2),
        "blast_open_rate": wilson(1, 1),
        "personalized_click_rate": wilson(1, 2),
        "blast_click_rate": wilson(0, 1),
        "message_bounce_rate": wilson(1, 5),
        "message_unsubscribe_rate": wilson(0, 4),
    }
    assert expected == {name: estimate(name, state) for name in expected}


def test_opens_over_sendings_are_not_the_open_rate() -> None:
    """The popular events over events counts who opens twice twice, and passes 100 %; a message is opened once."""
    events = told(1, "sent delivered opened opened opened")
    popular = sum(event.state == "opened" for event in events) / 1  # type: ignore[attr-defined]  # messages
    found = estimate("message_open_rate", state_of(events))
    assert found is not None
    assert (3.0, 1.0) == (popular, found.value)


def test_a_message_is_what_one_user_got() -> None:
    """One id sent to two users is two messages."""
    assert 2 == sums(state_of([*told(1, "sent", user="u"), *told(1, "sent", user="v")], PLAN))["messages"]


def test_a_message_is_remembered_for_a_week() -> None:
    """An open six days later belongs to the message, and corrects the pane in which it was sent."""
    sent, *_ = told(1, "sent delivered")
    opened = Message(id="late", ts=NOON + 6 * DAY_MS, user="u", message="m1", state="opened")
    between = [
        Message(id=f"b{day}", ts=NOON + day * DAY_MS, user="v", message=f"b{day}", state="sent") for day in range(1, 6)
    ]
    found = sums(state_of([sent, *between, opened], PLAN))
    assert (6, 1) == (found["messages"], found["messages_opened"])


@pytest.mark.parametrize(
    ("responses", "expected"),
    [
        ("shown", (True, False, False, False)),
        ("shown accepted", (True, True, False, False)),
        ("redeemed", (True, True, False, False)),
        ("shown dismissed", (True, False, True, False)),
        ("shown dismissed accepted", (True, True, False, False)),
        ("shown expired", (True, False, False, True)),
        ("expired", (False, False, False, False)),
        ("shown accepted expired", (True, True, False, True)),
        ("shown redeemed expired", (True, True, False, False)),
    ],
)
def test_responses_imply_one_another(responses: str, expected: tuple[bool, bool, bool, bool]) -> None:
    """Shown, accepted, dismissed and expired follow from all that was told, in each order of telling it."""
    found = set()
    for order in permutations(answered(1, responses)):
        offered = Offered()
        for event in order:
            offered = offers.OFFERED.change(offered, event)
        found.add((offered.is_shown, offered.is_accepted, offered.is_dismissed, offered.is_expired))
    assert {expected} == found


def test_shares_of_offers_by_hand() -> None:
    """Of four offers seen two are taken, one of them redeemed, one is dismissed, one expires; seen twice is once."""
    events = [
        *answered(1, "shown shown accepted"),
        *answered(2, "shown redeemed"),
        *answered(3, "shown dismissed"),
        *answered(4, "shown expired"),
        *answered(5, "expired"),
    ]
    state = state_of(events)
    expected = {
        "offer_acceptance": wilson(2, 4),
        "offer_redemption": wilson(1, 4),
        "offer_dismissal": wilson(1, 4),
        "offer_expiry": wilson(1, 4),
    }
    assert expected == {name: estimate(name, state) for name in expected}
