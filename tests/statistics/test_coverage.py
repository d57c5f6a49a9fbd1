"""A slice of `make coverage`: every interval that is served covers the truth as often as it says (fixed seeds)."""

import ast
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.covered import METRIC, Coverage, Row, holds, method_of
from stream_app.metrics.catalogue import METRICS
from stream_app.statistics.estimates import Estimate

ROOT = Path(coverage.__file__).parents[1]
ROOM = ROOT / "stream_app" / "statistics"
INTERVALS = ("Estimate", "Lift", "Bound", "Step", "Waterfall", "Adjusted")
DRAWS, ERRORS = 1_000, 3.5
"""Rows are many: of so many, some are two standard errors off by chance."""


def wanted() -> set[str]:
    """Return the public functions of the room that return an interval."""
    found = set()
    for path in ROOM.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.returns and not node.name.startswith("_"):
                names = {part.id for part in ast.walk(node.returns) if isinstance(part, ast.Name)}
                if names & set(INTERVALS):
                    found.add(f"{path.stem}.{node.name}")
    return found


def called(of: Callable[[], object]) -> set[str]:
    """Return the functions of the room that a call goes through."""
    found = set()

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOM)):
            found.add(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        of()
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.parametrize("row", coverage.ROWS, ids=lambda row: f"{row.subject}: {row.world}")
def test_an_interval_covers_as_often_as_it_says(row: Row) -> None:
    """At usual sizes in 94 to 96 % of samples, where it is wider by design in at least 95, within chance."""
    found = coverage.run(row, DRAWS, seed=2)
    assert (True, True) == (holds(row, found, ERRORS), found.answered > 100)


def test_every_interval_method_of_the_catalogue_has_a_row() -> None:
    """A metric whose method no row tries fails here: add one to a benchmarks/covered_*.py, judged or at least shown."""
    needed = {method_of(metric) for metric in METRICS if metric.has_interval}
    judged = {method_of(METRIC[row.subject]) for row in coverage.ROWS if row.subject in METRIC and row.kind != "corner"}
    assert set() == needed - judged


def test_every_function_that_returns_an_interval_is_tried() -> None:
    """So is each function of the statistics room from which something with bounds comes."""

    def all_rows() -> None:
        for row in coverage.ROWS:
            list(row.draw(np.random.default_rng(3), 1))

    assert set() == wanted() - called(all_rows)


def test_rows_are_told_apart() -> None:
    """No two rows say the same of themselves, for that is what their random numbers and the page go by."""
    names = [(row.subject, row.world) for row in coverage.ROWS]
    assert len(names) == len(set(names))


def test_what_is_written_is_what_is_declared() -> None:
    """The results have every row as it is declared, all of them hold, and the page shows them."""
    told = json.loads((ROOT / "benchmarks" / "results" / "coverage.json").read_text())
    declared = [(row.subject, row.world, row.kind, row.nominal) for row in coverage.ROWS]
    assert declared == [(one["interval"], one["world"], one["asked"], one["nominal"]) for one in told]
    assert all(one["holds"] for one in told)
    assert coverage.table(told) in (ROOT / "docs" / "coverage.md").read_text()


def test_an_interval_that_misses_is_said() -> None:
    """Of 1,000 intervals 930 are too few and 970 too many, but for those that are wider by design, or only shown."""

    def draw(_: object, draws: int) -> Iterator[Estimate]:
        return (Estimate(0.5, 1, 0.0, 1.0 if number % 100 < 93 else 0.4) for number in range(draws))

    row = Row("a", "b", 0.5, draw)
    narrow, wide = coverage.run(row, 1_000, seed=1), Coverage(1_000, 1_000, 970, 15, 15)
    assert Coverage(1_000, 1_000, 930, 70, 0) == narrow
    kinds = [(False, False), (False, True), (True, True)]
    assert kinds == [
        tuple(holds(row._replace(kind=kind), of) for of in (narrow, wide))  # type: ignore[arg-type]  # of Kind
        for kind in ("nominal", "at least", "corner")
    ]
