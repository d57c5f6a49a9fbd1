"""Snapshots for decisions: what is in one, that they are swapped whole, and that a client reads what was counted."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as redis_client
from redis.asyncio import Redis
from structlog.testing import capture_logs

from stream_app.core.slices import Slice
from stream_app.decisions.aio import AsyncLynceus
from stream_app.decisions.answer import Answer, Status
from stream_app.errors import LynceusError
from stream_app.serving.publishing import Publisher, snapshots, surfaces
from stream_app.serving.reader import connect
from stream_app.serving.refresher import clock_ms
from stream_app.serving.views import View
from stream_app.settings import DecisionsSettings, RedisSettings
from stream_app.statistics.proportions import wilson
from tests.serving.conftest import RedisProcess
from tests.serving.stored import HOLDOUT, HOME, NOW_MS, Partition
from tests.serving.test_server import serving, settings_of
from tests.serving.viewing import MEANING, live, view_of

NEW = HOME._replace(segment="new")
DECISIONS = DecisionsSettings(windows="5m,1h")


@pytest.fixture
def stored(redis_url: str) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with connect(RedisSettings(url=redis_url, timeout_s=1)) as client:
        yield client


class Clocked:
    """A publisher whose clock and view stand where the test puts them. Mutable state: those."""

    def __init__(self, redis: "Redis", decisions: DecisionsSettings = DECISIONS) -> None:
        self.view: View | None = None
        self.now_ms = NOW_MS
        self.publisher = Publisher(redis, "lynceus", MEANING, decisions, lambda: self.view, lambda: self.now_ms)


def fields(view: View, window: str = "5m", surface: str = "home.hero", entities: int = 200) -> dict[str, Any]:
    """Return the fields of a snapshot, decoded."""
    (found,) = [each for each in snapshots(view, MEANING, window, [surface], entities) if each.surface == surface]
    return {name: json.loads(value) for name, value in found.fields.items()}


def test_a_surface_is_told_by_values_and_pairs() -> None:
    """CTR of the whole, of each value and of each pair of values; n, x, p and the Wilson interval."""
    told = fields(view_of((NOW_MS, HOME, 90, 9), (NOW_MS, NEW, 10, 3), (NOW_MS, HOLDOUT, 100, 4)))
    expected = {"all": (200, 16), "arm=personalized": (100, 12), "arm=personalized,segment=new": (10, 3)}
    assert {name: [n, x, *_bounds(x, n)] for name, (n, x) in expected.items()} == {
        name: told[name]["ctr"] for name in expected
    }
    # The whole; 1 policy, channel, device, 2 arms, 2 segments; of the pairs those that happened.
    assert 1 + 7 + 3 * 1 + 3 * 2 + 3 * 2 + 3 == len(told) - 1


def _bounds(successes: int, trials: int) -> tuple[float, float, float]:
    found = wilson(successes, trials)
    return found.value, found.low, found.high


def test_what_is_published_is_what_is_exported() -> None:
    """No metric is in a snapshot that Prometheus does not have; one without enough data is null."""
    told = fields(view_of((NOW_MS, HOME, 90, 9)))
    assert {metric.name for metric in MEANING.metrics if metric.is_exported} == set(told["all"])
    assert None is told["all"]["relevance"]


def test_entities_are_bounded_by_what_was_seen_most() -> None:
    """Beyond the bound those of fewest impressions are left out, never the whole."""
    told = fields(view_of((NOW_MS, HOME, 90, 9), (NOW_MS, NEW, 10, 3)), entities=3)
    assert {"@meta", "all", "arm=personalized", "arm=personalized,channel=web", "arm=personalized,device=phone"} == set(
        told
    )


def test_surfaces_are_bounded_by_what_was_seen_most() -> None:
    """Of three surfaces the two with most impressions are told."""
    others = [HOME._replace(surface=name) for name in ("a", "b")]
    view = view_of((NOW_MS, HOME, 5, 0), (NOW_MS, others[0], 3, 0), (NOW_MS, others[1], 9, 0))
    assert ["b", "home.hero"] == surfaces(view, MEANING, 2)


def test_what_a_window_lacks_is_in_its_meta() -> None:
    """A partition that replays makes every window incomplete, and the snapshot says why."""
    told = fields(view_of((NOW_MS, HOME, 90, 9), states=[live(0, NOW_MS, replay_to=200)]))["@meta"]
    assert (False, True) == (told["complete"], "replaying" in told["because"])


async def test_time_going_past_an_end_publishes_it(redis: "Redis", stored: "redis_client.Redis") -> None:
    """The last view of an end is published when a later end is seen, and the pointer moves with it."""
    clocked = Clocked(redis)
    clocked.view = view_of((NOW_MS, HOME, 10, 1))
    first = await clocked.publisher.step()
    clocked.view = view_of((NOW_MS, HOME, 30, 3))
    second = await clocked.publisher.step()
    clocked.view = view_of((NOW_MS, HOME, 30, 3), (NOW_MS + 10_000, HOME, 1, 0))
    third = await clocked.publisher.step()
    end = str(NOW_MS + 10_000)
    cell = json.loads(stored.hget(f"lynceus:v1:home.hero:win:5m:{end}", "all") or "{}")
    assert ((0, 0, 2), end, 30) == (
        (first, second, third),
        stored.get("lynceus:v1:home.hero:win:5m:current"),
        cell["ctr"][0],
    )


async def test_time_standing_still_publishes_too(redis: "Redis", stored: "redis_client.Redis") -> None:
    """When no events come any more, the newest end is published after a step, once."""
    clocked = Clocked(redis)
    clocked.view = view_of((NOW_MS, HOME, 10, 1))
    numbers = []
    for now_ms in (NOW_MS, NOW_MS + 9_000, NOW_MS + 10_000, NOW_MS + 30_000):
        clocked.now_ms = now_ms
        numbers.append(await clocked.publisher.step())
    assert [0, 0, 2, 0] == numbers


async def test_several_servers_publish_once(redis: "Redis", stored: "redis_client.Redis") -> None:
    """Of any number of servers with the same view one moves the pointer, also when all begin at once."""
    view = view_of((NOW_MS, HOME, 10, 1))
    servers = [Clocked(redis).publisher for _ in range(4)]
    at_once = await asyncio.gather(*(server.publish(view) for server in servers))
    again = await servers[0].publish(view)
    assert (2, 0) == (sum(at_once), again)


async def test_a_pointer_never_goes_back(redis: "Redis", stored: "redis_client.Redis") -> None:
    """A server that lags behind another changes nothing."""
    server = Clocked(redis).publisher
    newer, older = view_of((NOW_MS + 10_000, HOME, 10, 1)), view_of((NOW_MS, HOME, 10, 1))
    assert (2, 0) == (await server.publish(newer), await server.publish(older))


async def test_snapshots_expire(redis: "Redis", stored: "redis_client.Redis") -> None:
    """A snapshot stays for three windows, and for a minute once it has a successor."""
    server = Clocked(redis).publisher
    await server.publish(view_of((NOW_MS, HOME, 10, 1)))
    kept = _lives(stored)
    await server.publish(view_of((NOW_MS + 10_000, HOME, 10, 1)))
    first, second = (f"lynceus:v1:home.hero:win:5m:{NOW_MS + each}" for each in (10_000, 20_000))
    assert ([900, 900], [60, 900]) == (
        [kept["lynceus:v1:home.hero:win:5m:current"], kept[first]],
        [_lives(stored)[first], _lives(stored)[second]],
    )


def _lives(stored: "redis_client.Redis") -> dict[str, int]:
    """Return the time to live of each key, rounded up to whole minutes: some of it has passed."""
    return {key: -(-stored.pttl(key) // 60_000) * 60 for key in stored.scan_iter()}


async def test_an_end_long_past_is_not_published(redis: "Redis", stored: "redis_client.Redis") -> None:
    """What ended three windows ago has expired, and does not come back with a server that starts."""
    clocked = Clocked(redis)
    clocked.now_ms = NOW_MS + 16 * 60_000
    await clocked.publisher.publish(view_of((NOW_MS, HOME, 10, 1)))
    assert ["lynceus:v1:home.hero:win:1h:current"] == [key for key in stored.scan_iter() if key.endswith("current")]


async def test_a_client_reads_all_or_nothing_while_snapshots_are_swapped(
    redis: "Redis", stored: "redis_client.Redis", redis_url: str
) -> None:
    """Whenever a new client asks, all entities are of one snapshot: clicks are always a tenth of the impressions."""
    server = Clocked(redis, DecisionsSettings(windows="5m")).publisher
    seen = set()
    for turn in range(1, 10):
        end = NOW_MS + 10_000 * turn
        publishing = asyncio.create_task(server.publish(view_of((end, HOME, 10 * turn, turn))))
        async with AsyncLynceus(redis_url, timeout_s=5, enough=1) as client:
            found = await client.get(kpi="ctr", surface="home.hero", arms=["personalized"], devices=())
        await publishing
        seen.add((found["personalized"].value, found["personalized"].status is Status.UNKNOWN))
    assert seen <= {(0.1, False), (None, True)}


async def test_an_outage_is_two_log_lines(own_redis: RedisProcess) -> None:
    """While Redis is lost nothing is raised, one line is logged, and what was held back is published afterwards."""
    async with connect(RedisSettings(url=own_redis.url, timeout_s=1)) as redis:
        clocked = Clocked(redis)
        clocked.view = view_of((NOW_MS, HOME, 10, 1))
        await clocked.publisher.step()
        clocked.now_ms += 10_000
        own_redis.stop()
        with capture_logs() as lines:
            numbers = [await clocked.publisher.step() for _ in range(3)]
            own_redis.start()
            numbers.append(await clocked.publisher.step())
    assert ([0, 0, 0, 2], ["warning", "info"]) == (numbers, [line["log_level"] for line in lines])


async def test_a_running_server_feeds_a_client(redis_url: str, stored: "redis_client.Redis") -> None:
    """From the worker's cells in Redis through the server to the client: the same CTR, complete, and OK."""
    at_ms = clock_ms()
    with redis_client.Redis.from_url(redis_url) as raw:
        partition = Partition(raw, slices=[HOME, HOLDOUT])
        partition.count(at_ms, HOME, 200, 20)
        partition.write(at_ms)
        async with serving(settings_of(redis_url)):
            partition.count(at_ms + 10_000, HOLDOUT, 1)
            partition.write(at_ms)
            async with asyncio.timeout(20):
                # The server writes, and tells nobody.
                while not stored.exists("lynceus:v1:home.hero:win:5m:current"):  # noqa: ASYNC110  # as said above
                    await asyncio.sleep(0.05)
    async with AsyncLynceus(redis_url, timeout_s=5) as client:
        found = (await client.get(kpi="ctr", surface="home.hero", arms=["personalized"]))["personalized"]
    value, low, high = _bounds(20, 200)
    assert Answer(value, low, high, 200, found.window_end_ms, 0.0, Status.OK) == found


async def test_a_server_can_be_told_not_to(redis_url: str, stored: "redis_client.Redis") -> None:
    """With LYNCEUS_DECISIONS__PUBLISH=false a publisher ends at once."""
    async with connect(RedisSettings(url=redis_url, timeout_s=1)) as redis:
        clocked = Clocked(redis, DecisionsSettings(publish=False))
        clocked.view = view_of((NOW_MS, HOME, 10, 1))
        async with asyncio.timeout(5):
            await clocked.publisher.run(asyncio.Event(), 0.1)
    assert [] == list(stored.scan_iter())


def test_a_slice_called_all_is_other() -> None:
    """As in the view: `all` is taken."""
    told = snapshots(view_of((NOW_MS, Slice("all", *HOME[1:]), 10, 1)), MEANING, "5m", ["other"], 5)
    assert ["other"] == [each.surface for each in told]


async def test_a_window_that_does_not_exist_is_refused(redis: "Redis") -> None:
    """A server that should publish it does not start: the error has the setting and the choice."""
    with pytest.raises(
        LynceusError, match=r"LYNCEUS_DECISIONS__WINDOWS='5m,3h': there is no window 3h.*Choose among 1m"
    ):
        Clocked(redis, DecisionsSettings(windows="5m,3h"))
