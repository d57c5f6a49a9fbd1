"""Families of metrics, counted by themselves: a few events in, sums and answers out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.cells import unpack_rows
from stream_app.core.events import Event
from stream_app.core.histograms import read_key
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.metrics.catalogue import HISTOGRAMS, INDEX, MEASURES, METRICS, PLAN
from stream_app.metrics.metric import Family
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower

NOON = 1_763_812_800_000
"""2025-11-22T12:00:00Z."""
LATER = NOON + 100 * DAY_MS
METRIC = {metric.name: metric for metric in METRICS}
Sums = dict[Any, int]


def plan_of(*families: Family) -> Plan:
    """Return what these families count."""
    return Plan.of(
        [measure for family in families for measure in family.measures],
        [histogram for family in families for histogram in family.histograms],
    )


def state_of(events: Iterable[Event], plan: Plan = PLAN, restart_after: int | None = None) -> Partition:
    """Return the state after these events, in this order; with `restart_after`, stored and restored after as many."""
    raws = [codec.encode(event) for event in events]  # type: ignore[arg-type]  # all there are are AnyEvent
    state = Partition(plan, Rules())
    if restart_after is not None:
        restart_after %= len(raws) + 1
        state.process([Span(0, LATER, raws[:restart_after])])
        fields, _ = state.take_changes()
        state, _ = Partition.restore(plan, Rules(), {layout.SLICES: layout.pack([])} | fields)
    state.process([Span(restart_after or 0, LATER, raws[restart_after or 0 :])])
    return state


def rows(state: Partition) -> dict[int, list[tuple[int, Sequence[int]]]]:
    """Return all tallies by where they begin, each with the number of its slice."""
    found: defaultdict[int, list[tuple[int, Sequence[int]]]] = defaultdict(list)
    for tier in (state.cells.panes, state.cells.hours):
        for start, packed in tier.items():
            found[start] += (unpack_rows(packed) if isinstance(packed, bytes) else packed).items()
    return dict(found)


def bins(state: Partition) -> dict[str, dict[int, int]]:
    """Return the bins of all histograms, by their names, over all slices."""
    state.bins.settle()
    names = {histogram.number: histogram.name for histogram in HISTOGRAMS}
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for tier in (state.bins.cells.panes, state.bins.cells.hours):
        for packed in tier.values():
            for packed_key, (amount,) in (unpack_rows(packed) if isinstance(packed, bytes) else packed).items():
                key = read_key(packed_key)
                found[names[key.histogram]][key.bin] += amount
    return {name: {bin_: n for bin_, n in counts.items() if n} for name, counts in found.items()}


def sums(state: Partition) -> Sums:
    """Return what is not 0 of all measures, by name, and of all bins, by histogram and number."""
    names = [column.partition(":")[0] for column in state.plan.columns]
    total: Counter[Any] = Counter()
    for tallies in rows(state).values():
        for _, tally in tallies:
            total.update(dict(zip(names, tally, strict=True)))
    total.update({(name, bin_): amount for name, counts in bins(state).items() for bin_, amount in counts.items()})
    return {name: amount for name, amount in total.items() if amount}


def added(one: Sums, other: Sums) -> Sums:
    """Return the sums of two partitions."""
    both = {name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}}
    return {name: amount for name, amount in both.items() if amount}


def estimate(metric: str, state: Partition) -> Estimate | None:
    """Return what a metric says of everything in a state of the whole catalogue."""
    total = sums(state)
    return lower(METRIC[metric], [total.get(measure.name, 0) for measure in MEASURES], INDEX, bins(state))
