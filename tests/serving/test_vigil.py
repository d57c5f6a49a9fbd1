"""The vigil on a real Redis: whoever judges a minute, it is judged once, and all servers say the same."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from stream_app.core.cells import watch_key
from stream_app.decisions.contract import guard_key
from stream_app.serving import vigil as vigils
from stream_app.serving.reader import connect
from stream_app.serving.vigil import GUARD_EXPIRES_MS, MAX_MINUTES, Vigil
from stream_app.serving.watch_view import Guard, guard_of, untold
from stream_app.settings import RedisSettings
from stream_app.statistics.series import MINUTE_MS
from tests.serving.conftest import RedisProcess
from tests.serving.stored import HOLDOUT, HOME
from tests.serving.watching import OPEN_MS, SETTINGS, START_MS, Count, Scene, look, minute, scene, store_of, vigil_of

WARM, LONG = 40, 60
"""Minutes until personalization breaks, and minutes in all."""


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with connect(RedisSettings(url=redis_url)) as client:
        yield client


def at(number: int) -> int:
    """Return where a minute begins."""
    return START_MS + number * MINUTE_MS


def counted(until: int) -> list[Count]:
    """Return what the first minutes saw, in turn at two positions: the lift is 2, until it is gone and more.

    Nothing is left of it at the first.
    """
    return [
        each._replace(position=1 + n % 2)
        for n in range(until)
        for each in minute(at(n), 12 if n < WARM else 2 * (n % 2), 6)
    ]


def told(until: int, **head: object) -> Scene:
    """Return what is read when the first minutes are sealed."""
    newest = at(until) + OPEN_MS
    return scene([*counted(until + 5), Count(newest, HOME, 1, 0), Count(newest, HOLDOUT, 1, 0)], newest, **head)


async def kept(redis: "Redis", app: str) -> tuple[Any, ...]:
    """Return what is shared: the evidence as it is stored, and the ids of what was said."""
    store = store_of(redis, app)
    history = [json.loads(line)["id"] for line in await store.history()]
    assert len(history) == len(set(history))
    return (await store.load(["home.hero"]))["home.hero"], history, (await store.look()).tallies


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Return what servers read one after the other while a drop happens."""
    return [told(until) for until in (3, 10, 17, 30, 38, 45, 52, 60)]


async def all_judged(vigil: Vigil, seen: Scene) -> None:
    """Look until there is nothing more to judge."""
    for _ in range(LONG // MAX_MINUTES + 1):
        await look(vigil, seen)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_servers_that_come_and_go_agree(redis: "Redis", scenes: list[Scene], seed: int) -> None:
    """Evidence and verdicts are those of a single server that never stopped: none lost, none repeated."""
    alone = vigil_of(redis, "alone")
    for seen in scenes:
        await all_judged(alone, seen)
    chance = random.Random(seed)
    servers = [vigil_of(redis, "many") for _ in range(3)]
    for seen in scenes:
        for _ in range(12):
            who = chance.randrange(3)
            if chance.random() < 0.3:
                servers[who] = vigil_of(redis, "many")  # it was restarted
            await asyncio.gather(*(look(server, seen) for server in {servers[who], servers[chance.randrange(3)]}))
    for server in servers:
        await all_judged(server, scenes[-1])
    one, many = await kept(redis, "alone"), await kept(redis, "many")
    assert (at(LONG) - MINUTE_MS, one) == (one[0].last_ms, many)
    assert [alone.view.surfaces] * 3 == [server.view.surfaces for server in servers]
    drops = [verdict for verdict in untold(await store_of(redis, "many").history()) if verdict.cause == "drop"]
    assert {"position=1"} == {verdict.contributors[0][0] for verdict in drops}


async def test_missed_minutes_are_judged_in_order(redis: "Redis", scenes: list[Scene]) -> None:
    """After an outage those that are still kept are judged, a few at each look, with the same result."""
    steady, late = vigil_of(redis, "steady"), vigil_of(redis, "late")
    for seen in scenes:
        await all_judged(steady, seen)
    reached = []
    for _ in range(LONG // MAX_MINUTES):
        await look(late, scenes[-1])
        reached.append(late.view.surfaces[0].until_ms)
    assert [at(n) for n in range(MAX_MINUTES, LONG + 1, MAX_MINUTES)] == reached
    assert await kept(redis, "steady") == await kept(redis, "late")


async def test_minutes_that_are_gone_are_told(redis: "Redis", scenes: list[Scene]) -> None:
    """What was folded into hours before it could be judged is counted, and the watch goes on after it."""
    await all_judged(vigil_of(redis), scenes[0])
    again = vigil_of(redis)
    await all_judged(again, told(LONG, floor_ms=at(20)))
    assert (17, at(LONG)) == (again.view.gone_minutes, again.view.surfaces[0].until_ms)


async def test_minutes_with_a_gap_are_not_judged(redis: "Redis") -> None:
    """Where records were lost before they were counted no evidence is gathered, and that is said."""
    vigil = vigil_of(redis)
    await look(vigil, told(5, gap_ms=at(60)))
    assert ("incomplete", at(5)) == (vigil.view.surfaces[0].paused, vigil.view.surfaces[0].until_ms)
    assert "unknown" == guard_of(vigil.view.surfaces[0], 0).status


async def test_while_nothing_is_sealed_the_watch_stands_still(redis: "Redis", scenes: list[Scene]) -> None:
    """While a state is counted anew nothing is judged; soon the watch says that it is behind, and why."""
    vigil = vigil_of(redis)
    await all_judged(vigil, scenes[0])
    before = await kept(redis, "lynceus")
    stuck = told(30, replay_to=500)
    await look(vigil, stuck._replace(at_ms=at(3) + OPEN_MS + 6 * MINUTE_MS))
    reason = "partition 0 is counted anew"
    assert (before, reason, reason) == (
        await kept(redis, "lynceus"),
        vigil.view.held_because,
        vigil.view.surfaces[0].paused,
    )


async def test_where_nobody_comes_the_watch_does_not_stand_still(redis: "Redis", scenes: list[Scene]) -> None:
    """Before the first minute is sealed, and in a silence: what was judged is old and says so; nobody is at fault."""
    vigil = vigil_of(redis)
    await look(vigil, told(0))
    before = vigil.view
    await all_judged(vigil, scenes[0])
    await look(vigil, scenes[0]._replace(at_ms=at(3) + OPEN_MS + 6 * MINUTE_MS))
    (surface,) = vigil.view.surfaces
    assert ((), "", "", "nothing new is counted", "unknown") == (
        before.surfaces,
        before.held_because,
        vigil.view.held_because,
        surface.paused,
        guard_of(surface, 0).status,
    )


async def test_the_guard_is_written_and_expires(redis: "Redis", scenes: list[Scene]) -> None:
    """Decisions find it in Redis for as long as a server lives, with what is said of the surface."""
    vigil = vigil_of(redis)
    await look(vigil, scenes[0])
    key = guard_key("lynceus", "home.hero")
    stored = msgspec.json.decode(await redis.get(key) or b"", type=Guard)
    standing = vigil.view.surfaces[0]
    assert Guard("unknown", standing.words, "not_enough", at(0), scenes[0].at_ms) == stored
    assert True is (0 < await redis.pttl(key) <= GUARD_EXPIRES_MS)


async def test_surfaces_are_bounded(redis: "Redis") -> None:
    """The largest find a place; how many found none is told, and one without a holdout needs none."""
    names = ["a", "b", "c", "d"]
    many = [
        each
        for size, name in enumerate(names)
        for each in minute(at(0), 1, 1, 10 + size, [HOME._replace(surface=name), HOLDOUT._replace(surface=name)])
    ]
    many.append(Count(at(0), HOME._replace(surface="alone"), 100, 1))
    seen = scene([*many, Count(at(7), HOME._replace(surface="d"), 1, 0)], at(7))
    vigil = vigil_of(redis, settings=SETTINGS.model_copy(update={"surfaces": 2}))
    await look(vigil, seen)
    await look(vigil, seen)
    assert (["c", "d"], 2) == ([each.surface for each in vigil.view.surfaces], vigil.view.unwatched)
    assert Guard("unknown", "this surface is not watched", "not_enough", None, 7) == guard_of(None, 7)


async def test_evidence_of_another_version_is_left_alone(redis: "Redis", scenes: list[Scene]) -> None:
    """A state that cannot be read is neither judged nor overwritten here; it is one log line."""
    await look(vigil_of(redis), scenes[0])
    await redis.hset(watch_key("lynceus", "home.hero"), "state", b"\xc1")
    vigil = vigil_of(redis)
    with capture_logs() as lines:
        await look(vigil, scenes[1])
        await look(vigil, scenes[1])
    assert (1, b"\xc1", 1) == (
        len([line for line in lines if line["log_level"] == "warning"]),
        await redis.hget(watch_key("lynceus", "home.hero"), "state"),
        vigil.view.unwatched,
    )


async def test_an_outage_of_redis_is_two_log_lines(own_redis: RedisProcess, scenes: list[Scene]) -> None:
    """The watch says that it cannot be kept, and begins again by itself with what is shared then."""
    async with connect(RedisSettings(url=own_redis.url, timeout_s=1)) as redis:
        vigil = vigil_of(redis)
        await look(vigil, scenes[0])
        own_redis.stop()
        with capture_logs() as lines:
            for _ in range(3):
                await look(vigil, scenes[1])
            held = vigil.view.held_because
            own_redis.start()  # with nothing in it
            await look(vigil, scenes[1])
            await look(vigil, scenes[1])
    assert ["the watch cannot be kept", "the watch is kept again"] == [
        line["event"] for line in lines if line["event"].startswith("the watch")
    ]
    assert (True, "", at(10)) == (
        held.startswith("the watch cannot be kept"),
        vigil.view.held_because,
        vigil.view.surfaces[0].until_ms,
    )


async def test_a_place_is_given_free(redis: "Redis", scenes: list[Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room a server looks now and then whether the evidence of a surface has expired."""
    settings = SETTINGS.model_copy(update={"surfaces": 1})
    gone = [HOME._replace(surface="gone"), HOLDOUT._replace(surface="gone")]
    vigil = vigil_of(redis, settings=settings)
    await look(vigil, scene([*minute(at(0), 1, 1, slices=gone), Count(at(7), gone[0], 1, 0)], at(7)))
    await redis.delete(watch_key("lynceus", "gone"))
    monkeypatch.setattr(vigils, "SWEEP_EVERY_MS", 0)
    for seen in scenes[:4]:
        await look(vigil, seen)
    assert ["home.hero"] == [each.surface for each in vigil.view.surfaces]
