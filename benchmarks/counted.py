"""Minutes of the simulated world from its events: made, sent astray as scenarios have it, and counted by the processor.

Half an hour of a core for what `benchmarks.drawn` draws in seconds: for holding one against the other.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import islice, takewhile
from math import sqrt
from typing import Final

from benchmarks.drawn import SURFACE
from producers.scenarios import Schedule
from producers.traits import ARM_WEIGHTS
from producers.transit import records
from producers.world import World
from stream_app.core import cells
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan, name_of
from stream_app.metrics import decisions, engagement, vigilance
from stream_app.statistics.minutes import WATCHED, Minute
from stream_app.statistics.series import MINUTE_MS

PLAN: Final = Plan.of([m for family in (engagement, decisions, vigilance) for m in family.MEASURES])
PEOPLE: Final = 500_000
CLUSTERS: Final = {"impressions": 3, "at_risk_impressions": 3, "first_score_micros": 1_000_000}
"""How much of a measure comes at once, at most."""


def minutes(seed: int, start_ms: int, count: int, sessions_per_second: float, schedule: Schedule = ()) -> list[Minute]:
    """Return so many minutes of the home page, less than the two hours after which panes are folded into hours."""
    world = World(seed, schedule, users=PEOPLE)
    until_ms = start_ms + count * MINUTE_MS
    state = Partition(PLAN, Rules(max_remembered=4_000_000))
    # Returns come hours later: they would fold the panes.
    happened = takewhile(lambda each: each[0] < until_ms, world.happenings(start_ms, sessions_per_second, until_ms))
    way = records(world, happened)
    offset = 0
    while run := [record.value for record in islice(way, 5_000)]:
        state.process([Span(offset, until_ms + DAY_MS, run)])
        offset += len(run)
    return told(state, start_ms, count)


def told(state: Partition, start_ms: int, count: int, surface: str = SURFACE.name) -> list[Minute]:
    """Return the minutes of a surface in a partition's panes."""
    state.cells.settle()
    at = {name_of(column): place for place, column in enumerate(state.plan.columns)}
    sums: dict[int, dict[str, dict[str, Counter[str]]]] = {}
    for start, content in state.cells.panes.items():
        rows = cells.unpack_rows(content) if isinstance(content, bytes) else content
        for number, tally in rows.items():
            slice_ = state.slices.slices[number]
            if slice_.surface != surface:
                continue
            minute = sums.setdefault(start - start % MINUTE_MS, {})
            for part in ("", f"segment={slice_.segment}", f"device={slice_.device}"):
                own = minute.setdefault(part, {}).setdefault(slice_.arm, Counter())
                own.update({name: tally[at[name]] for name in WATCHED})
    found = []
    for at_ms in range(start_ms, start_ms + count * MINUTE_MS, MINUTE_MS):
        parts = sums.get(at_ms, {})
        found.append(Minute(at_ms, parts.pop("", {}), parts))
    return found


def differences(seen: list[Minute], other: list[Minute], most: float = 4.5) -> Mapping[str, float]:
    """Return the measures whose sums differ by more than `most` standard errors of a count, and by how many."""
    odd = {}
    for arm in ARM_WEIGHTS:
        for name in WATCHED:
            one, two = (sum(minute.arms.get(arm, {}).get(name, 0) for minute in all_) for all_ in (seen, other))
            cluster = CLUSTERS.get(name, 1)
            z = (one - two) / sqrt(max(1, one + two) * cluster)
            if abs(z) > most:
                odd[f"{arm} {name}"] = round(z, 1)
    return odd
