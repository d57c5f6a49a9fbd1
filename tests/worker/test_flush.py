"""The flush on a real Redis: one guarded write, refused or unanswered, and what is never sent twice."""

import asyncio
import os
import signal
from typing import Any

import pytest
import redis as redis_client
from redis.asyncio import Redis

from stream_app.core import cells as layout
from stream_app.core.processor import Partition
from stream_app.embedded import RedisServer
from stream_app.settings import RedisSettings
from stream_app.worker import scripts, store
from stream_app.worker.checkpoint import FENCED_WAIT_S
from tests.worker.claiming import (
    EVENTS,
    KEY,
    THREE,
    TIMEOUT_S,
    ShortLog,
    Worker,
    fields,
    hsets,
    monitored,
    outcomes,
    roll_back,
    shown,
)


async def test_a_flush_is_one_write(redis: "Redis", stored: Any, redis_url: str, log: ShortLog) -> None:
    """State and offset move together, in exactly one HSET; what has not moved is not written."""
    worker = await Worker(redis, log).claim()
    with monitored(redis_url) as commands:
        await worker.count(*THREE)
        advanced = await worker.checkpoints.flush()
        again = await worker.checkpoints.flush()
    assert ({EVENTS: 3}, {}, 1) == (advanced, again, len(hsets(commands)))
    assert (b"3", {"counted": 3}) == (fields(stored)[layout.OFFSET], outcomes(stored))


async def test_a_write_never_exceeds_what_lua_can_unpack(patient_redis: "Redis", redis_url: str, log: ShortLog) -> None:
    """However much changes at once, every flush is one HSET of at most MAX_PAIRS pairs."""
    worker = await Worker(patient_redis, log).claim()
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


async def test_checkpoints_that_cost_too_much_become_rarer(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Packing may take a tenth of the time: after one that took 0.3 s, the next is due 3 s after it began."""
    worker = await Worker(redis, log).claim()
    began, take = worker.clock_s, Partition.take_changes

    def slowly(partition: Partition) -> Any:
        worker.clock_s += 0.3
        return take(partition)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Partition, "take_changes", slowly)
        await worker.count(*THREE)
        await worker.checkpoints.flush_if_due()
    stored_after = []
    for second in (2.9, 3.1):
        worker.clock_s = began + second
        await worker.count(shown(int(second * 10)))
        await worker.checkpoints.flush_if_due()
        stored_after.append(int(fields(stored)[layout.OFFSET]))
    assert stored_after == [3, 5]


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
    roll_back(stored, snapshot)
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


async def test_what_is_still_being_handed_over_holds_the_checkpoint_back(
    redis: "Redis", stored: Any, log: ShortLog
) -> None:
    """While Kafka's client has no room for a record that was set apart, the offset does not pass it."""
    worker = await Worker(redis, log).claim()
    worker.room.clear()
    counting = asyncio.create_task(worker.count(b"garbage"))
    await worker.asked.wait()
    flushing = asyncio.create_task(worker.checkpoints.flush())
    # Whatever the flush could do without waiting it has done when a later command of the same client is answered.
    for _ in range(3):
        await redis.ping()
    before = fields(stored)[layout.OFFSET]
    worker.room.set()
    await counting
    assert (b"0", {EVENTS: 1}, b"1") == (before, await flushing, fields(stored)[layout.OFFSET])


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
