"""Packed panes: whenever they are packed, deflated, reopened, folded and written, cells hold the same."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core import cells as layout
from stream_app.core.aggregation import Cells
from stream_app.core.panes import HOUR_MS, PANE_MS
from stream_app.core.reopened import ReopenedRows
from stream_app.core.tally import Measure, Occasion, Plan

T0 = 480_000 * HOUR_MS
SLICES = 9
PLAN = Plan.of(
    [
        Measure("amount", "", "", Occasion.OTHER, int, is_counter=True),
        *(Measure(f"rare_{number}", "", "", Occasion.AT_RISK) for number in range(200)),
        Measure("times", "", "", Occasion.OTHER, is_counter=True),
    ]
)
WIDE = 2**70

WIDTH = 60
amounts = st.lists(st.sampled_from([0, 0, 0, 1, -7, 300, 2**40, WIDE]), min_size=5, max_size=5)
pane_rows = st.dictionaries(st.integers(0, 40), amounts.map(lambda some: some * (WIDTH // 5)), max_size=12)
additions = st.tuples(st.integers(0, 900), st.integers(0, SLICES - 1), st.sampled_from([1, 5, -3, WIDE]))
"""Which pane before the watermark, which slice, how much."""
steps = st.lists(st.one_of(additions, st.just("write"), st.integers(1, 500)), max_size=60)
"""A credit, a checkpoint, or how many panes the watermark moves on."""


def unpacked(cells: Cells) -> dict[str, dict[int, list[int]]]:
    """Return all rows of all tiers."""
    return {
        f"{name}{start}": layout.unpack_rows(rows) if isinstance(rows, bytes) else dict(rows.items())
        for name, tier in zip(layout.TALLIES, (cells.panes, cells.hours, cells.days), strict=True)
        for start, rows in tier.items()
    }


def applied(program: list[object], *, is_written: bool) -> tuple[Cells, dict[str, bytes], Counter[tuple[int, int]]]:
    """Return the cells after all steps, what is stored of them, and how far counters moved, by slice and counter."""
    cells, stored, moved = Cells(PLAN), {}, Counter[tuple[int, int]]()
    watermark = T0 + 4 * HOUR_MS
    for step in [*program, "write"]:
        if isinstance(step, tuple):
            back, number, amount = step
            cells.add(watermark - back * PANE_MS, number, Occasion.OTHER, amount)
        elif isinstance(step, int):
            watermark += step * PANE_MS
            cells.advance(watermark)
        elif is_written:
            stored |= cells.take_changes()
            for number, amounts in cells.take_moved().items():
                moved.update({(number, at): amount for at, amount in enumerate(amounts)})
            for field in cells.take_removed():
                stored.pop(field, None)
    return cells, stored, moved


@given(pane_rows)
def test_deflated_rows_are_the_same_rows(rows: dict[int, list[int]]) -> None:
    """Whatever amounts they have, rows are read from deflated bytes as from others."""
    packed = layout.pack_rows(rows)
    deflated = [layout.deflate(packed, is_sparse=is_sparse) for is_sparse in (True, False)]
    assert [rows] * 3 == [layout.unpack_rows(each) for each in (packed, *deflated)]


@given(pane_rows, st.lists(st.integers(0, 60)))
def test_reopened_rows_are_rows(rows: dict[int, list[int]], touched: list[int]) -> None:
    """Rows found by their numbers, changed and packed again are those of a dictionary that was unpacked whole."""
    packed = layout.deflate(layout.pack_rows(rows), is_sparse=True)
    plain, reopened = layout.unpack_rows(packed), ReopenedRows(packed)
    for number in touched:
        for each in (plain, reopened):
            row = each.get(number)
            if row is None:
                row = each[number] = [0] * WIDTH
            row[number % WIDTH] += 11
    assert plain == layout.unpack_rows(layout.pack_rows(reopened))
    assert plain == dict(reopened.items())


@given(steps)
def test_checkpoints_change_nothing(program: list[object]) -> None:
    """Cells that are packed at checkpoints between credits are those that never were, and so is what is stored."""
    written, stored, _ = applied(program, is_written=True)
    never, _, _ = applied(program, is_written=False)
    assert unpacked(never) == unpacked(written)
    assert unpacked(never) == {name: layout.unpack_rows(packed) for name, packed in stored.items()}


@given(steps)
def test_counters_move_by_what_was_added(program: list[object]) -> None:
    """What a worker tells of its counters is the sum of what was added, whichever panes were packed or folded."""
    added = Counter[tuple[int, int]]()
    for step in program:
        if isinstance(step, tuple):
            added.update({(step[1], 0): step[2], (step[1], 1): 1})
    _, _, moved = applied(program, is_written=True)
    assert {key: amount for key, amount in added.items() if amount} == {k: v for k, v in moved.items() if v}


def test_damaged_bytes_are_refused() -> None:
    """Deflated rows that were cut short are a ValueError, as other bytes that are none."""
    deflated = layout.deflate(layout.pack_rows({1: [0] * 2_000}), is_sparse=True)
    with pytest.raises(ValueError, match="deflated rows"):
        layout.unpack_rows(deflated[:-3])
