"""Both clients on a real Redis: what they answer, and that they answer in time whatever Redis does."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis as redis_client

from stream_app.decisions.aio import AsyncLynceus
from stream_app.decisions.answer import Answer, Prior, Status
from stream_app.decisions.client import Lynceus
from stream_app.decisions.guard import Guard
from tests.decisions.published import guard, now_ms, publish
from tests.serving.conftest import RedisProcess

Ask = Callable[..., Awaitable[dict[str, Answer]]]
GENEROUS_S = 5.0
"""For what is told, not how fast: this machine may be busy."""


class Client:
    """Either client, awaited."""

    def __init__(self, kind: type[Lynceus] | type[AsyncLynceus], url: str, **options: Any) -> None:
        self._client: Any = kind(url, **{"timeout_s": GENEROUS_S, **options})

    async def get(self, *, kpi: str = "ctr", surface: str = "home", **more: Any) -> dict[str, Answer]:
        found: Any = self._client.get(kpi=kpi, surface=surface, **more)
        return await found if asyncio.iscoroutine(found) else found

    async def guard(self, surface: str) -> Guard:
        found: Any = self._client.guard(surface)
        return await found if asyncio.iscoroutine(found) else found

    async def close(self) -> None:
        if isinstance(self._client, AsyncLynceus):
            await self._client.aclose()
        else:
            self._client.close()


@contextlib.asynccontextmanager
async def connected(kind: Any, url: str, **options: Any) -> AsyncIterator[Client]:
    client = Client(kind, url, **options)
    try:
        yield client
    finally:
        await client.close()


both = pytest.mark.parametrize("kind", [Lynceus, AsyncLynceus])


@both
async def test_what_is_published_is_answered(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """Each name gets its value, interval, count, and the end of the window."""
    end_ms = now_ms()
    publish(stored, end_ms)
    async with connected(kind, redis_url) as client:
        found = await client.get(arms=["personalized", "holdout"])
    assert {
        "personalized": Answer(0.031, 0.028, 0.034, 9_000, end_ms, 0.75, Status.OK),
        "holdout": Answer(0.021, 0.014, 0.032, 1_000, end_ms, 0.75, Status.OK),
    } == found


@both
async def test_the_surface_as_a_whole_is_all(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """Without a list and without `where` the answer is that of the surface."""
    publish(stored, now_ms())
    async with connected(kind, redis_url) as client:
        assert [("all", 0.03)] == [(name, found.value) for name, found in (await client.get()).items()]


@both
async def test_a_handful_leans_on_the_prior(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """20 observations of 5 % beside 100 that the surface's 3 % is worth; a given prior goes before the surface."""
    publish(stored, now_ms())
    async with connected(kind, redis_url) as client, connected(kind, redis_url, priors={"ctr": Prior(0.01, 20)}) as own:
        leaned = (await client.get(policies=["new", "silent"])).values()
        given = (await own.get(policies=["new", "silent"])).values()
    assert [pytest.approx((20 * 0.05 + 100 * 0.03) / 120), 0.03] == [each.value for each in leaned]
    assert [pytest.approx(0.03), 0.01] == [each.value for each in given]
    assert [(Status.LOW_DATA, f"{n} observations, 100 are enough") for n in (20, 0)] == [
        (each.status, each.reason) for each in leaned
    ]


@both
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"arms": ["nobody"]}, "nothing was counted of it in this window"),
        ({"items": ["A1"]}, "items are not counted one by one"),
        ({"kpi": "ctrr"}, "no ctrr is published of it"),
        ({"kpi": "relevance", "arms": ["holdout"]}, "no relevance is published of it"),
        ({"surface": "elsewhere"}, "no server publishes such a window"),
        ({"window": "3h"}, "no server publishes such a window"),
    ],
)
async def test_what_is_not_known_is_unknown(
    kind: Any, asked: dict[str, Any], reason: str, redis_url: str, stored: "redis_client.Redis"
) -> None:
    """A surface, window, KPI or entity that nobody counted is UNKNOWN, in words, and no exception."""
    publish(stored, now_ms())
    async with connected(kind, redis_url) as client:
        (found,) = (await client.get(**asked)).values()
    assert (Status.UNKNOWN, reason, 0) == (found.status, found.reason, found.n)


@both
async def test_what_nobody_knows_falls_back_to_the_surface(
    kind: Any, redis_url: str, stored: "redis_client.Redis"
) -> None:
    """The value of an unknown entity is the prior: given, else the surface's, else None."""
    publish(stored, now_ms())
    async with connected(kind, redis_url) as client, connected(kind, redis_url, priors={"ctr": Prior(0.01)}) as own:
        values = [
            (await client.get(items=["A1"]))["A1"].value,
            (await own.get(items=["A1"]))["A1"].value,
            (await client.get(surface="elsewhere"))["all"].value,
            (await own.get(surface="elsewhere"))["all"].value,
        ]
    assert [0.03, 0.01, None, 0.01] == values


@both
async def test_an_old_window_is_stale(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """A window that ended longer ago than `max_age` is told, and said to be stale."""
    publish(stored, now_ms() - 61_000)
    async with connected(kind, redis_url, max_age="1m") as old, connected(kind, redis_url, max_age=90) as fresh:
        found = [(await client.get())["all"] for client in (old, fresh)]
    assert [(Status.STALE, 0.03), (Status.OK, 0.03)] == [(each.status, each.value) for each in found]


@both
async def test_a_degraded_surface_says_so(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """While the guard is degraded, or the window lacks something, no answer is OK; the guard has the reason."""
    publish(stored, now_ms(), because=("partition 3: lost",))
    guard(stored, "degraded", "personalization dropped")
    async with connected(kind, redis_url) as client:
        found = (await client.get())["all"]
        told = await client.guard("home")
    assert (Status.DEGRADED, "incomplete: partition 3: lost; guard: personalization dropped", 0.03) == (
        found.status,
        found.reason,
        found.value,
    )
    assert (Guard("degraded", "personalization dropped", "drop", 1_000, 2_000), True) == (told, told.is_degraded)


@both
async def test_a_guard_that_nobody_writes_is_unknown(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """Unknown is neither ok nor degraded: no watch, another word, bytes that are no guard."""
    guard(stored, "puzzled", surface="odd")
    stored.set("lynceus:v1:broken:guard", b"\xff{")
    async with connected(kind, redis_url) as client:
        guards = [await client.guard(surface) for surface in ("home", "odd", "broken")]
    assert [("unknown", False, False)] * 3 == [(each.status, each.is_ok, each.is_degraded) for each in guards]


@both
async def test_bytes_that_are_no_snapshot_are_unknown(kind: Any, redis_url: str, stored: "redis_client.Redis") -> None:
    """Whatever stands under the keys, there is an answer."""
    end_ms = now_ms()
    publish(stored, end_ms, cells={"all": {"ctr": [1, 2]}, "arm=a": [1], "arm=b": {"ctr": "much"}})
    publish(stored, end_ms, surface="typed")
    stored.delete(f"lynceus:v1:typed:win:5m:{end_ms}")
    stored.set(f"lynceus:v1:typed:win:5m:{end_ms}", "a string")
    stored.set("lynceus:v1:worded:win:5m:current", "soon")
    async with connected(kind, redis_url) as client:
        statuses = [each.status for each in (await client.get(arms=["a", "b"])).values()]
        statuses += [(await client.get(surface=surface))["all"].status for surface in ("typed", "worded")]
    assert [Status.UNKNOWN, Status.LOW_DATA, Status.UNKNOWN, Status.UNKNOWN] == statuses


@both
async def test_what_was_read_serves_for_a_step(kind: Any, own_redis: RedisProcess) -> None:
    """Within a step nothing is asked twice, so an outage in between is not noticed; what was not read is unknown."""
    with redis_client.Redis.from_url(own_redis.url) as stored:
        publish(stored, now_ms())
    async with connected(kind, own_redis.url) as client:
        before = await client.get(arms=["holdout"])
        own_redis.stop()
        after = await client.get(arms=["holdout"])
        other = (await client.get(arms=["personalized"]))["personalized"]
    assert (before, Status.UNKNOWN, True) == (after, other.status, other.reason.startswith("Redis is not to be had"))


@pytest.fixture
def silence() -> Iterator[str]:
    """Yield the URL of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@both
async def test_a_redis_that_says_nothing_costs_the_time_out_once(kind: Any, silence: str) -> None:
    """The first question waits for the time-out, the next ones do not wait; each has an answer."""
    async with connected(kind, silence, timeout_s=0.2, priors={"ctr": Prior(0.02)}) as client:
        began = time.monotonic()
        found = [(await client.get())["all"] for _ in range(50)]
        elapsed = time.monotonic() - began
        told = await client.guard("home")
    # One time-out and 50 answers from memory; 50 time-outs would be 5 to 10 s.
    assert (True, {(Status.UNKNOWN, 0.02)}, "unknown") == (
        elapsed < 2,
        {(each.status, each.value) for each in found},
        told.status,
    )


@both
async def test_no_redis_at_all_is_an_answer(kind: Any, own_redis: RedisProcess) -> None:
    """A port where nobody listens: unknown, with the reason."""
    own_redis.stop()
    async with connected(kind, own_redis.url) as client:
        found, told = (await client.get())["all"], await client.guard("home")
    assert (Status.UNKNOWN, None, "unknown", True) == (
        found.status,
        found.value,
        told.status,
        "not to be had" in found.reason,
    )


@both
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"arms": ["a"], "policies": ["b"]}, "two lists"),
        ({"where": {"colour": "red"}}, "'colour' does not exist"),
        ({"arms": ["a"], "where": {"arm": "b"}}, "in `where` and in a list"),
    ],
)
async def test_a_question_without_sense_is_refused(kind: Any, asked: dict[str, Any], words: str) -> None:
    """A mistake in the program, not in the data, raises; nothing is asked."""
    async with connected(kind, "redis://127.0.0.1:1/0") as client:
        with pytest.raises(ValueError, match=words):
            await client.get(**asked)


@pytest.mark.parametrize("kind", [Lynceus, AsyncLynceus])
@pytest.mark.parametrize(
    ("url", "options", "words"),
    [("http://127.0.0.1", {}, "begins with redis://"), ("redis://h", {"max_age": "soon"}, "'soon' is no age")],
)
def test_a_client_that_cannot_work_is_refused(kind: Any, url: str, options: dict[str, Any], words: str) -> None:
    """A URL that is not Redis' and an age that is none raise at once, before anything is asked."""
    with pytest.raises(ValueError, match=words):
        kind(url, **options)


@both
async def test_a_user_who_may_read_the_contract_is_enough(
    kind: Any, redis_url: str, stored: "redis_client.Redis"
) -> None:
    """An ACL user with the rights that docs/decisions.md names is answered; the password is in no reason."""
    publish(stored, now_ms())
    rules = {"enabled": True, "reset": True, "keys": ["lynceus:v1:*"], "passwords": ["+canary-31f"]}
    stored.acl_setuser("shop", commands=["+mget", "+hmget"], categories=["+@connection"], **rules)
    try:
        async with connected(kind, redis_url, username="shop", password="canary-31f") as client:
            allowed = (await client.get())["all"]
        async with connected(kind, redis_url, username="shop", password="canary-wrong") as client:
            refused = (await client.get())["all"]
    finally:
        stored.acl_deluser("shop")
    assert (Status.OK, Status.UNKNOWN, False) == (allowed.status, refused.status, "canary" in refused.reason)
