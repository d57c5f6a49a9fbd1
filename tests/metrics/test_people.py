"""People: who came back, who left, what they are worth, told when they are old enough."""

from collections import defaultdict
from random import Random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import Account, AnyEvent, Cart, Click, Consent, Conversion, Order, PageView, Refund, Search
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.metrics import customers, people
from stream_app.metrics.catalogue import PLAN
from stream_app.metrics.people import CAP_MINOR, LIFESPAN_DAYS, Person, lifespan
from stream_app.statistics.estimates import student
from stream_app.statistics.survival import restricted_mean
from tests.metrics.ageing import D0, answer, feed, on, state_of, stored, told

OURS = tuple(measure.name for family in (people.FAMILY, customers.FAMILY) for measure in family.measures)
ARM = "personalized"


def page(day: float, user: str = "u", **more: Any) -> PageView:
    """Return a page view."""
    return on(day, PageView, user, page="/", **more)


def order(day: float, total: int, user: str = "u", currency: str = "EUR", **more: Any) -> Order:
    """Return an order."""
    return on(day, Order, user, order=f"o{day}{user}", currency=currency, total_minor=total, **more)


def refund(day: float, amount: int, user: str = "u", currency: str = "EUR") -> Refund:
    """Return a refund."""
    return on(day, Refund, user, order="o", currency=currency, amount_minor=amount)


def test_retention_is_told_at_the_end_of_the_day_it_is_about() -> None:
    """Of three people first seen on day 0, one comes on day 1, the same one on day 8: told on days 2, 8 and 14."""
    seen = told(
        state_of([page(0, "a"), page(0, "b"), page(0, "c"), page(1, "a"), page(8, "a")]),
        measures=("people_2d", "returned_day_1", "people_8d", "returned_day_7", "people_14d", "returned_week_2"),
    )
    assert {
        (2, ARM, "people_2d"): 3,
        (2, ARM, "returned_day_1"): 1,
        (8, ARM, "people_8d"): 3,
        (14, ARM, "people_14d"): 3,
        (14, ARM, "returned_week_2"): 1,
    } == seen
    found = answer("retention_day_1", seen)
    # Wilson's interval of 1 in 3.
    assert (pytest.approx(1 / 3), 3, pytest.approx(0.0615, abs=1e-4), pytest.approx(0.7923, abs=1e-4)) == (
        found.value,
        found.n,
        found.low,
        found.high,
    )


def test_a_day_is_one_of_the_calendar() -> None:
    """Who is first seen a minute before midnight and again a minute after it has come back on day 1."""
    seen = told(state_of([page(0.4993), page(0.5007)]))
    assert (1, 1) == (seen[2, ARM, "people_2d"], seen[2, ARM, "returned_day_1"])


def test_who_came_is_at_home_in_the_arm_they_were_first_seen_in() -> None:
    """Segment, device and the rest are not told apart, and a later arm changes nothing."""
    seen = told(
        state_of([page(0, surface="home", segment="loyal"), page(1, arm="holdout", device="tv")]),
        measures=("people_2d", "returned_day_1"),
    )
    assert {(2, ARM, "people_2d"): 1, (2, ARM, "returned_day_1"): 1} == seen


def test_the_value_of_the_first_days_by_hand() -> None:
    """Orders of 100 + 20 tax on day 0 and 50 on day 7; of the first, half is given back on day 3.

    A refund is told with its tax, so 60 of 170 take away as much of the value as 60 is of what was paid.
    """
    state = state_of([order(0, 12_000, tax_minor=2_000), refund(3, 6_000), order(7, 5_000)])
    seen = told(state)
    # Of 7 days 10,000 less 6,000 / 12,000 of it, then 15,000 less 6,000 / 17,000 of it, rounded half up.
    values = tuple(seen[day, ARM, f"value_{first}d_minor"] for day, first in ((8, 7), (29, 28), (90, 90)))
    assert (5_000, 9_706, 9_706) == values
    assert 5_000**2 == seen[8, ARM, "value_7d_squares"]


def test_all_given_back_is_worth_nothing() -> None:
    """Subtracting the refund as told would leave minus the tax: a wrong figure, pinned here."""
    seen = told(state_of([order(0, 12_000, tax_minor=1_500, shipping_minor=500), refund(1, 12_000)]))
    assert (0, -2_000) == (seen.get((8, ARM, "value_7d_minor"), 0), 12_000 - 2_000 - 12_000)


def test_two_currencies_are_never_added() -> None:
    """An order in another currency is a sign of life and no money; so is its refund none."""
    seen = told(state_of([order(0, 1_000), order(1, 9_999, currency="USD"), refund(2, 9_999, currency="USD")]))
    assert (1_000, 1) == (seen[8, ARM, "value_7d_minor"], seen[2, ARM, "returned_day_1"])


def test_the_mean_value_and_its_winsorised_twin() -> None:
    """Of values 0, 100.00 and 5,000.00 the mean is 1,700, the winsorised one (cap 1,000) 366.67."""
    seen = told(state_of([page(0, "a"), order(0, 10_000, "b"), order(0, 500_000, "c")]))
    raw, cut = answer("value_28d", seen), answer("capped_value_28d", seen)
    assert (1_700.0, pytest.approx(1_100 / 3), 3) == (raw.value, cut.value, raw.n)
    assert CAP_MINOR == 100_000
    half = student(2) * ((1_700**2 + 1_600**2 + 3_300**2) / 2 / 3) ** 0.5
    assert (0.0, pytest.approx(1_700 + half)) == (raw.low, raw.high)


def test_without_consent_nobody_is_known() -> None:
    """Events without analytics consent leave no record and no number of people."""
    state = state_of([page(0, consent=Consent(analytics=False)), page(1, consent=Consent(analytics=False))])
    assert ({}, 0) == (told(state, measures=OURS), len(state.joins.records[people.PEOPLE]))


def test_a_refund_begins_nobody() -> None:
    """Money given back to somebody never seen changes nothing."""
    assert {} == told(state_of([refund(0, 100)]), measures=OURS)


def test_who_is_old_is_remembered_while_they_come() -> None:
    """Somebody who came every month for a year is one person; one who was away for a year is another one."""
    faithful = state_of(page(30 * month) for month in range(13))
    away = state_of([page(0, "a"), page(0, "b"), *(page(day, "b") for day in range(20, 370, 20)), page(370, "a")])

    def begun(state: Partition) -> int:
        return sum(told(state, measures=("people_90d",)).values())

    # Days past retention are forgotten, so of the first beginning nothing is left.
    assert (0, 1) == (begun(faithful), begun(away))


def test_referrals_are_of_the_first_28_days() -> None:
    """Three referrals of two people, one of them on day 28: two in 28 days, one per person."""
    events = [on(day, Conversion, user, goal="referral") for day, user in ((0, "a"), (27, "a"), (28, "a"))]
    found = answer("referrals_per_person", told(state_of([page(0, "b"), *events])))
    assert (1.0, 2) == (found.value, found.n)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([0], 1),
        ([0, 10], 11),
        ([0, 28], 29),  # 27 days of silence
        ([0, 29], 1),  # 28 days of silence: they had left
        ([0, 20, 40], 41),
        ([0, 25, 50, 75], LIFESPAN_DAYS),
    ],
)
def test_a_lifespan_ends_before_the_first_silence(days: list[int], expected: int) -> None:
    """The last sign before 28 days without one ends it; beyond the horizon nobody is followed."""
    active = sum(1 << day for day in days)
    assert expected == lifespan(Person(1, 0, active & (1 << 60) - 1, active >> 60))


@given(st.lists(st.sets(st.integers(1, 83)), min_size=1, max_size=30))
def test_the_mean_lifespan_is_the_area_under_the_survival_curve(lives: list[set[int]]) -> None:
    """Everybody is followed to the horizon, so the mean of lifespans is the Kaplan-Meier restricted mean."""
    spans, durations = [], defaultdict(lambda: (0, 0))
    for signs in lives:
        active = 1 | sum(1 << day for day in signs)
        spans.append(lifespan(Person(1, 0, active & (1 << 60) - 1, active >> 60)))
        ended, censored = durations[spans[-1]]
        durations[spans[-1]] = (ended + 1, censored) if spans[-1] < LIFESPAN_DAYS else (ended, censored + 1)
    area = restricted_mean(durations, LIFESPAN_DAYS)
    assert pytest.approx(area.value) == fmean(spans)


def test_lapse_is_silence_at_the_end() -> None:
    """Of three, one was last there on day 61, one on day 62, one on both ends: two gave a sign in the last 28 days."""
    state = state_of([page(0, "a"), page(0, "b"), page(0, "c"), page(61, "a"), page(62, "b"), page(89, "c")])
    found = answer("lapse_90d", told(state))
    assert (pytest.approx(1 / 3), 3) == (found.value, found.n)


def test_young_people_lower_no_retention() -> None:
    """Ten people of whom all return on day 1, the last one first seen today: all of those who could have, did.

    Returned over all ever seen, the usual figure, is 9 in 10 for no reason but that the day is not over.
    """
    events = [page(0, f"u{n}") for n in range(9)] + [page(1, f"u{n}") for n in range(9)] + [page(1.1, "new")]
    seen = told(state_of(events))
    by_day_2 = {key: amount for key, amount in seen.items() if key[0] <= 2}
    assert 1.0 == answer("retention_day_1", by_day_2).value
    assert 0.9 == answer("retention_day_1", seen).value


# -- properties ------------------------------------------------------------------------------------------------------


def act(chance: Random, day: float, user: str, arm: str) -> AnyEvent:
    """Return something that somebody might do on that day."""
    match chance.randrange(9):
        case 0:
            return on(day, Click, user, decision="d", item="i", arm=arm)
        case 1:
            return on(day, Search, user, query_hash="q", arm=arm)
        case 2:
            return on(day, Cart, user, action="view", item="i", arm=arm)
        case 3:
            return on(day, Conversion, user, goal="referral", arm=arm)
        case 4 | 5:
            return order(day, chance.randrange(20_000), user, arm=arm, tax_minor=chance.randrange(100))
        case 6:
            return order(day, 700, user, "USD", arm=arm)
        case 7:
            return refund(day + 0.1, chance.randrange(9_000), user)
    return on(day, Account, user, status=chance.choice(["active", "cancelled"]), arm=arm)


def happened(seed: int) -> list[AnyEvent]:
    """Return what some people did on some of a hundred days, in the order of time, everybody beginning with a page."""
    chance = Random(seed)
    events: list[AnyEvent] = []
    for number in range(6):
        user, begin = f"u{number}", chance.randrange(8)
        arm = chance.choice(["personalized", "holdout"])
        events.append(page(begin, user, arm=arm))
        for _ in range(chance.randrange(12)):
            day = begin + chance.choice([0, 1, 7, 14, 28, 61, 89, 95]) + chance.random() / 3
            events.append(act(chance, day, user, arm))
    return sorted(events, key=lambda event: event.ts)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 100))
def test_a_restart_changes_nothing(seed: int, cut: int) -> None:
    """Stored and restored anywhere, and replayed from there with what was read twice, the days say the same."""
    events = happened(seed)
    cut %= len(events)
    first = state_of(events[:cut])
    again, _ = Partition.restore(PLAN, Rules(), stored(first))
    feed(again, events[max(0, cut - 3) :])  # the last three are told twice
    twice, _ = Partition.restore(PLAN, Rules(), stored(again, stored(state_of(events[:cut]))))
    whole = told(state_of(events))
    assert (whole, whole) == (told(again), told(twice))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_neither_order_nor_duplicates_matter(seed: int, shuffled: int) -> None:
    """Events that arrive minutes late, some of them twice, say what they say in order."""
    chance = Random(shuffled)
    events = happened(seed)
    first = {event.user: event.id for event in reversed(events)}
    beginnings = set(first.values())
    # The event with which somebody is first seen decides the day: it stays in its place.
    late = [(e.ts + (0 if e.id in beginnings else chance.randrange(250_000)), e) for e in events]
    late += [(at + 1_000, e) for at, e in late if chance.random() < 0.2]
    arrived = [event for _, event in sorted(late, key=lambda each: each[0])]
    assert told(state_of(events), measures=OURS) == told(state_of(arrived), measures=OURS)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_partitions_add_up(seed: int) -> None:
    """Two partitions, each with its people, add up to one that has all of them, metric by metric."""
    events = happened(seed)
    parts = [state_of(e for e in events if (e.user < "u3") is is_first) for is_first in (True, False)]
    # Each partition forgets by its own watermark: only days that both still keep are compared.
    oldest = max(D0, *(state.watermark.at_ms - 28 * DAY_MS for state in (*parts, whole_of(events))))
    since = (oldest - D0) // DAY_MS
    kept = [{k: n for k, n in told(*s).items() if k[0] >= since} for s in (parts, [whole_of(events)])]
    assert kept[0] == kept[1]


def whole_of(events: list[AnyEvent]) -> Partition:
    """Return one partition with all of them."""
    return state_of(events)
