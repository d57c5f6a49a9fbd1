"""A world run through the real processor in memory: what is counted, beside what the ledger says has happened."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from producers.ledger import Ledger
from producers.transit import Record, records
from producers.world import World
from stream_app.core import cells
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.metrics.catalogue import INDEX, PLAN, plan_of

START_MS = 1_748_768_400_000
"""2025-06-01T09:00:00Z: the beginning of an hour whose mood is 1."""
AT_ONCE = 500
LEDGERS = plan_of(["conversion", "relevance"])
"""The families whose measures the ledger keeps too: where only they are looked at, the others need not be counted."""
Totals = dict[tuple[str, ...], dict[str, int]]


class Counted(NamedTuple):
    """What came of one run: the records, the ledger, what the processor counted by slice, and all its state."""

    arrived: list[Record]
    ledger: Ledger
    totals: Totals
    outcomes: dict[str, int]
    state: Partition


def count(world: World, sessions_per_second: float, seconds: int, plan: Plan = PLAN) -> Counted:
    """Let sessions begin for `seconds`, wait until all has happened, and count what arrives, in one partition."""
    ledger = Ledger()
    happened = world.happenings(START_MS, sessions_per_second, START_MS + 1000 * seconds)
    arrived = list(records(world, happened, ledger))
    partition = processed((record.value for record in arrived), plan)
    outcomes = {name: number for name, number in partition.head.outcomes.items() if number}
    return Counted(arrived, ledger, totals(partition), outcomes, partition)


def processed(values: Iterable[bytes], plan: Plan = PLAN) -> Partition:
    """Return the state of a partition to which all values have been applied."""
    partition = Partition(plan, Rules())
    values = list(values)
    for first in range(0, len(values), AT_ONCE):
        # They arrive much later than they happened, so nothing comes from the future.
        partition.process([Span(first, START_MS + 10**10, values[first : first + AT_ONCE])])
    return partition


def totals(partition: Partition) -> Totals:
    """Return all cells of a partition added up by slice, zeros left out."""
    names = [column.partition(":")[0] for column in partition.plan.columns]
    sums: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for tier in (partition.cells.panes, partition.cells.hours, partition.cells.days):
        for rows in tier.values():
            for number, tally in (cells.unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
                into = sums[tuple(partition.slices.slices[number])]
                for name, amount in zip(names, tally, strict=True):
                    if amount:
                        into[name] += amount
    named = {key: {name: amount for name, amount in of.items() if amount} for key, of in sums.items()}
    return {key: of for key, of in named.items() if of}


def by(found: Totals, *fields: int) -> dict[tuple[str, ...], dict[str, int]]:
    """Add up totals by some of their dimensions, given as places in the slice."""
    sums: defaultdict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(INDEX, 0))
    for key, of in found.items():
        into = sums[tuple(key[field] for field in fields)]
        for name, amount in of.items():
            into[name] += amount
    return dict(sums)
