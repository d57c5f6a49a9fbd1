"""Events by the day and hour on which they happen, and what is told of those who came of age."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, TypeVar

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.cells import unpack_rows
from stream_app.core.events import AnyEvent, Event
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.metrics.catalogue import INDEX, MEASURES, METRICS, PLAN
from stream_app.statistics.counted import NO_FIGURES, Figures
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower

D0 = 20_000 * DAY_MS
"""The midnight with which day 0 begins."""
HOUR_MS = 3_600_000
LATER = D0 + 1_000 * DAY_MS
METRIC = {metric.name: metric for metric in METRICS}
_numbers = count()
Told = dict[tuple[int, str, str], int]
"""By day since D0, arm and measure, zeros left out."""
E = TypeVar("E", bound=Event)


def on(day: float, of: type[E], user: str = "u", **fields: Any) -> E:
    """Return an event at noon of that day (or so much later: 1.25 is six hours later)."""
    at_ms = D0 + round(day * DAY_MS) + 12 * HOUR_MS
    return of(**({"id": f"e{next(_numbers)}", "ts": at_ms, "user": user, "arm": "personalized"} | fields))


def state_of(events: Iterable[AnyEvent], rules: Rules | None = None, plan: Plan = PLAN) -> Partition:
    """Return the state after these events, in this order."""
    state = Partition(plan, rules or Rules())
    feed(state, events)
    return state


def feed(state: Partition, events: Iterable[AnyEvent]) -> None:
    """Apply more events."""
    state.process([Span(state.head.applied, LATER, [codec.encode(event) for event in events])])


def stored(state: Partition, before: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return all fields that are stored after a checkpoint, given those from before it."""
    fields, stale = state.take_changes()
    kept = {layout.SLICES: layout.pack([])} | (before or {}) | fields
    return {name: packed for name, packed in kept.items() if name not in stale}


def told(*states: Partition, measures: Sequence[str] = tuple(INDEX)) -> Told:
    """Return what the days say, partitions added up."""
    sums: Told = {}
    for state in states:
        for start, rows in state.cells.days.items():
            for number, tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
                for name in measures:
                    key = (start - D0) // DAY_MS, state.slices.slices[number].arm, name
                    sums[key] = sums.get(key, 0) + tally[INDEX[name]]
    return {key: amount for key, amount in sums.items() if amount}


def answer(metric: str, told_: Told, figures: Figures = NO_FIGURES) -> Estimate | None:
    """Return what a metric says of all days and arms together, and of what people told."""
    tally = [0] * len(MEASURES)
    for (_, _, name), amount in told_.items():
        tally[INDEX[name]] += amount
    return lower(METRIC[metric], tally, INDEX, told=figures)
