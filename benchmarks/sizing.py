"""How large the state is: bytes stored and in memory, per million things remembered and per thousand slices.

    python -m benchmarks.sizing [--events N]

Events of the simulated world, of every type, go through one partition with the whole catalogue and with room for all
of them. What is stored is the length of the fields that checkpoints write; what is in memory is what Python says of
keys, values and dictionaries (`sys.getsizeof`), which leaves out what its allocator wastes.
"""

import argparse
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from producers.transit import records
from producers.world import World
from stream_app.core import cells as layout
from stream_app.core.memory import Remembered
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import PLAN

START_MS: Final = 1_767_225_600_000
RUN: Final = 500
CHECKPOINT_EVERY: Final = 40
ROOM: Final = 100_000_000
MILLION: Final = 1_000_000
MEGABYTE: Final = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=300_000, help="of the world (default %(default)s)")
    events = parser.parse_args().events
    world = World(1)
    arriving = (record.value for record in records(world, world.happenings(START_MS, 20.0)))
    state, stored = counted(islice(arriving, events))
    print(f"{events} events of the simulated world, {len(PLAN.columns)} measures, {len(PLAN.histograms)} histograms\n")
    print(f"{'per million remembered':<24}{'there':>9}{'stored':>12}{'in memory':>12}")
    for table in state.joins.tables:
        if len(table):
            kept = sum(len(value) for name, value in stored.items() if name.startswith(f"j:{table.name}:"))
            told = (kept / len(table) * MILLION / MEGABYTE, in_memory(table) / len(table) * MILLION / MEGABYTE)
            print(f"{table.name:<24}{len(table):>9,}{told[0]:>9.0f} MB{told[1]:>9.0f} MB")
    print(f"\n{'per thousand slices':<24}{'rows':>9}{'stored':>12}")
    for title, prefixes in (("tallies", layout.TALLIES), ("bins", layout.BINS)):
        for name, prefix in prefixes._asdict().items():
            rows = [layout.unpack_rows(value) for field, value in stored.items() if field.startswith(prefix)]
            number = sum(map(len, rows))
            if number:
                size = sum(len(value) for field, value in stored.items() if field.startswith(prefix)) / number
                print(f"{f'{title}, a {name}':<24}{number:>9,}{size * 1_000 / 1024:>9.0f} kB")


def counted(values: Iterable[bytes]) -> tuple[Partition, dict[str, bytes]]:
    """Return the state after all values, and the fields that are stored of it."""
    state = Partition(PLAN, Rules(max_remembered=ROOM, max_slices=10_000))
    stored: dict[str, bytes] = {}
    runs = iter(lambda: list(islice(values_, RUN)), [])
    values_ = iter(values)
    first = number = 0
    for number, run in enumerate(runs, 1):
        # They arrive long after they happened, so nothing comes from the future.
        state.process([Span(first, START_MS + 10**11, run)])
        first += len(run)
        if number % CHECKPOINT_EVERY == 0:
            keep(state, stored)
    keep(state, stored)
    return state, stored


def keep(state: Partition, stored: dict[str, bytes]) -> None:
    """Write a checkpoint."""
    fields, stale = state.take_changes()
    stored |= fields
    for name in stale:
        stored.pop(name, None)


def in_memory(table: Remembered[Any]) -> int:
    """Return the bytes of a table's keys, values and dictionaries; a value that many share counts once."""
    values = {id(value): sys.getsizeof(value) for part in (table.newer, table.older) for value in part.values()}
    keys = sum(sys.getsizeof(key) for part in (table.newer, table.older) for key in part)
    return sum(values.values()) + keys + sys.getsizeof(table.newer) + sys.getsizeof(table.older)


if __name__ == "__main__":
    main()
