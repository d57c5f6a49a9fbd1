"""The checkpoint on a real Redis, reply by reply: what is stored, what is dropped, and what is never sent twice.

Kafka is a stand-in of a few numbers here: where a log begins and ends, and where it was asked to be read. What the
protocol does over a real Kafka is in test_counting.py and test_recovery.py.
"""

import asyncio
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_client
from faust.types import TP
from redis.asyncio import Redis

from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.attribution import Rules
from stream_app.core.processor import Partition, Span
from stream_app.embedded import RedisServer
from stream_app.metrics.catalogue import PLAN
from stream_app.settings import RedisSettings
from stream_app.worker import scripts, store
from stream_app.worker.agents import Counting
from stream_app.worker.batches import RecordBatch
from stream_app.worker.checkpoint import ALIVE_EVERY_S, FENCED_WAIT_S, Checkpoints
from stream_app.worker.instruments import Instruments
from tests.timelines import LATER, T0, impression

EVENTS = TP("events", 0)
KEY = layout.partition_key("test", EVENTS.topic, EVENTS.partition)
TIMEOUT_S = 0.5


class ShortLog:
    """What the checkpoints ask of Kafka. Mutable state: the numbers, which a test sets, and the seeks it was asked."""

    def __init__(self) -> None:
        self.begin, self.end = 0, 1_000_000
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
        self.counting = Counting(
            Held(self.checkpoints),
            self.checkpoints,
            self.instruments,
            self._send,
            log.seek_epoch,
            dead_letters_topic="dead",
            late_topic="late",
        )

    async def _send(self, *_: Any) -> "asyncio.Future[object]":
        return self.sent

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


@pytest.fixture
def stored(redis_url: str) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = store.connect(RedisSettings(url=redis_url, timeout_s=TIMEOUT_S))
    yield client
    await client.aclose()


@pytest.fixture
def log() -> ShortLog:
    return ShortLog()


def fields(stored: Any) -> dict[str, bytes]:
    """Return the hash of the partition."""
    return {name.decode(): value for name, value in stored.hgetall(KEY).items()}


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


# -- claim ---------------------------------------------------------------------------------------------------------


async def test_a_partition_without_state_is_begun(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Claiming nothing begins a whole state at the log's start, and reads there."""
    log.begin = 7
    worker = await Worker(redis, log).claim()
    found = fields(stored)
    restored, stale = Partition.restore(PLAN, Rules(), found)
    assert (b"7", b"c1", b"k1/events") == (found[layout.OFFSET], found[layout.CONFIG], found[layout.LOG])
    assert (7, [7], 7, []) == (worker.position, log.seeks, restored.head.first_offset, stale)
    assert worker.sample("lynceus_state_lost_total") == 0


async def test_state_that_is_gone_is_said_to_be_lost(redis: "Redis", log: ShortLog) -> None:
    """When Kafka knows of counted offsets and Redis of none, that is counted, and the log is counted anew."""
    log.witness = 5
    worker = await Worker(redis, log).claim()
    assert (0, 1) == (worker.position, worker.sample("lynceus_state_lost_total"))


async def test_a_worker_goes_on_where_the_last_one_stood(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Claiming one's own state draws a new nonce, and reads on from the last record that is counted."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    assert await first.checkpoints.flush() == {EVENTS: 3}
    before = fields(stored)
    second = await Worker(redis, log).claim()
    after = fields(stored)
    assert (3, [0, 2]) == (second.position, log.seeks)
    await second.count(*THREE)
    assert before.pop(layout.TOKEN) != after.pop(layout.TOKEN)
    assert before == after
    assert second.checkpoints.claims[EVENTS].state.head.outcomes == {"counted": 3, "duplicate": 3}


@pytest.mark.parametrize(("other", "words"), [({"configuration": "c2"}, "configuration"), ({"cluster": "k2"}, "log")])
async def test_what_belongs_to_another_is_left_alone(
    other: dict[str, str], words: str, redis: "Redis", stored: Any, log: ShortLog
) -> None:
    """State of another configuration or of another log is refused, with the reason, and not touched."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    await first.checkpoints.release()
    before = fields(stored)
    second = await Worker(redis, log, **other).claim()
    assert (None, True, before) == (second.position, words in second.checkpoints.refusal(), fields(stored))


async def test_a_log_that_is_too_short_is_another_log(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """A log that ends before the stored offset cannot be the one that was counted."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    await first.checkpoints.release()
    log.end = 2
    second = await Worker(redis, log).claim()
    assert (None, True, b"3") == (
        second.position,
        "another log" in second.checkpoints.refusal(),
        fields(stored)[layout.OFFSET],
    )


async def test_offsets_lost_to_retention_are_recorded(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Where the log begins behind the stored offset, the gap is counted, and counting goes on behind it."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    await first.checkpoints.release()
    log.begin = 10
    second = await Worker(redis, log).claim()
    await second.count(shown(10))
    await second.checkpoints.flush()
    head = layout.unpack_head(fields(stored)[layout.HEAD])
    assert (11, 7, 7.0) == (second.position, head.skipped_offsets, second.sample("lynceus_gap_offsets_total"))
    assert {"counted": 4} == outcomes(stored)


# -- flush ---------------------------------------------------------------------------------------------------------


async def test_a_flush_is_one_write(redis: "Redis", stored: Any, redis_url: str, log: ShortLog) -> None:
    """State and offset move together, in exactly one HSET; what has not moved is not written."""
    worker = await Worker(redis, log).claim()
    with monitored(redis_url) as commands:
        await worker.count(*THREE)
        advanced = await worker.checkpoints.flush()
        again = await worker.checkpoints.flush()
    assert ({EVENTS: 3}, {}, 1) == (advanced, again, len(hsets(commands)))
    assert (b"3", {"counted": 3}) == (fields(stored)[layout.OFFSET], outcomes(stored))


async def test_a_write_never_exceeds_what_lua_can_unpack(redis: "Redis", redis_url: str, log: ShortLog) -> None:
    """However much changes at once, every flush is one HSET of at most MAX_PAIRS pairs."""
    worker = await Worker(redis, log).claim()
    # Back and forth over two hours of panes, then days on: every pane changes, is folded and removed.
    raws = [shown(number, seconds=10.0 * (number % 700)) for number in range(1_400)]
    raws += [shown(number, seconds=7_000.0 + 300.0 * (number - 1_400)) for number in range(1_400, 4_400)]
    flushes = 0
    with monitored(redis_url) as commands:
        for begin in range(0, len(raws), 2_000):
            await worker.count(*raws[begin : begin + 2_000])
            flushes += len(await worker.checkpoints.flush())
    sizes = hsets(commands)
    assert max(sizes) <= scripts.MAX_PAIRS
    assert len(sizes) >= flushes == 3


async def test_a_fenced_worker_writes_nothing(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """After another worker's claim a flush changes nothing, and the partition is not taken back at once."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    second = await Worker(redis, log).claim()
    before = fields(stored)
    assert (await first.checkpoints.flush(), fields(stored), first.refused("fenced")) == ({}, before, 1)
    await first.checkpoints.claim_wanted()
    waiting = first.position
    first.clock_s += FENCED_WAIT_S
    await first.checkpoints.claim_wanted()
    await second.checkpoints.flush()
    assert (None, 0, 0) == (waiting, first.position, second.position)


async def test_a_conflict_is_dropped_and_claimed_again(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """An offset that is not the expected one stops the flush; the stored state is what is gone on from."""
    worker = await Worker(redis, log).claim()
    await worker.count(*THREE)
    await worker.checkpoints.flush()
    snapshot = fields(stored)
    await worker.count(shown(3), shown(4))
    await worker.checkpoints.flush()
    await worker.count(shown(5))
    # Redis came back with an older state, as after the loss of the end of its file.
    stored.delete(KEY)
    stored.hset(KEY, mapping=snapshot)
    assert (await worker.checkpoints.flush(), worker.position, worker.refused("conflict")) == ({}, None, 1)
    assert snapshot == fields(stored)
    await worker.checkpoints.claim_wanted()
    assert (3, 2) == (worker.position, log.seeks[-1])


async def test_a_missing_state_is_begun_again(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """A flush never brings back a hash that is gone: the partition is claimed, and counted, anew."""
    worker = await Worker(redis, log).claim()
    await worker.count(*THREE)
    await worker.checkpoints.flush()
    log.witness = 3
    await worker.count(shown(3))
    stored.delete(KEY)
    assert (await worker.checkpoints.flush(), worker.refused("missing"), stored.exists(KEY)) == ({}, 1, 0)
    await worker.checkpoints.claim_wanted()
    assert (0, 0, 1) == (worker.position, log.seeks[-1], worker.sample("lynceus_state_lost_total"))


async def test_what_got_no_reply_is_never_sent_again(log: ShortLog) -> None:
    """A flush without a reply is dropped; Redis did it in the end, the next claim finds that, nothing counts twice."""
    with RedisServer() as server, redis_client.Redis.from_url(server.url) as stored:
        redis = store.connect(RedisSettings(url=server.url, timeout_s=TIMEOUT_S))
        worker = await Worker(redis, log).claim()
        await worker.count(*THREE)
        with monitored(server.url) as commands:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                advanced = await worker.checkpoints.flush()
                dropped = worker.position, worker.refused("no reply")
                await worker.checkpoints.claim_wanted()  # gets no reply either
            finally:
                os.kill(server.pid, signal.SIGCONT)
            reached = outcomes(stored)
            worker.clock_s += 60
            await worker.checkpoints.claim_wanted()
            again = await worker.checkpoints.flush()
        await redis.aclose()
    written = [line for line in commands if ' lua] "HSET"' in line and '"@off"' in line]
    assert ({}, (None, 1), {"counted": 3}) == (advanced, dropped, reached)
    assert (3, {}, 1) == (worker.position, again, len(written))


async def test_what_is_set_apart_is_safe_first(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """The offset never passes a record that was set apart and that Kafka did not take."""
    worker = await Worker(redis, log).claim()
    worker.sent = asyncio.get_running_loop().create_future()
    worker.sent.set_exception(TimeoutError("not acknowledged"))
    await worker.count(b"garbage")
    assert ({}, None, b"0", 1) == (
        await worker.checkpoints.flush(),
        worker.position,
        fields(stored)[layout.OFFSET],
        worker.refused("set apart"),
    )


# -- idle partitions, leftovers ------------------------------------------------------------------------------------


async def test_a_heartbeat_moves_nothing(redis: "Redis", stored: Any, redis_url: str, log: ShortLog) -> None:
    """Once in a while the owner of an idle partition shows that it lives, and changes nothing else."""
    worker = await Worker(redis, log).claim()
    await worker.checkpoints.verify()
    before = fields(stored)
    with monitored(redis_url) as commands:
        await worker.checkpoints.verify()
        worker.clock_s += ALIVE_EVERY_S
        await worker.checkpoints.verify()
    after = fields(stored)
    assert "w" == layout.unpack_alive(after.pop(layout.ALIVE)).worker
    before.pop(layout.ALIVE)
    assert (before, [1]) == (after, hsets(commands))


async def test_a_rollback_is_noticed_on_an_idle_partition(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """A Redis that went back in time is found out although nothing is counted, and the log is read again from there."""
    worker = await Worker(redis, log).claim()
    snapshot = fields(stored)
    await worker.count(*THREE)
    await worker.checkpoints.flush()
    stored.delete(KEY)
    stored.hset(KEY, mapping=snapshot)
    worker.clock_s += ALIVE_EVERY_S
    await worker.checkpoints.verify()
    assert worker.position is None
    await worker.checkpoints.claim_wanted()
    await worker.count(*THREE)
    await worker.checkpoints.flush()
    assert ([0, 0], {"counted": 3}) == (log.seeks, outcomes(stored))


async def test_leftovers_go_and_what_lives_stays(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Fields that the state no longer names are deleted after the next flush; the others are a whole state."""
    first = await Worker(redis, log).claim()
    # Thirty hours of panes: all but the newest are folded into hours, and their fields are leftovers.
    for begin in range(0, 2_160, 720):
        await first.count(*(shown(number, seconds=50.0 * number) for number in range(begin, begin + 720)))
        await first.checkpoints.flush()
    after_folding = fields(stored)
    stored.hset(KEY, mapping={f"p:{T0 - 10_000}": b"x", "j:ids:99:0": b"x"})
    second = await Worker(redis, log).claim()
    await second.count(shown(-1, seconds=50.0 * 2_160))
    await second.checkpoints.flush()
    found = fields(stored)
    state, stale = Partition.restore(PLAN, Rules(), found)
    named = set(layout.unpack_directory(found[layout.DIRECTORY]))
    cells = {name for name in found if name.startswith(("p:", "h:"))}
    assert ([], [], named) == (Partition.restore(PLAN, Rules(), after_folding)[1], stale, cells)
    assert {"counted": 2_161} == outcomes(stored)
    assert {"impressions": 2_161} == {
        "impressions": sum(tally[0] for name in named for tally in layout.unpack_rows(found[name]).values())
    }
    assert state.head.applied == 2_161
