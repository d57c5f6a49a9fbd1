"""CPU microseconds per event inside the worker, by step, on one core: what an optimisation is measured with.

    python -m benchmarks.micro [--events N] [--rounds N] [--profile]

decode   bytes to Event, alone
process  the whole processor: decode, duplicates, attribution, cells
rest     process without decode
flush    what a checkpoint computes: which fields, packed (taken every FLUSH_EVERY events)

Time is that of the process (user and system), so that neighbours on the machine disturb it less; the minimum of the
rounds is the figure to compare, the median tells how noisy the machine was.
"""

import argparse
import cProfile
import gc
import pstats
import time
from statistics import median
from typing import Final

from benchmarks import workload
from stream_app.core.attribution import Rules
from stream_app.core.codec import decode
from stream_app.core.processor import Partition, Span
from stream_app.metrics.catalogue import PLAN
from stream_app.worker.batches import CHUNK_RECORDS

FLUSH_EVERY: Final = 40_000
ARRIVED_MS: Final = workload.START_MS + 30 * 86_400_000
STEPS: Final = ("decode", "process", "rest", "flush", "total")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--profile", action="store_true", help="one round under cProfile instead")
    chosen = arguments.parse_args()
    values = [record.value for record in workload.records(chosen.events)]
    # As in the worker: what is loaded stays, and the collector looks seldom.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if chosen.profile:
        with cProfile.Profile() as profile:
            counting(values)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    rounds = [one_round(values) for _ in range(chosen.rounds)]
    print(f"{chosen.events} events, {chosen.rounds} rounds; CPU microseconds per event\n")
    print(f"{'step':<10}{'min':>8}{'median':>8}")
    for name, times in zip(STEPS, zip(*rounds, strict=True), strict=True):
        print(f"{name:<10}{min(times):>8.2f}{median(times):>8.2f}")


def one_round(values: list[bytes]) -> tuple[float, ...]:
    """Return the microseconds per event of every step, in the order of STEPS."""
    began = time.process_time()
    for value in values:
        decode(value)
    decoding = time.process_time() - began
    processing, flushing = counting(values)
    seconds = (decoding, processing, processing - decoding, flushing, processing + flushing)
    return tuple(step / len(values) * 1e6 for step in seconds)


def counting(values: list[bytes]) -> tuple[float, float]:
    """Count the values as one partition, with a checkpoint now and then; return the seconds of both."""
    state = Partition(PLAN, Rules())
    processing = flushing = 0.0
    for begin in range(0, len(values), FLUSH_EVERY):
        end = min(begin + FLUSH_EVERY, len(values))
        started = time.process_time()
        for first in range(begin, end, CHUNK_RECORDS):
            state.process((Span(first, ARRIVED_MS, values[first : min(first + CHUNK_RECORDS, end)]),))
        counted = time.process_time()
        state.take_changes()
        state.cells.take_moved()
        flushing += time.process_time() - counted
        processing += counted - started
    assert state.head.outcomes["counted"] == len(values), state.head.outcomes
    return processing, flushing


if __name__ == "__main__":
    main()
