"""A publisher accounts for every record, keeps a user's records together, and names what is wrong."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from producers.publisher import Delivery, Publisher
from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.core import codec
from stream_app.core.events import Impression
from stream_app.embedded import MockKafka
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings
from tests.producers import landed

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_s=0.5)


def impression(number: int, user: str | None = None) -> Impression:
    """Return an event of one of ten users."""
    return Impression(
        id=f"i-{number}",
        ts=1_732_300_000_000 + number,
        user=user or f"u-{number % 10}",
        decision=f"d-{number}",
        item="A7",
        position=1,
    )


def read(settings: KafkaSettings, count: int) -> list[tuple[int, bytes, bytes]]:
    """Return partition, key and value of the first `count` records of the events topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        api_version=settings.api_version_tuple,
        consumer_timeout_ms=20_000,
        auto_offset_reset="earliest",
    )
    try:
        topic = settings.events_topic
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        return [(record.partition, record.key, record.value) for _, record in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


def test_events_arrive_as_canonical_json_keyed_by_user(mock_kafka_settings: KafkaSettings) -> None:
    """Every event arrives once, as the codec writes it, with its user as key; a user has one partition."""
    events = [impression(number) for number in range(500)]
    with Publisher(mock_kafka_settings) as publisher:
        for event in events:
            publisher.send(event)
        delivery = publisher.flush()
    records = read(mock_kafka_settings, 500)
    partitions: dict[bytes, set[int]] = {}
    for partition, key, _ in records:
        partitions.setdefault(key, set()).add(partition)
    assert delivery == Delivery(sent=500, delivered=500, failed=0, first_error=None)
    assert sorted(value for _, _, value in records) == sorted(codec.encode(event) for event in events)
    assert {key: len(found) for key, found in partitions.items()} == {b"u-%d" % number: 1 for number in range(10)}


def test_a_publisher_of_little_room_waits_instead_of_growing() -> None:
    """With room for eight records, two threads deliver two hundred all the same."""
    with MockKafka({"lynceus.events": 2}) as cluster:
        settings = KafkaSettings(bootstrap=cluster.bootstrap, api_version="2.0")
        with Publisher(settings, max_pending=8) as publisher:
            threads = [
                threading.Thread(target=lambda: [publisher.send(impression(number)) for number in range(100)])
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        delivery = publisher.close()
    assert delivery == Delivery(sent=200, delivered=200, failed=0, first_error=None)


def test_what_cannot_be_delivered_is_counted_with_the_first_reason() -> None:
    """When the broker goes away, every record ends as failed, and the account keeps the first reason."""
    with MockKafka({"lynceus.events": 1}) as cluster:
        settings = KafkaSettings(bootstrap=cluster.bootstrap, api_version="2.0")
        publisher = Publisher(settings, delivery_timeout_s=0.5)
        publisher.send(impression(0))
        publisher.flush()
    for number in range(1, 21):
        publisher.send(impression(number))
    delivery = publisher.close()
    assert (delivery.sent, delivery.delivered, delivery.failed) == (21, 1, 20)
    assert delivery.first_error is not None
    assert "\n" not in delivery.first_error
    assert not delivery.is_complete


def test_flush_that_takes_too_long_says_how_much_is_missing() -> None:
    """A flush without an acknowledgement is one line with the number of records and the address."""
    with MockKafka({"lynceus.events": 1}) as cluster:
        settings = KafkaSettings(bootstrap=cluster.bootstrap, api_version="2.0")
        publisher = Publisher(settings)
        publisher.send(impression(0))
        publisher.flush()
    publisher.send(impression(1))
    with pytest.raises(LynceusError, match=f"1 of 2 records are not acknowledged by Kafka at {settings.bootstrap}"):
        publisher.flush(0.2)
    delivery = publisher.close(0.2)
    assert (delivery.sent, delivery.delivered, delivery.failed) == (2, 1, 1)


def test_a_record_too_large_for_kafka_is_counted_as_failed(mock_kafka_settings: KafkaSettings) -> None:
    """A record beyond the size of a request fails alone, with the reason."""
    with Publisher(mock_kafka_settings) as publisher:
        publisher.send(impression(1, user="u" * 2_000_000))
        delivery = publisher.flush()
    assert (delivery.sent, delivery.failed) == (1, 1)
    assert str(delivery.first_error).startswith("MessageSizeTooLargeError")


def test_a_closed_publisher_refuses_events(mock_kafka_settings: KafkaSettings) -> None:
    """Sending after `close` is an error, not a loss."""
    publisher = Publisher(mock_kafka_settings)
    publisher.close()
    with pytest.raises(LynceusError, match="closed"):
        publisher.send(impression(1))
    assert publisher.close() == Delivery(0, 0, 0, None)


@pytest.mark.parametrize("api_version", [None, "2.0"])
@pytest.mark.parametrize("connect", [Publisher, ensure_topics])
def test_no_broker_is_one_clear_line(connect: type[Publisher], api_version: str | None) -> None:
    """Without a broker, the error names the address and the remedy, on one line."""
    with pytest.raises(LynceusError) as caught:
        connect(NOWHERE.model_copy(update={"api_version": api_version}))
    line = str(caught.value)
    assert line.startswith("no Kafka broker at 127.0.0.1:1 within 0.5 s")
    assert "LYNCEUS_KAFKA__BOOTSTRAP" in line
    assert "\n" not in line


def test_no_broker_prints_nothing() -> None:
    """kafka-python's own log lines do not reach the terminal."""
    script = """if True:
        from producers.publisher import Publisher
        from producers.topics import ensure_topics
        from stream_app.errors import LynceusError
        from stream_app.settings import KafkaSettings
        for connect in (Publisher, ensure_topics):
            try:
                connect(KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_s=0.5))
            except LynceusError:
                pass
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_missing_ca_file_is_one_clear_line(tmp_path: Path) -> None:
    """A certificate that is not there is named in the error."""
    settings = NOWHERE.model_copy(update={"security": "SSL", "ca_file": tmp_path / "absent.pem"})
    with pytest.raises(LynceusError, match=r"LYNCEUS_KAFKA__CA_FILE=.*absent\.pem.*FileNotFoundError"):
        Publisher(settings)


def test_topics_of_the_mock_cluster_are_found(mock_kafka_settings: KafkaSettings) -> None:
    """Where all topics exist, nothing is created: also the mock cluster, which cannot create, is served."""
    assert ensure_topics(mock_kafka_settings) == ()


def test_a_missing_topic_is_one_clear_line(kafka_settings: KafkaSettings) -> None:
    """A topic that does not exist is named, with the command that creates it."""
    with pytest.raises(LynceusError, match=rf"has no topic '{kafka_settings.events_topic}'.*topics ensure"):
        Publisher(kafka_settings)


def test_topics_are_created_once_and_stamped_by_the_broker(kafka_settings: KafkaSettings) -> None:
    """Three topics appear, the second call creates none, and the events topic carries the broker's time."""
    created = ensure_topics(kafka_settings)
    again = ensure_topics(kafka_settings)
    with Publisher(kafka_settings) as publisher:
        publisher.send(impression(1))
        publisher.flush()
    consumer = KafkaConsumer(
        kafka_settings.events_topic,
        bootstrap_servers=kafka_settings.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=20_000,
    )
    record = next(consumer)
    partitions = len(consumer.partitions_for_topic(kafka_settings.events_topic))
    consumer.close()
    topics = (
        kafka_settings.events_topic,
        kafka_settings.dead_letters_topic,
        kafka_settings.late_topic,
        kafka_settings.inputs_topic,
        kafka_settings.verdicts_topic,
    )
    assert (created, again) == (topics, ())
    assert (partitions, record.timestamp_type) == (8, 1)


def test_too_few_brokers_for_the_replication_is_one_clear_line(kafka_settings: KafkaSettings) -> None:
    """A broker that refuses the topics is quoted, with what to look at."""
    with pytest.raises(LynceusError, match=r"did not create the topics: .*LYNCEUS_KAFKA__REPLICATION"):
        ensure_topics(kafka_settings.model_copy(update={"replication": 3}))


def everything(settings: KafkaSettings) -> set[bytes]:
    """Return the values of all records of the events topic."""
    return {value for _, value in landed.records(settings)}


async def test_a_broker_that_was_killed_costs_no_record(kafka_cache: Path) -> None:
    """Records that are on their way while the broker is killed and comes back are delivered."""
    with ApacheKafka(kafka_cache) as broker:
        settings = KafkaSettings(bootstrap=broker.bootstrap)
        ensure_topics(settings)
        with Publisher(settings) as publisher:
            for number in range(2_000):
                publisher.send(impression(number))
                if number == 1_000:
                    broker.kill()
                    restarted = asyncio.create_task(asyncio.to_thread(broker.start))
            await restarted
            delivery = publisher.flush(60)
        values = everything(settings)
    assert delivery == Delivery(sent=2_000, delivered=2_000, failed=0, first_error=None)
    assert values == {codec.encode(impression(number)) for number in range(2_000)}


async def test_after_a_long_outage_sending_goes_on(kafka_cache: Path) -> None:
    """Records that expire while the broker is away are counted as failed; those that are sent later are delivered."""
    with ApacheKafka(kafka_cache) as broker:
        settings = KafkaSettings(bootstrap=broker.bootstrap)
        ensure_topics(settings)
        with Publisher(settings, delivery_timeout_s=2.0) as publisher:
            for number in range(100):
                publisher.send(impression(number))
            publisher.flush(60)
            broker.kill()
            for number in range(100, 200):
                publisher.send(impression(number))
            settled = publisher.flush(60)
            await asyncio.to_thread(broker.start)
            while (delivery := publisher.delivery()).delivered == settled.delivered:
                publisher.send(impression(delivery.sent))
                publisher.flush(60)
        values = everything(settings)
    assert (settled.delivered, settled.failed) == (100, 100)
    assert delivery.delivered + delivery.failed == delivery.sent
    assert codec.encode(impression(delivery.sent - 1)) in values
