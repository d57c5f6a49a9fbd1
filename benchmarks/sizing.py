"""How large the state is: bytes stored and in memory, per million things remembered and per thousand slices.

    python -m benchmarks.sizing [--events N]

Events of the simulated world, of every type, go through one partition with the whole catalogue and with room for all
of them. What is stored is the length of the fields that checkpoints write; what is in memory is what Python says of
keys, values and dictionaries (`sys.getsizeof`), in blocks of 16 bytes as its allocator gives them. Of most tables the
older of two generations is packed.
"""

import argparse
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from producers.transit import records
from producers.world import World
from stream_app.core import cells as layout
from stream_app.core.joins import Joins
from stream_app.core.memory import Remembered
from stream_app.core.packed_table import PackedTable
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
    print(f"{'per million remembered':<24}{'there':>9}{'stored':>12}{'in memory':>12}{'packed':>12}")
    full = 0.0
    default = {table.name: table.capacity for table in Joins(Rules(), PLAN.kinds).tables}
    for table in state.joins.tables:
        if not len(table):
            continue
        kept = sum(len(value) for name, value in stored.items() if name.startswith(f"j:{table.name}:"))
        newer = in_memory(table) / len(table)
        packed = PackedTable({**table.older, **table.newer})
        older = sys.getsizeof(packed) / len(packed) if table.packs_older else newer
        told = [f"{each * MILLION / MEGABYTE:>9.0f} MB" for each in (kept / len(table), newer, older)]
        print(f"{table.name:<24}{len(table):>9,}{''.join(told[: 2 + table.packs_older])}")
        # A click needs an impression: there are never more of them than there are impressions for.
        share = len(table) / len(state.joins.impressions) if table in state.joins.impressions.followers else 1.0
        full += default[table.name] * share * (newer + older)
    print(f"{'all, full, by default':<24}{'':>9}{'':>12}{full / MEGABYTE:>9.0f} MB")
    print(f"\n{'per thousand slices':<24}{'rows':>9}{'packed':>12}{'deflated':>12}")
    for title, prefixes in (("tallies", layout.TALLIES), ("bins", layout.BINS)):
        for name, prefix in prefixes._asdict().items():
            rows = [layout.unpack_rows(value) for field, value in stored.items() if field.startswith(prefix)]
            number = sum(map(len, rows))
            if number:
                packed = [layout.pack_rows(each) for each in rows]
                deflated = [layout.deflate(each, is_sparse=prefixes is layout.TALLIES) for each in packed]
                told = [f"{sum(map(len, each)) / number * 1_000 / 1024:>9.0f} kB" for each in (packed, deflated)]
                print(f"{f'{title}, a {name}':<24}{number:>9,}{''.join(told)}")


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
    parts = [part for part in (table.newer, table.older) if isinstance(part, dict)]
    values = {id(value): value for part in parts for value in part.values()}.values()
    numbers = [number for value in values if isinstance(value, tuple) for number in value]
    keys = [key for part in parts for key in part]
    return sum(map(block, [*keys, *values, *numbers])) + sum(map(sys.getsizeof, (table.newer, table.older)))


def block(value: object) -> int:
    """Return what an object takes: a multiple of 16 bytes, and nothing where Python has one for all."""
    is_shared = isinstance(value, int) and -6 < value < 257
    return 0 if is_shared else -(-sys.getsizeof(value) // 16) * 16


if __name__ == "__main__":
    main()
