"""Presence: different people, counted once in every window that ends now."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import Decision, DecisionItem, Event, FeatureUse, Impression, Message, PageView
from stream_app.core.panes import DAY_MS, PANE_MS
from stream_app.metrics import presence
from stream_app.metrics.windows import WINDOWS
from stream_app.statistics.proportions import wilson
from tests.metrics.families import NOON, estimate, plan_of, rows, state_of, sums

PLAN = plan_of(presence.FAMILY)
ACTIVE, FEATURE_USERS, ADOPTERS = range(3)


def view(number: int, at_ms: int, user: str, **more: Any) -> PageView:
    """Return a page view."""
    return PageView(id=f"p{number}", ts=NOON + at_ms, user=user, page="/", **more)


def use(number: int, at_ms: int, user: str) -> FeatureUse:
    """Return a use of a feature."""
    return FeatureUse(id=f"f{number}", ts=NOON + at_ms, user=user, feature="wishlist")


def since(events: list[Event], measure: int, start_ms: int) -> int:
    """Return a measure's sum over all that begins at `start_ms` or later."""
    return sum(
        tally[measure] for start, all_ in rows(state_of(events, PLAN)).items() for _, tally in all_ if start >= start_ms
    )


LIVES = st.lists(
    st.tuples(st.integers(0, 90 * 60), st.sampled_from("uvwxyz"), st.booleans()), min_size=1, max_size=40
).map(
    lambda drawn: [
        (use if uses else view)(number, at_s * 1_000, user) for number, (at_s, user, uses) in enumerate(sorted(drawn))
    ]
)


@settings(deadline=None)
@given(LIVES, st.integers(0, 600))
def test_windows_that_end_now_have_their_different_people(events: list[Event], panes: int) -> None:
    """Over the last panes the sums are how many different people were seen, and how many of them used a feature."""
    start = events[-1].ts - events[-1].ts % PANE_MS - panes * PANE_MS
    seen = {event.user for event in events if event.ts >= start}
    users = {event.user for event in events if event.ts >= start and isinstance(event, FeatureUse)}
    first = {event.user: event.ts for event in reversed(events) if isinstance(event, FeatureUse)}
    adopters = {user for user, at_ms in first.items() if at_ms >= start}
    assert (len(seen), len(users), len(adopters)) == tuple(
        since(events, measure, start) for measure in (ACTIVE, FEATURE_USERS, ADOPTERS)
    )


@pytest.mark.parametrize("window", [window for window in WINDOWS if not window.is_fine], ids=lambda window: window.name)
def test_people_are_counted_once_in_weeks(window: Any) -> None:
    """Who comes every day for 27 days and who came on the first alone: in each long window each counts once."""
    events: list[Event] = [view(0, 0, "once"), *(view(day + 1, day * DAY_MS + 1, "daily") for day in range(28))]
    expected = 2 if window.length_ms >= 27 * DAY_MS else 1
    assert expected == since(events, ACTIVE, window.start_ms(events[-1].ts))


def test_a_pane_that_comes_late_moves_nobody() -> None:
    """Somebody seen in a later pane stays there when an earlier one is told afterwards, also under another arm."""
    events: list[Event] = [view(1, 60_000, "u", arm="holdout"), view(2, 0, "u", arm="personalized")]
    assert (1, 1) == (since(events, ACTIVE, NOON + 60_000), sums(state_of(events, PLAN))["active_users"])


def test_what_is_a_sign_of_life() -> None:
    """A page and a decision are; an impression or a message alone are not."""
    who: dict[str, Any] = {"ts": NOON}
    events: list[Event] = [
        view(1, 0, "page"),
        Decision(id="d", user="decision", decision="d", items=(DecisionItem(item="i", position=1),), **who),
        Impression(id="i", user="impression", decision="d", item="i", position=1, **who),
        Message(id="m", user="message", message="m", state="sent", **who),
    ]
    assert 2 == sums(state_of(events, PLAN))["active_users"]


def test_adoption_by_hand() -> None:
    """Of four people two use a feature for the first time: half are users, half adopters; a month later one is old."""
    month_ms = 27 * DAY_MS
    first: list[Event] = [view(1, 0, "u"), view(2, 0, "v"), use(3, 0, "w"), use(4, 0, "x"), use(5, 1, "x")]
    state = state_of(first)
    assert [wilson(2, 4)] * 2 == [estimate(name, state) for name in ("feature_usage", "feature_adoption")]
    later: list[Event] = [use(6, month_ms, "x"), use(7, month_ms, "y")]
    assert (2, 1) == tuple(since(first + later, measure, NOON + month_ms) for measure in (FEATURE_USERS, ADOPTERS))


def test_people_of_two_windows_are_not_those_of_both() -> None:
    """Daily users added up over a week are seven for one person: what is often quoted as weekly users."""
    events: list[Event] = [view(day, day * DAY_MS, "u") for day in range(7)]
    daily = sum(since(events[: day + 1], ACTIVE, NOON + day * DAY_MS) for day in range(7))
    found = estimate("active_users", state_of(events))
    assert found is not None
    assert (7, 1.0) == (daily, found.value)
