"""The batch transport: Faust over aiokafka, with one message per fetched partition instead of one per record.

A Faust message costs more than a hundred microseconds of futures and event-loop turns, a record decoded and counted a
few; so the grain of a message is made a fetch. This module reads aiokafka's record batches below its public surface
(the names are held by tests/worker/test_contract.py), hands out raw bytes, and replaces what Faust does per offset:
its acknowledgements, its read offsets and its committed offsets. Where to read is the checkpoint's business alone.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Protocol, cast

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchError, FetchResult
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, KafkaError
from faust import Service
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from stream_app.core.events import LATEST_MS
from stream_app.core.processor import Span
from stream_app.worker.backlog import Backlog, Standing, cost_of
from stream_app.worker.batches import RecordBatch
from stream_app.worker.sending import Producer

_value = attrgetter("value")
_offset = attrgetter("offset")
WATCH_INTERVAL_S = 0.5
HELD_BACK_S = 0.01
"""How soon to look again for room: nothing wakes the consumer's thread when something was counted."""


class Positions(Protocol):
    """Who decides where reading begins, and writes what was counted: `Checkpoints`."""

    async def claim(self, partitions: Iterable[TP]) -> None:
        """Take the partitions over; read on where their state says."""

    async def flush(self) -> Mapping[TP, int]:
        """Write what was counted; return the next offsets of the partitions that advanced."""

    async def flush_if_due(self) -> Mapping[TP, int]:
        """Do the same, unless checkpoints take too much of the time."""

    async def release(self) -> None:
        """Write what was counted, and let go of everything."""

    def standing(self, partition: TP) -> Standing | None:
        """Return where a claim stands, None where nothing would be counted; asked from the consumer's thread."""

    def fetch_failed(self, partition: TP, error: Exception) -> None:
        """Note that the position of a partition cannot be read."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread and loop.

    Mutable state: the epoch of each partition's last seek, and what was handed on and is not counted yet.
    """

    def __post_init__(self) -> None:
        """Set up before the thread starts."""
        super().__post_init__()
        self.epochs: dict[TP, int] = {}
        self.backlog = Backlog()
        self.is_held_back = False
        self.coordination_errors = 0
        self._watch: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Start the consumer, and the watchdog of its coordinator beside it."""
        await super().on_start()
        self._watch = asyncio.ensure_future(self._watch_coordinator())

    async def on_thread_stop(self) -> None:
        """Stop the watchdog, then the consumer."""
        if self._watch is not None:
            self._watch.cancel()
        await super().on_thread_stop()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads uncommitted outside its own transactions: aborted events would be counted.
        consumer._isolation_level = self.app.isolation_level
        return consumer

    async def _watch_coordinator(self) -> None:
        """Do what aiokafka's own `getmany` would: take note of coordinator errors.

        Faust never calls it. Unnoticed, one unexpected group error parks the coordination for good: the member
        keeps its partitions by heartbeat and never takes part in a rebalance again.
        """
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            consumer = self._consumer
            if consumer is None or consumer._closed:
                return
            coordinator = consumer._coordinator
            try:
                coordinator.check_errors()
            except Exception as error:  # whatever it is: taking note of it lets the coordination go on
                self.coordination_errors += 1
                self.log.warning("coordinator error noted, coordination goes on: %r", error)
                if coordinator._coordination_task.done():
                    await self.crash(error)
                    return

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature is Faust's
        max_records: int | None = None,
    ) -> dict[TP, list[RecordBatch]]:
        del max_records  # a fetch is handed on whole
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            batches = self._drain(fetcher, active_partitions)
            if batches or not timeout:
                return batches
            waiter = fetcher._create_fetch_waiter()
            wait_s = min(timeout, HELD_BACK_S) if self.is_held_back else timeout
            done, _ = await asyncio.wait([waiter], timeout=wait_s)
            if done:
                waiter.result()
            else:
                waiter.cancel()
            return {}

    def _drain(self, fetcher: Any, active: Any) -> dict[TP, list[RecordBatch]]:
        consumer = cast("Consumer", self.consumer)
        positions, backlog = consumer.positions, self.backlog
        backlog.settle(positions.standing)
        self.is_held_back = False
        batches: dict[TP, list[RecordBatch]] = {}
        for key in list(fetcher._records):
            if active is not None and key not in active:
                continue
            partition, result = TP(*key), fetcher._records[key]
            is_error = isinstance(result, FetchError)
            # What nobody would count, or has no room, is left where it is: while it lies there, aiokafka fetches no
            # more of that partition.
            if not is_error and positions.standing(partition) is None:
                continue
            if not is_error and (room := backlog.room(partition)) <= 0:
                self.is_held_back = True
                continue
            if is_error:
                consumer.loop.call_soon_threadsafe(positions.fetch_failed, partition, result._error)
            elif type(result) is FetchResult and (batch := self._unpack(partition, key, result, room)):
                batches[partition] = [batch]
                backlog.add(partition, batch)
                if result.has_more():
                    continue
            del fetcher._records[key]
            fetcher._notify(fetcher._wait_consume_future)
        return batches

    def _unpack(self, partition: TP, key: Any, result: Any, room: int) -> RecordBatch | None:
        """Take record batches of a fetch apart, as aiokafka's own iterator does, but whole ones, until `room` is full.

        The rest stays in `result`, compressed, for the next time.
        """
        if not result.check_assignment(key) or not result.has_more():
            return None
        part = result._partition_records
        records = part._records
        start = position = part.next_fetch_offset
        spans: list[Span] = []
        while room > 0 and (has_next := records.has_next()):
            batch = records.next_batch()
            if part._check_crcs and not batch.validate_crc():
                # What came before it is handed on; the rest is fetched again.
                if position > start:
                    has_next = False
                    break
                raise CorruptRecordException(f"invalid CRC in {partition} at offset {position}")
            if not self._is_skipped(part, batch):
                span = _span(batch, position)
                if span.values:
                    spans.append(span)
                    room -= cost_of(span.values)
            position = max(position, batch.next_offset)
        part.next_fetch_offset = position
        result._update_position()
        if not (has_next and records.has_next()):
            result._partition_records = None
        if position <= start:
            return None
        return RecordBatch(
            partition.topic, partition.partition, start, position, tuple(spans), self.epochs.get(partition, 0)
        )

    @staticmethod
    def _is_skipped(part: Any, batch: Any) -> bool:
        """Say whether a batch carries no events: control records, and what a transaction took back."""
        if part._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            part._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and part._contains_abort_marker(batch):
                part._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in part._aborted_producers:
                return True
        return bool(batch.is_control_batch)

    def seek_epoch(self, partition: TP, offset: int, epoch: int) -> None:
        """Move a partition to `offset`; what is fetched from now on carries `epoch`. Runs in the consumer's loop."""
        self.epochs[partition] = epoch
        self._ensure_consumer().seek(driver.ensure_aiokafka_TP(partition), offset)

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        """Return the group's committed offsets: a witness, never the authority."""
        consumer = self._ensure_consumer()
        return {tp: await consumer.committed(driver.ensure_aiokafka_TP(tp)) for tp in partitions}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Advisory: the checkpoint is already written. A failure must not crash the worker, as it would in Faust.
        consumer = self._ensure_consumer()
        owned = self.assignment()
        try:
            await consumer.commit({driver.ensure_aiokafka_TP(tp): at for tp, at in offsets.items() if tp in owned})
        except Exception as error:
            self.log.info("advisory commit not taken: %r", error)
            return False
        return True


def _span(batch: Any, position: int) -> Span:
    """Return the records of a batch at or beyond `position`."""
    records = list(batch)
    # A message set from before Kafka 0.11 says neither where it begins nor when it was appended.
    is_legacy = not hasattr(batch, "base_offset")
    arrived_ms = max((r.timestamp or 0 for r in records), default=0) if is_legacy else batch.max_timestamp
    if arrived_ms <= 0:
        arrived_ms = LATEST_MS  # timestamps may be left out: then nothing can be said to come from the future
    base = position if is_legacy else batch.base_offset
    if not is_legacy and len(records) == batch.next_offset - base:
        values = list(map(_value, records))
        return Span(max(position, base), arrived_ms, values[position - base :] if position > base else values)
    # Compaction left holes, or it is an old message set: every record has an offset of its own.
    kept = [record for record in records if record.offset >= position]
    offsets = list(map(_offset, kept))
    return Span(offsets[0] if offsets else position, arrived_ms, list(map(_value, kept)), offsets)


class _NoReadOffsets(dict[TP, int | None]):
    """Faust drops messages below the last one it delivered, and so loses batches after a backward seek.

    Continuity is checked where it matters, against the partition's state.
    """

    def __getitem__(self, key: TP) -> None:
        return None

    def __setitem__(self, key: TP, value: int | None) -> None:
        pass

    def update(self, *_: Any, **__: Any) -> None:
        """Note nothing."""


class Consumer(driver.Consumer):
    """Faust's consumer, with the checkpoint in the place of committed offsets.

    Mutable state: whether there is an assignment that was not claimed yet.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()
        self._is_claim_due = False

    @property
    def positions(self) -> Positions:
        """The checkpoints of the app."""
        return cast(Positions, self.app.checkpoints)

    @property
    def thread(self) -> ConsumerThread:
        """The thread that owns aiokafka's consumer."""
        return cast(ConsumerThread, self._thread)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, batch: RecordBatch) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=batch.next - 1,
            timestamp=time.time(),
            timestamp_type=0,
            headers=None,
            key=None,
            value=batch,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            # Without it, streams skip the message in silence.
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # An interval tree of holes per offset is what Faust's acknowledgements need; a jump of millions blocks it.
        pass

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note that there is something to claim; where there is nothing, Faust asks for nothing."""
        self._is_claim_due = True
        if not assigned:
            await self.seek_to_committed()
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Claim the assigned partitions, once for each assignment; each is sought to where its own state stands.

        Faust also asks for it while partitions are being given back, and what it fetched is thrown away: claimed then,
        they would be taken from those who get them, and what is not written yet would be counted again.
        """
        if self._is_claim_due:
            self._is_claim_due = False
            await self.positions.claim(self.owned())
        self._forget_acknowledgements()
        return {}

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Write the checkpoint, then tell Kafka about it."""
        del topics
        state = self.app.sensors.on_commit_initiated(self)
        # No new transaction is asked for at the end and when partitions are given back: then all is written at once.
        advanced = await (self.positions.flush_if_due() if start_new_transaction else self.positions.flush())
        self._forget_acknowledgements()
        if advanced:
            await self._commit(advanced)
            self._committed_offset.update(advanced)
            self.app.monitor.on_tp_commit(advanced)
        self.app.sensors.on_commit_completed(self, state)
        return True

    @Service.task
    async def _commit_handler(self) -> None:
        """Commit again and again, the interval after the last one.

        Faust's own timer begins each at its time, and warns of every one that takes longer than the interval: while a
        backlog is counted that is most of them, and nothing is wrong.
        """
        while not self.should_stop:
            await self.sleep(self.commit_interval)
            await self.commit()

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """Say nothing: whether a partition advances is watched by the checkpoints, whose word ends the worker.

        Faust's own watch knows of no commit that it did not make, and from the fifth minute on complains every second.
        """

    async def seek_epoch(self, partition: TP, offset: int, epoch: int) -> None:
        """Move a partition; see `ConsumerThread.seek_epoch`."""
        await self.thread.call_thread(self._seek_epoch, partition, offset, epoch)

    async def _seek_epoch(self, partition: TP, offset: int, epoch: int) -> None:
        self.thread.seek_epoch(partition, offset, epoch)

    async def on_stop(self) -> None:
        """Commit once more, and let go: what would be counted from now on could not be written any more."""
        await super().on_stop()
        await self.positions.release()

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        """Return the group's committed offsets."""
        return cast(dict[TP, int | None], await self.thread.call_thread(self.thread.committed, list(partitions)))

    def log_end(self, partition: TP) -> int | None:
        """Return where the log ended at the last fetch, if there was one."""
        try:
            return cast(int | None, self.highwater(partition))
        except KafkaError:  # not assigned any more
            return None

    def owned(self) -> set[TP]:
        """Return the partitions of events that Kafka assigned to this worker."""
        return {tp for tp in self.assignment() if tp.topic == self.app.events_topic}

    def _forget_acknowledgements(self) -> None:
        for acknowledged in (*self._acked.values(), *self._acked_index.values()):
            acknowledged.clear()


class Transport(driver.Transport):
    """`kafka-batch://`: see the module."""

    Consumer = Consumer
    Producer = Producer
