"""A real Redis as a test of the client sees it."""

from collections.abc import Iterator

import pytest
import redis as redis_client

from tests.serving.conftest import own_redis, redis_server_binary

__all__ = ["own_redis", "redis_server_binary"]


@pytest.fixture
def stored(redis_url: str) -> Iterator["redis_client.Redis"]:
    """Yield a client of the test's own."""
    with redis_client.Redis.from_url(redis_url) as client:
        yield client
