"""Windows: the incremental sums equal the sums from scratch, whatever happened in between."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core import cells
from stream_app.core.panes import DAY_MS, HOUR_MS, PANE_MS, Window, hour_start
from stream_app.core.slices import ALL, Slice
from stream_app.core.tally import Tally
from stream_app.serving.partitions import Change
from stream_app.serving.windows import STEP_MS, Progress, Windows, horizon_ms

WIDTH = 2
WINDOWS = (Window("1m", 60_000), Window("1h", HOUR_MS), Window("3h", 3 * HOUR_MS), Window("7d", 7 * DAY_MS))
SLICES = tuple(Slice(s, a, "p", "x", "c", "d") for s in ("home", "cart") for a in ("personalized", "holdout"))
T0 = 1_008 * HOUR_MS
"""A midnight."""

Stored = dict[int, dict[str, dict[int, list[int]]]]
"""Partition -> field -> rows: what a naive sum is made from."""


def day_field(day: int) -> str:
    """Return the field of that day."""
    return f"{cells.TALLIES.day}{T0 + day * DAY_MS}"


fields = st.one_of(
    st.integers(0, 720).map(lambda n: cells.pane_field(T0 + n * PANE_MS)),
    st.integers(-5, 2).map(lambda n: cells.hour_field(T0 + n * HOUR_MS)),
    st.integers(-9, 9).map(lambda n: day_field(n)),
)
rows = st.dictionaries(
    st.integers(0, len(SLICES) - 1), st.lists(st.integers(-3, 9), min_size=2, max_size=2), max_size=3
)
steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 2), fields, rows),
    st.tuples(st.just("remove"), st.integers(0, 2), fields),
    st.tuples(st.just("fold"), st.integers(0, 2), st.integers(0, 720)),
    st.tuples(st.just("reset"), st.integers(0, 2), st.dictionaries(fields, rows, max_size=3)),
    st.tuples(st.just("slide"), st.integers(-400, 1_500)),
    st.tuples(st.just("slide"), st.integers(-8, 8).map(lambda days: days * (DAY_MS // PANE_MS))),
)


def change(partition: int, new: dict[str, dict[int, list[int]] | None], is_reset: bool = False) -> Change:
    packed = {field: None if r is None else cells.pack_rows(r) for field, r in new.items()}
    return Change(partition, is_reset, SLICES, packed)


def take(step: tuple, stored: Stored) -> list[Change]:
    """Apply a step to the naive store, and return the change that says the same."""
    match step:
        case ("write", partition, field, new):
            stored.setdefault(partition, {})[field] = new
            return [change(partition, {field: new})]
        case ("remove", partition, field):
            stored.setdefault(partition, {}).pop(field, None)
            return [change(partition, {field: None})]
        case ("reset", partition, new):
            stored[partition] = dict(new)
            return [change(partition, new, is_reset=True)]
        case ("fold", partition, number):
            return [_fold(stored.setdefault(partition, {}), partition, T0 + number * PANE_MS)]
    return []


def _fold(held: dict[str, dict[int, list[int]]], partition: int, start: int) -> Change:
    """Move a pane into its hour, as the worker does when the floor passes it."""
    pane, field = held.pop(cells.pane_field(start), {}), cells.hour_field(hour_start(start))
    hour = copy.deepcopy(held.get(field, {}))
    for number, tally in pane.items():
        hour[number] = [a + b for a, b in zip(hour.get(number, [0, 0]), tally, strict=True)]
    held[field] = hour
    return change(partition, {cells.pane_field(start): None, field: hour})


def naive(stored: Stored, window: Window | None, end_ms: int) -> dict[Slice, Tally]:
    """Sum every cell that the window contains, one by one."""
    sums: dict[Slice, Tally] = {}
    for held in stored.values():
        for field, new in held.items():
            start, is_pane = cells.field_start(field), field.startswith("p:")
            if field.startswith("d:") and start >= end_ms:
                continue
            if window is not None and not window.start_ms(end_ms) <= start < end_ms:
                continue
            if window is not None and window.is_fine and not is_pane:
                continue
            for number, tally in new.items():
                sums[SLICES[number]] = sums.get(SLICES[number], Tally.zero(WIDTH)) + tally
    return {slice_: tally for slice_, tally in sums.items() if any(tally)}


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_incremental_sums_equal_the_sums_from_scratch(taken: list[tuple]) -> None:
    """After any writes, folds, removals, resets and slides, every window is the sum of its cells."""
    windows, stored, end = Windows(WINDOWS, 0), Stored(), T0 + HOUR_MS
    for step in taken:
        if step[0] == "slide":
            end = T0 + step[1] * PANE_MS
        windows.advance(take(step, stored), end)
    expected = {w.name: naive(stored, w, end) for w in WINDOWS} | {ALL: naive(stored, None, end)}
    assert expected == {name: windows.totals(name) for name in expected}


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=25))
def test_marginals_equal_those_of_a_newcomer(taken: list[tuple]) -> None:
    """Pairs, steps, ages and weights are what windows that saw only the final cells have."""
    windows, stored, end = Windows(WINDOWS, 0), Stored(), T0
    for step in taken:
        windows.advance(take(step, stored), end)
    newcomer = Windows(WINDOWS, 0)
    newcomer.advance([change(partition, held) for partition, held in stored.items()], end)
    assert marginals(newcomer) == marginals(windows)


def marginals(windows: Windows) -> tuple:
    weights = [windows.unsettled(ALL, T0 + n * HOUR_MS) for n in range(-6, 4)]
    ages = windows.oldest_ms(), windows.newest_end_ms()
    return windows.pane_pairs, windows.step_pairs, weights, ages


def test_a_fold_does_not_move_a_long_window() -> None:
    """A pane that becomes part of its hour leaves the sums of long windows as they were."""
    windows, stored = Windows(WINDOWS, 0), Stored()
    windows.advance(take(("write", 0, cells.pane_field(T0), {0: [5, 1]}), stored), T0 + HOUR_MS)
    before = windows.totals("3h")
    windows.advance(take(("fold", 0, 0), stored), T0 + HOUR_MS)
    assert before == windows.totals("3h")
    assert {} == windows.totals("1h")


def test_a_day_that_lies_ahead_is_in_no_window() -> None:
    """What is told on the day that begins at T0 + 1 d is there from that midnight on, for as long as windows last."""
    windows, tally = Windows(WINDOWS, 0), {SLICES[0]: (5, 1)}
    windows.advance([change(0, {day_field(1): {0: [5, 1]}})], T0 + DAY_MS)
    assert [{}] * 5 == [windows.totals(name) for name in windows.spans]
    windows.advance([], T0 + DAY_MS + PANE_MS)
    # A day is told in windows of more than an hour; 3h begins on the hour before midnight, 7d a week before.
    assert [{}, {}, tally, tally, tally] == [windows.totals(name) for name in windows.spans]
    windows.advance([], T0 + 9 * DAY_MS)
    assert [{}, {}, {}, {}, tally] == [windows.totals(name) for name in windows.spans]


def test_totals_are_left_alone_by_later_advances() -> None:
    """What a view took does not change under its readers."""
    windows = Windows(WINDOWS, 0)
    windows.advance([change(0, {cells.pane_field(T0): {0: [5, 1]}})], T0 + PANE_MS)
    taken = windows.totals(ALL)
    windows.advance([change(0, {cells.pane_field(T0): {0: [9, 1]}})], T0 + PANE_MS)
    assert {SLICES[0]: (5, 1)} == taken


def test_steps_are_minutes_by_surface_and_arm() -> None:
    """Two panes of one minute, of two partitions, are one point of the series."""
    windows = Windows(WINDOWS, 0)
    windows.advance(
        [
            change(0, {cells.pane_field(T0): {0: [5, 1]}}),
            change(1, {cells.pane_field(T0 + PANE_MS): {0: [2, 2]}}),
        ],
        T0 + STEP_MS,
    )
    assert {T0: {("home", "personalized"): [7, 3]}} == windows.step_pairs


def test_unsettled_is_what_lies_in_panes_that_ended_after() -> None:
    """Of 5 and 2, the 2 lie in the pane that ended less long ago."""
    windows = Windows(WINDOWS, 0)
    windows.advance(
        [change(0, {cells.pane_field(T0): {0: [5, 1]}, cells.pane_field(T0 + PANE_MS): {0: [2, 2]}})],
        T0 + 2 * PANE_MS,
    )
    assert [0, 2, 7] == [windows.unsettled("1m", T0 + n * PANE_MS) for n in (2, 1, 0)]


@pytest.mark.parametrize(
    ("expected", "progress", "before"),
    [
        (0, [], 0),
        (0, [(0, True)], 0),
        (900, [(900, False), (500, False)], 0),  # idle partitions hold up nobody
        (500, [(900, False), (500, True), (700, True)], 0),  # the slowest that is behind
        (900, [(900, False), (0, True)], 0),  # one that counted nothing says nothing about time
        (800, [(900, False), (500, True)], 800),  # waits, does not go back
        (300, [(300, False)], 800),  # unless the counted time itself went back
    ],
)
def test_the_horizon_waits_for_partitions_that_are_behind(expected, progress, before) -> None:
    """Windows end with the slowest partition that is behind, else the fastest; none makes them step back."""
    assert expected == horizon_ms([Progress(*p) for p in progress], before)
