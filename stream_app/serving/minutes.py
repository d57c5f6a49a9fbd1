"""Sealed minutes: what the watch is fed with. Pure, from what was read of the partitions to values.

A minute is given out when no partition expects anything older any more, so that it never changes afterwards.

partition 0   ======================|............|  newest       = sealed, . may still change
partition 1   =================|............|      newest
partition 2   =====  newest          nothing waits there: it holds up nobody
              ---|--------|----|---
              minutes     `-- sealed until here: the last whole minute before it

That nothing waits is known of the past only: an owner's heartbeat rests on its last fetch. So a partition vouches for
how far the furthest had come before one of its heartbeats was seen, and only with one that is `VOUCHES_AFTER_MS` later.

furthest      N1      N2      N3      N4     as the server saw it
heartbeat     b1      b2      b3      b4     nothing waits there, and b4 - b2 >= 3 s: until N1
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from stream_app.core.histograms import Bin
from stream_app.core.panes import Watermark
from stream_app.core.slices import shown_as
from stream_app.serving import health
from stream_app.serving.partitions import PartitionState
from stream_app.serving.sums import Sums
from stream_app.serving.views import Meaning
from stream_app.serving.windows import Windows
from stream_app.statistics.minutes import Minute, minutes_of
from stream_app.statistics.series import MINUTE_MS

VOUCHES_AFTER_MS: Final = 3_000
"""Twice as long as a worker's fetch may wait for records: a heartbeat so much later knows of what was there before."""


class Sealed(NamedTuple):
    """Until when (event time) nothing changes any more; if that cannot be said, or somebody holds it up: why."""

    until_ms: int
    because: str = ""


class Beat(NamedTuple):
    """A heartbeat (by its owner's clock), and how far the furthest partition was known to be before it was seen."""

    at_ms: int
    owner: str
    furthest_ms: int


class Heard(NamedTuple):
    """What was heard of the partitions so far: how far the furthest is, and of each its last heartbeats, in order."""

    furthest_ms: int = 0
    beats: Mapping[int, tuple[Beat, ...]] = {}  # never written to


class Held(NamedTuple):
    """What is there to be judged: minutes from `first_ms` to `last_ms`, both included; none if the first is later."""

    first_ms: int
    last_ms: int


def hear(before: Heard, states: Iterable[PartitionState]) -> Heard:
    """Return what was heard, with what was read of the partitions just now. Clocks of two owners are never compared."""
    states = tuple(states)
    beats: dict[int, tuple[Beat, ...]] = {}
    for state in states:
        if state.alive is None:
            continue
        at_ms, owner = state.alive.at_ms, state.alive.worker
        known = before.beats.get(state.partition, ())
        if known and (known[-1].owner != owner or known[-1].at_ms > at_ms):
            known = ()  # by another clock, or one that was set back
        if not known or known[-1].at_ms < at_ms:
            known = (*known, Beat(at_ms, owner, before.furthest_ms))
        # The last one that is old enough is all that is needed of those that are.
        first = max((n for n, beat in enumerate(known) if beat.at_ms <= at_ms - VOUCHES_AFTER_MS), default=0)
        beats[state.partition] = known[first:]
    return Heard(max((state.head.newest_ms for state in states), default=0), beats)


def sealed(
    states: Sequence[PartitionState], heard: Heard, out_of_orderness_ms: int, lateness_ms: int, at_ms: int
) -> Sealed:
    """Return until when every partition is sealed; `heard` includes these states.

    Where nothing waits in a partition, all that was sent was counted: it is as far as it vouches for. What comes to it
    later than that is as late as it would have been anywhere else.
    """
    newest = heard.furthest_ms
    if not newest:
        return Sealed(0)
    until = None
    because = ""
    for state in states:
        name = f"partition {state.partition}"
        is_lost = health.state_of(state, at_ms) in ("lost", "absent")
        if not state.is_claimed or state.fault or health.is_replaying(state):
            what = "is counted anew" if health.is_replaying(state) else state.fault or "has never been claimed"
            return Sealed(0, f"{name} {what}")
        is_done = not is_lost and state.alive is not None and health.lag_records(state) == 0
        reached = max(state.head.newest_ms, _vouched_ms(heard, state) if is_done else 0)
        before = Watermark(out_of_orderness_ms, lateness_ms, reached).sealed_before_ms
        if until is None or before < until:
            until = before
            why = "has no owner" if is_lost else "may have records that wait" if is_done else "is behind"
            because = f"{name} {why}" if reached < newest else ""
    return Sealed(until or 0, because)


def _vouched_ms(heard: Heard, state: PartitionState) -> int:
    """Return until when (event time) a partition in which nothing waits had nothing to count."""
    beats = heard.beats.get(state.partition, ())
    return beats[0].furthest_ms if beats and beats[0].at_ms <= beats[-1].at_ms - VOUCHES_AFTER_MS else 0


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
    bins: Sums[Bin],
    start_ms: int,
    meaning: Meaning,
    since: Mapping[str, int],
    values: Mapping[str, frozenset[str]],
) -> dict[str, Minute]:
    """Return what happened in the minute that begins at `start_ms`, by surface: `minutes_of` what is kept of it."""
    end_ms = start_ms + MINUTE_MS
    rows, counted = windows.rows(start_ms, end_ms), bins.rows(start_ms, end_ms)
    return minutes_of(start_ms, rows, meaning.index, since, values, counted, meaning.histograms)
