"""Milliseconds that a server computes for each of its views, and how much of that is for the chart, on one core.

    python -m benchmarks.views [--rounds N]

An hour of the simulated world goes through one partition with the whole catalogue, and what its checkpoints write into
the windows of a server, as it would come from Redis. Time is CPU time of the thread, the least of all rounds.
"""

import argparse
import time
from collections.abc import Callable
from itertools import takewhile
from typing import Final

from producers.world import World
from stream_app.core import codec
from stream_app.core.cells import Alive
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.slices import ALL
from stream_app.metrics.catalogue import PLAN
from stream_app.serving.partitions import Change, PartitionState
from stream_app.serving.server import meaning_of
from stream_app.serving.snapshot import StoreState
from stream_app.serving.views import Origin, build_view, newest_ms, series, windows_end_ms
from stream_app.serving.windows import Windows, bin_windows
from stream_app.settings import Settings

START_MS: Final = 1_767_603_600_000
HOUR_MS: Final = 3_600_000
SESSIONS_PER_SECOND: Final = 2.0
RUN: Final = 500


def main() -> None:
    """Print what a view takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="(default %(default)s)")
    rounds = parser.parse_args().rounds
    events = World(1).events(START_MS, SESSIONS_PER_SECOND)
    values = [codec.encode(event) for event in takewhile(lambda event: event.ts < START_MS + HOUR_MS, events)]
    counted = Partition(PLAN, Rules())
    for first in range(0, len(values), RUN):
        counted.process([Span(first, START_MS + 2 * HOUR_MS, values[first : first + RUN])])
    fields, _ = counted.take_changes()

    meaning, at_ms, number = meaning_of(Settings()), START_MS + HOUR_MS, len(values)
    states = [PartitionState(0, True, number, counted.head, Alive(at_ms, "one", number, at_ms))]
    newest = newest_ms(states, at_ms, 0)
    windows, bins = Windows(meaning.windows, meaning.index["impressions"]), bin_windows(meaning.windows)
    directory = counted.cells.sequences | counted.bins.cells.sequences
    change = Change(0, False, tuple(counted.slices.slices), {field: fields[field] for field in directory})
    for sums in (windows, bins):
        sums.advance([change], windows_end_ms(newest))
    store, origin = StoreState(True, 1.0, 1_000_000, 0), Origin("benchmark", "benchmark")

    def whole() -> object:
        return build_view(origin, meaning, windows, bins, states, store, newest, at_ms, 100.0)

    view = build_view(origin, meaning, windows, bins, states, store, newest, at_ms, 100.0)
    print(f"{number} events; {len(view.pairs[ALL])} pairs of surface and arm, {len(meaning.index)} measures")
    print(f"view   {_least(whole, rounds):>6.1f} ms, {len(view.json) / 1024:.0f} kB as JSON")
    print(
        f"chart  {_least(lambda: series(meaning, view.steps, view.since, ALL, windows.end_ms), rounds):>6.1f} ms of it"
    )


def _least(compute: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.thread_time()
        compute()
        took.append(time.thread_time() - began)
    return min(took) * 1_000


if __name__ == "__main__":
    main()
