"""Records: what is remembered of a session while it can still change, and how measures grow with it.

A record is a short tuple of integers that only ever grows. Any integer function of it is a measure: whatever changes
the record adds by how much the function grew, to the cell in which the record is at home. So sums of squares, or counts
of sessions with at least one click, are additive over panes like everything else, and never wait for a session's end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct


class Exposure(NamedTuple):
    """One session at one surface, in one arm; at home in the pane and slice of its first impression there."""

    at_ms: int
    slice_number: int
    clicks: int = 0
    conversions: int = 0
    revenue_minor: int = 0


class Scores(Struct, frozen=True, gc=False):
    """By how much the sums over sessions grow with what one was shown: the session itself, and three products.

    Of a session's sum of relevance and its number of scored impressions: sum squared (in millionths), number squared,
    number times sum (in millionths). Computed where the session is known, for most events are impressions.
    """

    sessions: int
    squares: int
    counts_squared: int
    products: int


class Change(NamedTuple):
    """A record before and after something happened."""

    before: Any
    after: Any


def growth(of: Callable[[Any], int]) -> Callable[[Change], int]:
    """Lift a change to how much `of` grew by it; of a new record, the change is from one without growth."""

    def lift(change: Change) -> int:
        return int(of(change.after)) - int(of(change.before))

    return lift
