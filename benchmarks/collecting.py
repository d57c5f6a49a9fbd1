"""Events per second through the HTTP collector into a real Kafka, and how long an answer takes.

    python -m benchmarks.collecting [--rate 2000] [--seconds 10] [--json FILE]

The collector is a process of its own. First batches of 50 come at a steady rate, at their times whether or not the
earlier ones are answered, so that a slow answer delays no later request and hides none; the quantiles are of this part.
Then eight clients send as fast as they are answered, which shows the ceiling. Every event that was answered must be in
Kafka, once, or there is no result.
"""

import argparse
import asyncio
import itertools
import json
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, NamedTuple

import aiohttp
import psutil
from kafka import KafkaConsumer, TopicPartition

from producers.topics import ensure_topics
from stream_app.apache_kafka import ApacheKafka
from stream_app.child import Child
from stream_app.ports import free_port
from stream_app.settings import CollectorSettings, KafkaSettings, Settings, environment

BATCH: Final = 50
CLIENTS: Final = 8
PATIENCE_S: Final = 60.0
CACHE: Final = Path(__file__).parent.parent / ".cache" / "kafka"


class Part(NamedTuple):
    """One part of the run. CPU is that of all threads of the collector."""

    events: int
    seconds: float
    events_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    events_per_cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=int, default=2_000, help="events a second in the steady part")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part")
    parser.add_argument("--json", type=Path, help="write the result there, too")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lynceus-bench-")))
        broker = stack.enter_context(ApacheKafka(CACHE))
        kafka = KafkaSettings(bootstrap=broker.bootstrap)
        ensure_topics(kafka)
        settings = Settings(
            kafka=kafka, collector=CollectorSettings(port=free_port(), metrics_port=0, requests_per_s=1e6)
        )
        child = Child(
            [sys.executable, "-m", "stream_app", "collect"], folder / "log", Path.cwd(), environment(settings)
        )
        stack.callback(child.kill)
        parts = asyncio.run(measured(settings, child, arguments.rate, arguments.seconds))
        child.stop()
        in_kafka = count(kafka)
    sent = sum(part.events for part in parts.values())
    if sent != in_kafka:
        sys.exit(f"{sent} events were acknowledged and {in_kafka} are in Kafka: no result")
    for name, part in parts.items():
        print(
            f"{name:9} {part.events_per_s:8,.0f} events/s   p50 {part.p50_ms:6.1f} ms   p99 {part.p99_ms:6.1f} ms   "
            f"max {part.max_ms:6.1f} ms   {part.events_per_cpu_s:8,.0f} events per CPU second"
        )
    print(f"{sent:,} events acknowledged, all of them in Kafka; batches of {BATCH}")
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": psutil.cpu_count(), "python": platform.python_version()}
        figures = {name: part._asdict() for name, part in parts.items()}
        arguments.json.write_text(json.dumps({"batch": BATCH, **machine, "parts": figures}, indent=2) + "\n")


async def measured(settings: Settings, child: Child, rate: int, seconds: float) -> dict[str, Part]:
    """Run both parts, after a second that warms up."""
    url = f"http://127.0.0.1:{settings.collector.port}"
    process = psutil.Process(child.pid)
    numbers = itertools.count()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await until_ready(session, url, child)

        async def send() -> float:
            body = batch(numbers)
            began = time.perf_counter()
            async with session.post(f"{url}/v1/events", data=body) as answer:
                await answer.read()
                if answer.status != 200:
                    sys.exit(f"the collector answered {answer.status}: no result")
            return time.perf_counter() - began

        return {
            "warm-up": await part(process, lambda: steadily(send, rate, 1.0)),
            "steady": await part(process, lambda: steadily(send, rate, seconds)),
            "ceiling": await part(process, lambda: eagerly(send, seconds)),
        }


async def part(process: psutil.Process, run: Callable[[], Awaitable[list[float]]]) -> Part:
    """Run, and take the figures of it."""
    began, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
    took = await run()
    seconds = time.perf_counter() - began
    cuts = quantiles(took, n=100)
    return Part(
        len(took) * BATCH,
        round(seconds, 2),
        round(len(took) * BATCH / seconds),
        round(cuts[49] * 1000, 2),
        round(cuts[98] * 1000, 2),
        round(max(took) * 1000, 2),
        round(len(took) * BATCH / max(0.01, sum(process.cpu_times()[:2]) - cpu)),
    )


async def steadily(send: Callable[[], Awaitable[float]], rate: int, seconds: float) -> list[float]:
    """Send batches at their times. What a request waits for its turn in this process is part of its time."""
    began, running = time.perf_counter(), []
    for number in range(int(rate * seconds / BATCH)):
        await asyncio.sleep(max(0.0, began + number * BATCH / rate - time.perf_counter()))
        running.append(asyncio.ensure_future(send()))
    return list(await asyncio.gather(*running))


async def eagerly(send: Callable[[], Awaitable[float]], seconds: float) -> list[float]:
    """Send the next batch when the last one is answered."""
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def client() -> None:
        while time.perf_counter() < end:
            took.append(await send())

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return took


def batch(numbers: Iterator[int]) -> bytes:
    """Return the body of the next batch: impressions of a hundred users."""
    ts = time.time_ns() // 1_000_000
    events: list[dict[str, Any]] = [
        {
            "type": "impression",
            "id": f"i-{number}",
            "ts": ts,
            "user": f"u-{number % 100}",
            "session": f"s-{number % 100}",
            "surface": "home.list",
            "arm": "personalized",
            "policy": "bandit-7",
            "channel": "web",
            "decision": f"d-{number // 10}",
            "item": f"item-{number % 500}",
            "position": number % 10 + 1,
            "relevance": 0.5,
        }
        for number in itertools.islice(numbers, BATCH)
    ]
    return json.dumps(events).encode()


async def until_ready(session: aiohttp.ClientSession, url: str, child: Child) -> None:
    """Return once the collector takes events."""
    async with asyncio.timeout(PATIENCE_S):
        while child.is_running:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    sys.exit(f"the collector ended: {child.tail()}")


def count(kafka: KafkaSettings) -> int:
    """Return how many records the topic has."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        topic = kafka.events_topic
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        return sum(consumer.end_offsets(partitions).values())
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
