"""Real workers for tests: child processes over a real Kafka and a real Redis, and what they have stored."""

import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

import redis
from confluent_kafka import Producer
from msgspec import structs

from producers.world import EVENTS_PER_SESSION, World
from stream_app.child import Child
from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.events import AnyEvent
from stream_app.core.slices import Slice
from stream_app.core.tally import Tally
from stream_app.metrics.catalogue import PLAN, plan_of
from stream_app.settings import CountingSettings, KafkaSettings, RedisSettings, Settings, WorkerSettings, environment

PATIENCE_S = 90.0
MORNING_MS = 1_767_603_600_000
"""Monday, 2026-01-05T09:00Z: as many come then as on the mean of a week, or a few more."""


def make_settings(kafka: KafkaSettings, redis_url: str, partitions: int = 4, **counting: Any) -> Settings:
    """Return settings under an application name that nothing else has."""
    kafka = kafka.model_copy(update={"partitions": partitions, "session_timeout_s": 6.0})
    return Settings(
        app=f"test-{uuid.uuid4().hex[:12]}",
        log_format="json",
        kafka=kafka,
        redis=RedisSettings(url=redis_url),
        counting=CountingSettings(**counting),
        worker=WorkerSettings(flush_interval_s=0.05, metrics_port=0),
    )


def shop_events(count: int, seed: int = 1, before_ms: int | None = None) -> list[bytes]:
    """Return the first `count` events of a simulated shop, encoded; the newest happened now.

    Never later: what is in the future when it is sent first is not any more when it is sent again. What happens is that
    of one morning, whenever it is asked for: a shop's nights are long, and a test must find the same at any hour.
    """
    print(f"shop seed {seed}")  # noqa: T201  # a failing run shows how to repeat it
    now = time.time_ns() // 1_000_000 if before_ms is None else before_ms
    events = list(islice(World(seed).events(MORNING_MS, count / EVENTS_PER_SESSION / 500), count))
    by_ms = now - max(event.ts for event in events)
    return [codec.encode(_moved(event, by_ms)) for event in events]


def _moved(event: AnyEvent, by_ms: int) -> AnyEvent:
    times = {name: getattr(event, name, None) for name in ("ts", "context_ts")}
    return structs.replace(event, **{name: ts + by_ms for name, ts in times.items() if ts is not None})


def send(kafka: KafkaSettings, raws: Iterable[bytes | None], topic: str = "", by: Producer | None = None) -> int:
    """Produce raw records quickly, keyed by user where there is one; return how many.

    A new producer waits half a second for its id: who sends often does it `by` one of its own.
    """
    producer = by or producer_of(kafka)
    count = 0
    for raw in raws:
        producer.produce(topic or kafka.events_topic, raw, user_of(raw))
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0
    return count


def producer_of(kafka: KafkaSettings) -> Producer:
    """Return a producer that doubles nothing."""
    return Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "linger.ms": 5,
            "compression.type": "lz4",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )


def user_of(raw: bytes | None) -> bytes:
    """Return the key of a record: its user."""
    at = (raw or b"").find(b'"user":"')
    return (raw or b"")[at + 8 : (raw or b"").find(b'"', at + 8)] if at >= 0 else b"?"


class Stored:
    """What one application has stored in Redis."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        password = settings.redis.password.get_secret_value() if settings.redis.password else None
        self._client: redis.Redis = redis.Redis.from_url(settings.redis.url, password=password)
        self.partitions = settings.kafka.partitions
        families = settings.counting.families
        plan = PLAN if families == "all" else plan_of(families.split(","))
        self._measures = [column.partition(":")[0] for column in plan.columns]

    def close(self) -> None:
        self._client.close()

    def fields(self, partition: int) -> dict[bytes, bytes]:
        """Return the hash of a partition."""
        kafka = self._settings.kafka
        return dict(self._client.hgetall(layout.partition_key(self._settings.app, kafka.events_topic, partition)))

    def heads(self) -> list[layout.Head]:
        """Return the heads of the partitions that have one."""
        return [layout.unpack_head(head) for head in self._of_each(layout.HEAD) if head]

    def applied(self) -> int:
        """Return how many records are counted."""
        return sum(head.applied for head in self.heads())

    def owners(self) -> dict[int, str]:
        """Return the worker of each partition."""
        alive = enumerate(self._of_each(layout.ALIVE))
        return {partition: layout.unpack_alive(packed).worker for partition, packed in alive if packed}

    def outcomes(self) -> Counter[str]:
        """Return the outcomes of all partitions, zeros left out."""
        return +sum((Counter(head.outcomes) for head in self.heads()), Counter())

    def rejected(self) -> Counter[str]:
        """Return the reasons of all partitions."""
        return sum((Counter(head.rejected) for head in self.heads()), Counter())

    def slices(self) -> int:
        """Return how many slices all partitions keep."""
        partitions = range(self._settings.kafka.partitions)
        stored = (self.fields(partition).get(layout.SLICES.encode()) for partition in partitions)
        return sum(len(layout.unpack_slices(packed)) for packed in stored if packed)

    def totals(self) -> dict[tuple[str, str], dict[str, int]]:
        """Return all cells added up by (surface, arm), zeros left out."""
        sums: dict[tuple[str, str], Tally] = {}
        for partition in range(self.partitions):
            fields = self.fields(partition)
            if not fields:
                continue
            slices: list[Slice] = layout.unpack_slices(fields[layout.SLICES.encode()])
            for name in filter(layout.holds_tallies, layout.unpack_directory(fields[layout.DIRECTORY.encode()])):
                for number, tally in layout.unpack_rows(fields[name.encode()]).items():
                    key = slices[number].surface, slices[number].arm
                    sums[key] = sums.get(key, Tally.zero(len(self._measures))) + tally
        named = {
            key: {name: amount for name, amount in zip(self._measures, tally, strict=True) if amount}
            for key, tally in sums.items()
        }
        return {key: counts for key, counts in named.items() if counts}

    def _of_each(self, field: str) -> list[bytes | None]:
        """Return a field of every partition's hash, in one exchange: it is asked all the time."""
        topic = self._settings.kafka.events_topic
        with self._client.pipeline(transaction=False) as asked:
            for partition in range(self.partitions):
                asked.hget(layout.partition_key(self._settings.app, topic, partition), field)
            return list(asked.execute())


class Fleet:
    """Workers of one application. Ends them all, whatever happens."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.directory = directory
        self.workers: list[Child] = []
        self.stored = Stored(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.is_running:
                worker.kill()
        self.stored.close()

    def start(self, environ: Mapping[str, str] | None = None) -> Child:
        """Start one more worker."""
        import os

        log = self.directory / f"worker-{len(self.workers)}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LYNCEUS_")}
        worker = Child(
            [sys.executable, "-m", "stream_app", "worker"],
            log,
            self.directory,
            inherited | environment(self.settings) | dict(environ or {}),
        )
        self.workers.append(worker)
        return worker

    def wait(self, is_true: Callable[[], bool], what: str) -> None:
        """Return once `is_true()`; fail with the workers' last words after a while."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_true():
            if time.monotonic() > deadline:
                words = "\n".join(worker.tail() for worker in self.workers)
                raise AssertionError(f"never came true: {what}; {self.stored.heads()}\n{words}")
            time.sleep(0.01)  # the stored state is polled: Redis has nothing to wake us with

    def wait_applied(self, records: int) -> None:
        """Return once that many records are counted."""
        self.wait(lambda: self.stored.applied() >= records, f"{records} records counted")

    def log(self) -> str:
        """Return what all workers printed."""
        return "".join(worker.log.read_text() for worker in self.workers)


@contextmanager
def fleet(settings: Settings, directory: Path) -> Iterator[Fleet]:
    """Yield a fleet without workers."""
    with Fleet(settings, directory) as started:
        yield started
