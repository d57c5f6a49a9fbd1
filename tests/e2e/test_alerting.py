"""From real processes through a real Prometheus and a real Alertmanager to whoever is told."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from stream_app.child import Child
from stream_app.core.events import Click, Impression
from stream_app.settings import environment
from stream_app.stack import Stack
from tests.e2e.alerting import Alerting, faster
from tests.e2e.histories import Part, history
from tests.e2e.hooks import Message
from tests.e2e.stacks import started, targets
from tests.fleet import send, shop_events

EVENTS = 500


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Yield Kafka, Redis, a worker and a server with fresh counts of a shop."""
    with started({}) as one:
        count(one)
        yield one


@pytest.fixture
def alerting(stack: Stack, tmp_path: Path) -> Iterator[Alerting]:
    """Yield Prometheus and Alertmanager that watch the stack, and find nothing wrong with it."""
    with Alerting(tmp_path, targets(stack)) as one:
        yield one


def count(stack: Stack) -> None:
    """Let the worker count some events that happened just now."""
    before = stack.progressed().applied
    send(stack.settings.kafka, shop_events(EVENTS))
    stack.wait_for(before + EVENTS)
    stack.wait_until_shown(before + EVENTS)


def redis_of(stack: Stack) -> int:
    """Return the process of the Redis that the stack has started."""
    with redis.Redis.from_url(stack.settings.redis.url) as client:
        return int(client.info("server")["process_id"])


def is_of(receiver: str, alert: str, status: str = "firing") -> Callable[[Message], bool]:
    return lambda message: message[:3] == (receiver, status, alert)


@pytest.mark.timeout(400)
def test_what_ends_is_paged_once(alerting: Alerting, stack: Stack, tmp_path: Path) -> None:
    """Nobody is paged while all is well; for a dead worker once, until there is another; for a lost Redis once.

    What only follows from them is kept back.
    """
    alerting.wait(lambda: len(alerting.hooks.to("watchdog")) >= 2, "the heartbeat comes again")
    assert ([], []) == (alerting.hooks.to("page"), alerting.hooks.to("ticket"))

    stack.children[0].kill()
    page = alerting.hooks.wait(is_of("page", "LynceusDown"), "a page for the worker")
    alerting.wait(lambda: "LynceusWindowsIncomplete" in alerting.kept_back(), "what follows is kept back")
    worker = Child(
        [sys.executable, "-m", "stream_app", "worker"], tmp_path / "worker.log", tmp_path, environment(stack.settings)
    )
    try:
        alerting.hooks.wait(is_of("page", "LynceusDown", "resolved"), "that there is another worker")
        os.kill(redis_of(stack), signal.SIGKILL)
        alerting.hooks.wait(is_of("page", "LynceusRedisDown"), "a page for Redis")
        alerting.hooks.wait(is_of("wall", "LynceusRedisDown"), "the wall")
    finally:
        worker.stop()
    (alert,) = page.alerts
    assert ("lynceus-worker", "docs/runbooks/LynceusDown.md", "lynceus-worker: none answers, or none is known.") == (
        alert["labels"]["job"],
        alert["annotations"]["runbook_url"],
        alert["annotations"]["description"],
    )
    assert [("firing", "LynceusDown"), ("resolved", "LynceusDown"), ("firing", "LynceusRedisDown")] == [
        (message.status, message.alert) for message in alerting.hooks.to("page")
    ]
    assert "LynceusWindowsIncomplete" not in {message.alert for message in alerting.hooks.to("ticket")}


def test_only_times_are_changed() -> None:
    """What is made faster says the same otherwise."""
    rule = {"alert": "A", "expr": "up[5m] == 0", "for": "10m", "keep_firing_for": "10m", "labels": {"x": "1m"}}
    assert rule | {"for": "10s", "keep_firing_for": "30s"} == faster(rule)


def test_a_history_is_what_its_parts_say() -> None:
    """Every event is one, in its minute and in order; each arm has its sessions, and about its share of clicks."""
    parts = [Part(2, {"holdout": 100}, {"holdout": 0.3}), Part(1, {"holdout": 50}, {"holdout": 0.0})]
    events = list(history("home.hero", parts, 1_800_000_000_000))
    seen = [event.ts for event in events if isinstance(event, Impression)]
    clicks = [event.ts for event in events if isinstance(event, Click)]
    starts = [1_799_999_820_000 + minute * 60_000 for minute in range(4)]
    assert ([100, 100, 50], True, 1_799_999_940_000 > max(clicks), len(seen) + len(clicks)) == (
        [sum(a <= ts < b for ts in seen) for a, b in pairwise(starts)],
        30 <= len(clicks) <= 90,
        True,
        len(events),
    )
