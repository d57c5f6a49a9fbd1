"""What time can do to the counts: a partition where nothing comes any more, a worker whose clock is wrong."""

import os
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from redis.asyncio import Redis

from producers.topics import ensure_topics
from stream_app.metrics.catalogue import MEASURES
from stream_app.serving import health
from stream_app.serving.partitions import PartitionState
from stream_app.serving.reader import Reader
from stream_app.serving.views import newest_ms
from stream_app.settings import KafkaSettings, Settings
from tests.fleet import fleet, make_settings, send, shop_events
from tests.recount import known, read, recount
from tests.worker.test_counting import assert_exact

WRONG_CLOCK = Path(__file__).parent / "wrong_clock"
HOUR_S = 3_600


@pytest.fixture
def settings(kafka_settings: KafkaSettings, redis_url: str) -> Settings:
    made = make_settings(kafka_settings, redis_url, partitions=2)
    ensure_topics(made.kafka)
    return made


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# -- T4: a partition where nothing comes ----------------------------------------------------------------------------


def send_to(kafka: KafkaSettings, partition: int, raws: list[bytes]) -> int:
    """Send to one partition, whatever the key says; return how many."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, "compression.type": "gzip"})
    for raw in raws:
        producer.produce(kafka.events_topic, raw, partition=partition)
    assert producer.flush(60) == 0
    return len(raws)


async def states_of(settings: Settings) -> tuple[PartitionState, ...]:
    """Return the partitions as a server reads them."""
    client = Redis.from_url(settings.redis.url)
    names = [measure.name for measure in MEASURES]
    reader = Reader(client, settings.redis, settings.app, settings.kafka.events_topic, 2, names)
    try:
        return (await reader.refresh()).partitions
    finally:
        await client.aclose()


async def test_an_idle_partition_holds_up_nobody(settings: Settings, tmp_path: Path) -> None:
    """T4: one partition is ten minutes behind and idle: the served time goes on with the other, and never back."""
    kafka, old = settings.kafka, shop_events(1_500, seed=41, before_ms=now_ms() - 600_000)
    with fleet(settings, tmp_path) as running:
        running.start()
        sent = send_to(kafka, 1, old[:1_000])
        running.wait_applied(sent)
        before = newest_ms(await states_of(settings), now_ms(), 0)
        sent += send_to(kafka, 0, shop_events(1_000, seed=42))
        running.wait_applied(sent)
        states = await states_of(settings)
        served = newest_ms(states, now_ms(), before)
        own = [state.head.newest_ms for state in states]
        assert (before, served) == (own[1], own[0])
        assert own[0] - own[1] > 500_000
        assert health.reasons(states, now_ms()) == ()
        sent += send_to(kafka, 1, old[1_000:])
        running.wait_applied(sent)
        assert newest_ms(await states_of(settings), now_ms(), served) == served
        assert_exact(running)


# -- T5: a worker whose clock is wrong ------------------------------------------------------------------------------


def test_a_worker_with_a_wrong_clock_counts_the_same(settings: Settings, tmp_path: Path) -> None:
    """T5: a worker an hour ahead, then one an hour behind, then one that is right: the counts are those of the log."""
    kafka, raws = settings.kafka, shop_events(4_500, seed=43)
    path = os.pathsep.join(filter(None, (str(WRONG_CLOCK), os.environ.get("PYTHONPATH"))))
    ahead = [raw.replace(b'"id":"', b'"id":"ahead-') for raw in shop_events(100, 44, now_ms() + HOUR_S * 500)]
    with fleet(settings, tmp_path) as running:
        sent, heartbeats = 0, []
        for number, offset_s in enumerate((HOUR_S, -HOUR_S, 0)):
            worker = running.start({"PYTHONPATH": path, "LYNCEUS_TEST_CLOCK_OFFSET_S": str(offset_s)})
            sent += send(kafka, [*raws[number * 1_500 : (number + 1) * 1_500], *ahead[number::3]])
            running.wait_applied(sent)
            heartbeats.append(round((running.stored.heads()[0].written_ms - now_ms()) / HOUR_S / 1_000))
            worker.stop()
        assert heartbeats == [1, -1, 0]  # the clocks were wrong
        log = read(kafka.bootstrap, kafka.events_topic)
        in_time = {p: [raw for raw in values if b'"ahead-' not in (raw or b"")] for p, values in log.items()}
        expected, outcomes = recount(in_time)
        assert known(running.stored.totals()) == expected
        # Half an hour ahead is the future also for a worker that lives in it: the broker's clock decides.
        assert running.stored.outcomes() == outcomes + type(outcomes)(future=len(ahead))
