"""A collector in this process for tests: over a Kafka of theirs, on free ports, ended whatever happens."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from producers import collect_keys
from producers.collector import collect
from stream_app.ports import free_port
from stream_app.settings import CollectorSettings, KafkaSettings, Settings
from tests.core.test_codec import EXAMPLES

SHOP = "https://shop.example"
PATIENCE_S = 30.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def page_view(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return an event that happens now."""
    return {
        "type": "page_view",
        "id": f"p-{number}",
        "ts": now_ms(),
        "user": f"u-{number % 10}",
        "page": "/",
    } | fields


def examples() -> list[dict[str, Any]]:
    """Return one event of each type of the events topic, happening now."""
    interactions = {k: v for k, v in EXAMPLES.items() if k not in ("business_input", "programme_record")}
    return [
        {"type": kind, "id": f"e-{kind}", "ts": now_ms(), "user": f"u-{kind}"} | fields
        for kind, fields in interactions.items()
    ]


class Answer(NamedTuple):
    """What the collector said."""

    status: int
    body: Any
    headers: Any


class Collector:
    """A running collector, and a client of it."""

    def __init__(self, url: str, metrics_url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.metrics_url = metrics_url
        self.session = session

    async def post(self, body: Any, path: str = "/v1/events", **options: Any) -> Answer:
        """Send a body: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self.session.post(self.url + path, data=raw, **options) as answer:
            content = await answer.read()
            return Answer(answer.status, msgspec.json.decode(content) if content else None, answer.headers)

    async def status(self, path: str) -> int:
        async with self.session.get(self.url + path) as answer:
            return answer.status

    async def metrics(self) -> dict[str, float]:
        """Return what is exported and is not zero, by name with labels."""
        async with self.session.get(self.metrics_url) as answer:
            lines = [line for line in (await answer.text()).splitlines() if line and line[0] != "#"]
        found = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
        return {name: value for name, value in found.items() if value}


@asynccontextmanager
async def collecting(kafka: KafkaSettings, **settings: Any) -> AsyncIterator[Collector]:
    """Run a collector; it has drained and ended when the block is left."""
    port = free_port()
    made = Settings(kafka=kafka, collector=CollectorSettings(**{"port": 0, "metrics_port": port} | settings))
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(collect(made, stop, ready.set_result))
    await asyncio.wait((running, ready), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            yield Collector(ready.result(), f"http://127.0.0.1:{port}/metrics", session)
        finally:
            stop.set()
            await running


class Keys(NamedTuple):
    """Keys, and the settings that know them."""

    server: str
    browser: str
    settings: dict[str, str]


def keys() -> Keys:
    """Make a key for servers and one for pages."""
    server, browser = collect_keys.new_key(collect_keys.SERVER), collect_keys.new_key(collect_keys.BROWSER)
    return Keys(server.key, browser.key, {"key_hashes": server.hash, "browser_key_hashes": browser.hash})
