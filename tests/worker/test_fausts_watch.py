"""Faust's own timers around commits: they do not speak here, for the commits are not Faust's."""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import count

import pytest
from faust.types import TP

from stream_app.settings import Settings
from stream_app.worker.app import App, create_app

LONG_AGO = 1e9
"""Seconds: far from what a clock shows that begins when the machine does."""


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = create_app(Settings())
    yield app
    await app.redis.aclose()


async def run(app: App, task: str) -> None:
    """Run one of the consumer's own tasks as the consumer does. Raises TimeoutError if it does not end."""
    async with asyncio.timeout(20):
        await getattr(app.consumer, task)(app.consumer)


async def test_faust_does_not_complain_of_commits_that_are_not_its_own(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours after the start it says nothing of a partition for which it never committed anything itself."""
    monkeypatch.setattr(app.consumer, "assignment", lambda: {TP("lynceus.events", 0)})
    monkeypatch.setattr("faust.transport.consumer.monotonic", lambda: LONG_AGO)
    app.consumer.commit_interval = 0.001
    with caplog.at_level(logging.INFO):
        await run(app, "_commit_livelock_detector")
    assert [] == caplog.records


async def test_a_commit_that_takes_long_is_followed_by_the_next(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as long as many intervals: no two at once, nothing is said, and it ends with the consumer."""
    made, at_once = count(1), []

    async def commit() -> bool:
        at_once.append(1)
        await asyncio.sleep(0.05)
        at_once.append(-1)
        if next(made) == 4:
            app.consumer._stopped.set()
        return True

    monkeypatch.setattr(app.consumer, "commit", commit)
    app.consumer.commit_interval = 0.001
    with caplog.at_level(logging.INFO):
        await run(app, "_commit_handler")
    assert ([1, -1] * 4, []) == (at_once, caplog.records)
