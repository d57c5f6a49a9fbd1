"""The contenders: plain Faust apps. One does the same count as Lynceus, two do less.

same      the way the tutorial does it: a faust.Record per event and a table with a changelog topic for everything that
          is remembered or counted: ids once, clicks and conversions joined to the impression they quote, sessions,
          revenue and relevance, in tumbling windows per surface and arm
tutorial  only impressions and clicks, as they come: two tumbling tables, one write per event
tuned     no tables and no changelog: `take` hands a list of dictionaries to the agent, which counts in its memory

What `same` leaves out of what Lynceus does: attribution windows, late and future records, derived sessions, arms and
consent, bounded memory, and counts that a crash does not double. The other two drop no duplicates and join nothing.
It is a child of `benchmarks.throughput`; configuration comes in BENCH_* variables, and the result is a JSON file.
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


TABLES = {
    "same": (
        *("seen", "shown", "clicked", "sessions", "converted"),
        *("impressions", "clicks", "visits", "conversions", "buyers", "revenue", "relevance"),
    ),
    "tutorial": ("impressions", "clicks"),
}
"""By variant: the names of the tables, each of which has a changelog topic."""


class Event(faust.Record):
    """What the counters need of an event; Faust passes over the other fields."""

    id: str
    type: str
    ts: int
    user: str
    surface: str
    arm: str
    decision: str = ""
    item: str = ""
    session: str = ""
    relevance: float = 0.0
    value_minor: int = 0


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


def windowed(app: faust.App, name: str, partitions: int) -> Any:
    """Return a table of counters in tumbling windows."""
    return app.Table(name, default=int, partitions=partitions).tumbling(WINDOW_S, expires=KEPT_S)


def total(counters: Any) -> Counter[tuple[str, str]]:
    """Add up the windows of a table, by surface and arm."""
    sums: Counter[tuple[str, str]] = Counter()
    for (key, _window), number in counters.table.items():
        surface, _, arm = key.partition("|")
        sums[surface, arm] += number
    return sums


def same(app: faust.App, topic: str, partitions: int, stopwatch: Stopwatch) -> None:
    """Count what Lynceus counts, in tables."""
    events = app.topic(topic, key_type=bytes, value_type=Event)

    def plain(name: str) -> Any:
        return app.Table(name, partitions=partitions)

    seen, shown, clicked, sessions, converted = map(plain, TABLES["same"][:5])
    impressions, clicks, visits, conversions, buyers, revenue, relevance = (
        windowed(app, name, partitions) for name in TABLES["same"][5:]
    )

    @app.agent(events)
    async def count(stream: Any) -> None:
        async for event in stream:
            stopwatch.start()
            if event.id not in seen:
                seen[event.id] = event.ts
                quoted = f"{event.decision}|{event.item}"
                if event.type == "impression":
                    where = f"{event.surface}|{event.arm}"
                    visit = f"{event.session}|{where}"
                    shown[quoted] = [where, visit]
                    impressions[where] += 1
                    relevance[where] += round(event.relevance * 1_000_000)
                    if visit not in sessions:
                        sessions[visit] = event.ts
                        visits[where] += 1
                elif quoted in shown:
                    where, visit = shown[quoted]
                    if event.type == "click" and quoted not in clicked:
                        clicked[quoted] = event.ts
                        clicks[where] += 1
                    elif event.type == "conversion":
                        conversions[where] += 1
                        revenue[where] += event.value_minor
                        if visit not in converted:
                            converted[visit] = event.ts
                            buyers[where] += 1
            if stopwatch.counted(1):
                stopwatch.write(
                    {
                        "impression": total(impressions),
                        "click": total(clicks),
                        "session": total(visits),
                        "conversion": total(conversions),
                    }
                )


def tutorial(app: faust.App, topic: str, partitions: int, stopwatch: Stopwatch) -> None:
    """Count two kinds of events in two tables."""
    events = app.topic(topic, key_type=bytes, value_type=Event)
    impressions, clicks = (windowed(app, name, partitions) for name in TABLES["tutorial"])

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
    if variant == "tuned":
        tuned(app, environ["BENCH_TOPIC"], stopwatch)
    else:
        in_tables = {"same": same, "tutorial": tutorial}[variant]
        in_tables(app, environ["BENCH_TOPIC"], int(environ["BENCH_PARTITIONS"]), stopwatch)
    app.finalize()
    faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main()
