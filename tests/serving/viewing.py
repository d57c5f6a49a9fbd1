"""Views without a store: cells as a worker would count them, straight into windows."""

import msgspec

from stream_app.core.cells import Alive, Head
from stream_app.core.panes import Window
from stream_app.core.slices import Slice
from stream_app.metrics.catalogue import INDEX, METRICS, WINDOWS
from stream_app.serving.partitions import Change, PartitionState
from stream_app.serving.snapshot import Row, StoreState
from stream_app.serving.views import Meaning, Origin, View, build_view, newest_ms, windows_end_ms
from stream_app.serving.windows import Windows, bin_windows
from tests.serving.stored import NOW_MS, packed_cells

MEANING = Meaning(METRICS, WINDOWS, INDEX, 10_000, 300_000, 600_000)
STORE = StoreState(True, 0.4, 1_000_000, 0)

Counted = tuple[int, Slice, int, int]
"""At, slice, impressions, clicks."""


def live(partition: int, newest: int, lag: int = 0, at_ms: int = NOW_MS, **head: object) -> PartitionState:
    """Return a partition that was heard of and has advanced just now."""
    known = {"applied": 100, "newest_ms": newest, "outcomes": {"counted": 100}}
    return PartitionState(partition, True, 100, Head(**{**known, **head}), Alive(at_ms, "host-1", 100 + lag, at_ms))


def view_of(
    *counted: Counted,
    states: list[PartitionState] | None = None,
    at_ms: int = NOW_MS,
    windows: tuple[Window, ...] = WINDOWS,
    meaning: Meaning = MEANING,
) -> View:
    """Return the view of one partition that counted this (or of the partitions `states`)."""
    slices, fields = packed_cells(counted)
    newest = max((at for at, *_ in counted), default=0)
    states = [live(0, newest)] if states is None else states
    looked = newest_ms(states, at_ms, 0)
    meaning = msgspec.structs.replace(meaning, windows=windows)
    sums = Windows(windows, INDEX["impressions"])
    sums.advance([Change(0, False, slices, fields)], windows_end_ms(looked))
    return build_view(Origin("0.1.0", "test"), meaning, sums, bin_windows(windows), states, STORE, looked, at_ms, 12.34)


def row(view: View, window: str, surface: str, arm: str) -> Row | None:
    """Return one row of a window."""
    rows = view.snapshot.windows[window].rows
    return next((r for r in rows if (r.surface, r.arm) == (surface, arm)), None)
