"""What the sketch of amounts and the growth of sums cost, and how wrong the sketch is.

    python -m benchmarks.sketches [--rounds N]

Time is CPU time of the thread, the least of all rounds, and includes the loop. The amounts are
log-normal, from a fixed seed; errors are those of this one draw.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from stream_app.core.quantile_sketch import QuantileSketch
from stream_app.metrics import clicked_lists, off_policy, predictions

SIZES: Final = (100, 1_000, 10_000, 100_000)
SHARES: Final = (0.5, 0.95, 0.99)
CALLS: Final = 2_000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    arguments.add_argument("--rounds", type=int, default=7)
    rounds = arguments.parse_args().rounds
    source = random.Random(7)
    _quantile(source, rounds)
    _growth(rounds)


def _quantile(source: random.Random, rounds: int) -> None:
    print("quantile: amounts  us/add  us/merge   us/quantile   bytes   relative error of p50, p95, p99")
    for size in SIZES:
        amounts = [int(source.lognormvariate(8, 2)) for _ in range(size)]
        sketch = QuantileSketch()
        add = _least_us(rounds, lambda: QuantileSketch().add, amounts)
        for amount in amounts:
            sketch.add(amount)
        merge = _least_us(rounds, lambda: QuantileSketch().merge, [sketch] * 50)
        ask = _least_us(rounds, lambda: lambda one: one.quantile(0.95), [sketch] * 50)
        amounts.sort()
        exact = [amounts[-(-size * round(share * 100) // 100) - 1] for share in SHARES]
        errors = [sketch.quantile(share).middle / true - 1 for share, true in zip(SHARES, exact, strict=True)]
        shown = "  ".join(f"{error:+.2%}" for error in errors)
        print(f"{size:>14,} {add:>10.2f} {merge:>9.0f} {ask:>13.0f} {len(sketch.pack()):>7}   {shown}")


def _growth(rounds: int) -> None:
    seen = clicked_lists.ClickedList((1 << 10) - 1)
    one_less = clicked_lists.ClickedList((1 << 9) - 1)
    weight = off_policy.weight_nanos(0.03, 0.1)
    steps: dict[str, Callable[[Any], object]] = {
        "list, an impression more": lambda _: clicked_lists.growth(one_less, seen, 10),
        "list, a click, not cached": lambda _: clicked_lists.growth.__wrapped__(seen, seen.with_click(3), 10),
        "prediction, impression": lambda _: predictions.contribution(30_000_000, is_clicked=False),
        "prediction, click": lambda _: predictions.click_growth(30_000_000),
        "prediction, score bin": lambda _: predictions.score_bin(30_000_000),
        "weight, impression": lambda _: off_policy.contribution(weight, 0),
    }
    print("growth of sums             us/call")
    for name, step in steps.items():
        print(f"{name:<26} {_least_us(rounds, lambda step=step: step, range(CALLS)):>7.2f}")


def _least_us(rounds: int, fresh: Callable[[], Callable[[Any], object]], values: Sequence[Any]) -> float:
    """Return the microseconds of CPU that one call of what `fresh` returns took in the fastest round."""
    least = float("inf")
    for _ in range(rounds):
        call = fresh()
        started = time.thread_time()
        for value in values:
            call(value)
        least = min(least, time.thread_time() - started)
    return least / len(values) * 1e6


if __name__ == "__main__":
    main()
