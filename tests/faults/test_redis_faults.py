"""What Redis can do to the counts: come back from half a file or as a stale replica, refuse us, serve two apps."""

import random
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from redis.asyncio import Redis

from producers.topics import ensure_topics
from stream_app.core import cells as layout
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.metrics.catalogue import PLAN
from stream_app.settings import KafkaSettings, RedisSettings, Settings
from stream_app.worker import store
from tests.faults.proxy import Proxy
from tests.fleet import fleet, make_settings, send, shop_events
from tests.timelines import LATER, outcomes, rows
from tests.worker.claiming import KEY, ShortLog, Worker, shown
from tests.worker.test_counting import assert_exact
from tests.worker.test_recovery import committed, readiness

SAMPLED_CUTS = 40
STARTED_TWICE = 12
AT_ONCE = 2


@pytest.fixture
def kafka(kafka_settings: KafkaSettings) -> KafkaSettings:
    settings = kafka_settings.model_copy(update={"partitions": 2})
    ensure_topics(settings)
    return settings


# -- D3: the file of Redis, cut -------------------------------------------------------------------------------------


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator["Redis"]:
    connected = store.connect(RedisSettings(url=redis_url))
    yield connected
    await connected.aclose()


def on_disk(folder: Path) -> dict[str, str]:
    """Return the directives of a Redis that appends every command to a file, and loads what is left of one."""
    folder.mkdir(exist_ok=True)
    return {
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "no",
        "auto-aof-rewrite-percentage": "0",
        "aof-load-truncated": "yes",
    }


def appended(folder: Path) -> Path:
    return next((folder / "appendonlydir").glob("*.incr.aof"))


def hash_of(server: RedisServer) -> dict[bytes, bytes]:
    with redis_client.Redis.from_url(server.url) as client:
        return dict(client.hgetall(KEY))


def loaded(source: Path, cut: int, folder: Path, *, is_started_twice: bool) -> dict[bytes, bytes]:
    """Return the hash as Redis loads it from the first `cut` octets of its file.

    The second start loads what the first one mended and continued: there an old Redis once applied half a MULTI.
    """
    shutil.copytree(source, folder)
    with appended(folder).open("r+b") as file:
        file.truncate(cut)
    with RedisServer(on_disk(folder)) as server:
        found = hash_of(server)
        if is_started_twice:
            with redis_client.Redis.from_url(server.url) as client:
                client.set("another", b"command")
            server.kill()
            server.start()
            assert hash_of(server) == found
    shutil.rmtree(folder)
    return found


def cuts(begin: int, end: int) -> list[int]:
    """Return where to cut: at every octet of the first command's header and of the end, and at some between."""
    between = random.Random("cuts").sample(range(begin, end), SAMPLED_CUTS)
    return sorted({*range(begin, begin + 40), *between, *range(end - 40, end + 1)})


HALF = 720


def impressions(begin: int, end: int) -> list[bytes]:
    """Return impressions 50 s apart: of half a day, all but two hours are folded, and their panes are leftovers."""
    return [shown(number, seconds=50.0 * number) for number in range(begin, end)]


async def a_flush(worker: Worker, client: "Redis") -> None:
    """Write a checkpoint that changes, adds and sweeps."""
    del client
    await worker.count(*impressions(HALF, 2 * HALF))
    assert await worker.checkpoints.flush()


async def a_restart(worker: Worker, client: "Redis") -> None:
    """Begin anew where the state is damaged: a claim, then a deletion and a write in one script."""
    del worker
    await Worker(client, ShortLog()).claim()


async def counted_on(fields: dict[bytes, bytes], client: "Redis") -> tuple[Any, dict[str, int]]:
    """Return the cells and the outcomes when a worker claims this state and counts the rest of the log."""
    await client.delete(KEY)
    if fields:
        await client.hset(KEY, mapping=fields)  # type: ignore[misc]  # redis-py annotates it for both of its clients
    worker = await Worker(client, ShortLog()).claim()
    assert worker.position is not None
    await worker.count(*impressions(worker.position, 2 * HALF))
    await worker.checkpoints.flush()
    stored = {name.decode(): value for name, value in (await client.hgetall(KEY)).items()}
    state, _ = Partition.restore(PLAN, Rules(), stored)
    return rows(state), outcomes(state)


def fold() -> tuple[Any, dict[str, int]]:
    """Return what is to be counted in all."""
    state = Partition(PLAN, Rules())
    state.process([Span(0, LATER, impressions(0, 2 * HALF))])
    state.take_changes()
    return rows(state), outcomes(state)


@pytest.mark.parametrize("last", [a_flush, a_restart])
async def test_a_file_that_is_cut_anywhere_holds_a_whole_state(last: Any, client: "Redis", tmp_path: Path) -> None:
    """D3: Redis' file cut at 100 places: the state before or after the last write, or none; each is counted on."""
    live = tmp_path / "live"
    with RedisServer(on_disk(live)) as server:
        filed = store.connect(RedisSettings(url=server.url))
        worker = await Worker(filed, ShortLog()).claim()
        await worker.count(*impressions(0, HALF))
        await worker.checkpoints.flush()
        if last is a_restart:
            await filed.hdel(KEY, layout.HEAD)
        before, begin = hash_of(server), appended(live).stat().st_size
        await last(worker, filed)
        after, end = hash_of(server), appended(live).stat().st_size
        await filed.aclose()
    wanted = cuts(begin, end)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(
            pool.map(
                lambda at: loaded(
                    live, at[1], tmp_path / f"cut-{at[1]}", is_started_twice=at[0] % (len(wanted) // STARTED_TWICE) == 0
                ),
                enumerate(wanted),
            )
        )
    states = {repr(sorted(fields.items())): fields for fields in found}
    assert (before, after) == (found[0], found[-1])
    # Between them, once: the flush before its leftovers are swept; the damaged state with its new owner's nonce.
    assert len(states) == 3
    expected = fold()
    for fields in states.values():
        assert await counted_on(fields, client) == expected


# -- D4: a replica that was behind ----------------------------------------------------------------------------------


def port_of(server: RedisServer) -> int:
    return int(server.url.split(":")[2].split("/")[0])


def applied(client: "redis_client.Redis", settings: Settings) -> int:
    """Return how many records are counted, as this Redis knows it."""
    keys = [layout.partition_key(settings.app, settings.kafka.events_topic, partition) for partition in range(2)]
    return sum(layout.unpack_head(head).applied for key in keys if (head := client.hget(key, layout.HEAD)))


def test_a_stale_replica_that_is_promoted_is_caught_up(kafka: KafkaSettings, tmp_path: Path) -> None:
    """D4: the master dies, its replica had not heard of 2,000 records: they are counted again, and readers told."""
    raws = shop_events(6_000, seed=31)
    with (
        RedisServer() as master,
        Proxy("127.0.0.1", port_of(master)) as to_master,
        RedisServer() as replica,
        Proxy("127.0.0.1", port_of(master)) as to_redis,
        redis_client.Redis.from_url(replica.url) as promoted,
    ):
        promoted.replicaof("127.0.0.1", str(to_master.port))
        settings = make_settings(kafka, f"redis://127.0.0.1:{to_redis.port}/0", partitions=2)
        with fleet(settings, tmp_path) as running:
            running.start()
            sent = send(kafka, raws[:2_000])
            running.wait_applied(sent)
            running.wait(lambda: applied(promoted, settings) >= sent, "replicated")
            to_master.set_mode("blackhole")
            sent += send(kafka, raws[2_000:4_000])
            running.wait_applied(sent)
            running.wait(lambda: sum(committed(settings)) >= sent, "Kafka knows the offsets")
            master.kill()
            assert applied(promoted, settings) == 2_000
            promoted.replicaof("NO", "ONE")
            to_redis.redirect(port_of(replica))
            sent += send(kafka, raws[4_000:])
            running.wait_applied(sent)
            assert_exact(running)
            assert "state went back" in running.log()
            assert len(running.workers) == 1


# -- D12: the worker is refused -------------------------------------------------------------------------------------


REFUSALS = {
    "another password": (
        "CONFIG SET requirepass changed",
        "CONFIG SET requirepass open-sesame",
        "invalid username-password",
    ),
    "no scripts": ("ACL SETUSER default -eval", "ACL SETUSER default +eval", "eval"),
    "no writes": ("ACL SETUSER default -hset", "ACL SETUSER default +hset", "can't run this command"),
}


def test_a_worker_that_redis_refuses_waits_and_goes_on(kafka: KafkaSettings, tmp_path: Path) -> None:
    """D12: password changed, commands taken away, given back: the same worker says why it waits, and counts exactly."""
    raws = shop_events(4_000, seed=32)
    with RedisServer({"requirepass": "open-sesame"}) as server:
        settings = make_settings(kafka, server.url, partitions=2)
        settings = settings.model_copy(update={"redis": RedisSettings(url=server.url, password="open-sesame")})
        with (
            fleet(settings, tmp_path) as running,
            redis_client.Redis.from_url(server.url, password="open-sesame", single_connection_client=True) as owner,
        ):
            worker = running.start()
            sent = send(kafka, raws[:1_000])
            running.wait_applied(sent)
            for number, (refuse, allow, words) in enumerate(REFUSALS.values(), 1):
                owner.execute_command(*refuse.split())
                owner.client_kill_filter(_type="normal", skipme=True)
                running.wait(lambda words=words: words in readiness(running), f"not ready: {words}")
                sent += send(kafka, raws[number * 1_000 : (number + 1) * 1_000])
                owner.execute_command(*allow.split())
                running.wait_applied(sent)
                running.wait(lambda: readiness(running) == "ready", "ready again")
            assert_exact(running)
            assert worker.is_running
            assert "open-sesame" not in running.log()


# -- D13: two apps on one name --------------------------------------------------------------------------------------


def test_another_cluster_under_the_same_name_is_refused(kafka: KafkaSettings, redis_url: str, tmp_path: Path) -> None:
    """D13: a worker of another Kafka cluster with the same names is refused, and the first one goes on undisturbed."""
    raws = shop_events(4_000, seed=33)
    settings = make_settings(kafka, redis_url, partitions=2)
    topics = {kafka.events_topic: 2, kafka.dead_letters_topic: 1, kafka.late_topic: 1, kafka.inputs_topic: 1}
    with MockKafka(topics) as other, fleet(settings, tmp_path) as running:
        running.start()
        sent = send(kafka, raws[:2_000])
        running.wait_applied(sent)
        stranger = running.start(
            {"LYNCEUS_KAFKA__BOOTSTRAP": other.bootstrap, "LYNCEUS_KAFKA__API_VERSION": KAFKA_API_VERSION}
        )
        send(kafka.model_copy(update={"bootstrap": other.bootstrap}), shop_events(1_000, seed=34))
        running.wait(lambda: stranger.log.read_text().count("another Kafka log") == 2, "both partitions refused")
        sent += send(kafka, raws[2_000:])
        running.wait_applied(sent)
        assert_exact(running)
        assert "claim dropped" not in running.log()


def test_another_topic_under_the_same_name_is_kept_apart(kafka: KafkaSettings, redis_url: str, tmp_path: Path) -> None:
    """D13: workers of one name and two topics, in one group of Kafka: each topic is counted by itself, exactly."""
    second = kafka.model_copy(update={"events_topic": f"{kafka.events_topic}-2"})
    ensure_topics(second)
    one = make_settings(kafka, redis_url, partitions=2)
    two = make_settings(second, redis_url, partitions=2).model_copy(update={"app": one.app})
    folder = tmp_path / "two"
    folder.mkdir()
    with fleet(one, tmp_path) as first, fleet(two, folder) as other:
        first.start()
        other.start()
        sent = send(kafka, shop_events(2_000, seed=35)), send(second, shop_events(3_000, seed=36))
        first.wait_applied(sent[0])
        other.wait_applied(sent[1])
        assert_exact(first)
        assert_exact(other)
