"""A state goes on under another catalogue: what it knew stays, what is new is whole from a moment that it names."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core.processor import Partition, Span
from stream_app.core.records import Kind
from stream_app.core.tally import Measure, Plan, name_of
from stream_app.metrics.catalogue import MEASURES, PLAN
from tests.core.test_processor import LATER, SMALL, logs
from tests.timelines import rows

WIDE = SMALL._replace(max_slices=1_000)
"""Which slices there is no room for depends on which events are kept, and so on the catalogue."""
NAMES = {measure.name for measure in MEASURES}
OF_RECORDS = {measure.name for measure in MEASURES if isinstance(measure.on, Kind)}
"""A record that began before its kind was kept is not known, so these are whole only when all such have ended."""
CATALOGUES = st.permutations(MEASURES).flatmap(
    lambda measures: st.integers(1, len(measures)).map(lambda number: tuple(measures[:number]))
)


def go_on(state: Partition, stored: dict[str, bytes], plan: Plan) -> Partition:
    """Store the state, and restore it under another plan."""
    fields, _ = state.take_changes()
    stored |= fields
    stored.setdefault(layout.SLICES, layout.pack([]))
    return Partition.restore(plan, WIDE, stored)[0]


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


def whole_of(log: list[bytes | None]) -> Partition:
    state = Partition(PLAN, WIDE)
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
    state = Partition(Plan.of(former), WIDE)
    state.process([Span(0, LATER, log[:cut])])
    state = go_on(state, stored, PLAN)
    state.process([Span(cut, LATER, log[cut:])])
    state, whole = go_on(state, stored, PLAN), whole_of(log)
    known = {measure.name for measure in former}
    assert amounts(state, known) == amounts(whole, known)
    since = {name_of(column): at_ms for column, at_ms in state.head.since.items()}
    for name in NAMES - known - OF_RECORDS:
        assert amounts(state, {name}, since.get(name, 0)) == amounts(whole, {name}, since.get(name, 0))


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
