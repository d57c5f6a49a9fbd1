"""The checkpoint on a real Redis, reply by reply: what is stored, what is dropped, and what is never sent twice.

Kafka is a stand-in of a few numbers here: where a log begins and ends, and where it was asked to be read. What the
protocol does over a real Kafka is in test_counting.py and test_recovery.py.
"""

from typing import Any

import pytest
from redis.asyncio import Redis

from stream_app.core import cells as layout
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import PLAN
from stream_app.worker.checkpoint import ALIVE_EVERY_S
from tests.timelines import LATER, T0
from tests.worker.claiming import (
    EVENTS,
    KEY,
    THREE,
    ShortLog,
    Worker,
    fields,
    hsets,
    monitored,
    outcomes,
    roll_back,
    shown,
)

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


async def test_a_state_that_went_back_says_so_until_it_is_there_again(
    redis: "Redis", stored: Any, log: ShortLog
) -> None:
    """Where Kafka knows of more than is stored, the next owner writes down until where the counts are too low."""
    first = await Worker(redis, log).claim()
    snapshot = fields(stored)
    await first.count(*THREE)
    await first.checkpoints.release()
    roll_back(stored, snapshot)
    log.witness = 3
    second = await Worker(redis, log).claim()
    await second.checkpoints.flush()
    head = layout.unpack_head(fields(stored)[layout.HEAD])
    assert (0, 3, 0) == (second.position, head.replay_to, head.applied)


async def test_a_witness_beyond_the_log_is_not_believed(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Whatever somebody set the group's offsets to: nothing is waited for that the log does not hold."""
    log.end, log.witness = 3, 2**40
    await Worker(redis, log).claim()
    assert layout.unpack_head(fields(stored)[layout.HEAD]).replay_to == 3


async def test_partitions_that_are_added_are_noted_once(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """A claim that finds more partitions than the last one writes down when; later ones leave that as it is."""
    noted = []
    for log.partitions in (2, 4, 4, 3):
        worker = await Worker(redis, log).claim()
        await worker.checkpoints.flush()
        head = layout.unpack_head(fields(stored)[layout.HEAD])
        noted.append((head.partitions, head.rekeyed_ms))
    assert [(2, 0), (4, LATER), (4, LATER), (4, LATER)] == noted


async def test_nothing_is_written_before_the_log_is_known(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Until the last counted record was seen again, this may be another log: not even a note is written."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    await first.checkpoints.release()
    log.partitions = 2
    second = await Worker(redis, log).claim()
    before = fields(stored)
    assert (await second.checkpoints.flush(), fields(stored)) == ({}, before)


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
    roll_back(stored, snapshot)
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
    cells = {name for name in found if name.startswith((*layout.TALLIES, *layout.BINS))}
    assert ([], [], named) == (Partition.restore(PLAN, Rules(), after_folding)[1], stale, cells)
    assert {"counted": 2_161} == outcomes(stored)
    assert {"impressions": 2_161} == {
        "impressions": sum(
            tally[0]
            for name in filter(layout.holds_tallies, named)
            for tally in layout.unpack_rows(found[name]).values()
        )
    }
    assert state.head.applied == 2_161
