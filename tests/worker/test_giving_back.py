"""Partitions that are given back: what was counted is written, and what comes back unchanged is not loaded again."""

import json
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from producers.topics import ensure_topics
from stream_app.core import cells as layout
from stream_app.settings import KafkaSettings
from tests.fleet import fleet, make_settings, send, shop_events
from tests.recount import RECOUNTED_FAMILIES, known, read, recount
from tests.worker.claiming import EVENTS, THREE, ShortLog, Worker, fields, monitored, outcomes, roll_back, shown


async def rebalance(worker: Worker) -> None:
    """Let Kafka take all partitions back, and give them out as before."""
    await worker.checkpoints.release()
    await worker.checkpoints.claim(worker.log.assigned)


async def test_what_comes_back_unchanged_is_not_loaded(
    redis: "Redis", stored: Any, redis_url: str, log: ShortLog
) -> None:
    """Under a new nonce the worker goes on from what it has, and what it writes then is what a loader would write."""
    staying = await Worker(redis, log).claim()
    await staying.count(*THREE)
    nonce = staying.checkpoints.claims[EVENTS].nonce
    await staying.checkpoints.release()
    with monitored(redis_url) as commands:
        await staying.checkpoints.claim(log.assigned)
    assert (0, 3, [0, 2]) == (
        sum(" lua] " in line and "HGETALL" in line for line in commands),
        staying.position,
        log.seeks,
    )
    assert nonce != fields(stored)[layout.TOKEN].decode() == staying.checkpoints.claims[EVENTS].nonce
    before = fields(stored)
    await staying.count(shown(3), *THREE)
    await staying.checkpoints.flush()
    written = fields(stored)
    roll_back(stored, before)
    loading = await Worker(redis, log).claim()
    await loading.count(shown(3), *THREE)
    await loading.checkpoints.flush()
    loaded = fields(stored)
    assert {"counted": 4, "duplicate": 3} == outcomes(stored)
    assert written.pop(layout.TOKEN) != loaded.pop(layout.TOKEN)
    # Numbers of changes, and the moment of the checkpoint, are never given out twice.
    assert set(written) == set(loaded)
    counted = [name for name in written if name.startswith((*layout.TALLIES, "j:"))]
    assert [written[name] for name in counted] == [loaded[name] for name in counted]


async def test_what_another_has_counted_meanwhile_is_loaded(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """Who had the partition in between decides what is true: nothing is counted twice, nothing is lost."""
    first = await Worker(redis, log).claim()
    await first.count(*THREE)
    await first.checkpoints.release()
    second = await Worker(redis, log).claim()
    await second.count(shown(3), shown(4))
    await second.checkpoints.release()
    await first.checkpoints.claim(log.assigned)
    await first.count(shown(5), shown(3))
    await first.checkpoints.flush()
    assert (7, {"counted": 6, "duplicate": 1}) == (first.position, outcomes(stored))


async def test_a_redis_that_went_back_meanwhile_is_believed(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """What the worker still has is newer than what is stored: then the log is counted again from there."""
    worker = await Worker(redis, log).claim()
    snapshot = fields(stored)
    await worker.count(*THREE)
    await worker.checkpoints.release()
    roll_back(stored, snapshot)
    await worker.checkpoints.claim(log.assigned)
    assert worker.position == 0
    await worker.count(*THREE)
    await worker.checkpoints.flush()
    assert {"counted": 3} == outcomes(stored)


async def test_what_was_not_written_is_loaded(redis: "Redis", stored: Any, log: ShortLog) -> None:
    """A last checkpoint that fails leaves what is stored as the truth."""
    worker = await Worker(redis, log).claim()
    await worker.count(*THREE)
    await worker.checkpoints.flush()
    worker.sent = worker.sent.get_loop().create_future()
    worker.sent.set_exception(TimeoutError("not acknowledged"))
    await worker.count(b"garbage")
    await rebalance(worker)
    assert (3, {"counted": 3}) == (worker.position, outcomes(stored))


def test_those_who_come_and_go_take_nothing_back(kafka_settings: KafkaSettings, redis_url: str, tmp_path: Path) -> None:
    """Under load a worker joins and leaves, twice: nobody is fenced, and nothing that was counted is counted again."""
    settings = make_settings(kafka_settings, redis_url, families=RECOUNTED_FAMILIES)
    ensure_topics(settings.kafka)
    sent, raws = 0, shop_events(60_000, seed=8)
    with fleet(settings, tmp_path) as running:
        running.start()
        running.wait(lambda: len(running.stored.owners()) == 4, "four partitions claimed")
        for turn in range(2):
            sent += send(settings.kafka, raws[30_000 * turn : 30_000 * turn + 15_000])
            second = running.start()
            running.wait(lambda: len(set(running.stored.owners().values())) == 2, "both own some")
            sent += send(settings.kafka, raws[30_000 * turn + 15_000 : 30_000 * turn + 30_000])
            second.stop()
            running.wait(lambda: len(set(running.stored.owners().values())) == 1, "one owns all")
        running.wait_applied(sent)
        expected, counted = recount(read(settings.kafka.bootstrap, settings.kafka.events_topic))
        assert (expected, counted) == (known(running.stored.totals()), running.stored.outcomes())
    lines = [json.loads(line) for log in tmp_path.glob("*.log") for line in log.read_text().splitlines()]
    released = [line["unwritten"] for line in lines if line["event"] == "released"]
    assert [line for line in lines if line.get("reason") == "fenced"] == []
    # The first gives back four partitions twice and two twice; the second leaves with two, twice.
    assert released == [0] * 16
