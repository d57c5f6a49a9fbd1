"""The contender: the same counters as a Faust app written the way the tutorial does, and a tuned one.

tutorial  a faust.Record per event; two tumbling tables (impressions, clicks) with changelog topics, one write each
tuned     no tables and no changelog: `take` hands a list of dictionaries to the agent, which counts in its memory

Both count impressions and clicks per surface, arm and minute, and nothing else: no duplicates are dropped, no click is
joined to its impression, no session, revenue or relevance is kept, and a crash may count events twice. It is a child of
`benchmarks.throughput`; configuration comes in BENCH_* variables, and the result is a JSON file.
"""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import faust

WINDOW_S = 60.0
KEPT_S = 7 * 86_400.0
TAKE = 1_000
TAKE_WITHIN_S = 0.1


class Event(faust.Record):
    """What the counters need of an event; Faust passes over the other fields."""

    id: str
    type: str
    ts: int
    user: str
    surface: str
    arm: str


class Stopwatch:
    """Time and CPU from the first counted event to the last. Mutable state: how many are still to come."""

    def __init__(self, expected: int, result: Path) -> None:
        self._left = self._expected = expected
        self._result = result
        self._began_s = self._cpu_s = 0.0

    def start(self) -> None:
        """Start at the first event, before it is counted."""
        if not self._began_s:
            self._began_s, self._cpu_s = time.perf_counter(), time.process_time()

    def counted(self, number: int) -> bool:
        """Take note of counted events; say whether they were the last."""
        self._left -= number
        return self._left <= 0

    def write(self, counts: dict[str, Counter[tuple[str, str]]]) -> None:
        """Write what was counted, and what it cost."""
        figures = {
            "events": self._expected - self._left,
            "seconds": time.perf_counter() - self._began_s,
            "cpu_seconds": time.process_time() - self._cpu_s,
            "counts": {kind: [[*pair, number] for pair, number in of.items()] for kind, of in counts.items()},
        }
        arriving = self._result.with_suffix(".part")
        arriving.write_text(json.dumps(figures))
        arriving.rename(self._result)


def tutorial(app: faust.App, topic: str, partitions: int, stopwatch: Stopwatch) -> None:
    """Count in tables."""
    events = app.topic(topic, key_type=bytes, value_type=Event)

    def table(name: str) -> Any:
        return app.Table(name, default=int, partitions=partitions).tumbling(WINDOW_S, expires=KEPT_S)

    impressions, clicks = table("impressions"), table("clicks")

    def total(windowed: Any) -> Counter[tuple[str, str]]:
        sums: Counter[tuple[str, str]] = Counter()
        for (key, _window), number in windowed.table.items():
            surface, _, arm = key.partition("|")
            sums[surface, arm] += number
        return sums

    @app.agent(events)
    async def count(stream: Any) -> None:
        async for event in stream:
            stopwatch.start()
            if event.type == "impression":
                impressions[f"{event.surface}|{event.arm}"] += 1
            elif event.type == "click":
                clicks[f"{event.surface}|{event.arm}"] += 1
            if stopwatch.counted(1):
                stopwatch.write({"impression": total(impressions), "click": total(clicks)})


def tuned(app: faust.App, topic: str, stopwatch: Stopwatch) -> None:
    """Count in the agent's own memory, a thousand events at a time."""
    events = app.topic(topic, key_type=bytes, value_serializer="json")
    counts: Counter[tuple[str, str, str, int]] = Counter()

    @app.agent(events)
    async def count(stream: Any) -> None:
        async for some in stream.take(TAKE, within=TAKE_WITHIN_S):
            stopwatch.start()
            for event in some:
                counts[event["type"], event["surface"], event["arm"], event["ts"] // 60_000] += 1
            if stopwatch.counted(len(some)):
                by_kind: dict[str, Counter[tuple[str, str]]] = {"impression": Counter(), "click": Counter()}
                for (kind, surface, arm, _minute), number in counts.items():
                    if kind in by_kind:
                        by_kind[kind][surface, arm] += number
                stopwatch.write(by_kind)


def main() -> None:
    environ = os.environ
    variant = environ["BENCH_VARIANT"]
    is_mock = environ["BENCH_IS_MOCK"] == "1"
    app = faust.App(
        f"bench-{variant}",
        broker=f"kafka://{environ['BENCH_BOOTSTRAP']}",
        store="memory://",
        datadir=environ["BENCH_FOLDER"],
        value_serializer="json",
        topic_partitions=int(environ["BENCH_PARTITIONS"]),
        topic_allow_declare=not is_mock,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    stopwatch = Stopwatch(int(environ["BENCH_EVENTS"]), Path(environ["BENCH_RESULT"]))
    if variant == "tutorial":
        tutorial(app, environ["BENCH_TOPIC"], int(environ["BENCH_PARTITIONS"]), stopwatch)
    else:
        tuned(app, environ["BENCH_TOPIC"], stopwatch)
    app.finalize()
    faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main()
