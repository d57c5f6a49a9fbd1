"""Response to context: what becomes of a signal, in whatever order its traces arrive."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_app.core.events import (
    AnyEvent,
    Click,
    Consent,
    ContextSignal,
    Conversion,
    Decision,
    DecisionItem,
    Order,
)
from stream_app.core.quantile_sketch import bucket_of
from stream_app.metrics import context_response
from stream_app.metrics.signals import CHANGED, SAME, UNSAID, decided
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.proportions import wilson
from tests.metrics.counted import T0, Amounts, amounts, bins_of, plan_of, state_of, state_restarted, totals

PLAN = plan_of(context_response.FAMILY)
METRIC = {metric.name: metric for metric in context_response.METRICS}
INDEX = {measure.name: at for at, measure in enumerate(context_response.MEASURES)}
WHO: dict[str, Any] = {"user": "u", "arm": "personalized"}
MINUTE = 60_000


def signal(at_ms: int, name: str = "s", **more: Any) -> ContextSignal:
    """Return a context signal, this long after T0."""
    told = {**WHO, **more}
    return ContextSignal(id=f"{told['user']}s{at_ms}{name}", ts=T0 + at_ms, signal=name, kind="weather", **told)


def decision(at_ms: int, context_ms: int | None = None, **more: Any) -> Decision:
    """Return a decision with the context of `context_ms` after T0."""
    told = {
        **WHO,
        "id": f"{more.get('user', 'u')}d{at_ms}",
        "surface": "home",
        "context_ts": None if context_ms is None else T0 + context_ms,
        "items": (DecisionItem(item="i", position=1),),
        **more,
    }
    return Decision(ts=T0 + at_ms, decision="d", **told)


def click(at_ms: int, **more: Any) -> Click:
    """Return a click."""
    return Click(ts=T0 + at_ms, decision="d", item="i", **{**WHO, "id": f"{more.get('user', 'u')}c{at_ms}", **more})


def conversion(at_ms: int, **more: Any) -> Conversion:
    """Return a conversion."""
    return Conversion(ts=T0 + at_ms, goal="purchase", **{**WHO, "id": f"{more.get('user', 'u')}v{at_ms}", **more})


def estimate(name: str, *events: AnyEvent) -> Estimate | None:
    """Return a metric after these events."""
    state = state_of(PLAN, events)
    tally = [totals(state).get(measure.name, 0) for measure in context_response.MEASURES]
    bins = {"adaptation_ms": bins_of(state, "adaptation_ms")}
    return lower(METRIC[name], tally, INDEX, bins)


def test_a_day_by_hand() -> None:
    """Four people: used at once, used too late, not used, nothing decided; one clicked and one bought."""
    events = [
        signal(0, user="a"), decision(1_000, 0, user="a", changed=True), click(3_000, user="a"),
        signal(0, user="b"), decision(1_000, -5, user="b"), decision(9_000, 0, user="b", delta_topk=0.05),
        signal(0, user="c"), decision(2_000, user="c"), conversion(60_000, user="c"),
        signal(0, user="d"), decision(11 * MINUTE, 0, user="d"),
    ]  # fmt: skip
    state = state_of(PLAN, events)
    assert {
        "context_signals": 4, "eligible_signals": 3, "responses_in_time": 1, "responses": 2, "judged_responses": 2,
        "changed_responses": 1, "clicked_signals": 1, "converted_signals": 1,
    } == totals(state)  # fmt: skip
    assert {bucket_of(1_000): 1, bucket_of(9_000): 1, bucket_of(600_000): 1} == bins_of(state, "adaptation_ms")
    assert {"none"} == {at[1] for at in amounts(state)}
    assert [wilson(1, 3), wilson(1, 3), wilson(1, 2), wilson(1, 3)] == [
        estimate(name, *events) for name in ("context_response", "context_missed", "context_change", "signal_ctr")
    ]


def test_without_an_opportunity_there_is_no_failure() -> None:
    """Signals that nothing followed leave the response rate unknown; the popular responses / signals says 0 %."""
    assert None is estimate("context_response", signal(0, user="a"), signal(0, user="b"))


@pytest.mark.parametrize(
    ("used", "decided_ms", "told"),
    [
        (1, 0, {"context_ms": 0}),
        (1, 600_000, {"context_ms": 600_000}),
        (0, 600_001, {"context_ms": 600_000}),
        (0, 1, {"context_ms": -1}),
        (0, -1, {"context_ms": 0}),
        (1, 1, {"signal": "s"}),
        (0, 1, {"signal": "another"}),
        (1, 1, {"context_ms": -1, "signal": "s"}),
        (0, 1, {"context_ms": 0, "automation": "manual"}),
    ],
)
def test_what_uses_a_signal(used: int, decided_ms: int, told: dict[str, Any]) -> None:
    """A decision within ten minutes, with a context as new as the signal or naming it, and not made by hand."""
    assert used == totals(state_of(PLAN, [signal(0), decision(decided_ms, **told)])).get("responses", 0)


def test_the_clock_of_the_sla_starts_at_the_opportunity() -> None:
    """Nobody can respond before the person comes: 5 s count from the first decision, not from the signal."""
    late, in_time = ([signal(0), decision(4 * MINUTE), decision(4 * MINUTE + wait_ms, 0)] for wait_ms in (5_001, 5_000))
    assert [0, 1] == [totals(state_of(PLAN, events)).get("responses_in_time", 0) for events in (late, in_time)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (UNSAID, {}),
        (SAME, {"changed": False}),
        (CHANGED, {"changed": True}),
        (SAME, {"delta_topk": 0.09}),
        (CHANGED, {"delta_topk": 0.1}),
        (CHANGED, {"changed": False, "delta_topk": 0.5}),
        (CHANGED, {"changed": True, "delta_topk": 0.0}),
    ],
)
def test_what_a_change_is(change: int, told: dict[str, Any]) -> None:
    """A list has changed where it says so, or where a tenth of it differs; where it says neither nobody knows."""
    assert change == decided(decision(0, **told)).change


def test_a_new_signal_ends_the_former() -> None:
    """What follows a second signal is its own; the first one had its opportunity and keeps it."""
    events = [signal(0), decision(1_000), signal(60_000, "t"), decision(61_000, 60_000), click(62_000)]
    found = amounts(state_of(PLAN, events))
    assert [(0, 1), (60_000, 1)] == sorted((at[0], n) for at, n in found.items() if at[3] == "eligible_signals")
    assert [(60_000, "clicked_signals"), (60_000, "responses"), (60_000, "responses_in_time")] == sorted(
        (at[0], at[3]) for at in found if at[3] in ("clicked_signals", "responses", "responses_in_time")
    )


def test_a_decision_may_overtake_a_second_signal() -> None:
    """What was decided with a signal before it arrived counts for it, also where there was a signal before."""
    told = [signal(0), decision(1_000, 0), signal(60_000, "t"), decision(60_200, 60_000, changed=True), click(61_000)]
    one, two, three, four, five = told
    in_turn, overtaken = (amounts(state_of(PLAN, events)) for events in (told, [one, two, four, five, three]))
    second = {at: amount for at, amount in in_turn.items() if at[0] == 60_000}
    assert second == {at: amount for at, amount in overtaken.items() if at[0] == 60_000}
    # As is said: what overtakes a further signal has counted for the former by then.
    assert {(0, "none", "personalized", "clicked_signals"): 1} == overtaken - in_turn


def test_dead_context_is_slow_not_fast() -> None:
    """With half of the signals never used the p95 is ten minutes; of those used alone it would be a quarter second."""
    events = [
        event
        for number in range(200)
        for event in (
            signal(0, user=f"u{number}"),
            decision(250, 0 if number % 2 else -1, user=f"u{number}"),
        )
    ]
    found = estimate("adaptation_p95", *events)
    assert found is not None
    assert (200, pytest.approx(600, rel=0.01)) == (found.n, found.value)
    used = estimate("adaptation_p95", *(e for e in events if int(e.user[1:]) % 2))
    assert used is not None
    assert pytest.approx(0.25, rel=0.01) == used.value


def test_without_consent_a_signal_counts_in_totals_alone() -> None:
    """Nothing is remembered of somebody who denies analytics."""
    denied = Consent(analytics=False)
    events = [signal(0, consent=denied), decision(1_000, 0, consent=denied)]
    assert {"context_signals": 1} == totals(state_of(PLAN, events))


# -- properties ----------------------------------------------------------------------------------------------------

STEPS = st.sampled_from([0, 1, 250, 4_000, 5_001, 30_000, 599_000, 601_000])
DELAYS = st.integers(0, 300_000)
Arrivals = list[tuple[int, AnyEvent]]


@st.composite
def arriving(draw: st.DrawFn, user: str) -> Arrivals:
    """What happens around a signal, at most three decisions after it; each event with a delay up to five minutes.

    Something was decided ten minutes before, so the person is known.
    """
    at = begin = draw(st.integers(0, 120_000))
    told: list[AnyEvent] = [
        decision(begin - 601_000, user=user, id=f"{user}-first"),
        decision(begin - 1 - draw(STEPS), begin - 9, user=user, id=f"{user}-before"),
        signal(begin, f"s{user}", user=user),
    ]
    for number in range(draw(st.integers(0, 3))):
        at += draw(STEPS)
        context = draw(st.sampled_from([None, begin, begin - 1, at]))
        more = draw(st.sampled_from([{}, {"changed": True}, {"changed": False}, {"signal": f"s{user}"}]))
        told.append(decision(at, context, user=user, id=f"{user}-d{number}", **more))
        if draw(st.booleans()):
            told.append(click(at + draw(STEPS), user=user, id=f"{user}-c{number}"))
        if draw(st.booleans()):
            told.append(conversion(at + draw(STEPS), user=user, id=f"{user}-v{number}"))
    return [(event.ts + draw(DELAYS), event) for event in told]


def in_order(arrivals: Arrivals) -> list[AnyEvent]:
    """Return the events as they arrive."""
    return [event for _, event in sorted(arrivals, key=lambda each: (each[0], each[1].id))]


PEOPLE = st.tuples(arriving("u"), arriving("v"))
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(PEOPLE, st.integers(0, 40), st.data())
def test_neither_order_nor_restart_nor_duplicates_matter(
    people: tuple[Arrivals, Arrivals], cut: int, data: st.DataObject
) -> None:
    """However late its traces arrive, a signal ends the same: as if all had come in order, or twice, or restarted."""
    arrivals = people[0] + people[1]
    late = in_order(arrivals)
    told = amounts(state_of(PLAN, sorted(late, key=lambda event: (event.ts, event.id))))
    assert told == amounts(state_of(PLAN, late))
    twice = in_order([*arrivals, *((at + data.draw(DELAYS), event) for at, event in arrivals)])
    assert told == amounts(state_of(PLAN, twice))
    assert told == amounts(state_restarted(PLAN, late, cut % (len(late) + 1)))


@QUICK
@given(PEOPLE)
def test_partitions_add_up(people: tuple[Arrivals, Arrivals]) -> None:
    """Two people on two partitions come to what they come to on one."""
    merged: Amounts = sum((amounts(state_of(PLAN, in_order(person))) for person in people), Amounts())
    assert merged == amounts(state_of(PLAN, in_order(people[0] + people[1])))


@QUICK
@given(PEOPLE)
def test_parts_never_exceed_the_whole(people: tuple[Arrivals, Arrivals]) -> None:
    """After every event: in time <= used <= eligible <= signals, and the histogram has every eligible signal once."""
    late = in_order(people[0] + people[1])
    for number in range(1, len(late) + 1):
        state = state_of(PLAN, late[:number])
        found = totals(state)
        sizes = [
            found.get(name, 0) for name in ("responses_in_time", "responses", "eligible_signals", "context_signals")
        ]
        assert sorted(sizes) == sizes
        assert sizes[2] == sum(bins_of(state, "adaptation_ms").values())
        assert found.get("changed_responses", 0) <= found.get("judged_responses", 0) <= sizes[1]
        assert max(found.get("clicked_signals", 0), found.get("converted_signals", 0)) <= sizes[2]


def test_what_is_lost_is_what_is_said_to_be() -> None:
    """An older signal after a newer one; a decision of the former after it; the first of four that overtake."""
    old, new = signal(0, "old"), signal(60_000, "new")
    assert 2 == totals(state_of(PLAN, [old, decision(1), new, decision(60_001)]))["eligible_signals"]
    assert 1 == totals(state_of(PLAN, [new, old, decision(1), decision(60_001)]))["eligible_signals"]
    assert 1 == totals(state_of(PLAN, [old, new, decision(1), decision(60_001)]))["eligible_signals"]
    four = [decision(at_ms, 0) for at_ms in (1, 2, 3, 4)]
    waits = [bins_of(state_of(PLAN, events), "adaptation_ms") for events in ([old, *four], [*four, old])]
    assert [{bucket_of(1): 1}, {bucket_of(2): 1}] == waits
    clicked = [old, decision(250, 0), click(1_000)]
    assert {1} == {totals(state_of(PLAN, each)).get("clicked_signals") for each in permutations(clicked)}


def test_an_order_is_a_conversion() -> None:
    """An order after the opportunity converts the signal; after a day it does not."""
    day = 86_400_000
    orders = [
        Order(id=f"o{at}", ts=T0 + at, order=f"o{at}", currency="EUR", total_minor=1, **WHO) for at in (day, day + 1)
    ]
    begun = [signal(0), decision(1)]
    assert [1, 0] == [totals(state_of(PLAN, [*begun, each])).get("converted_signals", 0) for each in orders]
