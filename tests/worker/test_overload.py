"""Overload: what is fetched ahead is bounded, checkpoints become rarer when they cost too much, memory has a cap."""

import ctypes
import gc
import weakref
from operator import itemgetter
from pathlib import Path

import pytest
from faust.types import TP

from producers.topics import ensure_topics
from stream_app.core.aggregation import COLD_AFTER_MS, Cells
from stream_app.core.joins import Joins
from stream_app.core.memory import Bound, Remembered
from stream_app.core.panes import FINE_RETENTION_MS, PANE_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Occasion
from stream_app.metrics.catalogue import PLAN
from stream_app.settings import KafkaSettings, WorkerSettings
from stream_app.worker.app import OVER_MEMORY_STATUS
from stream_app.worker.backlog import PARTITION_BYTES, RECORD_COST, SCARCE_BYTES, TOTAL_BYTES, Backlog
from stream_app.worker.batches import RecordBatch
from stream_app.worker.memory import Memory, give_back, judge, look, resident_bytes
from tests.fleet import PATIENCE_S, fleet, make_settings, send, shop_events
from tests.recount import read, recount
from tests.timelines import T0

PARTITIONS = [TP("events", number) for number in range(8)]


def batch(partition: TP, following: int, size: int, epoch: int = 1) -> RecordBatch:
    """Return a batch of one record that takes `size` bytes, and ends before offset `following`."""
    span = Span(following - 1, 0, (b"x" * (size - RECORD_COST),))
    return RecordBatch(*partition, following - 1, following, (span,), epoch)


def test_what_waits_is_bounded_for_each_partition() -> None:
    """A partition whose records wait has that much less room; others have theirs."""
    backlog = Backlog()
    backlog.add(PARTITIONS[0], batch(PARTITIONS[0], 10, PARTITION_BYTES - 5))
    assert [backlog.room(tp) for tp in PARTITIONS[:2]] == [5, PARTITION_BYTES]


def test_what_waits_is_bounded_in_all() -> None:
    """However many partitions there are, no more than the total waits."""
    backlog = Backlog()
    for tp in PARTITIONS[:4]:
        backlog.add(tp, batch(tp, 10, PARTITION_BYTES))
    assert backlog.room(PARTITIONS[7]) == TOTAL_BYTES - 4 * PARTITION_BYTES == 0


def test_many_small_records_need_room_too() -> None:
    """An empty record costs what Python keeps with it."""
    backlog = Backlog()
    backlog.add(PARTITIONS[0], RecordBatch(*PARTITIONS[0], 0, 100, (Span(0, 0, [None, b""] * 50),), 1))
    assert PARTITION_BYTES - backlog.room(PARTITIONS[0]) == 100 * RECORD_COST


@pytest.mark.parametrize(
    ("standing", "waits"),
    [
        ((1, 9), True),  # the same claim, and not so far yet
        ((1, 10), False),  # counted
        ((2, 0), False),  # fetched for another position
        (None, False),  # nobody will count it
    ],
)
def test_room_comes_back(standing: tuple[int, int] | None, *, waits: bool) -> None:
    """Room is free again when records are counted, or never will be."""
    backlog = Backlog()
    backlog.add(PARTITIONS[0], batch(PARTITIONS[0], 10, 1_000))
    backlog.settle(lambda _: standing)
    assert PARTITION_BYTES - backlog.room(PARTITIONS[0]) == (1_000 if waits else 0)


def test_little_is_fetched_ahead_while_memory_is_scarce() -> None:
    """Short of memory, about one fetch waits at a time: never nothing, or the worker would stand still."""
    backlog = Backlog()
    backlog.is_scarce = True
    free = backlog.room(PARTITIONS[0])
    backlog.add(PARTITIONS[0], batch(PARTITIONS[0], 10, SCARCE_BYTES))
    assert (free, backlog.room(PARTITIONS[1])) == (SCARCE_BYTES, 0)


@pytest.mark.parametrize(
    ("percent", "before", "expected"),
    [
        (89, Memory.ENOUGH, Memory.ENOUGH),
        (90, Memory.ENOUGH, Memory.SCARCE),
        (86, Memory.SCARCE, Memory.SCARCE),
        (84, Memory.SCARCE, Memory.ENOUGH),
        (97, Memory.ENOUGH, Memory.OVER),
    ],
)
def test_memory_is_judged_by_its_share_of_the_cap(percent: int, before: Memory, expected: Memory) -> None:
    """Scarce from 90 % until below 85 %, over from 97 %."""
    assert judge(percent * 1_000, 100_000, before) is expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (80, 70, (80, Memory.ENOUGH)),
        (98, 89, (89, Memory.ENOUGH)),
        (98, 91, (91, Memory.SCARCE)),
        (99, 98, (98, Memory.OVER)),
    ],
)
def test_free_pages_are_given_back_before_anything_else(before: int, after: int, expected: tuple[int, Memory]) -> None:
    """What is too much only because the C library keeps it is no reason to fetch less, or to leave."""
    held = [before]
    assert expected == look(100, Memory.ENOUGH, lambda: held[-1], lambda: held.append(after))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not GNU's")
def test_pages_between_what_lives_on_are_given_back() -> None:
    """Every sixteenth of many blocks stays: nearly all pages between them are the system's again."""
    blocks = [bytearray(2_000) for _ in range(50_000)]
    kept = blocks[::16]
    full = resident_bytes()
    del blocks
    give_back()
    assert full - resident_bytes() > 50_000_000 > sum(map(len, kept))


def test_a_state_that_is_dropped_is_freed_at_once() -> None:
    """No cycle keeps a partition's memory until the collector comes by."""
    partition = Partition(PLAN, Rules())
    partition.process([Span(0, 0, [b"{}"])])
    kept = weakref.ref(partition.attribution.joins)
    gc.disable()
    try:
        del partition
        assert kept() is None
    finally:
        gc.enable()


def test_a_pane_that_goes_cold_is_packed() -> None:
    """However many panes there are, only those of the last minutes are lists, also where nothing changes any more."""
    cells = Cells(PLAN)
    for start in range(0, 100 * PANE_MS, PANE_MS):
        cells.floor_ms = T0 + start - FINE_RETENTION_MS
        cells.add(T0 + start, 0, Occasion.CLICK, None)
        cells.take_changes()
    packed = sum(isinstance(rows, bytes) for rows in cells.panes.values())
    assert (len(cells.panes), packed) == (100, 99 - COLD_AFTER_MS // PANE_MS)


def test_clicks_are_forgotten_with_their_impressions() -> None:
    """A click means nothing without its impression: it never outlives the table where that is looked for."""
    joins = Joins(Rules())
    joins.clicks.put(1, (T0, 2))
    joins.impressions.rotate()
    joins.impressions.rotate()
    assert (1 in joins.clicks, joins.clicks.forgotten) == (False, 0)


def test_a_restart_needs_no_more_memory() -> None:
    """Equal values are one object, as they were when they were put."""
    table, again = (Remembered("ids", Bound(100, 1_000), itemgetter(0)) for _ in range(2))
    for key in range(6):
        table.put(key, (T0, 1))
        chunks = table.take_fresh()
    again.restore(0, 0, 0, {(0, 0): chunks["j:ids:0:0"]})
    assert ({id(value) for value in again.newer.values()}, again.newer) == ({id(again.newer[0])}, table.newer)


def test_a_worker_over_its_cap_leaves_in_order(kafka_settings: KafkaSettings, redis_url: str, tmp_path: Path) -> None:
    """It says why, gives its partitions back, and ends with a status of its own; the next one loses nothing."""
    settings = make_settings(kafka_settings, redis_url)
    ensure_topics(settings.kafka)
    sent = send(settings.kafka, shop_events(20_000, seed=8))
    small = settings.model_copy(update={"worker": WorkerSettings(memory_mb=64, metrics_port=0)})
    with fleet(small, tmp_path) as running:
        worker = running.start()
        assert worker.wait(PATIENCE_S) == OVER_MEMORY_STATUS, worker.tail()
        assert "memory is over the cap" in running.log()
    with fleet(settings, tmp_path) as running:
        running.start()
        running.wait_applied(sent)
        kafka = settings.kafka
        assert running.stored.outcomes() == recount(read(kafka.bootstrap, kafka.events_topic))[1]
