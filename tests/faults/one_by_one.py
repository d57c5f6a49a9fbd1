"""Counting a topic one record at a time, in this process: what chunks, fetches and flushes must not change."""

from collections import Counter
from collections.abc import Mapping

from confluent_kafka import Consumer, TopicPartition

from stream_app.core import cells as layout
from stream_app.core.processor import Partition, Span
from stream_app.metrics.catalogue import PLAN
from stream_app.settings import Settings
from stream_app.worker.app import rules_of
from tests.fleet import Stored


def compare(settings: Settings, stored: Stored) -> str:
    """Say whether each cell, outcome and reason stored of every partition is what counting its records singly gives."""
    refused: Counter[str] = Counter()
    for number in range(settings.kafka.partitions):
        partition = Partition(PLAN, rules_of(settings.counting))
        for offset, (arrived_ms, value) in enumerate(_records(settings, number)):
            partition.process((Span(offset, arrived_ms, (value,)),))
        fields, _ = partition.take_changes()
        theirs = {name.decode(): value for name, value in stored.fields(number).items()}
        head, other = partition.head, layout.unpack_head(theirs[layout.HEAD])
        mine = (_cells(fields), +Counter(head.outcomes), head.rejected, head.newest_ms)
        if mine != (_cells(theirs), +Counter(other.outcomes), other.rejected, other.newest_ms):
            return f"WRONG in partition {number}: {other.outcomes} for {head.outcomes}"
        refused.update(head.rejected)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in refused.most_common())
    dead = _end(settings, settings.kafka.dead_letters_topic)
    return (
        f"every cell, outcome and reason as one by one; refused {refused.total():,} ({reasons}); {dead:,} dead letters"
    )


def _cells(fields: Mapping[str, bytes]) -> dict[str, dict[int, list[int]]]:
    return {name: layout.unpack_rows(fields[name]) for name in layout.unpack_directory(fields[layout.DIRECTORY])}


def _records(settings: Settings, partition: int) -> list[tuple[int, bytes | None]]:
    """Return when the records of a partition arrived and what they say, in log order; its offsets have no holes."""
    options = {"bootstrap.servers": settings.kafka.bootstrap, "group.id": "nobody", "enable.auto.commit": False}
    consumer = Consumer(options)
    try:
        at = TopicPartition(settings.kafka.events_topic, partition, 0)
        _, end = consumer.get_watermark_offsets(at, timeout=10)
        consumer.assign([at])
        records: list[tuple[int, bytes | None]] = []
        while len(records) < end:
            records += [(message.timestamp()[1], message.value()) for message in consumer.consume(10_000, timeout=1)]
        return records
    finally:
        consumer.close()


def _end(settings: Settings, topic: str) -> int:
    """Return how many records a topic has."""
    consumer = Consumer({"bootstrap.servers": settings.kafka.bootstrap, "group.id": "nobody"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions)
    finally:
        consumer.close()
