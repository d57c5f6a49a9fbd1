"""A real Redis as the worker and as a test see it, and a log of a few numbers."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis as redis_client
from redis.asyncio import Redis

from stream_app.settings import RedisSettings
from stream_app.worker import store
from tests.worker.claiming import TIMEOUT_S, ShortLog

PATIENCE_S = 60.0


@pytest.fixture
def stored(redis_url: str) -> Iterator["redis_client.Redis"]:
    """Yield a client of the test's own."""
    with redis_client.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    """Yield the worker's client, with little patience."""
    client = store.connect(RedisSettings(url=redis_url, timeout_s=TIMEOUT_S))
    yield client
    await client.aclose()


@pytest.fixture
async def patient_redis(redis_url: str) -> AsyncIterator["Redis"]:
    """Yield the worker's client with much patience: for what writes much on a machine that may be busy."""
    client = store.connect(RedisSettings(url=redis_url, timeout_s=PATIENCE_S))
    yield client
    await client.aclose()


@pytest.fixture
def log() -> ShortLog:
    """Return the log of a few numbers that a worker's checkpoints ask."""
    return ShortLog()
