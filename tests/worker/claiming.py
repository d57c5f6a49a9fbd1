"""One worker's checkpoints over a real Redis and a log of a few numbers, and what to look at afterwards."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis as redis_client
from faust.types import TP
from redis.asyncio import Redis

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import PLAN
from stream_app.worker.agents import Counting
from stream_app.worker.batches import RecordBatch
from stream_app.worker.checkpoint import Checkpoints
from stream_app.worker.instruments import Instruments
from tests.timelines import LATER, impression

EVENTS = TP("events", 0)
KEY = layout.partition_key("test", EVENTS.topic, EVENTS.partition)
TIMEOUT_S = 0.5


class ShortLog:
    """What the checkpoints ask of Kafka. Mutable state: the numbers, which a test sets, and the seeks it was asked."""

    def __init__(self) -> None:
        self.begin, self.end = 0, 1_000_000
        self.partitions = 1
        self.witness: int | None = None
        self.assigned = {EVENTS}
        self.seeks: list[int] = []

    async def seek_epoch(self, partition: TP, offset: int, epoch: int) -> None:
        assert partition in self.assigned
        assert epoch > 0
        self.seeks.append(offset)

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        return dict.fromkeys(partitions, self.witness)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, self.begin)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, self.end)

    def log_end(self, partition: TP) -> int | None:
        assert partition in self.assigned
        return self.end

    def owned(self) -> set[TP]:
        return self.assigned

    def topic_partitions(self, topic: str) -> int:
        assert topic == EVENTS.topic
        return self.partitions


class Held(Mapping[int, Partition]):
    """The states of a worker, as its table shows them."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def __getitem__(self, partition: int) -> Partition:
        return self._checkpoints.claims[TP(EVENTS.topic, partition)].state

    def __iter__(self) -> Iterator[int]:
        return (tp.partition for tp in self._checkpoints.claims)

    def __len__(self) -> int:
        return len(self._checkpoints.claims)


class Worker:
    """One worker's checkpoints over the given Redis. Mutable state: its clock, which only a test moves."""

    def __init__(self, redis: "Redis", log: ShortLog, *, configuration: str = "c1", cluster: str = "k1") -> None:
        self.clock_s = 100.0
        self.log = log
        self.instruments = Instruments()
        self.checkpoints = Checkpoints(
            lambda: redis,
            lambda: log,
            self.instruments,
            app="test",
            worker="w",
            plan=PLAN,
            rules=Rules(),
            configuration=configuration,
            now_ms=lambda: LATER,
            clock_s=lambda: self.clock_s,
        )
        self.checkpoints.cluster = cluster
        self.sent: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.sent.set_result(None)
        self.room = asyncio.Event()
        self.room.set()
        self.asked = asyncio.Event()
        self.counting = Counting(
            Held(self.checkpoints),
            self.checkpoints,
            self.instruments,
            self._send,
            log.seek_epoch,
            dead_letters_topic="dead",
            late_topic="late",
        )

    async def _send(self, *_: Any) -> "list[asyncio.Future[object]]":
        self.asked.set()
        await self.room.wait()
        return [self.sent]

    async def claim(self) -> "Worker":
        await self.checkpoints.claim(self.log.assigned)
        return self

    async def count(self, *raws: bytes | None) -> None:
        """Count records from where the claim stands."""
        claim = self.checkpoints.claims[EVENTS]
        claim.anchor = None  # the stand-in has no record to look at again
        start = claim.position
        span = Span(start, LATER, raws)
        await self.counting.count(RecordBatch(*EVENTS, start, start + len(raws), (span,), claim.epoch))

    def refused(self, reason: str) -> float | None:
        return self.instruments.registry.get_sample_value("lynceus_flush_refused_total", {"reason": reason})

    def sample(self, name: str) -> float | None:
        return self.instruments.registry.get_sample_value(name)

    @property
    def position(self) -> int | None:
        """Where the claim stands; None without one."""
        claim = self.checkpoints.claims.get(EVENTS)
        return claim.position if claim else None


def shown(number: int, seconds: float = 0.0) -> bytes:
    """An impression that is counted."""
    return codec.encode(impression(seconds, f"d{number}", id=f"i{number}", user=f"u{number}"))


THREE = [shown(number) for number in range(3)]


def fields(stored: Any) -> dict[str, bytes]:
    """Return the hash of the partition."""
    return {name.decode(): value for name, value in stored.hgetall(KEY).items()}


def roll_back(stored: Any, snapshot: Mapping[str, bytes]) -> None:
    """Let Redis go back to when the hash of the partition was this."""
    stored.delete(KEY)
    stored.hset(KEY, mapping=snapshot)


def outcomes(stored: Any) -> Counter[str]:
    return +Counter(layout.unpack_head(fields(stored)[layout.HEAD]).outcomes)


@contextmanager
def monitored(url: str) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, every command that Redis ran in it, its scripts' too."""
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    lines: list[str] = []
    with (
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        connection.makefile("rb") as replies,
        redis_client.Redis.from_url(url) as other,
    ):
        connection.sendall(b"MONITOR\r\n")
        assert replies.readline() == b"+OK\r\n"
        yield lines
        other.echo("that is all")
        while '"that is all"' not in (line := replies.readline().decode()):
            lines.append(line)


def hsets(commands: Iterable[str]) -> list[int]:
    """Return the number of pairs of every HSET that a script ran."""
    words = [re.findall(r'"((?:[^"\\]|\\.)*)"', line) for line in commands if " lua] " in line]
    return [(len(command) - 2) // 2 for command in words if command[0].upper() == "HSET"]
