"""What landed in Kafka: every record of the events topic, as the worker's codec reads it."""

from kafka import KafkaConsumer, TopicPartition

from stream_app.core.codec import Rejected, decode
from stream_app.core.events import AnyEvent
from stream_app.settings import KafkaSettings


def records(settings: KafkaSettings) -> list[tuple[bytes, bytes]]:
    """Return key and value of all records that are in the events topic now, by partition, in order."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap, api_version=settings.api_version_tuple, auto_offset_reset="earliest"
    )
    try:
        topic = settings.events_topic
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: dict[TopicPartition, list[tuple[bytes, bytes]]] = {partition: [] for partition in partitions}
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for partition, batch in consumer.poll(timeout_ms=200).items():
                found[partition] += [(record.key, record.value) for record in batch]
        return [record for partition in partitions for record in found[partition]]
    finally:
        consumer.close()


def events(settings: KafkaSettings) -> list[AnyEvent]:
    """Return the events that landed, each keyed by its user, all of them good."""
    landed = []
    for key, value in records(settings):
        event = decode(value)
        assert not isinstance(event, Rejected), event
        assert event.user.encode() == key
        landed.append(event)
    return landed


def once(landed: list[AnyEvent]) -> list[AnyEvent]:
    """Return the events without those whose id came before, as the worker counts them."""
    return list({event.id: event for event in reversed(landed)}.values())[::-1]
