"""Records set apart are sent together: when their batch leaves, and who learns what became of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
from faust.exceptions import NotReady

from producers.topics import ensure_topics
from stream_app.settings import KafkaSettings, Settings
from stream_app.worker import sending
from stream_app.worker.agents import Kept
from stream_app.worker.app import create_app
from stream_app.worker.sending import Producer
from tests.recount import read

PATIENCE_S = 30.0
NEVER_S = 3_600.0


def letters(count: int, size: int = 200) -> Sequence[Kept]:
    """Return so many records, each with a value that no other has."""
    return [Kept(b"events/0/%d" % n, b"%0*d" % (size, n), [("reason", b"syntax")]) for n in range(count)]


@pytest.fixture
async def producer(kafka_settings: KafkaSettings) -> AsyncIterator[Producer]:
    """Yield the producer of a worker that does nothing else."""
    ensure_topics(kafka_settings)
    app = create_app(Settings(kafka=kafka_settings))
    producer = cast(Producer, app.producer)
    await producer.start()
    yield producer
    await producer.stop()
    await app.redis.aclose()


async def test_whoever_waits_makes_a_batch_leave(
    producer: Producer, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long batches may be gathered, a checkpoint that needs one waits for Kafka alone."""
    monkeypatch.setattr(sending, "GATHER_S", NEVER_S)
    topic = kafka_settings.dead_letters_topic
    sent = letters(3)
    batches = [batch for one in sent for batch in await producer.send_together(topic, [one])]
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*set(batches))
    assert (read(kafka_settings.bootstrap, topic), len(set(batches))) == ({0: [one.value for one in sent]}, 1)


async def test_a_batch_leaves_although_nobody_waits(producer: Producer, kafka_settings: KafkaSettings) -> None:
    """What was set apart is there to be read soon, also when no checkpoint follows."""
    (batch,) = await producer.send_together(kafka_settings.late_topic, letters(1))
    async with asyncio.timeout(PATIENCE_S):
        await batch.sent
    assert read(kafka_settings.bootstrap, kafka_settings.late_topic) == {0: [letters(1)[0].value]}


async def test_a_full_batch_leaves_and_the_next_one_fills(
    producer: Producer, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a batch holds is sent as several, in order, without anybody waiting for the first of them."""
    monkeypatch.setattr(sending, "GATHER_S", NEVER_S)
    topic, sent = kafka_settings.dead_letters_topic, letters(20, size=60_000)
    async with asyncio.timeout(PATIENCE_S):
        *first, last = await producer.send_together(topic, sent)
        await asyncio.gather(*(batch.sent for batch in first))
        is_last_gathered = not last.due.is_set()
        await last
    assert (len(first) > 1, is_last_gathered) == (True, True)
    assert read(kafka_settings.bootstrap, topic) == {0: [one.value for one in sent]}


async def test_one_who_gives_up_takes_nothing_from_the_others(
    producer: Producer, kafka_settings: KafkaSettings
) -> None:
    """Several claims wait for one batch: what one of them cancels stays its own."""
    (batch,) = await producer.send_together(kafka_settings.dead_letters_topic, letters(1))
    one, other = asyncio.ensure_future(batch), asyncio.ensure_future(batch)
    await asyncio.sleep(0)
    one.cancel()
    async with asyncio.timeout(PATIENCE_S):
        metadata = await other
    assert (one.cancelled(), metadata.offset) == (True, 0)


async def test_everyone_who_waits_learns_of_a_failure(producer: Producer, kafka_settings: KafkaSettings) -> None:
    """A batch that could not be sent any more fails for all that are in it, now and later."""
    topic = kafka_settings.dead_letters_topic
    batches = [(await producer.send_together(topic, letters(1)))[0] for _ in range(2)]
    await producer.stop()
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*batches, batches[0], return_exceptions=True)
    assert [type(result) for result in results] == [NotReady] * 3
