"""Records of every kind, and histograms: what they add, and that nothing but the log decides it."""

from operator import attrgetter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.cells import unpack_rows
from stream_app.core.events import AnyEvent, Consent, Conversion, Impression, PageView, Search
from stream_app.core.histograms import bin_key, read_key
from stream_app.core.panes import HOUR_MS, PANE_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.records import Kind, growth
from stream_app.core.rules import Rules
from stream_app.core.tally import Histogram, Measure, Plan

T0 = 1_700_000_000_000 - 1_700_000_000_000 % HOUR_MS
GAP_MS = 1_800_000
NO = Consent(analytics=False)


class Visit(NamedTuple):
    """What a visit has come to."""

    last_ms: int = 0
    pages: int = 0
    searches: int = 0


def changed(visit: Visit, event: AnyEvent) -> Visit:
    """Return the visit after the event."""
    is_page = isinstance(event, PageView)
    return Visit(max(visit.last_ms, event.ts), visit.pages + is_page, visit.searches + (not is_page))


VISITS = Kind(
    "visits",
    (PageView, Search),
    lambda event: event.user,
    Visit(),
    changed,
    begins_anew=lambda visit, event: event.ts - visit.last_ms > GAP_MS,
)
MEASURES = (
    Measure("page_views", "", "pages", PageView),
    Measure("visits", "", "visits", VISITS, growth(lambda visit: visit.last_ms > 0)),
    Measure("pages", "", "pages", VISITS, growth(lambda visit: visit.pages)),
    Measure("page_squares", "", "pages squared", VISITS, growth(lambda visit: visit.pages**2)),
    Measure("searchers", "", "visits", VISITS, growth(lambda visit: visit.searches > 0)),
)
HISTOGRAMS = (
    Histogram("pages_per_visit", "", "visits", VISITS, lambda visit: visit.pages),
    Histogram("page_lengths", "", "pages", PageView, lambda event: len(event.page), lambda event: 10),
)
PLAN = Plan.of(MEASURES, HISTOGRAMS)


def view(number: int, at_ms: int, user: str = "u", **more: object) -> PageView:
    """Return a page view."""
    return PageView(id=f"v{number}", ts=T0 + at_ms, user=user, surface="home", arm="holdout", page="/a", **more)


def search(number: int, at_ms: int, user: str = "u") -> Search:
    """Return a search."""
    return Search(id=f"s{number}", ts=T0 + at_ms, user=user, surface="home", arm="holdout", query_hash="q")


def state_of(*events: AnyEvent, rules: Rules | None = None) -> Partition:
    """Return the state after these events, in this order."""
    state = Partition(PLAN, rules or Rules())
    state.process([Span(0, T0 + 30 * HOUR_MS, [codec.encode(event) for event in events])])
    return state


def found(state: Partition) -> dict[tuple[int, str], int]:
    """Return every amount that is not 0 by milliseconds since T0 and measure."""
    amounts = {}
    for start, rows in state.cells.panes.items():
        for tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).values():
            for measure, amount in zip(MEASURES, tally, strict=True):
                if amount:
                    amounts[start - T0, measure.name] = amount
    return amounts


def bins(state: Partition) -> dict[tuple[int, str, str, int], int]:
    """Return every bin that is not 0 by milliseconds since T0, surface, histogram and number."""
    names = {histogram.number: histogram.name for histogram in HISTOGRAMS}
    amounts = {}
    for start, rows in state.bins.cells.panes.items():
        for packed_key, (amount,) in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
            key = read_key(packed_key)
            if amount:
                surface = state.slices.slices[key.slice_number].surface
                amounts[start - T0, surface, names[key.histogram], key.bin] = amount
    return amounts


def test_a_record_is_at_home_where_it_began() -> None:
    """Two pages and a search of one visit, half a minute apart, all add to the pane of the first."""
    state = state_of(view(1, 0), view(2, 30_000), search(3, 60_000))
    assert {
        (0, "page_views"): 1,
        (30_000, "page_views"): 1,
        (0, "visits"): 1,
        (0, "pages"): 2,
        (0, "page_squares"): 4,
        (0, "searchers"): 1,
    } == found(state)
    assert {
        (0, "home", "pages_per_visit", 2): 1,
        (0, "home", "page_lengths", 2): 10,
        (30_000, "home", "page_lengths", 2): 10,
    } == bins(state)


def test_a_silence_begins_another_record() -> None:
    """After more than the gap another visit begins, at home where it begins."""
    state = state_of(view(1, 0), view(2, GAP_MS), view(3, 2 * GAP_MS + PANE_MS))
    assert {(0, "visits"): 1, (2 * GAP_MS + PANE_MS, "visits"): 1} == {
        at: amount for at, amount in found(state).items() if at[1] == "visits"
    }


SEEN = Kind(
    "seen",
    (PageView,),
    lambda event: event.user,
    Visit(),
    lambda visit, event: Visit(max(visit.last_ms, event.ts - event.ts % PANE_MS)),
    moves=lambda visit, event: event.ts > visit.last_ms,
)
SEEN_PLAN = Plan.of((Measure("present", "", "users", SEEN, growth(lambda seen: seen.last_ms > 0)),))
VIEWS = st.lists(st.tuples(st.integers(0, HOUR_MS // 1000), st.sampled_from("uvwxyz")), min_size=1).map(
    lambda drawn: [view(number, at_s * 1000, user) for number, (at_s, user) in enumerate(sorted(drawn))]
)


@settings(deadline=None)
@given(VIEWS, st.integers(0, HOUR_MS // PANE_MS))
def test_who_moves_is_counted_once(views: list[PageView], panes: int) -> None:
    """Of records that move, the sum over a window that ends now is how many different ones were seen in it."""
    state = Partition(SEEN_PLAN, Rules())
    state.process([Span(0, T0 + 30 * HOUR_MS, [codec.encode(event) for event in views])])
    start = views[-1].ts - views[-1].ts % PANE_MS - panes * PANE_MS
    present = sum(
        amount
        for at, rows in state.cells.panes.items()
        if at >= start
        for (amount,) in (unpack_rows(rows) if isinstance(rows, bytes) else rows).values()
    )
    assert len({event.user for event in views if event.ts >= start}) == present


class Spent(NamedTuple):
    """Who was there, and what they spent, by currency."""

    shown: int = 0
    minor: int = 0
    abroad: int = 0


SPENT = Kind(
    "spent",
    (Conversion,),
    lambda event: event.user,
    Spent(),
    lambda spent, event: (
        spent._replace(shown=spent.shown + 1)
        if isinstance(event, Impression)
        else spent._replace(minor=spent.minor + (event.value_minor or 0))
    ),
    change_abroad=lambda spent, event: spent._replace(abroad=spent.abroad + 1),
    on_exposure=True,
)
SPENT_MEASURES = tuple(Measure(name, "", "", SPENT, growth(attrgetter(name))) for name in Spent._fields)


def test_money_of_abroad_changes_a_record_in_its_own_way() -> None:
    """A value in another currency than the reporting one, or in none, is told apart from its own."""
    state = Partition(Plan.of(SPENT_MEASURES), Rules(currency="CHF"))
    paid = [
        Conversion(id=str(n), ts=T0, user="u", goal="g", value_minor=minor, currency=currency)
        for n, (minor, currency) in enumerate([(5, "CHF"), (70, "EUR"), (900, None)])
    ]
    state.process([Span(0, T0 + 30 * HOUR_MS, [codec.encode(event) for event in paid])])
    assert [0, 905, 1] == next(iter(state.cells.panes[T0].values()))


def test_a_record_may_begin_with_an_exposure() -> None:
    """Of five impressions the two with which sessions begin to see a surface change it; without analytics none does."""
    state = Partition(Plan.of(SPENT_MEASURES), Rules())
    seen = [("s", "home"), ("s", "home"), ("s", "search"), ("s", "home")]
    shown = [
        Impression(id=str(n), ts=T0, user="u", session=session, surface=surface, decision="d", item=str(n), position=1)
        for n, (session, surface) in enumerate(seen)
    ]
    denied = Impression(id="no", ts=T0, user="w", session="z", decision="e", item="i", position=1, consent=NO)
    state.process([Span(0, T0 + 30 * HOUR_MS, [codec.encode(event) for event in (*shown, denied)])])
    assert [2] == [tally[0] for tally in state.cells.panes[T0].values() if any(tally)]
    assert 1 == len(state.joins.records[SPENT])


class Turn(NamedTuple):
    """A page and how many searches preceded it; `waiting` is not shown."""

    pages: int = 0
    preceded: int = 0
    waiting: int = 0


TURNS = Kind(
    "turns",
    (PageView, Search),
    lambda event: event.user,
    Turn(),
    lambda turn, event: Turn(1, turn.waiting, 0) if isinstance(event, PageView) else Turn(*turn[:2], turn.waiting + 1),
    begins_anew=lambda turn, event: isinstance(event, PageView),
    leaves=lambda turn: Turn(waiting=turn.waiting),
    shows=2,
)
TURNS_PLAN = Plan.of((Measure("preceded", "", "searches", TURNS, growth(lambda turn: turn.preceded)),))


def test_a_record_may_leave_something_to_the_next() -> None:
    """Searches wait for the page that they precede, also beyond an earlier page, and are counted where it is."""
    state = Partition(TURNS_PLAN, Rules())
    events = [search(1, 0), search(2, 1), view(1, 10_000), search(3, 20_000), view(2, 30_000)]
    state.process([Span(0, T0 + 30 * HOUR_MS, [codec.encode(event) for event in events])])
    found = {
        start - T0: tally[0]
        for start, rows in state.cells.panes.items()
        for tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).values()
        if tally[0]
    }
    assert {10_000: 2, 30_000: 1} == found


def test_without_consent_nothing_personal_is_kept() -> None:
    """An event without analytics counts in totals alone."""
    state = state_of(view(1, 0, consent=Consent(analytics=False, personalization=True)))
    assert {(0, "page_views"): 1} == found(state)
    assert 0 == len(state.joins.records[VISITS])


EVENTS = st.lists(
    st.tuples(st.sampled_from("ps"), st.integers(0, 2 * HOUR_MS // 1000 - 1), st.sampled_from(["u", "v", "w"])),
    max_size=40,
).map(
    lambda drawn: [
        (view if kind == "p" else search)(number, at_s * 1000, user) for number, (kind, at_s, user) in enumerate(drawn)
    ]
)


@settings(deadline=None)
@given(EVENTS, st.integers(0, 40))
def test_a_restart_changes_nothing(events: list[AnyEvent], cut: int) -> None:
    """Stored and restored anywhere in the log, records and histograms go on as if nothing had happened."""
    cut %= len(events) + 1
    raws = [codec.encode(event) for event in events]
    whole, state, stored = Partition(PLAN, Rules()), Partition(PLAN, Rules()), {layout.SLICES: layout.pack([])}
    whole.process([Span(0, T0 + 30 * HOUR_MS, raws)])
    state.process([Span(0, T0 + 30 * HOUR_MS, raws[:cut])])
    fields, stale = state.take_changes()
    stored |= fields
    for name in stale:
        stored.pop(name, None)
    again, _ = Partition.restore(PLAN, Rules(), stored)
    again.process([Span(cut, T0 + 30 * HOUR_MS, raws[cut:])])
    assert (found(whole), bins(whole)) == (found(again), bins(again))
    fields, _ = again.take_changes()
    twice, _ = Partition.restore(PLAN, Rules(), stored | fields)
    assert (found(whole), bins(whole)) == (found(twice), bins(twice))


@settings(deadline=None)
@given(EVENTS)
def test_sums_and_bins_say_the_same(events: list[AnyEvent]) -> None:
    """The histogram of pages per visit has as many visits and pages as the measures say."""
    state = state_of(*events)
    visits = [(key[3], amount) for key, amount in bins(state).items() if key[2] == "pages_per_visit"]
    sums = {name: sum(amount for key, amount in found(state).items() if key[1] == name) for name in ("visits", "pages")}
    assert (sum(n for _, n in visits), sum(pages * n for pages, n in visits)) == (sums["visits"], sums["pages"])


def test_records_are_bounded() -> None:
    """Of ten thousand people no more are remembered than there is room for, and what was forgotten is counted."""
    rules = Rules(max_remembered=2_400)
    state = state_of(*(view(number, number, user=f"u{number}") for number in range(1_000)), rules=rules)
    table = state.joins.records[VISITS]
    assert (True, True) == (len(table) <= 2 * 100, table.forgotten > 0)


@pytest.mark.parametrize(("number", "kept"), [(0, 0), (-40_000, -32_768), (40_000, 32_767), (123, 123)])
def test_a_bin_has_sixteen_bits(number: int, kept: int) -> None:
    """A bin's key says what was put into it, its number cut to 16 bits."""
    assert (1_249, (1 << 24) - 1, kept) == read_key(bin_key(1_249, (1 << 24) - 1, number))


def test_names_are_not_shared() -> None:
    """Two histograms of one meaning are refused."""
    with pytest.raises(ValueError, match="one name"):
        Plan.of(MEASURES, (HISTOGRAMS[0], HISTOGRAMS[0]))
