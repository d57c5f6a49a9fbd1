"""Verdicts on their way to Kafka: a real broker, a real Redis, and whatever happens in between."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiokafka.client import AIOKafkaClient
from kafka import KafkaConsumer, TopicPartition
from redis.asyncio import Redis
from structlog.testing import capture_logs

from producers.topics import ensure_topics
from stream_app.core.cells import watch_keys
from stream_app.ports import free_port
from stream_app.serving.courier import Courier
from stream_app.serving.reader import connect
from stream_app.serving.vigil import Vigil
from stream_app.serving.watch_store import Kept, Step, WatchStore
from stream_app.settings import KafkaSettings, RedisSettings
from stream_app.statistics.series import MINUTE_MS
from tests.serving.test_vigil import told
from tests.serving.watching import MEANING, SETTINGS, Nobody, look, policy_of, store_of

VERDICTS = [b'{"id":"%d","surface":"home"}' % n for n in range(3)]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with connect(RedisSettings(url=redis_url)) as client:
        yield client


@pytest.fixture
def kafka(kafka_settings: KafkaSettings) -> KafkaSettings:
    ensure_topics(kafka_settings)
    return kafka_settings


def sent(kafka: KafkaSettings) -> list[tuple[bytes, bytes]]:
    """Return keys and values of all that is in the topic of verdicts, in order."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        partition = TopicPartition(kafka.verdicts_topic, 0)
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek_to_beginning(partition)
        found: list[tuple[bytes, bytes]] = []
        while consumer.position(partition) < end:
            for records in consumer.poll(timeout_ms=1_000).values():
                found += [(record.key, record.value) for record in records]
        return found
    finally:
        consumer.close()


async def filled(store: WatchStore) -> None:
    await store.advance(Step("home", None, Kept(MINUTE_MS, b"evidence"), tuple(VERDICTS)))


async def test_what_waits_is_sent_in_order_and_once(redis: "Redis", kafka: KafkaSettings) -> None:
    """By the key of its surface; of two servers that want to send, one does."""
    store = store_of(redis)
    await filled(store)
    couriers = [Courier(store, kafka, name) for name in ("one", "two")]
    went = await asyncio.gather(*(courier.send() for courier in couriers))
    assert ([True, True], [(b"home", verdict) for verdict in VERDICTS], 0) == (
        went,
        sent(kafka),
        (await store.look()).waiting,
    )


async def test_a_kafka_that_is_down_costs_nothing_but_time(redis: "Redis", kafka: KafkaSettings) -> None:
    """What waits stays where it is, which is said once; when Kafka is there again, it goes."""
    store = store_of(redis)
    await filled(store)
    nowhere = kafka.model_copy(update={"bootstrap": f"127.0.0.1:{free_port()}", "connect_timeout_s": 1.0})
    courier = Courier(store, nowhere, "one")
    with capture_logs() as lines:
        went = [await courier.send(), await courier.send()]
        up, waiting = courier.is_up, (await store.look()).waiting
        other = await Courier(store, kafka, "another server").send()
        went.append(await courier.send())
    assert ([False, False, True], True, (False, 3), True) == (went, other, (up, waiting), courier.is_up)
    assert ["verdicts wait for Kafka", "Kafka takes verdicts again"] == [line["event"] for line in lines]
    assert VERDICTS == [value for _, value in sent(kafka)]


async def test_a_topic_that_is_missing_is_an_outage(redis: "Redis", kafka: KafkaSettings) -> None:
    """Nothing is created by the way, and nothing is lost."""
    store = store_of(redis)
    await filled(store)
    misspelt = kafka.model_copy(update={"verdicts_topic": "nobody.made.this", "connect_timeout_s": 1.0})
    assert (False, 3) == (await Courier(store, misspelt, "one").send(), (await store.look()).waiting)


async def test_a_server_killed_before_it_could_send_loses_nothing(redis: "Redis", kafka: KafkaSettings) -> None:
    """The verdict entered the outbox with the evidence: another server sends it, also when a lease was left behind."""
    store = store_of(redis)
    killed, other = Courier(store, kafka, "killed"), Courier(store, kafka, "other")
    vigil = Vigil(store, policy_of(SETTINGS), MEANING, SETTINGS.surfaces, killed)
    await look(vigil, told(3))
    taken = await store.take("killed")  # the last that it did
    held = await other.send(), sent(kafka)
    await redis.delete(watch_keys("lynceus").sender)  # as when its lease ends
    again = Vigil(store, policy_of(SETTINGS), MEANING, SETTINGS.surfaces, other)
    await look(again, told(3))
    await other.send()
    assert ((True, []), taken, list(await store.history())) == (held, [v for _, v in sent(kafka)], taken[::-1])
    assert ["home.hero"] == [json.loads(verdict)["surface"] for verdict in taken]


async def test_two_servers_that_are_killed_again_and_again(redis: "Redis", kafka: KafkaSettings) -> None:
    """Judging in turn, each killed after it judged and before it sent: Kafka has every verdict, once and in order."""
    alone = store_of(redis, "alone"), Nobody()
    steady = Vigil(alone[0], policy_of(SETTINGS), MEANING, SETTINGS.surfaces, alone[1])
    store, chance = store_of(redis, "many"), random.Random(7)

    def server(name: str) -> tuple[Vigil, Courier]:
        courier = Courier(store, kafka, name)
        return Vigil(store, policy_of(SETTINGS), MEANING, SETTINGS.surfaces, courier), courier

    servers = [server("0"), server("1")]
    for life, until in enumerate((5, 20, 33, 44, 52, 60)):
        seen = told(until)
        for _ in range(until // 10 + 1):
            await look(steady, seen)
            await asyncio.gather(*(look(vigil, seen) for vigil, _ in servers))
        who = chance.randrange(2)
        if chance.random() < 0.5:  # killed with verdicts in its hands; its lease ends
            await store.take(str(who))
            await redis.delete(watch_keys("many").sender)
            servers[who] = server(f"{who} of life {life}")
        else:
            await servers[who][1].send()
    await servers[0][1].send()
    history = [await one.history() for one in (alone[0], store)]
    evidence = [(await one.load(["home.hero"]))["home.hero"] for one in (alone[0], store)]
    causes = [(each["cause"], each["is_open"]) for each in map(json.loads, reversed(history[1]))]
    assert (history[0], evidence[0]) == (history[1], evidence[1])
    assert history[1][::-1] == [value for _, value in sent(kafka)]
    assert [("not_enough", True), ("not_enough", False), ("drop", True)] == causes


async def test_what_was_sent_and_not_taken_out_goes_again(redis: "Redis", kafka: KafkaSettings) -> None:
    """At least once: a server killed between Kafka's word and Redis' leaves it to the next, under the same id."""
    store = store_of(redis)
    await filled(store)
    await Courier(store, kafka, "one").send()
    await redis.rpush(watch_keys("lynceus").outbox, VERDICTS[-1])  # as if it had not been taken out
    await Courier(store, kafka, "two").send()
    ids = [json.loads(value)["id"] for _, value in sent(kafka)]
    assert (["0", "1", "2", "2"], 0) == (ids, (await store.look()).waiting)


async def test_it_runs_until_it_is_told_to_stop(redis: "Redis", kafka: KafkaSettings) -> None:
    """Woken, it sends; nothing is connected before."""
    store = store_of(redis)
    courier = Courier(store, kafka, "one")
    running = asyncio.create_task(courier.run())
    await filled(store)
    courier.wake()
    async with asyncio.timeout(20):
        while (await store.look()).waiting:  # noqa: ASYNC110  # Redis has nothing to wake us with
            await asyncio.sleep(0.02)
    running.cancel()
    await ended(running)
    assert VERDICTS == [value for _, value in sent(kafka)]


async def test_it_stops_also_while_it_closes_its_connection(
    redis: "Redis", kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's client takes a cancellation in its last moments for one of its own and swallows it."""
    store = store_of(redis)
    await filled(store)
    courier = Courier(store, kafka, "one")
    running = asyncio.create_task(courier.run())
    monkeypatch.setattr(AIOKafkaClient, "close", interrupted(AIOKafkaClient.close, running))
    courier.wake()
    await ended(running)
    assert (0, VERDICTS) == ((await store.look()).waiting, [value for _, value in sent(kafka)])


def interrupted(close: Callable[[AIOKafkaClient], Awaitable[None]], running: "asyncio.Task[None]") -> object:
    """Return `close` as it goes when `running` is cancelled in the middle of it."""

    async def closing(client: AIOKafkaClient) -> None:
        asyncio.get_running_loop().call_soon(running.cancel)
        await close(client)

    return closing


async def ended(running: "asyncio.Task[None]") -> None:
    """Return when the task has ended, however. Raises TimeoutError if it does not."""
    _, left = await asyncio.wait([running], timeout=20)
    if left:
        raise TimeoutError(f"it goes on: {left}")
