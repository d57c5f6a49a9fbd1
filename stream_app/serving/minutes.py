"""Sealed minutes: what the watch is fed with. Pure, from what was read of the partitions to values.

A minute is given out when no partition expects anything older any more, so that it never changes afterwards.

partition 0   ======================|............|  newest       = sealed, . may still change
partition 1   =================|............|      newest
partition 2   =====  newest          nothing waits there: it holds up nobody
              ---|--------|----|---
              minutes     `-- sealed until here: the last whole minute before it
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stream_app.core.panes import Watermark
from stream_app.core.slices import shown_as
from stream_app.serving import health
from stream_app.serving.partitions import PartitionState
from stream_app.serving.windows import Windows
from stream_app.statistics.minutes import Minute, minutes_of
from stream_app.statistics.series import MINUTE_MS


class Sealed(NamedTuple):
    """Until when (event time) nothing changes any more; if that cannot be said, or somebody holds it up: why."""

    until_ms: int
    because: str = ""


class Held(NamedTuple):
    """What is there to be judged: minutes from `first_ms` to `last_ms`, both included; none if the first is later."""

    first_ms: int
    last_ms: int


def sealed(states: Sequence[PartitionState], out_of_orderness_ms: int, lateness_ms: int, at_ms: int) -> Sealed:
    """Return until when every partition is sealed.

    Where nothing waits in a partition, all that was sent was counted: it is as far as the furthest. What comes to it
    later than that is as late as it would have been anywhere else.
    """
    newest = max((state.head.newest_ms for state in states), default=0)
    if not newest:
        return Sealed(0, "nothing has been counted yet")
    until = None
    because = ""
    for state in states:
        name = f"partition {state.partition}"
        is_lost = health.state_of(state, at_ms) in ("lost", "absent")
        if not state.is_claimed or state.fault or health.is_replaying(state):
            what = "is counted anew" if health.is_replaying(state) else state.fault or "has never been claimed"
            return Sealed(0, f"{name} {what}")
        is_done = not is_lost and state.alive is not None and health.lag_records(state) == 0
        reached = newest if is_done else state.head.newest_ms
        before = Watermark(out_of_orderness_ms, lateness_ms, reached).sealed_before_ms
        if until is None or before < until:
            until = before
            because = f"{name} has no owner" if is_lost else f"{name} is behind" if reached < newest else ""
    return Sealed(until or 0, because)


def held(states: Iterable[PartitionState], until_ms: int) -> Held:
    """Return the minutes that are sealed, and of which every partition still has the panes."""
    floor = max((state.head.floor_ms for state in states), default=0)
    return Held(floor + -floor % MINUTE_MS, until_ms - until_ms % MINUTE_MS - MINUTE_MS)


def first_minutes(windows: Windows) -> dict[str, int]:
    """Return the minute in which each surface is first seen, as far as panes reach back."""
    first: dict[str, int] = {}
    for start, pairs in windows.pane_pairs.items():
        for surface, _ in pairs:
            named = shown_as(surface)
            first[named] = min(first.get(named, start), start)
    return {surface: start - start % MINUTE_MS for surface, start in first.items()}


def minutes(
    windows: Windows,
    start_ms: int,
    index: Mapping[str, int],
    since: Mapping[str, int],
    values: Mapping[str, frozenset[str]],
) -> dict[str, Minute]:
    """Return what happened in the minute that begins at `start_ms`, by surface: `minutes_of` what is kept of it."""
    return minutes_of(start_ms, windows.rows(start_ms, start_ms + MINUTE_MS), index, since, values)
