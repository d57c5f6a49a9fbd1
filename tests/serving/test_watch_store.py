"""What servers share of the watch, on a real Redis: one of them moves a surface on, and nothing is said twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from stream_app.core.cells import watch_key, watch_keys
from stream_app.serving import watch_store
from stream_app.serving.reader import StoreUnavailableError, connect
from stream_app.serving.watch_store import Kept, Shared, Step, WatchStore
from stream_app.settings import RedisSettings
from tests.serving.conftest import RedisProcess

APP = "lynceus"
OPENED, CLOSED = b'{"id":"1"}', b'{"id":"2"}'


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with connect(RedisSettings(url=redis_url)) as client:
        yield client


def store_of(redis: "Redis", surfaces: int = 2, history: int = 3) -> WatchStore:
    return WatchStore(redis, RedisSettings(), APP, surfaces, history)


def step(surface: str, before_ms: int | None, last_ms: int, *verdicts: bytes, gone: int = 0) -> Step:
    return Step(surface, before_ms, Kept(last_ms, b"evidence of %d" % last_ms), verdicts, gone)


async def test_one_of_many_moves_a_surface_on(redis: "Redis") -> None:
    """Of ten servers that judged the same minute one is the first: its verdict is kept, once."""
    store = store_of(redis)
    said = await asyncio.gather(*(store.advance(step("home", None, 60_000, OPENED)) for _ in range(10)))
    assert ["behind"] * 9 + ["ok"] == sorted(said)
    assert Shared({"home": 60_000}, 1, {"verdicts": 1, "gone_minutes": 0, "unsent_verdicts": 0}) == await store.look()
    assert [OPENED] == await store.history()
    assert {"home": Kept(60_000, b"evidence of 60000"), "cart": None} == await store.load(["home", "cart"])


async def test_who_is_behind_changes_nothing(redis: "Redis") -> None:
    """A step from a minute that is no longer the last leaves evidence, verdicts and outbox as they are."""
    store = store_of(redis)
    await store.advance(step("home", None, 60_000))
    await store.advance(step("home", 60_000, 120_000, OPENED))
    before = [await store.look(), await store.history(), await store.load(["home"])]
    said = [await store.advance(step("home", last, 180_000, CLOSED, gone=3)) for last in (None, 60_000, 180_000)]
    assert (["behind"] * 3, before) == (said, [await store.look(), await store.history(), await store.load(["home"])])


async def test_the_history_begins_with_the_newest(redis: "Redis") -> None:
    """What was said last is read first."""
    store = store_of(redis)
    await store.advance(step("home", None, 60_000, OPENED))
    await store.advance(step("home", 60_000, 120_000, CLOSED))
    assert [CLOSED, OPENED] == await store.history()


async def test_everything_is_bounded(redis: "Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    """No more surfaces, history and waiting verdicts than there may be; what was given up is counted."""
    monkeypatch.setattr(watch_store, "MAX_OUTBOX", 2)
    store = store_of(redis, surfaces=2, history=3)
    said = [await store.advance(step(name, None, 60_000)) for name in ("home", "cart", "search")]
    many = [b'{"id":"%d"}' % n for n in range(5)]
    said.append(await store.advance(step("home", 60_000, 120_000, *many, gone=7)))
    shared, history = await store.look(), await store.history()
    assert ["ok", "ok", "full", "ok"] == said
    assert Shared({"home": 120_000, "cart": 60_000}, 2, {"verdicts": 5, "gone_minutes": 7, "unsent_verdicts": 3}) == (
        shared
    )
    assert ([b'{"id":"4"}', b'{"id":"3"}', b'{"id":"2"}'], [b'{"id":"3"}', b'{"id":"4"}']) == (
        history,
        await store.take("me"),
    )
    assert True is (await redis.pttl(watch_key(APP, "home")) > 28 * 86_400_000)


async def test_a_surface_that_expired_makes_room(redis: "Redis") -> None:
    """Its place is given free once its evidence is gone, never before."""
    store = store_of(redis, surfaces=1)
    await store.advance(step("home", None, 60_000, OPENED))
    await store.forget("home")
    held = (await store.look()).progress
    await redis.delete(watch_key(APP, "home"))
    await store.forget("home")
    assert ({"home": 60_000}, {}) == (held, (await store.look()).progress)
    assert "ok" == await store.advance(step("cart", None, 60_000))


async def test_one_server_sends_at_a_time(redis: "Redis") -> None:
    """What was taken waits until it is sent; another server gets it when the first one rests, or its lease ends."""
    store = store_of(redis)
    await store.advance(step("home", None, 60_000, OPENED, CLOSED))
    first, second = await store.take("one"), await store.take("two")
    left = await store.sent(OPENED)
    await store.rest("two")
    refused = await store.take("two")
    await store.rest("one")
    after_rest = await store.take("two")
    lease_ms = await redis.pttl(watch_keys(APP).sender)
    await redis.delete(watch_keys(APP).sender)  # as when the lease ends
    assert True is (0 < lease_ms <= watch_store.LEASE_MS)
    assert ([OPENED, CLOSED], [], 1, [], [CLOSED], [CLOSED]) == (
        first,
        second,
        left,
        refused,
        after_rest,
        await store.take("one"),
    )


async def test_names_do_not_collide(redis: "Redis") -> None:
    """Whatever surfaces are called, evidence, guards and lists lie under different names."""
    names = ["guard", "watch", "watch:guard", "watch:home:state", "progress", "a:b", "ü { }"]
    store = WatchStore(redis, RedisSettings(), APP, 100, 3)
    for name in names:
        await store.advance(step(name, None, 60_000, OPENED))
        await store.guard({name: b"{}"}, 60_000)
    assert (len(names) * 2 + 4, sorted(names)) == (len(await redis.keys()), sorted((await store.look()).progress))


async def test_what_redis_does_is_one_kind_of_error(own_redis: RedisProcess) -> None:
    """A Redis that is gone, or forbids scripts, is an outage of the watch and of nothing else."""
    async with connect(RedisSettings(url=own_redis.url, timeout_s=1)) as redis:
        store = store_of(redis)
        await redis.execute_command("ACL", "SETUSER", "default", "-eval")
        with pytest.raises(StoreUnavailableError, match="refuses"):
            await store.advance(step("home", None, 60_000))
        own_redis.stop()
        with pytest.raises(StoreUnavailableError):
            await store.look()
