"""Events per second: the Lynceus worker beside plain Faust apps, on one Kafka, in one run, all counts checked.

    python -m benchmarks.throughput [--events N] [--rounds N] [--json FILE]

The topic is filled before anybody reads it, so every contender goes as fast as it can. Its clock starts when start-up
is over (Lynceus: the first partition is claimed, before anything is fetched; Faust: the first event reaches the agent)
and stops when the last event is counted (Lynceus: stored in Redis; Faust: added in memory). Plain Faust is too slow
for the whole topic: it gets a prefix of it, in a topic of its own. Impressions, clicks, sessions and conversions per
surface and arm of every contender that counts them must equal a recount of the JSON, or there is no result.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import psutil
import redis
from confluent_kafka import Producer

from benchmarks import workload
from benchmarks.plain_faust import TABLES
from benchmarks.workload import Counts, Record
from producers.topics import ensure_topics
from stream_app import settings as configuration
from stream_app.apache_kafka import VERSION, ApacheKafka
from stream_app.child import Child
from stream_app.core import cells as layout
from stream_app.core.tally import name_of
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.errors import LynceusError
from stream_app.settings import CountingSettings, KafkaSettings, RedisSettings, Settings, WorkerSettings

PARTITIONS: Final = 4
WHOLE = "bench.whole"
PREFIX: Final = {"same": "bench.same", "tutorial": "bench.tutorial", "tuned": "bench.tuned"}
"""By variant of plain Faust: the topic with its part of the events."""
KINDS: Final = {
    "impression": "impressions",
    "click": "clicks",
    "session": "sessions",
    "conversion": "conversions",
}
"""What is compared with the recount, and the measure that counts it."""
FAMILIES: Final = {
    "all": "Lynceus",
    "engagement": "Lynceus, CTR alone",
    "engagement,conversion,relevance": "Lynceus, wall",
}
"""By the families of metrics that are counted: all, what was shown and clicked, what the wall shows."""
MOCK_EVENTS: Final = 150_000
"""The mock cluster silently drops what is beyond its few megabytes; this many fit."""
BATCH_BYTES: Final = 128 * 1024
"""Of a producer's batch: what `producers.publisher` sends."""
PATIENCE_S: Final = 300.0
POLL_S: Final = 0.01
LIBRARIES: Final = ("faust-streaming", "aiokafka", "msgspec", "redis", "xxhash", "cramjam", "confluent-kafka")


class Result(NamedTuple):
    """One run of one contender."""

    contender: str
    events: int
    seconds: float
    cpu_seconds: float
    max_rss_mb: float

    @property
    def per_second(self) -> float:
        """Events per second of wall clock."""
        return self.events / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Events per second of CPU, user and system, of all threads."""
        return self.events / self.cpu_seconds


class Place(NamedTuple):
    """Where the contenders meet."""

    bootstrap: str
    api_version: str | None
    kafka: str
    folder: Path

    @property
    def is_mock(self) -> bool:
        """Whether the broker is an imitation."""
        return self.api_version is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=400_000, help="in the topic (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of Lynceus; the median is reported")
    parser.add_argument("--same-events", type=int, default=10_000, help="for Faust, same count; 0: left out")
    parser.add_argument("--tutorial-events", type=int, default=15_000, help="for the tutorial's two counters")
    parser.add_argument("--tuned-events", type=int, default=40_000, help="for the tuned Faust app")
    parser.add_argument("--json", type=Path, help="write the result there as well")
    chosen = parser.parse_args()
    with ExitStack() as open_:
        folder = Path(tempfile.mkdtemp(prefix="lynceus-bench-"))
        open_.callback(shutil.rmtree, folder, ignore_errors=True)
        place = start_kafka(open_, folder)
        number = min(chosen.events, MOCK_EVENTS) if place.is_mock else chosen.events
        print(f"{number} events of the simulated shop, {PARTITIONS} partitions, lz4, {place.kafka}", flush=True)
        records = list(workload.records(number))
        fill(place, WHOLE, records)
        # Turn by turn: what else the machine does then falls on both.
        runs = [lynceus(place, records, n, families) for n in range(chosen.rounds) for families in FAMILIES]
        results = [middle([run for run in runs if run.contender == name]) for name in FAMILIES.values()]
        rounds = [run for run in runs if run.contender == FAMILIES["all"]]
        for variant, topic in PREFIX.items():
            if wanted := getattr(chosen, f"{variant}_events"):
                some = records[: min(wanted, number)]
                fill(place, topic, some)
                results.append(plain(place, variant, topic, some))
    show(results, rounds)
    if chosen.json:
        chosen.json.write_text(json.dumps(report(place, results, rounds), indent=2) + "\n")


def start_kafka(open_: ExitStack, folder: Path) -> Place:
    """Start a real Kafka, or say why it is the mock cluster."""
    try:
        kafka = open_.enter_context(ApacheKafka(Path(".cache/kafka")))
        return Place(kafka.bootstrap, None, f"Apache Kafka {VERSION}", folder)
    except LynceusError as error:
        print(f"NOT a real Kafka: {error}\nWhat follows was measured on librdkafka's mock cluster.", file=sys.stderr)
    changelogs = [f"bench-{variant}-{table}-changelog" for variant, tables in TABLES.items() for table in tables]
    names = (WHOLE, *PREFIX.values(), *changelogs)
    exceptions = ("lynceus.dead-letters", "lynceus.late", "lynceus.inputs")
    mock = MockKafka(dict.fromkeys(names, PARTITIONS) | dict.fromkeys(exceptions, 1))
    return Place(open_.enter_context(mock).bootstrap, KAFKA_API_VERSION, "mock cluster of librdkafka", folder)


def fill(place: Place, topic: str, records: Sequence[Record]) -> None:
    """Write the records to a new topic, keyed by user, compressed as a fast producer would."""
    if not place.is_mock:
        ensure_topics(KafkaSettings(bootstrap=place.bootstrap, events_topic=topic, partitions=PARTITIONS))
    producer = Producer(
        {
            "bootstrap.servers": place.bootstrap,
            "compression.type": "lz4",
            "batch.size": BATCH_BYTES,
            "linger.ms": 20,
            "partitioner": "murmur2_random",
            "acks": "all",
            "queue.buffering.max.messages": len(records) + 1,
            "queue.buffering.max.kbytes": 2**20,
        }
    )
    for record in records:
        producer.produce(topic, record.value, record.key)
        producer.poll(0)
    left = producer.flush(60)
    assert left == 0, f"{left} records were not delivered"


def middle(rounds: Sequence[Result]) -> Result:
    """Return the median round."""
    return sorted(rounds, key=lambda result: result.per_second)[len(rounds) // 2]


def lynceus(place: Place, records: Sequence[Record], number: int, families: str) -> Result:
    """Let the worker count the whole topic into a Redis of its own."""
    with ExitStack() as open_:
        server = open_.enter_context(RedisServer())
        settings = Settings(
            app=f"bench-{number}-{len(families)}",
            counting=CountingSettings(families=families),
            kafka=KafkaSettings(
                bootstrap=place.bootstrap, api_version=place.api_version, events_topic=WHOLE, partitions=PARTITIONS
            ),
            redis=RedisSettings(url=server.url),
            worker=WorkerSettings(metrics_port=0),
        )
        environ = {**os.environ, **configuration.environment(settings)}
        child = Child([sys.executable, "-m", "stream_app", "worker"], place.folder / "worker.log", Path.cwd(), environ)
        open_.callback(child.stop)
        process = psutil.Process(child.pid)
        client = open_.enter_context(redis.Redis.from_url(server.url))
        keys = [layout.partition_key(settings.app, WHOLE, partition) for partition in range(PARTITIONS)]
        deadline = time.monotonic() + PATIENCE_S
        began = cpu = rss = 0.0
        applied = 0
        while applied < len(records):
            assert child.is_running, child.tail()
            assert time.monotonic() < deadline, f"{applied} of {len(records)} counted. {child.tail()}"
            heads = [
                layout.unpack_head(head) for key in keys if isinstance(head := client.hget(key, layout.HEAD), bytes)
            ]
            now, cpu_now = time.perf_counter(), cpu_seconds(process)
            if heads and not began:
                began, cpu = now, cpu_now
            applied = sum(head.applied for head in heads)
            rss = max(rss, process.memory_info().rss)
            time.sleep(POLL_S)  # a poll of our own child: there is nothing to be woken by
        check(FAMILIES[families], stored(client, keys), records)
        return Result(FAMILIES[families], applied, now - began, cpu_now - cpu, rss / 2**20)


def plain(place: Place, variant: str, topic: str, records: Sequence[Record]) -> Result:
    """Let a plain Faust app count the topic in its memory."""
    result = place.folder / f"{variant}.json"
    environ = {
        **os.environ,
        "BENCH_VARIANT": variant,
        "BENCH_BOOTSTRAP": place.bootstrap,
        "BENCH_TOPIC": topic,
        "BENCH_PARTITIONS": str(PARTITIONS),
        "BENCH_EVENTS": str(len(records)),
        "BENCH_RESULT": str(result),
        "BENCH_FOLDER": str(place.folder / variant),
        "BENCH_IS_MOCK": str(int(place.is_mock)),
    }
    command = [sys.executable, "-m", "benchmarks.plain_faust"]
    child = Child(command, place.folder / f"{variant}.log", Path.cwd(), environ)
    process, rss = psutil.Process(child.pid), 0

    def has_finished() -> bool:
        nonlocal rss
        rss = max(rss, process.memory_info().rss)
        return result.exists()

    try:
        assert child.wait_until(has_finished, PATIENCE_S), f"{variant} did not finish: {child.tail()}"
    finally:
        child.kill()
    figures = json.loads(result.read_text())
    counts = {kind: {(s, arm): number for s, arm, number in of} for kind, of in figures["counts"].items()}
    name = f"Faust, {variant}"
    check(name, counts, records)
    return Result(name, figures["events"], figures["seconds"], figures["cpu_seconds"], rss / 2**20)


def stored(client: "redis.Redis", keys: Sequence[str]) -> Counts:
    """Read what was counted by surface and arm from the cells in Redis."""
    sums: dict[str, Counter[tuple[str, str]]] = {}
    for key in keys:
        fields = {name.decode(): value for name, value in client.hgetall(key).items()}  # type: ignore[union-attr]
        places = {name_of(column): at for at, column in enumerate(layout.unpack_layout(fields[layout.LAYOUT]))}
        counted = {kind: places[measure] for kind, measure in KINDS.items() if measure in places}
        sums = {kind: sums.get(kind, Counter()) for kind in counted}
        slices = layout.unpack_slices(fields[layout.SLICES])
        for name in filter(layout.holds_tallies, layout.unpack_directory(fields[layout.DIRECTORY])):
            for number, tally in layout.unpack_rows(fields[name]).items():
                for kind, at in counted.items():
                    sums[kind][slices[number].surface, slices[number].arm] += tally[at]
    return {kind: dict(+of) for kind, of in sums.items()}


def check(contender: str, counts: Counts, records: Sequence[Record]) -> None:
    """Make sure that all that a contender counts is as in the JSON."""
    recounted = workload.recount(record.value for record in records)
    expected = {kind: recounted.get(kind, {}) for kind in counts}
    assert counts == expected, f"{contender} counted {counts}, expected {expected}"


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def show(results: Sequence[Result], rounds: Sequence[Result]) -> None:
    """Print the table."""
    first = results[0]
    print(f"\n{'':<20}{'events':>9}{'seconds':>9}{'events/s':>10}{'per CPU s':>11}{'max RSS':>9}{'ratio':>8}{'CPU':>7}")
    for result in results:
        print(
            f"{result.contender:<20}{result.events:>9}{result.seconds:>9.2f}{result.per_second:>10,.0f}"
            f"{result.per_cpu_second:>11,.0f}{result.max_rss_mb:>6.0f} MB"
            f"{first.per_second / result.per_second:>7.1f}x{first.per_cpu_second / result.per_cpu_second:>6.1f}x"
        )
    print(f"Lynceus, all rounds: {', '.join(f'{result.per_second:,.0f}' for result in rounds)} events/s")
    print("All counts equal the recount. Ratio: Lynceus against the row, by wall clock and by CPU.")


def report(place: Place, results: Sequence[Result], rounds: Sequence[Result]) -> dict[str, Any]:
    """Return everything measured, and on what."""
    first = results[0]
    return {
        "machine": machine(),
        "kafka": place.kafka,
        "partitions": PARTITIONS,
        "compression": "lz4",
        "counts_equal_recount": True,  # `check` has passed for all, or there is no report
        "results": [
            {
                **{name: round(v, 2) if isinstance(v, float) else v for name, v in result._asdict().items()},
                "events_per_second": round(result.per_second),
                "events_per_cpu_second": round(result.per_cpu_second),
                "lynceus_times_faster": round(first.per_second / result.per_second, 1),
                "lynceus_times_less_cpu": round(first.per_cpu_second / result.per_cpu_second, 1),
            }
            for result in results
        ],
        "lynceus_rounds_events_per_second": [round(result.per_second) for result in rounds],
        "lynceus_median_events_per_cpu_second": round(median(result.per_cpu_second for result in rounds)),
    }


def machine() -> dict[str, Any]:
    """Describe the machine: what matters for the figures, and nothing that names it."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()
