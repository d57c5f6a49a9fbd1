"""What is counted of money is a function of what happened: not of order, duplicates, restarts or partitions."""

from functools import reduce
from operator import add

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.events import AnyEvent, Consent
from stream_app.core.histograms import read_key
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan, Tally
from stream_app.metrics import carts, goals, orders, spending
from stream_app.metrics.catalogue import HISTOGRAMS
from tests.metrics.money import added, line, refund
from tests.timelines import LATER, conversion, impression, order, rows

KINDS = (orders.ORDERS, spending.USER_DAYS, carts.CARTS, goals.LEADS, goals.NEW_CUSTOMERS)
MEASURES = tuple(measure for family in (orders, spending, carts, goals) for measure in family.MEASURES)
PLAN = Plan.of(MEASURES, [histogram for histogram in HISTOGRAMS if histogram.on in KINDS])
OF_RECORDS = tuple(index for index, measure in enumerate(MEASURES) if measure.on in KINDS)
USERS = ("u1", "u2", "u3")
CURRENCIES = st.sampled_from(["EUR", "EUR", "EUR", "USD"])
AMOUNTS = st.integers(0, 90_000)


@st.composite
def happenings(draw: st.DrawFn) -> list[AnyEvent]:
    """What three people do within the lateness around midnight; an order id is one order's, of one user."""
    events: list[AnyEvent] = []
    for n in range(draw(st.integers(1, 14))):
        user, seconds = draw(st.sampled_from(USERS)), 86_400 - 140 + draw(st.integers(0, 280))
        said = {"arm": "holdout", "surface": "home"}
        consent = draw(st.sampled_from([None, None, Consent(analytics=False)]))
        kind = draw(st.sampled_from(["order", "refund", "cart", "goal", "shown"]))
        if kind == "order":
            lines = (line(draw(AMOUNTS), "d"), line(draw(AMOUNTS)))[: draw(st.integers(0, 2))]
            more = {"tax_minor": draw(st.integers(0, 100)), "new_customer": draw(st.booleans()), "consent": consent}
            events.append(
                order(
                    seconds, user, draw(AMOUNTS), id=f"e{n}", order=f"{user}-{n % 5}-{n}", currency=draw(CURRENCIES),
                    lines=lines, **said, **more,
                )
            )  # fmt: skip
        elif kind == "refund":
            of = draw(st.integers(0, 13))
            events.append(
                refund(seconds, f"{user}-{of % 5}-{of}", draw(AMOUNTS), draw(CURRENCIES), id=f"e{n}", user=user, **said)
            )
        elif kind == "cart":
            told = {
                "price_minor": draw(AMOUNTS),
                "currency": draw(CURRENCIES),
                "decision": draw(st.sampled_from([None, "d"])),
            }
            events.append(added(seconds, user, id=f"e{n}", consent=consent, **said, **told))
        elif kind == "goal":
            goal = draw(st.sampled_from(["lead", "qualified", "activation", "purchase", "x"]))
            events.append(
                conversion(seconds, user, id=f"e{n}", goal=goal, value_minor=draw(AMOUNTS), currency="EUR", **said)
            )
        else:
            # Of a session on both sides of midnight it is the impression that arrives first that says on which day.
            events.append(impression(min(seconds, 86_399), f"d{n}", user=user, id=f"e{n}", **said))
    return events


def raws(events: list[AnyEvent]) -> list[bytes | None]:
    return [codec.encode(event) for event in events]


def found(state: Partition) -> tuple[Tally, dict[tuple[int, int], int]]:
    """Return what was added up of records, over all cells; and the bins of histograms."""
    total = Tally.total((t for by_slice in rows(state).values() for t in by_slice.values()), len(MEASURES))
    bins: dict[tuple[int, int], int] = {}
    for tier in (state.bins.cells.panes, state.bins.cells.hours):
        for packed in tier.values():
            for key, (amount,) in (layout.unpack_rows(packed) if isinstance(packed, bytes) else packed).items():
                _, histogram, number = read_key(key)
                bins[histogram, number] = bins.get((histogram, number), 0) + amount
    return Tally(total[index] for index in OF_RECORDS), {key: amount for key, amount in bins.items() if amount}


def state_of(events: list[AnyEvent]) -> Partition:
    state = Partition(PLAN, Rules())
    state.process([Span(0, LATER, raws(events))])
    return state


@settings(deadline=None, max_examples=60)
@given(happenings(), st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(events: list[AnyEvent], chance: object) -> None:
    """Shuffled within the lateness, and some of it told again, the same is counted in sum, and in every bin."""
    mixed = [*events, *events[::2]]
    chance.shuffle(mixed)  # type: ignore[attr-defined]  # a Random
    assert found(state_of(events)) == found(state_of(mixed))


@settings(deadline=None, max_examples=60)
@given(happenings(), st.integers(0, 14))
def test_a_restart_does_not_matter(events: list[AnyEvent], cut: int) -> None:
    """Stored and restored anywhere, and with its tail replayed, the state goes on as if nothing had happened."""
    cut %= len(events) + 1
    state, stored = Partition(PLAN, Rules()), {layout.SLICES: layout.pack([])}
    state.process([Span(0, LATER, raws(events[:cut]))])
    stored |= state.take_changes()[0]
    again, _ = Partition.restore(PLAN, Rules(), stored)
    again.process([Span(cut, LATER, raws(events[cut:]))])
    again.process([Span(len(events), LATER, raws(events[cut:]))])
    whole = state_of(events)
    assert (found(whole), rows_of_records(whole)) == (found(again), rows_of_records(again))


@settings(deadline=None, max_examples=60)
@given(happenings())
def test_partitions_add_up(events: list[AnyEvent]) -> None:
    """Each user in a partition of their own, the sums of the partitions are those of one."""
    parts = [found(state_of([event for event in events if event.user == user])) for user in USERS]
    whole = found(state_of(events))
    merged: dict[tuple[int, int], int] = {}
    for _, bins in parts:
        for key, amount in bins.items():
            merged[key] = merged.get(key, 0) + amount
    assert whole == (reduce(add, (tally for tally, _ in parts)), merged)


def rows_of_records(state: Partition) -> dict[object, tuple[int, ...]]:
    """Return what was added up of records, by cell and slice."""
    by_cell = {
        (cell, slice_): tuple(tally[index] for index in OF_RECORDS)
        for cell, by_slice in rows(state).items()
        for slice_, tally in by_slice.items()
    }
    return {key: amounts for key, amounts in by_cell.items() if any(amounts)}
