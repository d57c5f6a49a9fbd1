"""What people tell, from the topic into the hash that all workers keep: a real Redis, and a mock cluster."""

import asyncio
from collections.abc import Sequence

import pytest
import redis as redis_client
import structlog
from confluent_kafka.admin import AdminClient, ConfigResource
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from producers.topics import ensure_topics
from stream_app.core import cells, codec
from stream_app.core.events import BusinessInput, ProgrammeRecord
from stream_app.core.inputs import latest, read
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.settings import KafkaSettings, RedisSettings
from stream_app.worker import inputs, store
from stream_app.worker.agents import Kept
from stream_app.worker.inputs import Following, Register
from stream_app.worker.instruments import Instruments
from tests.fleet import send

APP = "told"
KEY = cells.inputs_key(APP)
DAY = 86_400_000
START = 1_767_225_600_000


def cost(id_: str, value: float = 600.0, ts: int = START, **more: object) -> BusinessInput:
    """Return a cost of ten days."""
    told = {"key": "cost", "author": "finance", "scope": "acquisition", "from_ts": START, "to_ts": START + 10 * DAY}
    return BusinessInput(id=id_, ts=ts, value=value, **(told | more))


def raws(*inputs: BusinessInput) -> list[bytes]:
    return [codec.encode(each) for each in inputs]


def kept(stored: "redis_client.Redis") -> dict[str, BusinessInput]:
    """Return what the hash has."""
    return read(stored.hgetall(KEY))


def register(redis: "Redis", most: int = 100, instruments: Instruments | None = None) -> Register:
    return Register(lambda: redis, KEY, instruments or Instruments(), most)


async def told(to: Register, records: Sequence[bytes]) -> None:
    """Let a worker read these records and write what follows."""
    for raw in records:
        assert to.take(raw) is None
    await to.keep()


async def test_what_was_told_last_stands(redis: "Redis", stored: "redis_client.Redis") -> None:
    """A later figure under the same id replaces the earlier one; an earlier one that arrives later does not."""
    one = register(redis)
    for records in (raws(cost("a", 1.0, 10 + START)), raws(cost("a", 2.0, 5 + START), cost("b")), raws(cost("b"))):
        await told(one, records)
    assert {"a": cost("a", 1.0, 10 + START), "b": cost("b")} == kept(stored)


async def test_a_programme_record_is_kept_too(redis: "Redis", stored: "redis_client.Redis") -> None:
    """Facts about the programme come by the same topic."""
    fact = ProgrammeRecord(id="t-1", ts=START, kind="test_ended", value=1.0)
    await told(register(redis), [codec.encode(fact)])
    assert {"t-1": fact} == kept(stored)


@given(
    log=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)), max_size=8),
    turns=st.lists(st.integers(0, 2), max_size=30),
)
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_workers_agree_however_they_take_turns(
    redis_url: str, log: list[tuple[int, int, int, int]], turns: list[int]
) -> None:
    """Three workers read the same log at their own pace, and one is started anew: what was told last stands."""
    records = [cost(f"i{n}", float(value), START + ts, author=f"a{who}") for n, ts, value, who in log]
    client = store.connect(RedisSettings(url=redis_url))
    await client.flushall()
    workers, at = [register(client) for _ in range(3)], [0, 0, 0]
    for turn in turns:
        await told(workers[turn], raws(*records[at[turn] : at[turn] + 2]))
        at[turn] = min(at[turn] + 2, len(records))
    for turn in (0, 1, 2):
        await told(workers[turn], raws(*records[at[turn] :]))
    await told(register(client), raws(*records))
    fields = await client.hgetall(KEY)
    await client.aclose()
    assert latest(records) == read(fields)


async def test_a_restart_changes_nothing(redis: "Redis", stored: "redis_client.Redis") -> None:
    """Reading everything again writes nothing, and counts nothing."""
    records = raws(cost("a"), cost("b", 3.0), cost("a", 4.0, START + 1))
    await told(register(redis), records)
    before = stored.hgetall(KEY)
    again = Instruments()
    await told(register(redis, instruments=again), [*records, *records])
    counted = again.registry.get_sample_value("lynceus_inputs_total", {"outcome": "told"})
    assert (before, 0.0) == (stored.hgetall(KEY), counted)


async def test_what_redis_lost_is_written_again(redis: "Redis", stored: "redis_client.Redis") -> None:
    """After a Redis that came back empty, or without its newest input, the hash is whole again."""
    one = register(redis)
    await told(one, raws(cost("a"), cost("b")))
    before = stored.hgetall(KEY)
    await told(one, raws(cost("a", 7.0, START + 1)))
    whole = kept(stored)
    seen = []
    for lost in ({}, before):
        stored.delete(KEY)
        if lost:
            stored.hset(KEY, mapping=lost)
        await one.keep()
        seen.append(kept(stored))
    assert [whole, whole] == seen


async def test_there_is_a_most_of_inputs(redis: "Redis", stored: "redis_client.Redis") -> None:
    """Beyond the bound a new id is refused, for every worker; a known one may still be told anew."""
    await told(register(redis, 2), raws(cost("a"), cost("b")))
    other = register(redis, 2)
    await other.keep()
    refused = other.take(codec.encode(cost("c")))
    await told(other, raws(cost("b", 9.0, START + 1)))
    assert ("limits", 9.0, {"a", "b"}) == (refused and refused.reason, kept(stored)["b"].value, set(kept(stored)))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "syntax"),
        (None, "tombstone"),
        (codec.encode(cost("a", author=None)), "input"),
        (codec.encode(cost("a", -1.0)), "input"),
        (codec.encode(cost("@change")), "input"),
        (b'{"type":"business_input"}', "type"),
    ],
)
async def test_what_makes_no_sense_is_refused(redis: "Redis", raw: bytes | None, reason: str) -> None:
    """What cannot be read, and what contradicts itself, has a reason and is not kept."""
    refused = register(redis).take(raw)
    assert reason == (refused and refused.reason)


async def test_one_worker_sets_a_record_apart(redis: "Redis") -> None:
    """The first to say so does it, whoever comes later, in this run or the next."""
    one, other = register(redis), register(redis)
    asked = [await each.claim(0, offset) for each, offset in ((one, 3), (other, 3), (one, 2), (other, 4), (one, 4))]
    assert [True, False, False, True, False] == asked


class Letters:
    """Takes what is sent to the dead letters. Mutable state: that."""

    def __init__(self) -> None:
        self.sent: list[Kept] = []

    async def send(self, topic: str, records: Sequence[Kept]) -> "list[asyncio.Future[object]]":
        assert topic == "lynceus.dead-letters"
        self.sent += records
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return [done]


async def until(is_true: object, patience_s: float = 30.0) -> None:
    """Return once `is_true()`."""
    async with asyncio.timeout(patience_s):
        while not is_true():  # type: ignore[operator] # noqa: ASYNC110  # Redis has nothing to wake us with
            await asyncio.sleep(0.02)


@pytest.fixture
def kafka() -> "MockKafka":
    with MockKafka({"lynceus.inputs": 1}) as cluster:
        yield cluster


async def test_the_topic_is_followed(kafka: MockKafka, redis: "Redis", stored: "redis_client.Redis") -> None:
    """Two workers: inputs are in the hash, what is refused is in the dead letters once, and a restart adds nothing."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, api_version=KAFKA_API_VERSION)
    letters, instruments = Letters(), Instruments()

    def start() -> "asyncio.Task[None]":
        return asyncio.create_task(
            Following(settings, register(redis, instruments=instruments), letters.send, instruments).run()
        )

    tasks = [start(), start()]
    send(settings, [*raws(cost("a")), b"nonsense", *raws(cost("b", -1.0), cost("a", 5.0, START + 1))], "lynceus.inputs")
    await until(lambda: kept(stored) == {"a": cost("a", 5.0, START + 1)} and len(letters.sent) == 2)
    tasks.append(start())
    send(settings, raws(cost("z")), "lynceus.inputs")
    await until(lambda: "z" in kept(stored))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # Each worker may have sent one of the two, so which came first is not said.
    first, second = sorted(letters.sent, key=lambda letter: letter.key)
    assert [(b"lynceus.inputs/0/1", b"nonsense", b"syntax"), (b"lynceus.inputs/0/2", b"input")] == [
        (first.key, first.value, first.headers[0][1]),
        (second.key, second.headers[0][1]),
    ]
    assert ([True] * 3, 2.0) == (
        [task.done() for task in tasks],
        instruments.registry.get_sample_value("lynceus_inputs_total", {"outcome": "refused"}),
    )


async def test_redis_may_go_and_come_back(kafka: MockKafka) -> None:
    """An input that is told while Redis is away is written when it is back."""
    settings = KafkaSettings(bootstrap=kafka.bootstrap, api_version=KAFKA_API_VERSION)
    server = RedisServer().start()
    client = store.connect(RedisSettings(url=server.url, timeout_s=0.5))
    instruments = Instruments()
    following = Following(
        settings, register(client, instruments=instruments), Letters().send, instruments, lambda _: asyncio.sleep(0.05)
    )
    task = asyncio.create_task(following.run())
    try:
        with redis_client.Redis.from_url(server.url) as stored:
            send(settings, raws(cost("a")), "lynceus.inputs")
            await until(lambda: set(kept(stored)) == {"a"})
            await client.aclose()
            stored.execute_command("CLIENT", "PAUSE", "1500", "ALL")
            send(settings, raws(cost("b")), "lynceus.inputs")
            await until(lambda: set(kept(stored)) == {"a", "b"})
            assert {"a": cost("a"), "b": cost("b")} == kept(stored)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()
        server.close()


def compaction(settings: KafkaSettings) -> str | None:
    """Return the cleanup policy of the inputs' topic, None where there is no topic."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})
    if settings.inputs_topic not in admin.list_topics(timeout=30).topics:
        return None
    resource = ConfigResource(ConfigResource.Type.TOPIC, settings.inputs_topic)
    return str(admin.describe_configs([resource])[resource].result(30)["cleanup.policy"].value)


async def test_a_missing_topic_is_waited_for(
    kafka_settings: KafkaSettings, redis: "Redis", stored: "redis_client.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not created by asking for it, one line says that it is missing, and once it is there it is followed."""
    waits = asyncio.Queue[float]()
    said: list[str] = []

    async def sleep(seconds: float) -> None:
        waits.put_nowait(seconds)
        await asyncio.sleep(0.05)

    def hear(_logger: object, _level: str, told: structlog.typing.EventDict) -> structlog.typing.EventDict:
        said.append(told["event"])
        raise structlog.DropEvent

    # The one of the module keeps whatever an earlier test of this process made of it.
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=[hear], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(inputs, "log", logger)
    instruments = Instruments()
    following = Following(kafka_settings, register(redis), Letters().send, instruments, sleep)
    task = asyncio.create_task(following.run())
    try:
        delays = [await asyncio.wait_for(waits.get(), 30) for _ in range(8)]
        before = await asyncio.to_thread(compaction, kafka_settings)
        await asyncio.to_thread(ensure_topics, kafka_settings)
        await asyncio.to_thread(send, kafka_settings, raws(cost("a")), kafka_settings.inputs_topic)
        await until(lambda: "a" in kept(stored), 60)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    words = "\n".join(said)
    assert ([0.5, 1, 2, 4, 8, 16, 30, 30], None, "compact") == (delays, before, compaction(kafka_settings))
    assert (1, 1) == (words.count("inputs are not followed"), words.count("inputs are followed again"))
