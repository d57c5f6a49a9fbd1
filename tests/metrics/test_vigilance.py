"""What the watch is fed with: by hand on a timeline, and a function of the log whatever happens on the way."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.events import AnyEvent, Consent
from stream_app.core.processor import Partition, Span
from stream_app.metrics import engagement, vigilance
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.means import mean
from stream_app.statistics.poisson import poisson_rate
from stream_app.statistics.proportions import wilson
from tests.metrics.counted import ROOMY, amounts, plan_of, totals
from tests.timelines import LATER, click, conversion, impression

PLAN = plan_of(engagement.FAMILY, vigilance.FAMILY)
INDEX = {measure.name: at for at, measure in enumerate((*engagement.MEASURES, *vigilance.MEASURES))}
MINUTE_MS = 60_000


def after(state: Partition, events: list[AnyEvent], run: int = 1_000) -> Partition:
    """Return the state after the events in runs of so many records."""
    for first in range(0, len(events), run):
        raws = [codec.encode(event) for event in events[first : first + run]]
        state.process([Span(state.head.applied, LATER, raws)])
    return state


def state_of(events: list[AnyEvent], run: int = 1_000) -> Partition:
    """Return the state after the events and nothing else."""
    return after(Partition(PLAN, ROOMY), events, run)


def state_restarted(events: list[AnyEvent], at: int) -> Partition:
    """Return the state after the events, stored and restored after the first `at` of them."""
    fields, _ = state_of(events[:at]).take_changes()
    again, _ = Partition.restore(PLAN, ROOMY, {layout.SLICES: layout.pack([])} | fields)
    return after(again, events[at:])


def by_minute(events: list[AnyEvent], measure: str) -> dict[int, int]:
    """Return the amounts of a measure by minute after T0 (of this module's timeline)."""
    state, found = state_of(events), Counter[int]()
    first = min(int(str(at[0])) for at in amounts(state)) // MINUTE_MS
    for at, amount in amounts(state).items():
        if at[3] == measure:
            found[int(str(at[0])) // MINUTE_MS - first] += amount
    return dict(found)


def test_a_handful_by_hand() -> None:
    """At risk until the first click; that click and the first conversion are told when they happen, further ones not.

    minute   0                    1             2             3
    u1       A, B seen            click A       C seen        click C, buys, buys again
    u2       A seen                             A seen again
    u3       (no analytics) A seen, clicked
    """
    denied = {"consent": Consent(analytics=False)}
    events = [
        impression(0, item="A", relevance=0.5),
        impression(0, item="B", relevance=0.9),
        impression(5, "d2", user="u2"),
        impression(6, "d3", user="u3", relevance=0.1, **denied),
        click(60),
        click(70, "d3", user="u3", **denied),
        impression(120, "d4", "C", relevance=0.7),
        impression(130, "d5", user="u2", relevance=1.0),
        click(180, "d4", "C"),
        conversion(190),
        conversion(200),
    ]
    told = ("at_risk_impressions", "first_clicks", "first_conversions", "first_scores", "first_score_micros")
    assert [{0: 3, 2: 1}, {1: 1}, {3: 1}, {0: 1}, {0: 500_000}] == [by_minute(events, name) for name in told]
    found = totals(state_of(events))
    tally = [found.get(name, 0) for name in INDEX]
    assert {
        "first_click_rate": wilson(1, 4),
        "first_conversion_rate": poisson_rate(1, 2, 2),
        "first_relevance": None,
    } == {metric.name: lower(metric, tally, INDEX) for metric in vigilance.METRICS}


def test_positions_by_hand() -> None:
    """At risk by position once a list, until the first click; its position is told in the pane in which it is clicked.

    minute   0                               1             2
    u1       A at 1, B at 2, A again         click B       a list with C at 1
    u2       A at 12, B at 70
    u3       (no analytics) A at 1
    u4       A at 70                         click A
    """
    events = [
        impression(0, item="A"),
        impression(0, item="B", position=2),
        impression(1, item="A", position=1),
        impression(2, "d2", "A", user="u2", position=12),
        impression(2, "d2", "B", user="u2", position=70),
        impression(3, "d3", user="u3", consent=Consent(analytics=False)),
        impression(4, "d4", user="u4", position=70),
        click(60, item="B"),
        click(61, "d4", user="u4"),
        impression(120, "d5", "C"),
    ]
    state = state_of(events)
    told = {at: n for at, n in amounts(state).items() if str(at[3]).endswith("_by_position")}
    first = min(int(str(at[0])) for at in told)
    assert {
        (0, "at_risk_by_position", 1): 1,
        (0, "at_risk_by_position", 2): 1,
        (0, "at_risk_by_position", 11): 1,
        (1, "first_clicks_by_position", 2): 1,
    } == {((int(str(at[0])) - first) // MINUTE_MS, *at[3:]): n for at, n in told.items()}


def test_first_relevance_is_the_mean_of_first_impressions() -> None:
    """Of three sessions the first relevance is 0.2, 0.4 and unsaid: the mean is of the two that say it."""
    events = [
        impression(0, relevance=0.2),
        impression(1, "d1", "B", relevance=1.0),
        impression(2, "d2", user="u2", relevance=0.4),
        impression(3, "d3", user="u3"),
    ]
    found = totals(state_of(events))
    tally = [found.get(name, 0) for name in INDEX]
    expected: Estimate = mean(2, 600_000, 200_000, scale=10**6, squares_scale=10**6, lowest=0.0, highest=1.0)
    assert expected == lower(vigilance.METRICS[2], tally, INDEX)


def test_a_click_is_told_with_its_session() -> None:
    """Where a session goes on in another slice, its first click counts where the session began."""
    events = [impression(0, device="tv"), impression(9, "d2", device="phone"), click(20, "d2")]
    state = state_of(events)
    place = PLAN.place_of("first_clicks")
    found = {
        state.slices.slices[number].device: tally[place]
        for rows in state.cells.panes.values()
        if isinstance(rows, dict)
        for number, tally in rows.items()
        if place is not None and tally[place]
    }
    assert {"tv": 1} == found


def test_a_click_that_overtakes_its_list_changes_nothing() -> None:
    """A click that arrives before or amid the impressions of its list: all of them were at risk when they were seen."""
    list_ = [impression(0, item=item) for item in "ABC"]
    orders = [[*list_, click(9)], [click(9), *list_], [list_[0], click(9), *list_[1:]]]
    assert [amounts(state_of(orders[0]))] * 3 == [amounts(state_of(order)) for order in orders]


def test_no_click_is_before_what_it_is_on() -> None:
    """A clock that is seven seconds behind: the click is told in the pane of its impression, which is not sealed."""
    events = [impression(60), click(53)]
    assert by_minute(events, "first_clicks") == by_minute(events, "at_risk_impressions") == {0: 1}


@st.composite
def happenings(draw: st.DrawFn) -> list[AnyEvent]:
    """Lists that two people see, in order, with clicks and conversions in between, some without consent or session."""
    events: list[AnyEvent] = []
    seconds = 0
    for number in range(draw(st.integers(1, 12))):
        seconds += draw(st.integers(0, 40))
        user, decision = draw(st.sampled_from(["u1", "u2"])), f"d{number}"
        told: dict[str, Any] = {"consent": draw(st.sampled_from([None, None, Consent(analytics=False)]))}
        said = told | {
            "device": draw(st.sampled_from(["tv", "phone"])),
            "relevance": draw(st.sampled_from([None, 0.5])),
        }
        if draw(st.integers(0, 5)) == 0:
            said["session"] = None
        items = "ABC"[: draw(st.integers(1, 3))]
        clicked = draw(st.sampled_from([None, *items]))
        at = draw(st.integers(0, len(items)))
        for place, item in enumerate(items):
            if clicked is not None and place == at:
                events.append(click(seconds, decision, clicked, user, **told))
            events.append(impression(seconds, decision, item, user, **said))
        if clicked is not None and at == len(items):
            events.append(click(seconds + 1, decision, clicked, user, **told))
        if draw(st.integers(0, 4)) == 0:
            events.append(conversion(seconds + 2, user, **told))
    return events


@settings(deadline=None, max_examples=60)
@given(happenings(), st.integers(1, 7), st.integers(0, 50))
def test_cutting_duplicates_and_restarts_change_nothing(events: list[AnyEvent], run: int, at: int) -> None:
    """In one run, record by record, in runs of any length, twice, or with a restart between: the same amounts."""
    expected = amounts(state_of(events))
    at %= len(events) + 1
    assert [expected] * 4 == [
        amounts(state_of(events, 1)),
        amounts(state_of(events, run)),
        amounts(state_of([each for event in events for each in (event, event)] + events)),
        amounts(state_restarted(events, at)),
    ]


@settings(deadline=None, max_examples=40)
@given(happenings())
def test_first_clicks_are_the_sessions_that_clicked(events: list[AnyEvent]) -> None:
    """Over all time there are as many first clicks as sessions that clicked, and never more of either than sessions."""
    found = totals(state_of(events))
    clicked = found.get("clicked_sessions", 0)
    assert clicked == found.get("first_clicks", 0) <= found.get("sessions", 0)
    assert found.get("at_risk_impressions", 0) <= found.get("impressions", 0)


@settings(deadline=None, max_examples=40)
@given(happenings())
def test_positions_take_apart_what_is_counted(events: list[AnyEvent]) -> None:
    """In every pane positions have as many first clicks as there are, and no more at risk than impressions are."""
    found = amounts(state_of(events))
    by_position = Counter[tuple[object, ...]]()
    for at, amount in found.items():
        if len(at) > 4:
            by_position[*at[:3], str(at[3]).removesuffix("_by_position")] += amount
    clicks = {at: n for at, n in found.items() if at[3] == "first_clicks"}
    assert clicks == {at: n for at, n in by_position.items() if at[3] == "first_clicks"}
    at_risk = {at[:3]: n for at, n in found.items() if at[3] == "at_risk_impressions"}
    assert all(n <= at_risk.get(at[:3], 0) for at, n in by_position.items() if at[3] == "at_risk")
