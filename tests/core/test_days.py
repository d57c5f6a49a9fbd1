"""Cells of days: what is told of records when they are so many days old, and that nothing but the log decides it."""

from operator import itemgetter
from typing import NamedTuple

import pytest

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.cells import unpack_rows
from stream_app.core.events import AnyEvent, Order, PageView
from stream_app.core.panes import DAY_MS, HOUR_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.records import Aged, Kind
from stream_app.core.rules import Rules
from stream_app.core.tally import Measure, Plan

T0 = 20_000 * DAY_MS
FIELDS = {layout.SLICES: layout.pack([])}


class Guest(NamedTuple):
    """How often somebody came, and what they paid."""

    came: int = 0
    paid: int = 0


def changed(guest: Guest, event: AnyEvent) -> Guest:
    """Return the guest after the event."""
    return Guest(guest.came + isinstance(event, PageView), guest.paid + getattr(event, "total_minor", 0))


GUESTS = Kind(
    "guests",
    (PageView, Order),
    lambda event: event.user,
    Guest(),
    changed,
    dimensions=("arm", "device"),
    horizon_ms=120 * DAY_MS,
)
TWO_DAYS = Aged(GUESTS, 2, lambda guest: (guest.came > 0, guest.came > 1))
MEASURES = (
    Measure("pages", "", "pages", PageView),
    Measure("guests_2d", "", "guests", TWO_DAYS, itemgetter(0)),
    Measure("returned_2d", "", "guests", TWO_DAYS, itemgetter(1)),
    Measure("paid_5d", "", "minor units", Aged(GUESTS, 5, lambda guest: (guest.paid,)), itemgetter(0)),
)
PLAN = Plan.of([measure._replace(is_counter=True) for measure in MEASURES])


def view(number: int, at_ms: int, **more: object) -> PageView:
    """Return a page view."""
    fields = {"user": "u", "surface": "home", "arm": "holdout", "device": "tv", "page": "/"} | more
    return PageView(id=f"v{number}", ts=T0 + at_ms, **fields)


def order(number: int, at_ms: int, total: int, currency: str) -> Order:
    """Return an order."""
    return Order(
        id=f"o{number}", ts=T0 + at_ms, user="u", arm="holdout", device="tv", order="o", currency=currency,
        total_minor=total,
    )  # fmt: skip


def feed(state: Partition, *events: AnyEvent) -> None:
    """Apply events."""
    state.process([Span(state.head.applied, T0 + 400 * DAY_MS, [codec.encode(event) for event in events])])


def state_of(*events: AnyEvent, plan: Plan = PLAN) -> Partition:
    """Return the state after these events."""
    state = Partition(plan, Rules())
    feed(state, *events)
    return state


def days(state: Partition) -> dict[tuple[int, tuple[str, ...]], list[int]]:
    """Return the tallies by day since T0 and slice."""
    return {
        ((start - T0) // DAY_MS, tuple(state.slices.slices[number])): tally
        for start, rows in state.cells.days.items()
        for number, tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items()
    }


COARSE = ("none", "holdout", "none", "none", "none", "tv")


def test_growth_is_told_on_the_day_of_age() -> None:
    """First seen on day 0, back an hour later: told on day 2, where only arm and device are told apart."""
    state = state_of(view(1, HOUR_MS), view(2, 2 * HOUR_MS, surface="cart", segment="loyal"))
    assert {(2, COARSE): [0, 1, 1, 0]} == days(state)


def test_events_of_the_day_it_is_told_on_come_too_late_for_it() -> None:
    """Back on day 2: what is said of guests two days old is what was true when that day began."""
    before = state_of(view(1, HOUR_MS), view(2, 2 * DAY_MS - 1))
    after = state_of(view(1, HOUR_MS), view(2, 2 * DAY_MS))
    assert ([0, 1, 1, 0], [0, 1, 0, 0]) == (days(before)[2, COARSE], days(after)[2, COARSE])


def test_what_does_not_grow_is_not_written() -> None:
    """A third visit changes the record and no sum: the checkpoint has no day."""
    state = state_of(view(1, 0), view(2, 1))
    state.take_changes()
    feed(state, view(3, 2))
    fields, _ = state.take_changes()
    assert [] == [name for name in fields if name.startswith("d:")]


def test_money_in_another_currency_comes_without_its_amount() -> None:
    """To a kind that adds money, 9.99 USD are nothing."""
    assert {(5, COARSE): [0, 0, 0, 500]} == days(state_of(order(1, 0, 500, "EUR"), order(2, 1, 999, "USD")))


def test_days_are_kept_as_long_as_hours() -> None:
    """The day on which guests of day 0 are told is there 29 days after it began, and forgotten after that."""
    state = state_of(view(1, 0), view(2, 31 * DAY_MS, user="w"))
    kept = [day for day, _ in days(state)]
    feed(state, view(3, 31 * DAY_MS + HOUR_MS + 20_000, user="w"))
    assert ([2, 33], [33]) == (sorted(kept), [day for day, _ in days(state)])


def test_a_forgotten_day_is_deleted_and_moves_no_counter() -> None:
    """Its field is stale, and by its end nothing grew less."""
    state = state_of(view(1, 0))
    state.take_changes()
    state.cells.take_moved()
    feed(state, view(2, 40 * DAY_MS, user="w"))
    _, stale = state.take_changes()
    moved = state.cells.take_moved()
    # The days of `w` alone: one page and one guest.
    assert (True, [1, 1, 0, 0]) == (
        f"d:{T0 + 2 * DAY_MS}" in stale,
        [sum(column) for column in zip(*moved.values(), strict=True)],
    )


def test_a_restart_keeps_days() -> None:
    """Stored, restored and gone on with, the days are those of a life without a pause; a leftover is found."""
    events = [view(1, 0), view(2, DAY_MS), order(3, 2 * DAY_MS, 700, "EUR"), view(4, 3 * DAY_MS, user="w")]
    state = state_of(*events[:2])
    fields, _ = state.take_changes()
    again, stale = Partition.restore(PLAN, Rules(), FIELDS | fields | {"d:86400000": layout.pack_rows({})})
    feed(again, *events[2:])
    assert (days(state_of(*events)), ["d:86400000"]) == (days(again), stale)


@pytest.mark.parametrize(("measure", "late_days"), [("pages", 0), ("guests_2d", 2), ("paid_5d", 5)])
def test_what_is_told_late_is_whole_late(measure: str, late_days: int) -> None:
    """Where a catalogue begins to count guests, those of age N are whole N days later: the first began before."""
    old = Plan.of([each for each in MEASURES if each.name != measure])
    fields, _ = state_of(view(1, 0), plan=old).take_changes()
    state, _ = Partition.restore(PLAN, Rules(), FIELDS | fields)
    column = next(each.column for each in MEASURES if each.name == measure)
    assert {column: T0 + 10_000 + late_days * DAY_MS} == state.head.since
