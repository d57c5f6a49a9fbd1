"""What a log can do to a worker while it runs: grow partitions, take transactions back, be compacted, leap ahead."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.settings import KafkaSettings, Settings
from tests.fleet import fleet, make_settings, send, shop_events, user_of
from tests.recount import RECOUNTED_FAMILIES, known, read, recount
from tests.worker.test_counting import assert_exact

PATIENCE_S = 60.0
LEAP = 10_000_000


@pytest.fixture
def settings(kafka_settings: KafkaSettings, redis_url: str) -> Settings:
    made = make_settings(kafka_settings, redis_url, partitions=2, families=RECOUNTED_FAMILIES)
    ensure_topics(made.kafka)
    return made


# -- partitions are added -------------------------------------------------------------------------------------------


def test_added_partitions_are_counted_too(settings: Settings, tmp_path: Path) -> None:
    """K5: two partitions become four under a running worker: claimed, counted, the old ones say it."""
    kafka = settings.kafka
    with fleet(settings, tmp_path) as running:
        running.start()
        events = shop_events(8_000, seed=21)
        sent = send(kafka, events[:4_000])
        running.wait_applied(sent)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        admin.create_partitions([NewPartitions(kafka.events_topic, 4)])[kafka.events_topic].result(30)
        running.stored.partitions = 4
        running.wait(lambda: len(running.stored.owners()) == 4, "four partitions claimed")
        sent += send(kafka, events[4_000:])
        running.wait_applied(sent)
        running.wait(lambda: all(head.partitions == 4 for head in running.stored.heads()), "all know of each other")
        assert_exact(running)
        assert [True, True, False, False] == [head.rekeyed_ms > 0 for head in running.stored.heads()]
        assert len(running.workers) == 1


# -- transactions, compaction ---------------------------------------------------------------------------------------


def transactions(kafka: KafkaSettings, name: str, runs: list[list[bytes]]) -> Iterator[None]:
    """Write each run of events in a transaction; every other one is taken back. Yield before each ends."""
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "log_level": 0,
            "linger.ms": 5,
            "compression.type": "gzip",
            "transactional.id": f"{kafka.events_topic}-{name}",
        }
    )
    producer.init_transactions(PATIENCE_S)
    for number, run in enumerate(runs):
        producer.begin_transaction()
        for raw in run:
            producer.produce(kafka.events_topic, raw, user_of(raw))
        assert producer.flush(PATIENCE_S) == 0
        yield
        producer.abort_transaction(PATIENCE_S) if number % 2 else producer.commit_transaction(PATIENCE_S)


def test_what_a_transaction_took_back_is_never_counted(settings: Settings, tmp_path: Path) -> None:
    """K7: two producers' transactions, interleaved, half of them taken back, another worker in between: exact."""
    events = shop_events(12_000, seed=23)
    runs = [events[begin:end] for begin, end in pairwise(range(0, 12_001, 500))]
    kept = 6_000
    with fleet(settings, tmp_path) as running:
        first = running.start()
        ending = [transactions(settings.kafka, name, runs[at::2]) for at, name in enumerate("ab")]
        for number in range(len(runs) // 2):
            if number == len(runs) // 4:
                running.wait(lambda: running.stored.applied() > 0, "something counted")
                first.stop()
                running.start()
            for one in ending:
                next(one)
        for one in ending:
            assert next(one, "ended") == "ended"
        running.wait_applied(kept)
        expected, outcomes = recount(
            read(settings.kafka.bootstrap, settings.kafka.events_topic, isolation_level="read_committed")
        )
        assert (outcomes.total(), expected, outcomes) == (
            kept,
            known(running.stored.totals()),
            running.stored.outcomes(),
        )


def configure(kafka: KafkaSettings, **values: str) -> None:
    """Change settings of the topic of events."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in values.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, kafka.events_topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(30)


def first_offset(kafka: KafkaSettings) -> int:
    """Return the offset of the first record that is still in partition 0."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "first", "log_level": 0})
    try:
        consumer.assign([TopicPartition(kafka.events_topic, 0, OFFSET_BEGINNING)])
        found = consumer.poll(60)
        assert found is not None
        return int(found.offset())
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def own_kafka(kafka_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApacheKafka, Path]]:
    """Yield a broker that may be killed, and where its data are. It compacts at once, not when 15 s are over."""
    folder = tmp_path_factory.mktemp("kafka")
    with ApacheKafka(kafka_cache, directory=folder, properties={"log.cleaner.backoff.ms": "100"}) as broker:
        yield broker, folder
    shutil.rmtree(folder, ignore_errors=True)


def own_settings(broker: ApacheKafka, redis_url: str, name: str) -> Settings:
    suffixes = {"events_topic": "", "dead_letters_topic": ".dead", "late_topic": ".late", "inputs_topic": ".inputs"}
    topics = {setting: f"{name}{suffix}" for setting, suffix in suffixes.items()}
    made = make_settings(KafkaSettings(bootstrap=broker.bootstrap, **topics), redis_url, partitions=1)
    ensure_topics(made.kafka)
    return made


def test_compaction_takes_nothing_from_what_was_counted(
    own_kafka: tuple[ApacheKafka, Path], redis_url: str, tmp_path: Path
) -> None:
    """K7: all that a worker counted is compacted away behind it, the last record too: the next one goes on exactly."""
    settings = own_settings(own_kafka[0], redis_url, "compacted")
    kafka = settings.kafka
    with fleet(settings, tmp_path) as running:
        events = shop_events(3_000, seed=24)
        before = events[:2_000]
        sent = send(kafka, before)
        first = running.start()
        running.wait_applied(sent)
        first.stop()
        configure(kafka, cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.0001")
        # The same users again, so that nothing is left of what they did before; then others, in further segments.
        send(kafka, before)
        send(kafka, events[2_000:])
        running.wait(lambda: first_offset(kafka) >= len(before), "what was counted is compacted away")
        configure(kafka, cleanup_policy="delete")  # what is left now, stays
        left = read(kafka.bootstrap, kafka.events_topic)[0]
        assert 0 < len(left) < 3_000
        running.start()
        running.wait_applied(len(before) + len(left))
        expected, outcomes = recount({0: [*before, *left]})
        assert (known(running.stored.totals()), running.stored.outcomes()) == (expected, outcomes)
        (head,) = running.stored.heads()
        assert head.skipped_offsets >= 3_000 - len(left)


# -- the log leaps --------------------------------------------------------------------------------------------------


def leap(log: Path, offset: int, by: int) -> None:
    """Add `by` to the offsets of all batches from `offset` on, in the file of a broker that is down.

    A batch begins with its base offset (8 bytes) and its length (4 bytes); its checksum covers neither.
    """
    octets = bytearray(log.read_bytes())
    at = 0
    while at < len(octets):
        base, length = int.from_bytes(octets[at : at + 8]), int.from_bytes(octets[at + 8 : at + 12])
        if base >= offset:
            octets[at : at + 8] = (base + by).to_bytes(8)
        at += 12 + length
    log.write_bytes(octets)
    for derived in (*log.parent.glob("*.*index"), *log.parent.glob("*.snapshot")):
        derived.unlink()  # the broker makes them anew from the log


def test_a_leap_of_ten_million_offsets_is_passed_over(
    own_kafka: tuple[ApacheKafka, Path], redis_url: str, tmp_path: Path
) -> None:
    """K9: between two records ten million offsets are missing: exact, the hole is noted, it takes no memory."""
    broker, folder = own_kafka
    settings = own_settings(broker, redis_url, "leaping")
    kafka = settings.kafka
    with fleet(settings, tmp_path) as running:
        events = shop_events(4_000, seed=26)
        before = send(kafka, events[:2_000])
        first = running.start()
        running.wait_applied(before)
        memory = psutil.Process(first.pid).memory_info().rss
        first.stop()
        sent = before + send(kafka, events[2_000:])
        broker.kill()
        leap(next((folder / "data" / "leaping-0").glob("*.log")), before, LEAP)
        broker.start()
        second = running.start()
        running.wait_applied(sent)
        more = psutil.Process(second.pid).memory_info().rss - memory
        assert_exact(running)
        (head,) = running.stored.heads()
        assert (head.skipped_offsets, head.lost_offsets, head.applied) == (LEAP, 0, sent)
        assert int(running.stored.fields(0)[b"@off"]) == sent + LEAP
        assert more < 32 * 2**20, f"{more / 2**20:.0f} MB"
