"""A state goes on under another catalogue: what it knew stays, what is new is whole from a moment that it names."""

from typing import NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import Click, Conversion, Order
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Measure, Plan, name_of
from tests.core.test_processor import LATER, logs
from tests.core.test_processor import SMALL as FULL
from tests.timelines import MEASURES, PLAN, T0, click, rows

SMALL = FULL._replace(max_slices=60)
"""With room for every slice: which of them overflow depends on who asks for slices, and that on the catalogue."""
NAMES = {measure.name for measure in MEASURES}
CATALOGUES = st.permutations(MEASURES).flatmap(
    lambda measures: st.integers(1, len(measures)).map(lambda number: tuple(measures[:number]))
)


class Acts(NamedTuple):
    """How often somebody did something."""

    number: int = 0


ACTS = Kind(
    "acts",
    (Click, Conversion, Order),
    lambda event: event.user,
    Acts(),
    lambda acts, _: Acts(acts.number + 1),
    horizon_ms=LATER - T0,
)
OF_RECORDS = (
    Measure("actors", "Who did something, at the first of it.", "users", ACTS, growth(lambda acts: acts.number > 0)),
    Measure("act_squares", "Its square, summed over them.", "acts squared", ACTS, growth(lambda acts: acts.number**2)),
)
RECORDED = Plan.of((*MEASURES, *OF_RECORDS))
RECORDS = {measure.name for measure in OF_RECORDS}


def go_on(state: Partition, stored: dict[str, bytes], plan: Plan) -> Partition:
    """Store the state, and restore it under another plan."""
    fields, _ = state.take_changes()
    stored |= fields
    stored.setdefault(layout.SLICES, layout.pack([]))
    return Partition.restore(plan, SMALL, stored)[0]


def amounts(state: Partition, names: set[str], panes_from_ms: int = 0) -> dict[tuple[object, ...], int]:
    """Return every amount that is not 0, by cell, slice and measure; with `panes_from_ms`, of later panes alone."""
    found: dict[tuple[object, ...], int] = {}
    for (tier, start), by_slice in rows(state).items():
        if panes_from_ms and (tier == "hour" or start < panes_from_ms):
            continue
        for slice_, tally in by_slice.items():
            named = zip(map(name_of, state.plan.columns), tally, strict=True)
            found |= {(tier, start, slice_, name): amount for name, amount in named if amount and name in names}
    return found


def whole_of(log: list[bytes | None], plan: Plan = PLAN) -> Partition:
    state = Partition(plan, SMALL)
    state.process([Span(0, LATER, log)])
    return state


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.integers(0, 60), CATALOGUES)
def test_a_measure_that_comes_later_changes_no_other(
    log: list[bytes | None], cut: int, former: tuple[Measure, ...]
) -> None:
    """Some measures first, then all: the former as if all had been there, the new ones too, since they are counted."""
    cut %= len(log) + 1
    stored: dict[str, bytes] = {}
    state = Partition(Plan.of(former), SMALL)
    state.process([Span(0, LATER, log[:cut])])
    state = go_on(state, stored, PLAN)
    state.process([Span(cut, LATER, log[cut:])])
    state, whole = go_on(state, stored, PLAN), whole_of(log)
    known = {measure.name for measure in former}
    assert amounts(state, known) == amounts(whole, known)
    since = {name_of(column): at_ms for column, at_ms in state.head.since.items()}
    for name in NAMES - known:
        assert amounts(state, {name}, since.get(name, 0)) == amounts(whole, {name}, since.get(name, 0))


def of_others(log: list[bytes | None]) -> list[bytes | None]:
    """Return what other people do, long after."""
    moved: list[bytes | None] = []
    for raw in log:
        event = codec.decode(raw or b"")
        if isinstance(event, Rejected):
            moved.append(raw)
            continue
        more = {"id": f"{event.id}-later", "user": f"other-{event.user}", "ts": event.ts + 80 * DAY_MS}
        moved.append(codec.encode(msgspec.structs.replace(event, **more)))
    return moved


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), logs())
def test_of_records_that_begin_later_everything_is_known(
    earlier: list[bytes | None], later: list[bytes | None]
) -> None:
    """A kind of record is kept from some moment on: what begins after it is counted as if it had always been kept."""
    stored: dict[str, bytes] = {}
    later = of_others(later)
    state = go_on(whole_of(earlier), stored, RECORDED)
    state.process([Span(len(earlier), LATER, later)])
    whole = whole_of([*earlier, *later], RECORDED)
    since = {name_of(column): at_ms for column, at_ms in state.head.since.items()}
    for name in RECORDS:
        assert amounts(state, {name}, since.get(name, 0)) == amounts(whole, {name}, since.get(name, 0))


def test_a_record_that_had_begun_before_counts_as_begun_after() -> None:
    """Nobody can know what was not kept: of who clicked on both sides, the later clicks are all there is.

    So what is said since that moment may have too much of what was going on then, and lack what it had before.
    """
    clicks = [codec.encode(click(seconds, f"d{seconds}")) for seconds in (0, 9, 100, 109, 118)]
    stored: dict[str, bytes] = {}
    state = go_on(whole_of(clicks[:2]), stored, RECORDED)
    state.process([Span(2, LATER, clicks[2:])])
    counted = [sorted(amounts(each, RECORDS).items()) for each in (state, whole_of(clicks, RECORDED))]
    assert [[(T0 + 100_000, 9), (T0 + 100_000, 1)], [(T0, 25), (T0, 1)]] == [
        [(at[1], amount) for at, amount in each] for each in counted
    ]


@settings(max_examples=50, deadline=None)
@given(logs(), CATALOGUES)
def test_what_was_away_is_not_said_to_be_whole(log: list[bytes | None], former: tuple[Measure, ...]) -> None:
    """All measures, then some, then all again: those between are kept, the others begin anew, and say since when."""
    stored: dict[str, bytes] = {}
    whole = whole_of(log)
    before, newest_ms = amounts(whole, NAMES), whole.watermark.newest_ms
    again = go_on(go_on(whole, stored, Plan.of(former)), stored, PLAN)
    known = {measure.name for measure in former}
    assert amounts(again, NAMES) == {at: amount for at, amount in before.items() if at[-1] in known}
    away = {column for column in PLAN.meanings if name_of(column) not in known}
    assert set(again.head.since) == (away if newest_ms else set())


def test_another_meaning_is_another_column() -> None:
    """Amounts of a measure whose version was counted up are not taken for amounts of the new meaning."""
    first = MEASURES[0]
    assert first._replace(version=2).column != first.column
    assert first._replace(help="said better").column == first.column
