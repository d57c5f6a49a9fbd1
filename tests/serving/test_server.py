"""The server as a whole: a real Redis below, real HTTP above."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import redis as redis_client
from aiohttp import ClientSession
from yarl import URL

from stream_app.core.cells import OFFSET
from stream_app.errors import LynceusError
from stream_app.metrics.catalogue import METRICS
from stream_app.metrics.description import described
from stream_app.serving import api
from stream_app.serving.refresher import clock_ms
from stream_app.serving.server import serve
from stream_app.settings import KafkaSettings, RedisSettings, ServerSettings, Settings
from stream_app.statistics.proportions import wilson
from tests.serving.conftest import RedisProcess
from tests.serving.stored import HOLDOUT, HOME, Partition
from tests.serving.test_exporter import samples


def settings_of(url: str, **server: Any) -> Settings:
    given = {"port": 0, "refresh_interval_s": 0.1, **server}
    return Settings(
        kafka=KafkaSettings(partitions=1),
        redis=RedisSettings(url=url, timeout_s=1),
        server=ServerSettings(**given),
    )


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[ClientSession]:
    """Serve, and yield a client whose paths are relative to the server."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, stop, ready.set_result))
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    async with ClientSession(await ready, read_bufsize=2**22) as session:
        try:
            yield session
        finally:
            stop.set()
            await asyncio.wait_for(task, 5)


@pytest.fixture
def client(redis_url: str) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
def partition(client: Any) -> Partition:
    """Return a partition that has just counted a hundred impressions here and fifty there."""
    counted = Partition(client)
    counted.count(clock_ms(), HOME, 100, clicks=7)
    counted.count(clock_ms(), HOLDOUT, 50, clicks=1)
    counted.write(clock_ms())
    return counted


@pytest.fixture
async def session(redis_url: str, partition: Partition) -> AsyncIterator[ClientSession]:
    async with serving(settings_of(redis_url)) as opened:
        yield opened


async def read_json(session: ClientSession, path: str, status: int = 200, **options: Any) -> Any:
    async with session.get(path, **options) as response:
        assert status == response.status, await response.text()
        return await response.json()


async def until(session: ClientSession, path: str, status: int) -> Any:
    """Ask until the answer has the status: what is waited for comes with a later refresh."""
    async with asyncio.timeout(20):
        while True:
            async with session.get(path) as response:
                if response.status == status:
                    return await response.json()
            await asyncio.sleep(0.05)


class Events:
    """The events of a stream, one after the other."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Any]:
        event = text = ""
        async with asyncio.timeout(10):
            while True:
                line = (await self._response.content.readline()).decode().rstrip("\r\n")
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    text += line.removeprefix("data: ")
                elif not line and event:
                    return event, json.loads(text)


async def test_the_same_numbers_everywhere(session: ClientSession) -> None:
    """/metrics, /v1/view and /v1/query tell the same click-through rate."""
    view = await read_json(session, "/v1/view")
    asked = {"metric": "ctr", "surface": "home.hero", "arm": "personalized"}
    answer = await read_json(session, "/v1/query", params=asked)
    page = samples(await (await session.get("/metrics")).text())
    labels = ("5m", "home.hero", "personalized")
    told = next(r for r in view["windows"]["5m"]["rows"] if (r["surface"], r["arm"]) == labels[1:])["metrics"]["ctr"]
    ctr = wilson(7, 100)
    expected = {"value": ctr.value, "n": 100, "low": ctr.low, "high": ctr.high}
    assert (expected, expected, (ctr.value, ctr.low, ctr.high)) == (
        told,
        answer["estimate"],
        tuple(page[f"lynceus_window_ctr_{name}", *labels] for name in ("ratio", "ci_lower_ratio", "ci_upper_ratio")),
    )


async def test_a_view_has_a_tag_that_saves_reading_it_again(session: ClientSession, partition: Partition) -> None:
    """With the view's ETag the answer is 304, once the watch has seen what is there, until something is counted."""
    etag, status = "", 200
    async with asyncio.timeout(10):
        while status != 304:
            async with session.get("/v1/view", headers={"If-None-Match": etag}) as response:
                known, etag, status = etag, response.headers["ETag"], response.status
    assert known == etag
    partition.count(clock_ms(), HOME, 1)
    partition.write(clock_ms())
    async with asyncio.timeout(10):
        while True:
            async with session.get("/v1/view", headers={"If-None-Match": etag}) as response:
                if response.status == 200:
                    break
            await asyncio.sleep(0.05)


async def test_the_catalogue_tells_what_can_be_asked(session: ClientSession) -> None:
    """Metrics with their whole declaration and their family; measures; windows with their lengths."""
    catalogue = await read_json(session, "/v1/catalogue")
    assert (
        described(METRICS[0]),
        {"name", "title", "help"},
        "impressions",
        {"name": "1m", "length_ms": 60_000},
    ) == (
        catalogue["metrics"][0],
        set(catalogue["families"][0]),
        catalogue["measures"][0]["name"],
        catalogue["windows"][0],
    )


async def test_the_series_is_served(session: ClientSession) -> None:
    """An hour of minutes for one surface."""
    series = await read_json(session, "/v1/series", params={"surface": "home.hero"})
    assert ("home.hero", 60_000, 60) == (series["surface"], series["step_ms"], len(series["points"]))


async def test_arms_are_held_against_each_other(session: ClientSession) -> None:
    """A metric of one arm against another one; the waterfalls and the index, of a window and a surface."""
    held = await read_json(session, "/v1/query", params={"metric": "ctr", "against": "holdout", "arm": "personalized"})
    found = await read_json(session, "/v1/context", params={"window": "1h", "surface": "home.hero"})
    assert ("holdout", {"value", "n", "low", "high"}) == (held["contrast"]["against"], set(held["estimate"]))
    assert ({"surface": "home.hero"}, "1h", None) == (found["where"], found["window"], found["relevance"])
    assert {"conversion", "ctr", "signal_conversion", "signal_ctr"} == set(found["waterfalls"])
    assert {"response", "change", "lift", "feedback"} == set(
        (await read_json(session, "/v1/context"))["relevance"]["lacking"]
    )


@pytest.mark.parametrize(
    ("status", "path"),
    [
        (400, "/v1/query?metric=ctr&against=holdot"),
        (400, "/v1/query?metric=orders&against=holdout"),
        (400, "/v1/context?window=5min"),
        (400, "/v1/context?arm=holdout"),
        (400, "/v1/query?metric=crt"),
        (400, "/v1/query?metric=ctr&window=3m"),
        (400, "/v1/view?surface=home"),
        (404, "/nowhere"),
        (404, "/static/nothing.js"),
        (404, "/static/..%2Fapi.py"),
        (404, "/static/.hidden"),
        (414, "/v1/query?metric=" + "x" * 3_000),
    ],
)
async def test_what_cannot_be_answered_is_json(session: ClientSession, status: int, path: str) -> None:
    """Every refusal is JSON with an error, and says nothing of the inside."""
    async with session.get(URL(path, encoded=True)) as response:
        told = await response.json()
        assert (status, True, False) == (response.status, bool(told["error"]), "Traceback" in str(told))


async def test_other_methods_and_bodies_are_refused(session: ClientSession) -> None:
    """The server only reads: no POST, and nothing to read in a GET."""
    async with session.post("/v1/view") as response:
        assert (405, "GET,HEAD") == (response.status, response.headers["Allow"])
    async with session.get("/v1/view", data=b"x" * 100_000) as response:
        assert 413 == response.status


async def test_a_name_that_is_not_loopback_is_refused(session: ClientSession) -> None:
    """A page that made its own name point here cannot read the view."""
    assert "error" in await read_json(session, "/v1/view", 421, headers={"Host": "evil.example"})


@pytest.mark.parametrize("path", ["/v1/view", "/metrics", "/v1/stream", "/nowhere", "/wall", "/livez"])
async def test_every_answer_has_the_security_headers(session: ClientSession, path: str) -> None:
    """Also errors, files and streams; and no version of anything."""
    async with session.get(path) as response:
        headers = response.headers
    assert (True, "nosniff", "lynceus") == (
        headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';"),
        headers["X-Content-Type-Options"],
        headers["Server"],
    )


async def test_the_wall_is_served_from_its_folder(
    session: ClientSession, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/ leads to /wall, which is wall.html; its files are at /static."""
    (tmp_path / "wall.html").write_text("<!doctype html>")
    (tmp_path / "wall.js").write_text("1;")
    monkeypatch.setattr(api, "STATIC", tmp_path)
    async with session.get("/") as page, session.get("/static/wall.js") as script:
        assert ("/wall", "text/html", "<!doctype html>", "javascript", "1;") == (
            page.url.path,
            page.content_type,
            await page.text(),
            script.content_type.partition("/")[2],
            await script.text(),
        )


async def test_the_stream_begins_with_hello_and_a_snapshot_and_goes_on_with_updates(
    session: ClientSession, partition: Partition
) -> None:
    """hello, the full view, and the full view again when something was counted."""
    async with session.get("/v1/stream") as response:
        events = Events(response)
        hello, (first, snapshot) = await events.next(), await events.next()
        partition.count(clock_ms(), HOME, 1)
        partition.write(clock_ms())
        event, update = await events.next()
    counted = [
        next(r for r in view["windows"]["all"]["rows"] if r["surface"] == r["arm"] == "all")["measures"]["impressions"]
        for view in (snapshot, update)
    ]
    assert ("hello", {"build"}, "snapshot", "update", [150, 151]) == (
        hello[0],
        set(hello[1]),
        first,
        event,
        counted,
    )


async def test_a_quiet_stream_beats(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing changes there are named heartbeats, with the time."""
    monkeypatch.setattr("stream_app.serving.stream.HEARTBEAT_S", 0.1)
    async with session.get("/v1/stream") as response:
        events, seen = Events(response), []
        while "heartbeat" not in seen:
            event, told = await events.next()
            seen.append(event)
    assert (["hello", "snapshot"], {"at_ms"}) == (seen[:2], set(told))


async def test_too_many_listeners_are_sent_away(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream has room for so many clients; the next is told to come again, and may when one has left."""
    monkeypatch.setattr("stream_app.serving.stream.MAX_CLIENTS", 1)
    monkeypatch.setattr("stream_app.serving.stream.HEARTBEAT_S", 0.1)
    async with session.get("/v1/stream") as first:
        await Events(first).next()
        assert "error" in await read_json(session, "/v1/stream", 503)
    async with asyncio.timeout(10):
        # Over HTTP there is nothing to wait for but the next answer.
        while (await session.get("/v1/stream")).status != 200:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)


async def test_the_server_survives_an_outage_of_redis(own_redis: RedisProcess) -> None:
    """While Redis is away the last view is stale and readiness says so; all is well when it is back."""
    with redis_client.Redis.from_url(own_redis.url) as client:
        counted = Partition(client)
        counted.count(clock_ms(), HOME, 100, clicks=7)
        counted.write(clock_ms())
        async with serving(settings_of(own_redis.url)) as session:
            assert {"status": "ready"} == await read_json(session, "/readyz")
            own_redis.stop()
            assert "Redis cannot be read" in (await until(session, "/readyz", 503))["error"]
            view = await read_json(session, "/v1/view")
            assert (False, False, 100) == (
                view["complete"],
                view["pipeline"]["redis"]["up"],
                view["windows"]["all"]["rows"][0]["measures"]["impressions"],
            )
            assert {"status": "live"} == await read_json(session, "/livez")
            own_redis.start()
            counted = Partition(client)
            counted.count(clock_ms(), HOME, 3)
            counted.write(clock_ms())
            await until(session, "/readyz", 200)
            view = await read_json(session, "/v1/view")
            assert 3 == view["windows"]["all"]["rows"][0]["measures"]["impressions"]


async def test_garbage_in_the_store_is_a_reason_and_not_an_outage(session: ClientSession, partition: Partition) -> None:
    """Bytes that cannot be read make the view incomplete, and the server goes on with what it knew."""
    partition.client.hset(partition.key, OFFSET, b"garbage")
    async with asyncio.timeout(10):
        # Over HTTP there is nothing to wait for but the next answer.
        while (view := await read_json(session, "/v1/view"))["complete"]:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
    assert ("partition 0: its stored state cannot be read", 150) == (
        view["incomplete_because"][0].partition(" (")[0],
        view["windows"]["all"]["rows"][0]["measures"]["impressions"],
    )


async def test_a_port_in_use_is_one_clear_line(redis_url: str) -> None:
    """The error names the port and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LynceusError, match=rf"port {port} on 127.0.0.1 is in use.*LYNCEUS_SERVER__PORT"):
            async with serving(settings_of(redis_url, port=port)):
                pass


async def test_an_unreachable_redis_at_the_start_is_one_clear_line() -> None:
    """The error names the URL and the setting."""
    with pytest.raises(LynceusError, match=r"Redis at redis://127.0.0.1:1/0 cannot be reached.*LYNCEUS_REDIS__URL"):
        async with serving(settings_of("redis://127.0.0.1:1/0")):
            pass


async def test_an_open_bind_is_refused_unless_something_is_in_front(redis_url: str) -> None:
    """0.0.0.0 needs behind_proxy; then any name is answered."""
    with pytest.raises(LynceusError, match=r"LYNCEUS_SERVER__HOST=0.0.0.0.*BEHIND_PROXY"):
        async with serving(settings_of(redis_url, host="0.0.0.0")):
            pass
    async with serving(settings_of(redis_url, host="0.0.0.0", behind_proxy=True)) as session:
        assert {"status": "live"} == await read_json(session, "/livez", headers={"Host": "lynceus.example"})
