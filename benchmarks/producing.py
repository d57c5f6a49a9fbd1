"""Events per second and core that the simulated world makes, to JSON bytes: `python -m benchmarks.producing`.

Time is CPU time of this process, so a busy machine slows it less than it slows the clock. Three ways: events only
encoded, through the transit with its ledger, and with every scenario at once.
"""

import argparse
import time
from itertools import islice
from typing import Final

from producers.ledger import Ledger
from producers.scenarios import SCENARIOS, Schedule, phase
from producers.transit import records
from producers.world import World
from stream_app.core import codec

START_MS: Final = 1_748_768_400_000
RATE: Final = 200.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=200_000, help="for each way (default %(default)s)")
    number: int = parser.parse_args().events
    everything = tuple(phase(name, START_MS) for name in SCENARIOS if name != "steady")
    show("encoded", number, encoded(number))
    show("with ledger", number, arrived(number, ()))
    show("every scenario", number, arrived(number, everything))


def encoded(number: int) -> tuple[float, int]:
    began = time.process_time()
    size = sum(len(codec.encode(event)) for event in islice(World(1).events(START_MS, RATE), number))
    return time.process_time() - began, size


def arrived(number: int, schedule: Schedule) -> tuple[float, int]:
    world = World(1, schedule)
    began = time.process_time()
    taken = records(world, world.happenings(START_MS, RATE), Ledger())
    size = sum(len(record.value) for record in islice(taken, number))
    return time.process_time() - began, size


def show(way: str, number: int, spent: tuple[float, int]) -> None:
    seconds, size = spent
    print(f"{way:<16}{number:>9,} records{size / number:>6.0f} bytes each{number / seconds:>10,.0f} per CPU second")


if __name__ == "__main__":
    main()
