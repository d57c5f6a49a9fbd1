"""What the watch says, served: API, metrics, guard and command line say the same, whatever Kafka does."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
import redis as redis_client
from prometheus_client.parser import text_string_to_metric_families

from stream_app import verdicts
from stream_app.core.cells import HEAD, partition_key, unpack_head
from stream_app.core.panes import Watermark
from stream_app.decisions.contract import guard_key
from stream_app.ports import free_port
from stream_app.serving.refresher import clock_ms
from stream_app.settings import KafkaSettings, Settings
from stream_app.statistics.series import MINUTE_MS
from tests.serving.stored import HOLDOUT, HOME, Partition
from tests.serving.test_server import serving, settings_of


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Return the settings of a server with half an hour of counts, and without a Kafka."""
    now = clock_ms()
    with redis_client.Redis.from_url(redis_url) as client:
        partition = Partition(client)
        for at_ms in range(now - 30 * MINUTE_MS, now, MINUTE_MS):
            partition.count(at_ms, HOME, 10, clicks=2)
            partition.count(at_ms, HOLDOUT, 10, clicks=1)
        partition.write(now)
    nowhere = KafkaSettings(partitions=1, bootstrap=f"127.0.0.1:{free_port()}", connect_timeout_s=1.0)
    return settings_of(redis_url).model_copy(update={"kafka": nowhere})


def is_judged(answer: Any, settings: Settings) -> bool:
    """Say whether everything that is sealed was judged: after that, nothing moves."""
    with redis_client.Redis.from_url(settings.redis.url) as client:
        packed: Any = client.hget(partition_key(settings.app, settings.kafka.events_topic, 0), HEAD)
    sealed_ms = Watermark(10_000, 300_000, unpack_head(packed).newest_ms).sealed_before_ms
    return [sealed_ms - sealed_ms % MINUTE_MS] == [each["until_ms"] for each in answer["watch"]["surfaces"]]


async def until(session: Any, is_so: Any) -> Any:
    """Return what `/v1/verdicts` answers once it is so."""
    async with asyncio.timeout(30):
        while not is_so(answer := json.loads(await (await session.get("/v1/verdicts")).read())):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # HTTP has nothing to wake us with
    return answer


async def test_the_same_is_said_everywhere(settings: Settings) -> None:
    """With Kafka down: one verdict is open, it waits for Kafka, and everything is served."""
    async with serving(settings) as session:
        said = await until(session, lambda answer: not answer["watch"]["is_publishing"] and is_judged(answer, settings))
        (watched,) = said["watch"]["surfaces"]
        ready = (await session.get("/readyz")).status
        guard = json.loads(await (await session.get("/v1/guard/home.hero")).read())
        elsewhere = json.loads(await (await session.get("/v1/guard/nowhere")).read())
        one = json.loads(await (await session.get("/v1/verdicts?surface=nowhere")).read())
        wrong = (await session.get("/v1/verdicts?surfaces=home")).status
        view = json.loads(await (await session.get("/v1/view")).read())["watch"]
        page = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(await (await session.get("/metrics")).text())
            for sample in family.samples
        }
    with redis_client.Redis.from_url(settings.redis.url) as client:
        stored: Any = client.get(guard_key("lynceus", "home.hero"))
    assert (200, 400, [[], [], []]) == (ready, wrong, [one["watch"]["surfaces"], one["open"], one["history"]])
    assert ["home.hero:surface", True, 1, 1] == [
        said["open"][0]["id"].rsplit(":", 4)[0],
        said["open"] == said["history"],
        said["watch"]["waiting"],
        len(said["open"]),
    ]
    assert (said["watch"], "unknown", "not_enough", "unknown") == (
        view,
        guard["status"],
        guard["cause"],
        elsewhere["status"],
    )
    assert {**guard, "at_ms": 0} == {**msgspec.json.decode(stored), "at_ms": 0}
    assert [1.0, 0.0, 1.0, 0.0, watched["until_ms"] / 1000] == [
        page["lynceus_verdict_active", "home.hero", "not_enough", "surface"],
        page["lynceus_drop_active", "ctr", "home.hero"],
        page["lynceus_verdicts_waiting",],
        page["lynceus_verdicts_kafka_up",],
        page["lynceus_watch_end_timestamp_seconds", "home.hero"],
    ]
    printed = await verdicts.answered(settings, None, as_json=False)
    told = json.loads(await verdicts.answered(settings, "home.hero", as_json=True))
    assert (said["open"], True, True) == (
        told["open"],
        printed.startswith("home.hero   not_enough: "),
        "1 verdicts wait for Kafka, 0 were given up" in printed,
    )


async def test_a_restarted_server_says_nothing_twice(settings: Settings) -> None:
    """What the first said, the second knows."""
    said = []
    for _ in range(2):
        async with serving(settings) as session:
            answer = await until(session, lambda answer: answer["watch"]["surfaces"])
            said.append([each["id"] for each in answer["history"]])
    assert (1, said[0]) == (len(said[0]), said[1])
