"""Microseconds per event inside the worker, by step, on one core: what an optimisation is measured with.

    python -m benchmarks.micro [--events N] [--rounds N] [--families engagement] [--all-kinds] [--profile]

decode   bytes to Event, alone
process  the whole processor: decode, duplicates, attribution, cells
rest     process without decode
flush    what a checkpoint computes: which fields, packed (taken every FLUSH_EVERY events)

Time is CPU time of the thread, and each run of BATCH_RECORDS events counts with the least time of all rounds. The runs
are short because a longer one is preempted in nearly every round of a busy machine, and then has no clean minimum. To
compare two trees, alternate them, and compare a tree with a copy of itself as well: what those two differ by is noise.
"""

import argparse
import cProfile
import gc
import pstats
import time
from typing import Final

from benchmarks import workload
from stream_app.core.codec import decode_all
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan
from stream_app.settings import CountingSettings
from stream_app.worker.app import ALL_FAMILIES, counted

BATCH_RECORDS: Final = 400
"""About what a Kafka batch of 128 kB holds: what the worker hands to the processor at a time."""
FLUSH_EVERY: Final = 20_000
ARRIVED_MS: Final = workload.START_MS + 30 * 86_400_000
STEPS: Final = ("decode", "process", "rest", "flush", "total")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--families", default=ALL_FAMILIES, help="counted, separated by commas; default: all")
    arguments.add_argument(
        "--all-kinds", action="store_true", help="of events, not those alone that are shown and earned"
    )
    arguments.add_argument("--profile", action="store_true", help="one round under cProfile instead")
    chosen = arguments.parse_args()
    values = [record.value for record in workload.records(chosen.events, has_all_kinds=chosen.all_kinds)]
    plan = counted(CountingSettings(families=chosen.families))
    # As in the worker: what is loaded stays, and the collector looks seldom.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if chosen.profile:
        with cProfile.Profile() as profile:
            counting(values, plan, has_all_kinds=chosen.all_kinds)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    rounds = [one_round(values, plan, has_all_kinds=chosen.all_kinds) for _ in range(chosen.rounds)]
    decoding, processing, flushing = (
        sum(map(min, zip(*runs, strict=True))) / len(values) * 1e6 for runs in zip(*rounds, strict=True)
    )
    print(f"{chosen.events} events, {chosen.rounds} rounds; microseconds per event")
    steps = (decoding, processing, processing - decoding, flushing, processing + flushing)
    for name, microseconds in zip(STEPS, steps, strict=True):
        print(f"{name:<10}{microseconds:>6.2f}")


def one_round(values: list[bytes], plan: Plan, *, has_all_kinds: bool) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of every run of decoding, of processing, and of every checkpoint."""
    decoding = []
    for first in range(0, len(values), BATCH_RECORDS):
        began = time.thread_time()
        decode_all(values[first : first + BATCH_RECORDS])
        decoding.append(time.thread_time() - began)
    return decoding, *counting(values, plan, has_all_kinds=has_all_kinds)


def counting(values: list[bytes], plan: Plan, *, has_all_kinds: bool) -> tuple[list[float], list[float]]:
    """Count the values as one partition, with a checkpoint now and then; return the seconds of each run of both."""
    state = Partition(plan, Rules())
    processing, flushing = [], []
    for first in range(0, len(values), BATCH_RECORDS):
        span = Span(first, ARRIVED_MS, values[first : first + BATCH_RECORDS])
        began = time.thread_time()
        state.process((span,))
        counted = time.thread_time()
        processing.append(counted - began)
        if (first + BATCH_RECORDS) % FLUSH_EVERY == 0:
            state.take_changes()
            state.cells.take_moved()
            flushing.append(time.thread_time() - counted)
    # Among all kinds there are events that nothing shown has earned.
    outcomes = {"counted", "unmatched"} if has_all_kinds else {"counted"}
    assert sum(state.head.outcomes.get(outcome, 0) for outcome in outcomes) == len(values), state.head.outcomes
    return processing, flushing


if __name__ == "__main__":
    main()
