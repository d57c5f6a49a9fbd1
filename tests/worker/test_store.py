"""Which Redis may keep the counts: one that is a master, answers, and never forgets by itself."""

import pytest
import redis as redis_client

from stream_app.embedded import RedisServer
from stream_app.errors import LynceusError
from stream_app.settings import RedisSettings
from stream_app.worker import store

TIMEOUT_S = 0.5


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (["CONFIG SET maxmemory-policy allkeys-lru"], ("allkeys-lru", "CONFIG SET maxmemory-policy noeviction")),
        (["CONFIG SET maxmemory-policy volatile-ttl"], ("volatile-ttl", "CONFIG SET maxmemory-policy noeviction")),
        (["REPLICAOF 127.0.0.1 1"], ("is a slave", "LYNCEUS_REDIS__URL")),
        (["ACL SETUSER default -role"], ("refuses", "ACL")),
    ],
)
async def test_a_redis_that_cannot_keep_counts_is_refused(commands: list[str], words: tuple[str, ...]) -> None:
    """A replica, one that evicts and one that refuses are no state of record; the line says what to do."""
    with RedisServer() as server, redis_client.Redis.from_url(server.url) as other:
        client = store.connect(RedisSettings(url=server.url, timeout_s=TIMEOUT_S))
        sound = await store.check(client, server.url)
        for command in commands:
            other.execute_command(*command.split())
        with pytest.raises(LynceusError) as refusal:
            await store.check(client, server.url)
        await client.aclose()
    line = str(refusal.value)
    assert ("", [], 1) == (sound, [word for word in (server.url, *words) if word not in line], len(line.splitlines()))
    assert not isinstance(refusal.value, store.UnreachableError)


async def test_a_redis_that_hides_its_policy_is_warned_about() -> None:
    """Where CONFIG may not be read, that is a warning and no refusal."""
    with RedisServer() as server, redis_client.Redis.from_url(server.url) as other:
        other.execute_command("ACL", "SETUSER", "default", "-config|get")
        client = store.connect(RedisSettings(url=server.url, timeout_s=TIMEOUT_S))
        warning = await store.check(client, server.url)
        await client.aclose()
    assert "noeviction" in warning


async def test_an_outage_is_not_a_wrong_redis() -> None:
    """A Redis that does not answer is told apart: it may come back, and then goes on as it was."""
    with RedisServer() as server:
        client = store.connect(RedisSettings(url=server.url, timeout_s=TIMEOUT_S))
        await store.check(client, server.url)
        server.kill()
        with pytest.raises(store.UnreachableError, match="does not answer"):
            await store.check(client, server.url)
        await client.aclose()
