"""Recovery and overload, measured: what docs/reliability.md says in seconds and megabytes.

    python -m tests.faults.measure takeover|redis-back|spike|mutated|cardinality|backlog [--seed N] [--scale X]

Each starts a Kafka, a Redis and workers of its own and takes a few minutes; run one at a time. The summary is text that
can be pasted; the exit status says whether every requirement was met.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.faults import overload, recovery
from tests.faults.figures import Figures, machine

MEASUREMENTS: Final[dict[str, Callable[[int, Path, float], Figures]]] = {
    "takeover": recovery.takeover,
    "redis-back": recovery.redis_back,
    "spike": overload.spike,
    "mutated": overload.mutated,
    "cardinality": overload.cardinality,
    "backlog": overload.backlog,
}


def main(arguments: Sequence[str]) -> int:
    """Measure what the arguments name, print the summary; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.measure", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the number of faults and records: 0.1 for a glance"
    )
    given = parser.parse_args(arguments)
    described, began = machine(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lynceus-measure-", ignore_cleanup_errors=True) as name:
        figures = MEASUREMENTS[given.what](given.seed, Path(name), given.scale)
    seconds = time.monotonic() - began
    sys.stdout.write(f"{given.what}, seed {given.seed}, {seconds:.0f} s; {described}\n{figures}\n")
    return int(not figures.is_met)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
