"""The refresher: one line per change of state, and never a view that is half of something."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis as redis_client
from structlog.testing import capture_logs

from stream_app.serving.reader import Reader, connect
from stream_app.serving.refresher import Refresher
from stream_app.serving.views import Origin, View
from stream_app.settings import RedisSettings
from tests.serving.conftest import RedisProcess
from tests.serving.stored import APP, HOME, LAYOUT, NOW_MS, TOPIC, Partition
from tests.serving.viewing import MEANING


class Listener:
    """Notes what is published."""

    def __init__(self) -> None:
        self.views: list[View] = []

    def publish(self, view: View) -> None:
        self.views.append(view)


@pytest.fixture
async def refresher(own_redis: RedisProcess) -> AsyncIterator[Refresher]:
    """Yield a refresher over one partition that counted three impressions."""
    write(own_redis, 3)
    settings = RedisSettings(url=own_redis.url, timeout_s=1)
    async with connect(settings) as redis:
        reader = Reader(redis, settings, APP, TOPIC, 1, LAYOUT)
        yield Refresher(reader, Origin("0.1.0", "test"), MEANING, Listener(), 0.1, lambda: NOW_MS)


def write(server: RedisProcess, impressions: int) -> None:
    with redis_client.Redis.from_url(server.url) as client:
        partition = Partition(client)
        partition.count(NOW_MS, HOME, impressions)
        partition.write()


def impressions(refresher: Refresher) -> Any:
    assert refresher.view is not None
    return refresher.view.snapshot.windows["5m"].rows[0].measures["impressions"]


async def test_an_outage_is_two_log_lines(refresher: Refresher, own_redis: RedisProcess) -> None:
    """However often it is tried, there is one line when Redis is lost and one when it is back."""
    await refresher.refresh()
    own_redis.stop()
    with capture_logs() as lines:
        tries = [await refresher.refresh() for _ in range(3)]
        own_redis.start()
        tries.append(await refresher.refresh())
    assert ([False, False, False, True], ["warning", "info"]) == (
        tries,
        [line["log_level"] for line in lines],
    )


async def test_an_error_of_our_own_begins_anew(refresher: Refresher, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a view cannot be computed the last one is stale, and everything is read again, once."""
    await refresher.refresh()
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr("stream_app.serving.refresher.build_view", lambda *_: 1 / 0)
        assert False is await refresher.refresh()
    assert refresher.view is not None
    assert ("the view cannot be computed (ZeroDivisionError)", 3) == (
        refresher.view.snapshot.incomplete_because[0],
        impressions(refresher),
    )
    assert True is await refresher.refresh()
    assert 3 == impressions(refresher)


async def test_every_view_is_published(refresher: Refresher) -> None:
    """Fresh or stale, the listener gets the view that is current."""
    await refresher.refresh()
    listener = refresher._subscriber
    assert isinstance(listener, Listener)
    assert [refresher.view] == listener.views


async def test_it_stops_when_told(refresher: Refresher) -> None:
    """The loop ends at once when it is told to stop, also while it waits."""
    stop = asyncio.Event()
    task = asyncio.create_task(refresher.run(stop))
    stop.set()
    await asyncio.wait_for(task, 5)
    assert refresher.view is None or 3 == impressions(refresher)
