"""Events of one partition through the real processor, and what came of them by surface, arm and name."""

from collections import Counter
from collections.abc import Iterable

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.cells import unpack_rows
from stream_app.core.events import AnyEvent
from stream_app.core.histograms import read_key
from stream_app.core.panes import HOUR_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.metrics.metric import Family

T0 = 1_700_000_000_000 - 1_700_000_000_000 % HOUR_MS
LATER = T0 + 30 * 24 * HOUR_MS
ROOMY = Rules(lateness_ms=24 * HOUR_MS)
"""For orders of arrival that no lateness allows."""

Amounts = Counter[tuple[object, ...]]


def plan_of(*families: Family) -> Plan:
    """Return the plan of these families alone."""
    return Plan.of(
        [measure for family in families for measure in family.measures],
        [histogram for family in families for histogram in family.histograms],
    )


def state_of(plan: Plan, events: Iterable[AnyEvent], rules: Rules = ROOMY) -> Partition:
    """Return the state after these events, in this order."""
    state = Partition(plan, rules)
    state.process([Span(0, LATER, [codec.encode(event) for event in events])])
    return state


def state_restarted(plan: Plan, events: list[AnyEvent], cut: int, rules: Rules = ROOMY) -> Partition:
    """Return the state after these events, stored and restored after the first `cut` of them."""
    state = state_of(plan, events[:cut], rules)
    fields, _ = state.take_changes()
    again, _ = Partition.restore(plan, rules, {layout.SLICES: layout.pack([])} | fields)
    again.process([Span(cut, LATER, [codec.encode(event) for event in events[cut:]])])
    return again


def amounts(state: Partition) -> Amounts:
    """Return every amount that is not 0, by pane, surface, arm and measure, or histogram and bin."""
    state.bins.settle()
    found: Amounts = Counter()
    names = [column.partition(":")[0] for column in state.plan.columns]
    histograms = {histogram.number: histogram.name for histogram in state.plan.histograms}
    for tier in (state.cells.panes, state.cells.hours):
        for start, rows in tier.items():
            for number, tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
                for name, amount in zip(names, tally, strict=True):
                    found[start - T0, *state.slices.slices[number][:2], name] += amount
    for tier in (state.bins.cells.panes, state.bins.cells.hours):
        for start, rows in tier.items():
            for packed_key, (amount,) in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
                key = read_key(packed_key)
                where = state.slices.slices[key.slice_number][:2]
                found[start - T0, *where, histograms[key.histogram], key.bin] += amount
    return Counter({at: amount for at, amount in found.items() if amount})


def totals(state: Partition) -> dict[str, int]:
    """Return every measure that is not 0, over all panes and slices."""
    sums: Counter[str] = Counter()
    for at, amount in amounts(state).items():
        if len(at) == 4:
            sums[str(at[3])] += amount
    return {name: amount for name, amount in sums.items() if amount}


def bins_of(state: Partition, histogram: str) -> dict[int, int]:
    """Return the bins of a histogram, over all panes and slices."""
    sums: Counter[int] = Counter()
    for at, amount in amounts(state).items():
        if len(at) == 5 and at[3] == histogram:
            sums[int(str(at[4]))] += amount
    return {number: amount for number, amount in sums.items() if amount}
