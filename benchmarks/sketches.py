"""What a sketch costs and how wrong it is: nanoseconds per `add`, bytes when packed, error against the exact answer.

    python -m benchmarks.sketches [--rounds N]

Time is CPU time of the thread, the least of all rounds; it includes the loop. The keys are hashes of numbers and the
amounts log-normal, both from a fixed seed.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from xxhash import xxh3_64_intdigest as digest

from stream_app.core.distinct_sketch import DistinctSketch
from stream_app.core.quantile_sketch import QuantileSketch

SIZES: Final = (100, 1_000, 10_000, 100_000)
SHARES: Final = (0.5, 0.95, 0.99)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    source = random.Random(7)
    print("distinct, different keys     ns per add   bytes   relative error")
    for size in SIZES:
        keys = [digest(source.randbytes(8)) for _ in range(size)]
        sketch = DistinctSketch()
        ns = _least_ns(rounds, lambda: DistinctSketch().add, keys)
        for key in keys:
            sketch.add(key)
        print(f"{size:>24,} {ns:>14.0f} {len(sketch.pack()):>7} {sketch.estimate() / size - 1:>+14.2%}")
    print("quantile, amounts            ns per add   bytes   relative error of p50, p95, p99")
    for size in SIZES:
        amounts = [int(source.lognormvariate(8, 2)) for _ in range(size)]
        spread = QuantileSketch()
        ns = _least_ns(rounds, lambda: QuantileSketch().add, amounts)
        for amount in amounts:
            spread.add(amount)
        amounts.sort()
        exact = [amounts[-(-size * round(share * 100) // 100) - 1] for share in SHARES]
        errors = [spread.quantile(share).middle / true - 1 for share, true in zip(SHARES, exact, strict=True)]
        print(f"{size:>24,} {ns:>14.0f} {len(spread.pack()):>7}   {'  '.join(f'{e:+.2%}' for e in errors)}")


def _least_ns(rounds: int, fresh: Callable[[], Callable[[int], None]], values: Sequence[int]) -> float:
    """Return the nanoseconds of CPU that one call of what `fresh` returns took in the fastest round."""
    least = float("inf")
    for _ in range(rounds):
        add = fresh()
        started = time.thread_time()
        for value in values:
            add(value)
        least = min(least, time.thread_time() - started)
    return least / len(values) * 1e9


if __name__ == "__main__":
    main()
