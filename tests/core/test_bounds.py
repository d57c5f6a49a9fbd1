"""A cardinality bomb: what is kept per thing is bounded, and what the bound cost is counted.

250,000 impressions, each of a user, a session, a decision and an item that nobody has seen: a million things. Each also
has a surface and a policy of its own, so none shares a slice.
"""

import psutil

from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.slices import OTHER
from stream_app.metrics.catalogue import PLAN
from tests.timelines import LATER, T0, rows

EVENTS = 250_000
RUN = 12_500
MAX_SLICES, MAX_REMEMBERED = 200, 20_000
IMPRESSION = (
    b'{"type":"impression","id":"i%d","ts":%d,"user":"u%d","session":"s%d","surface":"p%d","arm":"personalized",'
    b'"policy":"m%d","decision":"d%d","item":"x%d","position":1}'
)


def bomb(state: Partition, begin: int, end: int) -> int:
    """Count impressions of which no two have anything in common; return the memory of the process, in bytes."""
    for first in range(begin, end, RUN):
        numbers = range(first, first + RUN)
        raws = [IMPRESSION % (n, T0 + n * 20, n, n, n, n, n, n) for n in numbers]
        state.process([Span(first, LATER, raws)])
        state.take_changes()  # as a checkpoint does: what was taken is not kept for the next
    return int(psutil.Process().memory_info().rss)


def test_a_million_different_things_are_bounded() -> None:
    """I3: no cap is passed, the surplus of slices is `other`, every event is counted, and memory stops growing."""
    state = Partition(PLAN, Rules(max_slices=MAX_SLICES, max_remembered=MAX_REMEMBERED))
    half = bomb(state, 0, EVENTS // 2)
    more = bomb(state, EVENTS // 2, EVENTS) - half
    counted = {"known": 0, "other": 0}
    for by_slice in rows(state).values():
        for slice_, tally in by_slice.items():
            counted["other" if OTHER in slice_ else "known"] += tally[0]
    # Every surface here has one impression, so its histograms' slice takes as much room as its own.
    # A quarter more for the coarse rows of further surfaces, and one per arm for all the rest.
    assert len(state.slices.slices) == MAX_SLICES + MAX_SLICES // 4 + 1
    assert (state.slices.overflowed, counted) == (
        counted["other"],
        {"known": MAX_SLICES // 2, "other": EVENTS - MAX_SLICES // 2},
    )
    assert max(len(table) for table in state.joins.tables) <= MAX_REMEMBERED
    assert state.head.outcomes == {"counted": EVENTS}
    assert more < 20 * 2**20, f"{more / 2**20:.1f} MB more after the first half"
