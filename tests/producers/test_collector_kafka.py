"""The collector over a real Kafka: what was answered 200 is there, once; what was not is promised to nobody.

`LYNCEUS_TEST_OUTAGE_S` makes Kafka's absence longer: 30 is what the design asks for, 3 is enough for every branch.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.core import codec
from stream_app.ports import free_port
from stream_app.settings import CollectorSettings, KafkaSettings, Settings, environment
from tests.collecting import Collector, collecting, examples, page_view
from tests.commands import environ_of, lynceus
from tests.recount import read

OUTAGE_S = float(os.environ.get("LYNCEUS_TEST_OUTAGE_S", "3"))


def read_events(settings: KafkaSettings) -> list[Any]:
    """Return every record of the events topic as the worker's codec reads it."""
    log = read(settings.bootstrap, settings.events_topic)
    return [codec.decode(value) for values in log.values() for value in values]


@pytest.mark.parametrize("form", ["one by one", "batch", "lines"])
async def test_every_event_type_arrives_as_it_was_sent(form: str, kafka_settings: KafkaSettings) -> None:
    """Each type, through the collector into Kafka, is decoded by the worker's codec as the very event it was."""
    ensure_topics(kafka_settings)
    events = examples()
    async with collecting(kafka_settings) as running:
        if form == "one by one":
            answers = [await running.post(event) for event in events]
        elif form == "batch":
            answers = [await running.post(events)]
        else:
            lines = b"\n".join(json.dumps(event).encode() for event in events)
            answers = [await running.post(lines, headers={"Content-Type": "application/x-ndjson"})]
    expected = {event["id"]: codec.decode(json.dumps(event).encode()) for event in events}
    assert {200} == {answer.status for answer in answers}
    assert expected == {event.id: event for event in read_events(kafka_settings)}


async def test_a_user_has_one_partition(kafka_settings: KafkaSettings) -> None:
    """Records are keyed by user: what one user does stays together and in order."""
    ensure_topics(kafka_settings)
    async with collecting(kafka_settings) as running:
        await running.post([page_view(number) for number in range(500)])
    log = read(kafka_settings.bootstrap, kafka_settings.events_topic)
    users = [{json.loads(value or b"")["user"] for value in values} for values in log.values()]
    ids = [json.loads(v or b"")["id"] for values in log.values() for v in values if b'"u-3"' in (v or b"")]
    assert (10, 500) == (sum(map(len, users)), sum(map(len, log.values())))
    assert [f"p-{number}" for number in range(3, 500, 10)] == ids


class Sender:
    """A client that sends again, with the same ids, until it is answered 200. Mutable state: its account."""

    def __init__(self, running: Collector) -> None:
        self._running = running
        self.statuses: Counter[int] = Counter()
        self.without_hint = 0
        self.accepted: set[str] = set()
        self.is_stopped = False
        self._next = 0

    async def run(self) -> None:
        while not self.is_stopped:
            batch = [page_view(number) for number in range(self._next, self._next + 20)]
            self._next += 20
            while not await self._is_taken(batch):  # noqa: ASYNC110  # waits between requests, not for an event
                await asyncio.sleep(0.05)  # a real client would wait for Retry-After; this one is impatient

    async def _is_taken(self, batch: list[dict[str, Any]]) -> bool:
        answer = await self._running.post(batch)
        self.statuses[answer.status] += 1
        events = answer.body.get("events", [])
        self.accepted |= {event["id"] for event in events if event["status"] == "accepted"}
        if answer.status == 503:
            self.without_hint += not answer.headers.get("Retry-After", "").isdigit()
        return answer.status == 200


async def test_kafka_away_loses_nothing_that_was_promised(kafka_cache: Path) -> None:
    """Through an outage, what was accepted is in Kafka, what was not is told to come again, and memory stays."""
    with ApacheKafka(kafka_cache) as broker:
        kafka = KafkaSettings(bootstrap=broker.bootstrap, connect_timeout_s=2.0)
        ensure_topics(kafka)
        async with collecting(kafka, patience_s=1.0, requests_per_s=1e6) as running:
            sender = Sender(running)
            sending = [asyncio.create_task(sender.run()) for _ in range(4)]
            await until(lambda: sender.statuses[200] > 20)
            await asyncio.to_thread(broker.kill)
            await until(lambda: sender.statuses[503] > 0)
            assert 503 == await running.status("/readyz")
            before, rss, threads = sender.statuses[503], psutil.Process().memory_info().rss, threading.active_count()
            await asyncio.sleep(OUTAGE_S)  # the outage itself: nothing happens in it that could be waited for
            assert sender.statuses[503] > before
            assert psutil.Process().memory_info().rss - rss < 50_000_000
            assert threading.active_count() <= threads + 1
            in_flight = await running.metrics()
            taken = sender.statuses[200]
            await asyncio.to_thread(broker.start)
            await until(lambda: sender.statuses[200] > taken + 20)
            assert 200 == await running.status("/readyz")
            sender.is_stopped = True
            await asyncio.gather(*sending)
        events = read_events(kafka)
    assert ({200, 503}, 0) == (set(sender.statuses), sender.without_hint)
    assert 0 == in_flight.get("lynceus_collector_in_flight_bytes", 0)
    # By id, as the worker counts: all that was accepted, and nothing that the sender does not know of.
    assert sender.accepted == {event.id for event in events}


async def until(is_true: Any, patience_s: float = 60.0) -> None:
    """Return once `is_true()`; the sender's account is polled, for it has nothing to wake us with."""
    async with asyncio.timeout(patience_s):
        while not is_true():  # noqa: ASYNC110  # as the docstring says
            await asyncio.sleep(0.01)


async def test_a_full_buffer_is_said_not_filled(kafka_cache: Path) -> None:
    """When what is on its way fills its room, the next request is told to come again, at once, and nothing is lost."""
    with ApacheKafka(kafka_cache) as broker:
        kafka = KafkaSettings(bootstrap=broker.bootstrap)
        ensure_topics(kafka)
        async with collecting(kafka, in_flight_bytes=1_048_576, patience_s=3.0, max_body_bytes=4_000_000) as running:
            await running.post([page_view()])
            os.kill(broker.pid, signal.SIGSTOP)  # Kafka is there and says nothing
            try:
                large = [page_view(number, id=f"l-{number}", page="x" * 250) for number in range(400)]
                first = asyncio.create_task(running.post(large))
                second = asyncio.create_task(running.post(large))
                done, _ = await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
                refused = done.pop().result()
                in_flight = (await running.metrics())["lynceus_collector_in_flight_events"]
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            other = await (second if first.done() else first)
    assert (503, "2", 400) == (refused.status, refused.headers["Retry-After"], in_flight)
    assert 200 == other.status


async def test_sigterm_answers_what_was_taken(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """`lynceus collect` as a process: asked to end while requests are open, it answers them, and all of it is there."""
    ensure_topics(kafka_settings)
    port = free_port()
    settings = Settings(
        kafka=kafka_settings, collector=CollectorSettings(port=port, metrics_port=0, requests_per_s=1e6)
    )
    running = Child(
        [sys.executable, *lynceus("collect")[1:]],
        tmp_path / "collect.log",
        tmp_path,
        environ_of(environment(settings), tmp_path / "temporary"),
    )
    url = f"http://127.0.0.1:{port}"
    accepted: set[str] = set()
    async with aiohttp.ClientSession() as session:

        async def send(number: int) -> int:
            batch = [page_view(number * 10 + n) for n in range(10)]
            try:
                async with session.post(f"{url}/v1/events", data=json.dumps(batch)) as answer:
                    accepted.update(
                        e["id"] for e in (await answer.json()).get("events", []) if e["status"] == "accepted"
                    )
                    return answer.status
            except aiohttp.ClientError:
                return 0

        async def is_up() -> bool:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        try:
            async with asyncio.timeout(60):
                while not await is_up():  # noqa: ASYNC110  # another process: it can only be asked
                    await asyncio.sleep(0.05)
            sending = [asyncio.create_task(send(number)) for number in range(200)]
            await until(lambda: accepted)
            os.kill(running.pid, signal.SIGTERM)
            statuses = Counter(await asyncio.gather(*sending))
            status = await asyncio.to_thread(running.wait, 10.0)
        finally:
            running.kill()
    assert (0, set()) == (status, set(statuses) - {0, 200, 503})
    assert set() == accepted - {event.id for event in read_events(kafka_settings)}
    assert "Traceback" not in (tmp_path / "collect.log").read_text()
