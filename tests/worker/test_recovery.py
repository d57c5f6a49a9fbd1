"""What a worker does when something is gone: it counts anew, records what it cannot know, or stops and says so."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from producers.topics import ensure_topics
from stream_app.cli import main
from stream_app.core import cells as layout
from stream_app.settings import KafkaSettings, Settings, environment
from tests.fleet import Fleet, fleet, make_settings, send, shop_events
from tests.recount import RECOUNTED_FAMILIES
from tests.worker.test_counting import assert_exact


@pytest.fixture
def settings(kafka_settings: KafkaSettings, redis_url: str) -> Settings:
    made = make_settings(kafka_settings, redis_url, partitions=2, families=RECOUNTED_FAMILIES)
    ensure_topics(made.kafka)
    return made


def key(settings: Settings, partition: int) -> str:
    return layout.partition_key(settings.app, settings.kafka.events_topic, partition)


def lynceus(settings: Settings, *arguments: str) -> str:
    """Run a command with these settings."""
    result = CliRunner().invoke(main, arguments, env=environment(settings))
    assert result.exit_code == 0, result.output
    return result.output


def readiness(running: Fleet) -> str:
    """Return what the first worker's /readyz says."""
    started = next(json.loads(line) for line in running.log().splitlines() if "worker starting" in line)
    try:
        with urllib.request.urlopen(f"http://{started['metrics']}/readyz", timeout=10) as answer:
            return str(answer.read().decode()).strip()
    except urllib.error.HTTPError as refused:
        return str(refused.read().decode()).strip()


def test_a_redis_that_lost_everything_is_counted_into_again(settings: Settings, tmp_path: Path) -> None:
    """FLUSHALL under a running worker: a new incarnation, the log counted anew, the totals exact."""
    with fleet(settings, tmp_path) as running, redis.Redis.from_url(settings.redis.url) as client:
        sent = send(settings.kafka, shop_events(10_000, seed=11))
        running.start()
        running.wait_applied(sent)
        running.wait(lambda: all(committed(settings)), "Kafka knows the offsets")
        before = {running.stored.fields(p)[b"@inc"] for p in range(2)}
        client.flushall()
        running.wait(lambda: len(running.stored.heads()) == 2 and running.stored.applied() >= sent, "counted anew")
        after = {running.stored.fields(p)[b"@inc"] for p in range(2)}
        assert before & after == set()
        assert all(head.replay_to > 0 for head in running.stored.heads())
        assert "state lost" in running.log()
        assert_exact(running)


def committed(settings: Settings) -> list[int]:
    """Return the group's committed offsets."""
    from kafka import KafkaAdminClient

    with KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap) as admin:
        groups = admin.list_group_offsets([settings.app])
    offsets = next(iter(groups.values()), {})
    found = [at.offset for at in offsets.values()]
    return found if len(found) == 2 else [0, 0]


def test_a_torn_state_is_counted_anew(settings: Settings, tmp_path: Path) -> None:
    """A pane that is missing while the directory names it: nothing is patched, the log is counted again."""
    with fleet(settings, tmp_path) as running, redis.Redis.from_url(settings.redis.url) as client:
        sent = send(settings.kafka, shop_events(4_000, seed=12))
        first = running.start()
        running.wait_applied(sent)
        first.stop()
        for partition in range(2):
            directory = layout.unpack_directory(running.stored.fields(partition)[layout.DIRECTORY.encode()])
            client.hdel(key(settings, partition), next(iter(directory)))
        running.start()
        running.wait(lambda: running.log().count("state lost") == 2, "both noticed")
        running.wait_applied(sent)
        assert_exact(running)


def test_what_retention_took_is_recorded(settings: Settings, tmp_path: Path) -> None:
    """Records deleted before they were counted: the gap is counted, flagged, and counting goes on behind it."""
    kafka = settings.kafka
    with fleet(settings, tmp_path) as running:
        sent = send(kafka, shop_events(4_000, seed=13))
        first = running.start()
        running.wait_applied(sent)
        first.stop()
        stored = [int(running.stored.fields(p)[b"@off"]) for p in range(2)]
        send(kafka, shop_events(4_000, seed=14))
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        begin = [offset + 100 for offset in stored]
        wanted = [TopicPartition(kafka.events_topic, p, begin[p]) for p in range(2)]
        for done in admin.delete_records(wanted).values():
            done.result(30)
        running.start()
        running.wait_applied(sent + 4_000 - 200)
        heads = running.stored.heads()
        assert [head.lost_offsets for head in heads] == [100, 100]
        assert all(head.gap_ms > 0 for head in heads)
        assert sum(head.applied for head in heads) == sent + 4_000 - 200


def test_an_operator_adopts_another_log_or_starts_afresh(settings: Settings, tmp_path: Path) -> None:
    """A recreated topic halts its partitions; one is adopted and adds up, the other is reset and counts alone."""
    kafka = settings.kafka
    with fleet(settings, tmp_path) as running:
        sent = send(kafka, shop_events(4_000, seed=15))
        first = running.start()
        running.wait_applied(sent)
        first.stop()
        old = [head.applied for head in running.stored.heads()]
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        admin.delete_topics([kafka.events_topic])[kafka.events_topic].result(30)
        running.wait(lambda: kafka.events_topic not in admin.list_topics(timeout=10).topics, "topic deleted")
        ensure_topics(kafka)
        new = [end_of(kafka, p, send(kafka, shop_events(6_000, seed=16)) if p == 0 else 0) for p in range(2)]
        running.start()
        running.wait(lambda: running.log().count("partition refused") >= 2, "both halted")
        assert "owner" in lynceus(settings, "inspect")
        lynceus(settings, "partition", "adopt", "0", "--yes")
        lynceus(settings, "partition", "reset", "1", "--yes")
        running.wait(
            lambda: [head.applied for head in running.stored.heads()] == [old[0] + new[0], new[1]],
            f"adopted {old[0]} + {new[0]}, reset to {new[1]}",
        )


def end_of(kafka: KafkaSettings, partition: int, _sent: int) -> int:
    """Return where the log of a partition ends."""
    from kafka import KafkaConsumer
    from kafka import TopicPartition as Tp

    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        return int(consumer.end_offsets([Tp(kafka.events_topic, partition)])[Tp(kafka.events_topic, partition)])
    finally:
        consumer.close()


def test_a_redis_that_would_evict_stops_the_counting(settings: Settings, tmp_path: Path) -> None:
    """The eviction policy changed under a running worker: it halts and says so, and goes on when it is put right."""
    with fleet(settings, tmp_path) as running, redis.Redis.from_url(settings.redis.url) as client:
        running.start()
        running.wait(lambda: len(running.stored.heads()) == 2, "claimed")
        try:
            client.config_set("maxmemory-policy", "allkeys-lru")
            running.wait(lambda: "maxmemory-policy" in readiness(running), "not ready, and why")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
        sent = send(settings.kafka, shop_events(1_000, seed=17))
        running.wait_applied(sent)
        running.wait(lambda: readiness(running) == "ready", "ready again")
