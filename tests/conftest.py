"""Real servers for every room's tests: one Apache Kafka and one Redis a run, and librdkafka's mock cluster.

A server that cannot be had is a clear skip on a workstation and a failure where the environment says CI:
there, a suite that silently tests less would be worse than one that fails.
"""

import os
import shutil
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import pytest_asyncio
import redis
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser, async_playwright

from stream_app.apache_kafka import ApacheKafka
from stream_app.embedded import KAFKA_API_VERSION, MockKafka, RedisServer
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

# How long an example takes depends on what else the machine does, so no time may decide whether a law holds.
settings.register_profile("lynceus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lynceus")

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]
KAFKA_CACHE = Path(__file__).parent.parent / ".cache" / "kafka"


LONGEST_FIRST = (
    "faults/test_chaos.py",
    "faults/test_storm.py",
    "test_bad_surroundings.py",
    "worker/test_counting.py",
    "test_demo.py",
    "serving/test_wall.py",
    "faults/test_simulation.py",
    "producers/test_truth.py",
    "e2e/test_alerting.py",
    "faults/test_redis_faults.py",
    "worker/test_recovery.py",
    "rendering/test_alerts.py",
    "e2e/test_verdicts.py",
    "worker/test_log_faults.py",
    "serving/test_query_command.py",
)
"""Files that take half a minute or more: who began with them last would still be at it when all others are done."""


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C mean something to what the tests start, let them be compiled once, and keep the order of the files.

    A shell has what it runs in the background ignore Ctrl-C. Where the environment says that no bytecode is written,
    each of the hundred processes that the tests start would compile all of Lynceus first, and pytest all tests.
    xdist by itself begins with the files of most tests, whatever they take.
    """
    config.option.loadscopereorder = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server by its fixtures, so that nobody has to remember the marker; the longest files first."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "kafka_bootstrap" in fixtures or "kafka_cache" in fixtures:
            item.add_marker(pytest.mark.kafka)
        if "redis_url" in fixtures:
            item.add_marker(pytest.mark.redis)


def unavailable(error: LynceusError) -> NoReturn:
    """Fail where the environment says CI, skip elsewhere, with the reason."""
    if os.environ.get("CI"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka_cache() -> Path:
    """Return the folder of Apache Kafka's jars, fetched once for this checkout."""
    try:
        ApacheKafka(KAFKA_CACHE).close()
    except LynceusError as error:
        unavailable(error)
    return KAFKA_CACHE


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the address of a real Apache Kafka, warmed up: LYNCEUS_TEST_KAFKA, or one for the whole run."""
    if given := os.environ.get("LYNCEUS_TEST_KAFKA"):
        yield given
        return
    with ApacheKafka(request.getfixturevalue("kafka_cache")) as broker:
        _warm_up(broker.bootstrap)
        yield broker.bootstrap


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the path of the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        unavailable(LynceusError("no Chromium on PATH", "Install the package chromium"))
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(chromium_path: str) -> AsyncIterator[Browser]:
    """Yield a headless Chromium for the tests of one module."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM, timeout=30_000)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[RedisServer]:
    try:
        server = RedisServer().start()
    except LynceusError as error:
        unavailable(error)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_url(_redis_server: RedisServer) -> str:
    """Return the URL of an empty Redis."""
    with redis.Redis.from_url(_redis_server.url) as client:
        client.flushall()
    return _redis_server.url


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[MockKafka]:
    """Yield a mock cluster with the default topics, 8 partitions for the events."""
    defaults = KafkaSettings()
    topics = {
        defaults.events_topic: 8,
        defaults.dead_letters_topic: 1,
        defaults.late_topic: 1,
        defaults.inputs_topic: 1,
        defaults.verdicts_topic: 1,
    }
    try:
        cluster = MockKafka(topics)
    except LynceusError as error:
        unavailable(error)
    with cluster:
        yield cluster


@pytest.fixture
def mock_kafka_settings(mock_kafka: MockKafka) -> KafkaSettings:
    """Return the settings of a client of `mock_kafka`."""
    return KafkaSettings(bootstrap=mock_kafka.bootstrap, api_version=KAFKA_API_VERSION)


@pytest.fixture
def kafka_settings(kafka_bootstrap: str) -> KafkaSettings:
    """Return the settings of a client of the real broker, with topic names that no other test has."""
    run = uuid.uuid4().hex[:12]
    return KafkaSettings(
        bootstrap=kafka_bootstrap,
        events_topic=f"{run}.events",
        dead_letters_topic=f"{run}.dead-letters",
        late_topic=f"{run}.late",
        inputs_topic=f"{run}.inputs",
        verdicts_topic=f"{run}.verdicts",
    )


def _warm_up(bootstrap: str) -> None:
    """Let the first topic and the first group be ours: they take a second that no test should pay."""
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        admin.create_topics({"warm-up": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        producer.send("warm-up", b"1").get(timeout=30)
    consumer = KafkaConsumer("warm-up", bootstrap_servers=bootstrap, group_id="warm-up", auto_offset_reset="earliest")
    try:
        next(consumer)
        consumer.commit()
    finally:
        consumer.close()
