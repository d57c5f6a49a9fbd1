"""Every record has one outcome, decided by the log alone: not by chunks, crashes or the worker."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.events import Assignment, Click, Consent, Impression
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import PLAN
from tests.timelines import (
    INDEX,
    LATER,
    at,
    click,
    conversion,
    feed,
    impression,
    order,
    outcomes,
    partition,
    rows,
    total,
)


def test_a_repeated_id_is_a_duplicate() -> None:
    """The same event twice counts once, also when it never found its impression."""
    state = partition()
    feed(state, impression(0), impression(0), click(5, "unknown"), click(5, "unknown"))
    assert outcomes(state) == {"counted": 1, "duplicate": 2, "unmatched": 1}
    assert total(state) == {"impressions": 1, "sessions": 1}


def test_a_sealed_pane_takes_nothing_more() -> None:
    """An event is late from the moment its pane's end is the lateness behind the watermark, and not before.

    The pane [0, 10) ends 300 s before the watermark when an event of [320, 330) has been counted: watermark 310.
    """
    open_, sealed = partition(), partition()
    feed(open_, impression(319, "d1"), impression(9, "d2"))
    feed(sealed, impression(320, "d1"), impression(9, "d2"), impression(10, "d3"))
    assert outcomes(open_) == {"counted": 2}
    assert outcomes(sealed) == {"counted": 2, "late": 1}


def test_a_late_record_is_set_apart_whole() -> None:
    """The report hands the raw record on, with its offset."""
    state = partition()
    raw = codec.encode(impression(0, "late"))
    report = feed(state, impression(10_000, "d1"), raw)
    assert [(a.offset, a.value, a.outcome) for a in report.apart] == [(1, raw, "late")]


def test_an_event_from_the_future_is_refused() -> None:
    """More than a minute after its arrival at the broker is no event time; a minute is."""
    state = partition()
    report = feed(state, impression(60, "d1"), impression(60.001, "d2"), arrived_ms=at(0))
    assert outcomes(state) == {"counted": 1, "future": 1}
    assert [a.reason for a in report.apart] == ["future"]


def test_no_event_moves_time_past_its_own_arrival() -> None:
    """A clock that runs ahead seals nothing early."""
    state = partition()
    feed(state, impression(55, "d1"), arrived_ms=at(0))
    assert state.watermark.newest_ms == at(0)


def test_rejected_records_are_counted_by_reason() -> None:
    """Garbage is a reason, a count and a letter; what stands around it is counted."""
    state = partition()
    report = feed(state, b"{", impression(0), None, b"[]")
    assert outcomes(state) == {"counted": 1, "rejected": 3}
    assert state.head.rejected == {"syntax": 1, "tombstone": 1, "not_object": 1}
    assert [(a.offset, a.reason) for a in report.apart] == [(0, "syntax"), (2, "tombstone"), (3, "not_object")]


def test_old_panes_are_folded_into_hours() -> None:
    """Behind the fine retention only hours are kept, and nothing is lost by it."""
    state = partition()
    feed(state, impression(0, "d1"), impression(1800, "d2"), impression(3 * 3600, "d3"))
    assert sorted(rows(state)) == [("hour", at(0)), ("pane", at(3 * 3600))]
    assert total(state)["impressions"] == 3


def test_a_late_credit_finds_its_hour() -> None:
    """A conversion three hours after its impression corrects the hour that the pane went into."""
    state = partition()
    feed(state, impression(0, "d1"), impression(3 * 3600, "d2", user="u2"), conversion(3 * 3600 + 1))
    hour = rows(state)["hour", at(0)]
    assert [tally[INDEX["conversions"]] for tally in hour.values()] == [1]


def test_too_many_slices_become_other() -> None:
    """The slice table is bounded; what overflows is counted, under its surface while there is room for that."""
    state = partition(max_slices=8)
    feed(state, *(impression(0, f"d{n}", segment=f"seg{n}") for n in range(50)))
    feed(state, *(impression(0, f"x{n}", surface=f"surface{n}") for n in range(50)))
    assert len(state.slices.slices) <= 8 + 2 + 1
    assert total(state)["impressions"] == 100
    assert state.slices.overflowed > 0
    segments = {slice_.segment for slice_ in state.slices.slices}
    assert "other" in segments


# -- the same log, however it is cut -------------------------------------------------------------------------------

SMALL = Rules(max_remembered=40, max_slices=6)


@st.composite
def logs(draw: st.DrawFn) -> list[bytes | None]:
    """A log of a few users with duplicates, disorder, jumps in time, garbage and overflow."""
    events: list[bytes | None] = []
    now = 0.0
    for n in range(draw(st.integers(1, 60))):
        now += draw(st.sampled_from([0, 0.5, 9, 31, 400, 4000, 100_000]))
        seconds = now - draw(st.sampled_from([0, 0, 0, 5, 20, 400]))
        user, decision = f"u{draw(st.integers(0, 3))}", f"d{draw(st.integers(0, 12))}"
        item = draw(st.sampled_from(["A", "B"]))
        named: dict[str, Any] = {"session": None} if draw(st.booleans()) else {}
        arm = draw(st.sampled_from(["personalized", "holdout", None]))
        ident = f"e{draw(st.integers(0, 200))}"
        match draw(st.integers(0, 7)):
            case 0 | 1 | 2:
                segment = f"s{draw(st.integers(0, 8))}"
                named["relevance"] = draw(st.sampled_from([None, 0.25, 1.0]))
                named["consent"] = draw(st.sampled_from([None, None, None, Consent(analytics=False)]))
                event = impression(seconds, decision, item, user, id=ident, arm=arm, segment=segment, **named)
            case 3:
                event = click(seconds, decision, item, user, id=ident)
            case 4:
                event = conversion(seconds, user, id=ident)
            case 5:
                event = order(seconds, user, 100 + n, id=ident)
            case 6:
                event = Assignment(id=ident, ts=at(seconds), user=user, experiment="e", arm="holdout")
            case _:
                events.append(draw(st.sampled_from([b"{", None, b"null"])))
                continue
        events.append(codec.encode(event))
    return events


def run_whole(log: list[bytes | None]) -> Partition:
    state = Partition(PLAN, SMALL)
    state.process([Span(0, LATER, log)])
    return state


def run_cut(log: list[bytes | None], cuts: list[int], crashes: set[int]) -> Partition:
    """Process chunk by chunk with a checkpoint after each; at a crash, lose the memory and one unwritten chunk."""
    stored: dict[str, bytes] = {}
    state = Partition(PLAN, SMALL)
    edges = [0, *sorted({cut % (len(log) + 1) for cut in cuts}), len(log)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        if number in crashes and stored:
            state.process([Span(begin, LATER, log[begin:end])])  # counted, and lost
            state, leftovers = Partition.restore(PLAN, SMALL, dict(stored))
            assert not set(leftovers) & {layout.HEAD, layout.DIRECTORY, layout.SLICES}
        state.process([Span(begin, LATER, log[begin:end])])
        fields, stale = state.take_changes()
        fields.setdefault(layout.SLICES, stored.get(layout.SLICES, layout.pack([])))
        stored |= fields
        if number % 2:  # leftovers may be deleted now, or never
            for name in stale:
                stored.pop(name, None)
    return Partition.restore(PLAN, SMALL, stored)[0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.lists(st.integers(0, 60), max_size=12), st.sets(st.integers(0, 12)))
def test_outcomes_and_cells_are_a_function_of_the_log(
    log: list[bytes | None], cuts: list[int], crashes: set[int]
) -> None:
    """However the log is cut into chunks, and wherever a worker dies: the same cells, the same outcomes."""
    whole, cut = run_whole(log), run_cut(log, cuts, crashes)
    assert rows(cut) == rows(whole)
    assert outcomes(cut) == outcomes(whole)
    assert cut.slices.slices == whole.slices.slices
    assert cut.head.applied == len(log) == sum(outcomes(cut).values())
    for mine, theirs in zip(cut.joins.tables, whole.joins.tables, strict=True):
        assert (mine.newer, mine.older) == (theirs.newer, theirs.older), mine.name


def named(raw: bytes) -> str:
    """Return the id of an encoded event."""
    return str(json.loads(raw)["id"])


@settings(max_examples=60, deadline=None)
@given(logs())
def test_a_replayed_log_is_all_duplicates(log: list[bytes | None]) -> None:
    """The same events again change no cell: they are remembered, or their pane is sealed, where an id names one event.

    A second event under an id that was taken is a duplicate; days later, when the id is forgotten, it is news.
    """
    first: dict[str, bytes] = {}
    log = [raw for raw in log if not raw or raw[:1] != b"{" or len(raw) < 2 or first.setdefault(named(raw), raw) == raw]
    state = Partition(PLAN, Rules())
    state.process([Span(0, LATER, log)])
    before = rows(state)
    accepted = {raw for raw in log if raw}
    report = state.process([Span(len(log), LATER, log)])
    assert rows(state) == before
    assert report.outcomes["counted"] == report.outcomes["unmatched"] == 0
    assert accepted or not log or not state.head.outcomes.get("counted")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_report_adds_up(size: int) -> None:
    """The outcomes of a report sum to the records it was given."""
    state = partition()
    report = feed(state, *(impression(n, f"d{n % 5}") if n % 3 else b"?" for n in range(size)))
    assert sum(report.outcomes.values()) == report.records == size


def test_a_report_counts_events_by_type() -> None:
    """What could not be decoded has no type; duplicates and late events have one."""
    report = feed(partition(), impression(0), impression(0), b"{", click(5))
    assert dict(report.events) == {Impression: 2, Click: 1}
