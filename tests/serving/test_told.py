"""What people told, in the answers: read from Redis once it changed, and answered over the window that is asked for."""

import json
from collections.abc import Iterator

import pytest
import redis as redis_client

from stream_app.answers import answered
from stream_app.core import codec
from stream_app.core.cells import CHANGE, inputs_key
from stream_app.core.events import BusinessInput
from stream_app.core.inputs import NO_INPUTS
from stream_app.core.lists import NO_IMPRESSION
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Exposure
from stream_app.core.tally import Occasion
from stream_app.metrics.goals import NEW_CUSTOMERS, NewCustomer
from stream_app.serving.reader import Reader, connect
from stream_app.settings import KafkaSettings, RedisSettings, Settings
from tests.serving.stored import APP, HOLDOUT, HOME, LAYOUT, NOW_MS, TOPIC, Partition

KEY = inputs_key(APP)
TOLD_MS = NOW_MS - DAY_MS


def told(key: str, value: float, scope: str = "", days: int = 100, **more: object) -> BusinessInput:
    """Return an input of the days before and after now."""
    span = {"from_ts": NOW_MS - days * DAY_MS, "to_ts": NOW_MS + days * DAY_MS}
    own = {"id": f"{key}-{scope}", "ts": TOLD_MS, "author": "finance", "scope": scope or None}
    return BusinessInput(key=key, value=value, **(own | span | more))


def tell(client: "redis_client.Redis", *inputs: BusinessInput, change: str = "1") -> None:
    """Store inputs as a worker does."""
    client.hset(KEY, mapping={each.id: codec.encode(each) for each in inputs} | {CHANGE: change})


@pytest.fixture
def client(redis_url: str) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(redis=RedisSettings(url=redis_url), kafka=KafkaSettings(partitions=1))


@pytest.fixture
def counted(client: "redis_client.Redis") -> Partition:
    """Four sessions of 6.00 or 8.00 against four of 4.00 or 6.00, and two new customers."""
    partition = Partition(client)
    exposed, new = partition.cells.grown_on(Occasion.EXPOSURE), partition.cells.grown_on(NEW_CUSTOMERS)
    for number, slice_, cents in ((0, HOME, (600, 800)), (1, HOLDOUT, (400, 600))):
        partition.count(NOW_MS, slice_, 4)
        for earned in (*cents, *cents):
            partition.cells.add(NOW_MS, number, Occasion.SESSION, NO_IMPRESSION)
            before, after = Exposure(NOW_MS, number), Exposure(NOW_MS, number, revenue_minor=earned)
            partition.cells.grow(NOW_MS, number, exposed, before, after)
    for n in range(2):
        partition.cells.grow(NOW_MS + n, 0, new, NEW_CUSTOMERS.blank, NewCustomer(NOW_MS))
    partition.write()
    return partition


async def asked(settings: Settings, metric: str, **more: str) -> dict[str, object]:
    return json.loads(await answered(settings, {"metric": metric, "window": "24h"} | more, as_json=True))


def days(found: dict[str, object]) -> float:
    """Return how long the window of an answer is."""
    return (found["end_ms"] - found["start_ms"]) / DAY_MS  # type: ignore[operator]


async def test_a_cost_is_that_of_the_window(
    client: "redis_client.Redis", settings: Settings, counted: Partition
) -> None:
    """2,000 for 200 days are 10 a day, shared by two new customers; when and by whom it was told is said.

    A window of 24 hours begins with an hour, so it is a little longer.
    """
    del counted
    tell(client, told("cost", 2_000.0, "acquisition"))
    found = await asked(settings, "cac")
    cost = 10.0 * days(found)
    assert pytest.approx(cost / 2) == found["estimate"]["value"]
    expected = {"key": "cost", "scope": "acquisition", "told_ms": TOLD_MS, "authors": ["finance"]}
    expected["value"] = pytest.approx(cost)
    assert ([expected], []) == (found["told"], found["untold"])
    words = await answered(settings, {"metric": "cac", "window": "24h"}, as_json=False)
    assert f"  told: cost acquisition {cost:.2f} EUR, by finance on 2025-11-21 00:06:40 UTC" in words.splitlines()


async def test_a_return_holds_the_arms_against_each_other(
    client: "redis_client.Redis", settings: Settings, counted: Partition
) -> None:
    """Four sessions earned 2.00 more each: a gain of 4.00 at a margin of 0.5; at a cost of 1.00, an ROI of 3."""
    del counted
    tell(client, told("cost", 200.0, "personalization"), told("margin_rate", 0.5))
    found = [await asked(settings, name) for name in ("incremental_gain", "roi", "return_ratio")]
    cost = days(found[0])
    expected = [4.0, (4.0 - cost) / cost, 28.0 / cost]
    assert pytest.approx(expected) == [each["estimate"]["value"] for each in found]


async def test_what_is_missing_is_named(client: "redis_client.Redis", settings: Settings, counted: Partition) -> None:
    """A cost told in part, in another currency, or of the whole where a part is asked for, answers nothing."""
    del counted
    seen = []
    in_part = told("cost", 1.0, "acquisition", to_ts=NOW_MS - DAY_MS)
    for n, each in enumerate((None, in_part, told("cost", 1.0, "acquisition", currency="USD"))):
        if each is not None:
            tell(client, each, change=str(n))
        found = await asked(settings, "cac")
        seen.append((found["estimate"], found["untold"]))
    tell(client, told("cost", 200.0, "acquisition"), change="9")
    part = await asked(settings, "cac", channel="web")
    assert [(None, ["cost acquisition"])] * 3 == seen
    assert (None, ["cost acquisition/channel=web"]) == (part["estimate"], part["untold"])
    tell(client, told("cost", 200.0, "acquisition/channel=web"), change="10")
    part = await asked(settings, "cac", channel="web")
    assert pytest.approx(days(part) / 2) == part["estimate"]["value"]
    words = await answered(settings, {"metric": "roi", "window": "24h"}, as_json=False)
    assert "  not told for the whole window: margin_rate" in words.splitlines()


async def test_inputs_are_read_when_they_changed(client: "redis_client.Redis", redis_url: str) -> None:
    """Nothing, then what is told, then its correction; a lost hash has nothing; without a change nothing is read."""
    settings = RedisSettings(url=redis_url)
    one, other = told("cost", 1.0), told("cost", 2.0)
    seen = []
    async with connect(settings) as redis:
        reader = Reader(redis, settings, APP, TOPIC, 1, LAYOUT)
        seen.append((await reader.refresh()).inputs)
        for told_now, change in ((one, "1"), (other, "1"), (other, "2")):
            tell(client, told_now, change=change)
            seen.append((await reader.refresh()).inputs)
        client.delete(KEY)
        seen.append((await reader.refresh()).inputs)
    assert [NO_INPUTS, {one.id: one}, {one.id: one}, {one.id: other}, NO_INPUTS] == seen
