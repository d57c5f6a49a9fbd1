"""Messages, offers and people of the simulated world, against a recount of what was delivered."""

from typing import Any

import pytest

from stream_app.metrics import messages, offers, presence
from stream_app.statistics.proportions import wilson
from tests.metrics.families import estimate
from tests.metrics.retold import Place, Told, grouped, place, summed
from tests.metrics.worlds import WORLDS, of_family, run

SIGNS = (
    "decision", "page_view", "search", "click", "cart", "engagement", "order", "conversion", "feature_use",
    "journey_step", "feedback",
)  # fmt: skip


def of_message(events: list[Told]) -> dict[str, int]:
    """Return what a message adds."""
    states = {event["state"] for event in events}
    opened = bool(states & {"opened", "clicked", "unsubscribed"})
    delivered = opened or ("delivered" in states and "bounced" not in states)
    kinds = {event.get("personalized") for event in events}
    group = "personalized_messages" if True in kinds else "blasts"
    found = {"messages": 1, "messages_unsubscribed": int("unsubscribed" in states)}
    found["messages_bounced"] = int("bounced" in states and not opened)
    for prefix in ("messages", group):
        found[f"{prefix}_delivered"] = int(delivered)
        found[f"{prefix}_opened"] = int(opened)
        found[f"{prefix}_clicked"] = int("clicked" in states)
    return found


def of_offer(events: list[Told]) -> dict[str, int]:
    """Return what an offer adds."""
    told = {event["response"] for event in events}
    taken = bool(told & {"accepted", "redeemed"})
    return {
        "offers_shown": int(told != {"expired"}),
        "offers_accepted": int(taken),
        "offers_redeemed": int("redeemed" in told),
        "offers_dismissed": int("dismissed" in told and not taken),
        "offers_expired": int("expired" in told and told != {"expired"} and "redeemed" not in told),
    }


def people(events: list[Told], *types: str) -> list[Place]:
    """Return where each person was last: of the events in the newest pane, at the first to arrive."""
    found = []
    for mine in grouped(events, lambda event: event["user"], *types):
        newest = max(event["ts"] // 10_000 for event in mine)
        found.append(place(next(event for event in mine if event["ts"] // 10_000 == newest)))
    return found


@pytest.mark.parametrize("name", WORLDS)
def test_messages_and_offers_are_those_of_a_recount(name: str) -> None:
    """Every measure by surface and arm is that of the delivered events, to the unit."""
    events, state = run(name)
    mails = grouped(events, lambda event: (event["user"], event["message"]), "message")
    offered = grouped(events, lambda event: (event["user"], event["offer"]), "offer")
    assert min(len(mails), len(offered)) > 5
    both: list[tuple[Place, dict[str, Any]]] = [(place(each[0]), of_message(each)) for each in mails]
    both += [(place(each[0]), of_offer(each)) for each in offered]
    assert summed(both) == of_family(state, [messages.FAMILY, offers.FAMILY])
    opened = sum(of_message(each)["messages_opened"] for each in mails)
    assert wilson(opened, sum(of_message(each)["messages_delivered"] for each in mails)) == estimate(
        "message_open_rate", state
    )


@pytest.mark.parametrize("name", WORLDS)
def test_people_are_those_of_a_recount(name: str) -> None:
    """Active users, users of features and adopters by surface and arm are those of the delivered events."""
    events, state = run(name)
    active, users = people(events, *SIGNS), people(events, "feature_use")
    adopters = [place(mine[0]) for mine in grouped(events, lambda event: event["user"], "feature_use")]
    counted = {"active_users": active, "feature_users": users, "feature_adopters": adopters}
    parts = [(where, {measure: 1}) for measure, places in counted.items() for where in places]
    assert summed(parts) == of_family(state, [presence.FAMILY])
    found = estimate("active_users", state)
    assert found is not None
    assert len({event["user"] for event in events if event["type"] in SIGNS}) == found.value
    assert wilson(len(users), len(active)) == estimate("feature_usage", state)
