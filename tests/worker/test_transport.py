"""The batch transport against librdkafka, on a log with all that a log can hold: both must read the same records.

offsets --> |compacted: holes|none|gzip|snappy|lz4|zstd|tombstones|txn, kept|txn, taken back|kept|open txn| behind it
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.core import codec
from stream_app.core.events import Impression
from stream_app.settings import KafkaSettings
from tests.fleet import Fleet, fleet, make_settings

PARTITIONS = 2
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
ISOLATIONS = ("read_committed", "read_uncommitted")
TOMBSTONES = 10
KEYS, VERSIONS = 60, 5
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def cleaning_kafka(kafka_cache: Path) -> Iterator[str]:
    """Yield a broker that compacts at once: by itself it would look every 15 s."""
    with ApacheKafka(kafka_cache, properties={"log.cleaner.backoff.ms": "100"}) as broker:
        yield broker.bootstrap


class Writer:
    """Writes impressions whose surface says what kind of record they are. Mutable state: how many there were."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._options = {"bootstrap.servers": bootstrap, "log_level": 0, "linger.ms": 20}
        self._topic = topic
        self._count = 0
        self.now_ms = time.time_ns() // 1_000_000

    def producer(self, **options: object) -> Producer:
        return Producer(self._options | {name.replace("_", "."): value for name, value in options.items()})

    def write(self, producer: Producer, surface: str, count: int, key: Callable[[int], str] = str) -> None:
        """Write events to both partitions in turn; each has an id, and as key what `key` makes of its number."""
        for _ in range(count):
            number = self._count
            self._count += 1
            event = Impression(
                id=f"i{number}", ts=self.now_ms - 180_000, user="u", decision=f"d{number}", item="A", position=1,
                surface=surface, arm="holdout",
            )  # fmt: skip
            self._produce(producer, key(number), codec.encode(event), number % PARTITIONS, self.now_ms)

    def _produce(self, producer: Producer, key: str, value: bytes | None, partition: int, at_ms: int) -> None:
        producer.produce(self._topic, value, key, partition, timestamp=at_ms)

    def write_compacted(self) -> None:
        """Write each of some keys several times, in a segment that ends before anything else is written."""
        producer = self.producer(compression_type="gzip")
        now, self.now_ms = self.now_ms, self.now_ms - 90_000
        # KEYS is even, as PARTITIONS: a key stays in its partition.
        self.write(producer, "compacted", KEYS * VERSIONS, key=lambda number: f"again-{number % KEYS}")
        assert producer.flush(PATIENCE_S) == 0
        self.now_ms = now
        self.write(producer, "next-segment", PARTITIONS)
        assert producer.flush(PATIENCE_S) == 0

    def write_kept(self) -> None:
        """Write with every codec, tombstones, and transactions that were committed and taken back."""
        for name in CODECS:
            producer = self.producer(compression_type=name)
            self.write(producer, name, 300)
            assert producer.flush(PATIENCE_S) == 0
        for number in range(TOMBSTONES):
            self._produce(producer, f"gone-{number}", None, number % PARTITIONS, self.now_ms)
        assert producer.flush(PATIENCE_S) == 0
        transactional = self.producer(transactional_id="t1", compression_type="lz4")
        transactional.init_transactions(PATIENCE_S)
        for surface, is_kept in (("committed", True), ("aborted", False), ("aborted", False), ("committed", True)):
            transactional.begin_transaction()
            self.write(transactional, surface, 100)
            assert transactional.flush(PATIENCE_S) == 0
            transactional.commit_transaction(PATIENCE_S) if is_kept else transactional.abort_transaction(PATIENCE_S)

    def open_transaction(self) -> Producer:
        """Write in a transaction that stays open, and something behind it."""
        transactional = self.producer(transactional_id="t2", compression_type="zstd")
        transactional.init_transactions(PATIENCE_S)
        transactional.begin_transaction()
        self.write(transactional, "open", 50)
        assert transactional.flush(PATIENCE_S) == 0
        self.write_behind()
        return transactional

    def write_behind(self) -> None:
        producer = self.producer(compression_type="snappy")
        self.write(producer, "behind", 20)
        assert producer.flush(PATIENCE_S) == 0


def read(bootstrap: str, topic: str, isolation: str) -> Counter[str]:
    """Return how many records of each surface librdkafka reads, tombstones apart."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reference",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    found: Counter[str] = Counter()
    ended = set()
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        deadline = time.monotonic() + PATIENCE_S
        while len(ended) < PARTITIONS:
            assert time.monotonic() < deadline, "librdkafka never came to the end"
            for message in consumer.consume(1_000, 0.5):
                if message.error() is None:
                    value = message.value()
                    found["tombstone" if value is None else json.loads(value)["surface"]] += 1
                else:
                    assert message.error().code() == KafkaError._PARTITION_EOF
                    ended.add(message.partition())
    finally:
        consumer.close()
    return found


def configure(admin: AdminClient, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(PATIENCE_S)


def counted(running: Fleet) -> Counter[str]:
    """Return how many records of each surface the worker has counted, tombstones apart."""
    found = Counter({surface: counts["impressions"] for (surface, _), counts in running.stored.totals().items()})
    return found + Counter({"tombstone": running.stored.rejected()["tombstone"]})


def test_the_worker_reads_what_librdkafka_reads(cleaning_kafka: str, redis_url: str, tmp_path: Path) -> None:
    """Holes, codecs, tombstones, transactions kept, taken back and open: the same records, in either isolation."""
    kafka = KafkaSettings(bootstrap=cleaning_kafka)
    topic = kafka.events_topic
    admin = AdminClient({"bootstrap.servers": cleaning_kafka, "log_level": 0})
    compacted = {"cleanup.policy": "compact", "segment.ms": "60000", "min.cleanable.dirty.ratio": "0.0001"}
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config=compacted)])[topic].result(PATIENCE_S)
    ensure_topics(kafka)
    writer = Writer(cleaning_kafka, topic)
    writer.write_compacted()
    deadline = time.monotonic() + PATIENCE_S
    while (left := read(cleaning_kafka, topic, "read_committed")["compacted"]) > KEYS:
        assert time.monotonic() < deadline, f"{left} records of {KEYS} keys were never compacted"
    configure(admin, topic, "cleanup.policy", "delete")  # what is written from here on stays as it is
    writer.write_kept()
    transactional = writer.open_transaction()

    with ExitStack() as stack:
        workers = {}
        for isolation in ISOLATIONS:
            settings = make_settings(kafka.model_copy(update={"isolation": isolation}), redis_url, PARTITIONS)
            folder = tmp_path / isolation
            folder.mkdir()
            workers[isolation] = stack.enter_context(fleet(settings, folder))
            workers[isolation].start()

        def read_by_both() -> dict[str, tuple[Counter[str], Counter[str]]]:
            compared = {}
            for isolation, running in workers.items():
                expected = read(cleaning_kafka, topic, isolation)
                running.wait_applied(expected.total())
                compared[isolation] = expected, counted(running)
            return compared

        while_open = read_by_both()
        transactional.abort_transaction(PATIENCE_S)
        writer.write_behind()
        at_the_end = read_by_both()

    kept = Counter(dict.fromkeys(CODECS, 300)) + Counter(
        {"compacted": KEYS, "next-segment": PARTITIONS, "tombstone": TOMBSTONES, "committed": 200}
    )
    assert {name: expected for name, (expected, _) in while_open.items()} == {
        name: found for name, (_, found) in while_open.items()
    }
    assert {name: expected for name, (expected, _) in at_the_end.items()} == {
        name: found for name, (_, found) in at_the_end.items()
    }
    assert kept == while_open["read_committed"][0]
    assert kept + Counter({"behind": 40}) == at_the_end["read_committed"][0]
    assert kept + Counter({"behind": 40, "aborted": 200, "open": 50}) == at_the_end["read_uncommitted"][0]
