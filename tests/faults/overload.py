"""What too much does: a burst, an hour's backlog, mutated bytes, a million items or slices.

One worker, set up as by default, on a real Kafka and a Redis that writes an append-only file.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, Self

import psutil
import redis

from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.core.slices import OTHER
from stream_app.embedded import RedisServer
from stream_app.settings import KafkaSettings, RedisSettings, Settings, WorkerSettings
from tests.faults.figures import Figures, difference, high_water_mb
from tests.faults.ground import AGO_MS, KAFKA_CACHE
from tests.faults.load import Carousel, Record, Tap, fill
from tests.faults.one_by_one import compare
from tests.fleet import Fleet

SESSIONS_PER_S: Final = 200.0
"""Of event time: about 1,140 events a second."""
BASE, FACTOR, SPIKE_S = 2_500, 10, 60.0
"""With every family and all kinds of events a worker counts some 15,000 records/s: a sixth of that before the burst."""
BACKLOG: Final = 3_600_000
"""An hour at 1,000 events/s."""
MUTATED_OF: Final = 400_000
MUTATED: Final = 0.05
ROUNDS: Final = 5
DISTINCT: Final = 1_000_000
RSS_MB: Final = 512
PARTITIONS: Final = 4
"""With every family counted a worker of 512 MB has room for so many (docs/sizing.md)."""
SLOW_US: Final = 5_000
PATIENCE_S: Final = 240.0
_AGO_MS: Final = 300_000


class Counted(NamedTuple):
    """What one worker did with a topic that was filled before."""

    seconds: float
    cpu_s: float
    rss_mb: float
    ended: bool


class Stage:
    """A Kafka, a Redis and at most one worker. Mutable state: the settings of the run that is on, its fleet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open = ExitStack()
        self._runs = 0

    def __enter__(self) -> Self:
        with ExitStack() as open_:
            self.broker = open_.enter_context(ApacheKafka(KAFKA_CACHE))
            (self._directory / "redis").mkdir()
            directives = {
                "dir": str(self._directory / "redis"), "appendonly": "yes", "appendfsync": "everysec",
                "slowlog-log-slower-than": str(SLOW_US), "slowlog-max-len": "4096",
            }  # fmt: skip
            self.redis = open_.enter_context(RedisServer(directives))
            self.client: redis.Redis = open_.enter_context(redis.Redis.from_url(self.redis.url))
            self._open = open_.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def create(self, topic: str) -> KafkaSettings:
        """Create the topic, unless it is there; return what names it."""
        settings = KafkaSettings(bootstrap=self.broker.bootstrap, events_topic=topic, partitions=PARTITIONS)
        ensure_topics(settings)
        return settings

    def prepare(self, topic: str) -> Settings:
        """Create the topic; return settings of an application of its own that counts it."""
        self._runs += 1
        return Settings(
            app=f"measure-{self._runs}",
            log_format="json",
            kafka=self.create(topic),
            redis=RedisSettings(url=self.redis.url),
            worker=WorkerSettings(metrics_port=0),
        )

    def count(self, fleet: Fleet, records: int) -> Counted:
        """Let a worker count so many records; the clock runs from its first claim."""
        worker = fleet.start()
        fleet.wait(lambda: bool(fleet.stored.heads()), "the first claim")
        process = psutil.Process(worker.pid)
        began, before = time.monotonic(), process.cpu_times()
        wait(fleet, worker, records)
        times = process.cpu_times()
        cpu_s = times.user + times.system - before.user - before.system
        return Counted(time.monotonic() - began, cpu_s, high_water_mb(worker.pid), worker.is_running)

    def slow(self) -> str:
        """Say how many commands took Redis longer than the bound, and how long the longest."""
        entries = self.client.slowlog_get(4096)
        longest = max((entry["duration"] for entry in entries), default=0) / 1000
        return f"{len(entries)} commands over {SLOW_US // 1000} ms" + (f", longest {longest:.0f} ms" if entries else "")


def wait(fleet: Fleet, worker: Child, records: int) -> None:
    """Return once so many records are counted; fail when the worker ends or does not get there."""
    deadline = time.monotonic() + PATIENCE_S
    while (applied := fleet.stored.applied()) < records:
        assert worker.is_running, worker.tail()
        assert time.monotonic() < deadline, f"{applied} of {records} counted: {worker.tail()}"
        time.sleep(0.02)  # what is stored is polled: Redis has nothing to wake us with


def spike(seed: int, directory: Path, scale: float) -> Figures:
    """Pour at a steady rate, ten times as much for a minute, then steadily again."""
    carousel = Carousel(seed, time.time_ns() // 1_000_000 - AGO_MS, SESSIONS_PER_S)
    with Stage(directory) as stage, Fleet(stage.prepare("spike"), directory) as fleet:
        worker = fleet.start()
        fleet.wait(lambda: len(fleet.stored.owners()) == PARTITIONS, "all partitions claimed")
        tap = Tap(stage.broker.bootstrap, "spike", carousel.records(), BASE)
        tap.start()
        time.sleep(10)  # the steady rate before the burst is part of what is measured
        before_mb, poured = high_water_mb(worker.pid), tap.sent
        began, deepest, tap.rate = time.monotonic(), 0, BASE * FACTOR
        while (lasted := time.monotonic() - began) < SPIKE_S * scale:
            deepest = max(deepest, tap.sent - fleet.stored.applied())
            time.sleep(0.1)  # as in `wait`
        tap.rate, poured = BASE, tap.sent - poured
        deepest = max(deepest, tap.sent - fleet.stored.applied())
        ended = time.monotonic()
        while tap.sent - fleet.stored.applied() > BASE:
            assert worker.is_running, worker.tail()
            assert time.monotonic() - ended < PATIENCE_S, worker.tail()
            time.sleep(0.05)  # as in `wait`
        recovered = time.monotonic() - ended
        sent = tap.close()
        wait(fleet, worker, sent)
        rss = high_water_mb(worker.pid)
        verdict = difference(fleet.stored, *carousel.expected(sent))
        told = {
            "poured in the burst": f"{poured:,} records in {lasted:.0f} s, {poured / lasted:,.0f}/s",
            "deepest backlog": f"{deepest:,} records",
            "seconds until the backlog was below a second's worth": f"{recovered:.1f}",
            "max RSS": f"{rss:.0f} MB (before the burst {before_mb:.0f} MB)",
            "Redis": stage.slow(),
            "counted": f"{sent:,} records, {verdict}",
        }
    return Figures(
        f"one worker, {PARTITIONS} partitions, {BASE:,} records/s, {FACTOR} times as many for {SPIKE_S * scale:.0f} s",
        told,
        {
            f"RSS <= {RSS_MB} MB": rss <= RSS_MB,
            "recovered <= 120 s": recovered <= 120,
            "burst beyond capacity": deepest > BASE * FACTOR,
            "exact": "exact" in verdict,
        },
    )


def backlog(seed: int, directory: Path, scale: float) -> Figures:
    """Fill a topic with an hour's events, then start a worker."""
    number = round(BACKLOG * scale)
    carousel = Carousel(seed, time.time_ns() // 1_000_000 - AGO_MS, SESSIONS_PER_S)
    with Stage(directory) as stage, Fleet(stage.prepare("backlog"), directory) as fleet:
        fill(stage.broker.bootstrap, "backlog", carousel.records(), number)
        done = stage.count(fleet, number)
        verdict = difference(fleet.stored, *carousel.expected(number))
        told = {
            "seconds to catch up": f"{done.seconds:.1f} ({number / done.seconds:,.0f} records/s)",
            "max RSS": f"{done.rss_mb:.0f} MB",
            "Redis": stage.slow(),
            "counted": f"{number:,} records, {verdict}",
        }
    return Figures(
        f"one worker, {PARTITIONS} partitions, {number:,} records waiting for it",
        told,
        {f"RSS <= {RSS_MB} MB": done.rss_mb <= RSS_MB, "exact": "exact" in verdict},
    )


def mutated(seed: int, directory: Path, scale: float) -> Figures:
    """Count the same records clean and with mutated bytes in one of twenty, in turn."""
    number = round(MUTATED_OF * scale)
    now = time.time_ns() // 1_000_000
    carousel = Carousel(seed, now - _AGO_MS + 100_000, SESSIONS_PER_S * 2)
    seconds: dict[str, list[float]] = {"clean": [], "mutated": []}
    cpu: dict[str, list[float]] = {"clean": [], "mutated": []}
    restarts, verdicts = 0, set()
    with Stage(directory) as stage:
        for topic, records in (("clean", carousel.records()), ("mutated", _mutated(carousel.records(), seed))):
            stage.create(topic)
            fill(stage.broker.bootstrap, topic, records, number)
        for turn in range(2 * ROUNDS):
            topic = ("clean", "mutated", "mutated", "clean")[turn % 4]
            with Fleet(stage.prepare(topic), directory) as fleet:
                done = stage.count(fleet, number)
                restarts += not done.ended
                seconds[topic].append(done.seconds)
                cpu[topic].append(done.cpu_s)
                if topic == "mutated" and not any(verdicts):
                    verdicts.add(compare(fleet.settings, fleet.stored))
                outcomes = fleet.stored.outcomes()
                verdicts.add("" if outcomes.total() == number else f"WRONG: {outcomes}")
        verdict = "; ".join(sorted(filter(None, verdicts)))
    ratio = median(seconds["clean"]) / median(seconds["mutated"])
    rates = {topic: ", ".join(f"{number / s:,.0f}" for s in of) for topic, of in seconds.items()}
    return Figures(
        f"one worker, {PARTITIONS} partitions, {number:,} records; 1 to 4 bytes changed in {MUTATED:.0%} of them",
        {
            "clean, records/s": rates["clean"],
            "mutated, records/s": rates["mutated"],
            "ratio of the medians": f"{ratio:.3f}",
            "the same by CPU time of the worker": f"{median(cpu['clean']) / median(cpu['mutated']):.3f}",
            "workers that ended": str(restarts),
            "counted": verdict,
        },
        {"ratio >= 0.90": ratio >= 0.9, "no restart": restarts == 0, "exact": "WRONG" not in verdict},
    )


def _mutated(records: Iterator[Record], seed: int) -> Iterator[Record]:
    chance = random.Random(f"mutated {seed}")
    for record in records:
        if chance.random() < MUTATED:
            raw = bytearray(record.value)
            for _ in range(chance.randint(1, 4)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
            yield Record(record.key, bytes(raw))
        else:
            yield record


def cardinality(seed: int, directory: Path, scale: float) -> Figures:
    """Count a million distinct items of as many users, then a million distinct slices."""
    told, met = {}, {}
    number = round(DISTINCT * scale)
    start = time.time_ns() // 1_000_000 - AGO_MS
    with Stage(directory) as stage:
        for topic, records in (("items", _items(seed, start)), ("slices", _slices(seed, start))):
            with Fleet(stage.prepare(topic), directory) as fleet:
                fill(stage.broker.bootstrap, topic, records, number)
                done = stage.count(fleet, number)
                heads = fleet.stored.heads()
                totals = fleet.stored.totals()
                counted = sum(counts["impressions"] for counts in totals.values())
                others = sum(counts["impressions"] for (surface, _), counts in totals.items() if surface == OTHER)
                forgotten = sum(of.forgotten for head in heads for of in head.remembered.values())
                overflowed = sum(head.overflowed for head in heads)
                told[f"{number:,} {topic}"] = (
                    f"max RSS {done.rss_mb:.0f} MB, {number / done.seconds:,.0f} records/s, "
                    f"{overflowed:,} counted under other ({others:,} without their surface), "
                    f"{forgotten:,} remembered entries made room, "
                    f"{fleet.stored.slices()} slices stored, {counted:,} impressions in all cells"
                )
                whole = PARTITIONS * fleet.settings.counting.max_slices
                met[f"{topic}: RSS <= {RSS_MB} MB"] = done.rss_mb <= RSS_MB
                met[f"{topic}: nothing lost"] = counted == number == Counter(fleet.stored.outcomes())["counted"]
                met[f"{topic}: overflow counted"] = overflowed == (number - whole if topic == "slices" else 0)
        told["Redis"] = stage.slow()
    return Figures(
        f"one worker, {PARTITIONS} partitions, {number:,} impressions each of another user and item", told, met
    )


def _items(seed: int, start_ms: int) -> Iterator[Record]:
    return _bomb(seed, start_ms, b'"surface":"home.hero","arm":"holdout"')


def _slices(seed: int, start_ms: int) -> Iterator[Record]:
    kinds = (b'"surface":"s-%d","arm":"holdout"', b'"surface":"home.hero","arm":"holdout","segment":"g-%d"')
    chance = random.Random(f"slices {seed}")
    records = _bomb(seed, start_ms, b"@")
    for number, record in enumerate(islice(records, DISTINCT)):
        yield Record(record.key, record.value.replace(b"@", chance.choice(kinds) % number))


def _bomb(seed: int, start_ms: int, where: bytes) -> Iterator[Record]:
    for n in range(DISTINCT):
        user = b"u-%d-%d" % (seed, n)
        yield Record(
            user,
            b'{"type":"impression","id":"%d","ts":%d,"user":"%s","session":"%s",%s,"decision":"d-%d","item":"i-%d",'
            b'"position":1}' % (n, start_ms + n, user, user, where, n, n),
        )
