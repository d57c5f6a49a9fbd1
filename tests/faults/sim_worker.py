"""One simulated worker: the real checkpoints and the real counting, over a link and a consumer that are not real.

Everything it does passes a gate at each end of each exchange; a stopped process (SIGSTOP) waits there. What it sent
before is on its way regardless, and answers wait for it: that is what makes a zombie.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaTimeoutError, OffsetOutOfRangeError
from faust.types import TP

from stream_app.core import cells as layout
from stream_app.core.processor import Partition
from stream_app.worker.agents import Counting
from stream_app.worker.app import STALLED_MS
from stream_app.worker.batches import RecordBatch
from stream_app.worker.checkpoint import Checkpoints
from tests.faults.logs import PLAN, RULES, START_MS

if TYPE_CHECKING:
    from tests.faults.simulation import World

APP: Final = "sim"
CLAIM_EVERY_S: Final = 0.1
FLUSH_EVERY_S: Final = 0.15


class Topic(str):
    """A name whose hash is the same in every process: sets of partitions must not shuffle the schedule."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7


PARTITIONS: Final = (TP(Topic("events"), 0), TP(Topic("events"), 1))


def key_of(tp: TP) -> bytes:
    """Return the key of a partition's hash."""
    return layout.partition_key(APP, tp.topic, tp.partition).encode()


class Sources(Mapping[int, Partition]):
    """partition -> state, as the Faust table shows it."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def __getitem__(self, partition: int) -> Partition:
        return {tp.partition: claim.state for tp, claim in self._checkpoints.claims.items()}[partition]

    def __iter__(self) -> Iterator[int]:
        return iter([tp.partition for tp in self._checkpoints.claims])

    def __len__(self) -> int:
        return len(self._checkpoints.claims)


class Link:
    """What the checkpoints take for a Redis client."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    async def eval(self, script: str, numkeys: int, *keys_and_arguments: Any) -> Any:
        """Send a script, wait for its answer."""
        worker = self._worker
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in keys_and_arguments]
        await worker.gate()
        worker.world.step(worker)
        await asyncio.sleep(0)  # here a process that was killed ends: nothing is sent
        reply = await worker.passing(worker.world.ask(worker, script, parts[:numkeys], parts[numkeys:]))
        worker.world.step(worker)
        await asyncio.sleep(0)
        return reply


class SimConsumer:
    """What the checkpoints take for the consumer. Mutable state: positions, epochs and the batches on their way."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._world = worker.world
        self.assigned: tuple[TP, ...] = ()
        self._positions: dict[TP, int] = {}
        self._epochs: dict[TP, int] = {}
        self.fetched: asyncio.Queue[RecordBatch] = asyncio.Queue(8)

    def assign(self, partitions: tuple[TP, ...]) -> None:
        """Take an assignment: reading begins with a seek."""
        self.assigned = partitions
        self._positions.clear()

    def forget(self, partition: TP) -> None:
        """Read no more of a partition until a seek: the metadata says that it changed."""
        self._positions.pop(partition, None)

    async def seek_epoch(self, partition: TP, offset: int, epoch: int) -> None:
        await self._worker.gate()
        await asyncio.sleep(self._world.chance.choice((0.0, 0.001, 0.01)))
        await self._worker.gate()
        if partition not in self.assigned:
            raise IllegalStateError(f"{partition} is not assigned")
        self._epochs[partition] = epoch
        self._positions[partition] = offset

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        await self._trip()
        return {tp: self._world.committed.get(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
        await self._trip()
        return {tp: self._world.begins[tp] for tp in partitions}

    async def highwaters(self, *partitions: TP) -> dict[TP, int]:
        await self._trip()
        return {tp: self._world.ends[tp] for tp in partitions}

    def log_end(self, partition: TP) -> int | None:
        return self._world.ends[partition] if partition in self._positions else None

    def owned(self) -> set[TP]:
        return set(self.assigned)

    def topic_partitions(self, topic: str) -> int:
        return sum(tp.topic == topic for tp in PARTITIONS)

    async def fetch(self, fetch_failed: Callable[[TP, Exception], None]) -> None:
        """Fetch for ever."""
        world, chance = self._world, self._world.chance
        while True:
            await asyncio.sleep(chance.choice((0.01, 0.04, 0.12)))
            await self._worker.gate()
            for tp in self.assigned:
                position = self._positions.get(tp)
                if position is None or world.is_broker_down or self._worker.checkpoints.standing(tp) is None:
                    continue
                if not world.begins[tp] <= position <= world.ends[tp]:
                    del self._positions[tp]
                    fetch_failed(tp, OffsetOutOfRangeError({tp: position}))
                    continue
                follow, spans = world.log(tp).read(position, world.ends[tp], chance.randrange(1, 7))
                if follow == position:
                    continue
                start = position
                if len(spans) > 1 and world.loses_a_fetch(tp, position):
                    start, spans = spans[1].first, spans[1:]
                self._positions[tp] = follow
                batch = RecordBatch(tp.topic, tp.partition, start, follow, spans, self._epochs[tp])
                await self.fetched.put(batch)

    async def stream(self) -> AsyncIterator[RecordBatch]:
        """Yield what was fetched, sometimes long after."""
        while True:
            batch = await self.fetched.get()
            await asyncio.sleep(self._world.chance.choice((0.0, 0.001, 0.05)))
            await self._worker.gate()
            yield batch

    async def _trip(self) -> None:
        await self._worker.gate()
        await asyncio.sleep(self._world.chance.choice((0.001, 0.004, 0.03)))
        await self._worker.gate()
        if self._world.is_broker_down or self._world.happens("kafka_error"):
            raise KafkaConnectionError


class Worker:
    """Mutable state: its tasks, and whether it is stopped."""

    def __init__(self, world: "World", number: int, checkpoints: type[Checkpoints], counting: type[Counting]) -> None:
        self.world = world
        self.name = f"w{number}"
        self.consumer = SimConsumer(self)
        self.is_alive = True
        self._running = asyncio.Event()
        self._running.set()
        self._joining = asyncio.Lock()
        self.checkpoints = checkpoints(
            lambda: cast(Any, Link(self)),
            lambda: self.consumer,
            world.instruments,
            app=APP,
            worker=self.name,
            plan=PLAN,
            rules=RULES,
            configuration="configuration",
            now_ms=self._now_ms,
            clock_s=world.loop.time,
        )
        self.checkpoints.cluster = "cluster"
        self._counting = counting(
            Sources(self.checkpoints),
            self.checkpoints,
            world.instruments,
            self._send,
            self.consumer.seek_epoch,
            dead_letters_topic="dead",
            late_topic="late",
        )
        self._tasks = [
            world.watched(self, work)
            for work in (
                self.consumer.fetch(self.checkpoints.fetch_failed),
                self._counting.run(self.consumer.stream()),
                self._keep_claims(),
                self._commit(),
            )
        ]

    def _now_ms(self) -> int:
        return START_MS + int(self.world.loop.time() * 1000)

    # -- the process ------------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether it takes no part in anything just now."""
        return not self._running.is_set()

    def stop(self) -> None:
        """SIGSTOP."""
        self._running.clear()

    def resume(self) -> None:
        """SIGCONT."""
        self._running.set()

    def kill(self) -> None:
        """SIGKILL: what was sent is on its way, nothing else happens any more."""
        self.is_alive = False
        for task in self._tasks:
            task.cancel()

    async def gate(self) -> None:
        """Go on unless stopped."""
        if self.is_stopped:
            await self._running.wait()

    async def passing(self, work: Awaitable[Any]) -> Any:
        """Await something of the outside: its result, or error, is seen by a running process only."""
        try:
            return await work
        finally:
            await self.gate()

    # -- the group --------------------------------------------------------------------------------------------------

    async def revoke(self) -> None:
        """Give everything back."""
        async with self._joining:
            await self.gate()
            await self.checkpoints.release()
            self.consumer.assign(())

    async def assign(self, partitions: tuple[TP, ...]) -> None:
        """Take these."""
        async with self._joining:
            await self.gate()
            self.consumer.assign(partitions)
            await self.checkpoints.claim(self.consumer.owned())

    def follow(self, work: "asyncio.Task[Any]") -> None:
        """End this too when the process ends."""
        self._tasks.append(work)

    # -- what runs all the time ---------------------------------------------------------------------------------------

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_EVERY_S)
            await self.gate()
            await self.checkpoints.claim_wanted()
            await self.checkpoints.verify()
            if not self.world.is_stormy and self.checkpoints.stalled(self._now_ms(), STALLED_MS):
                self.world.found(f"{self.name} takes itself for stalled")

    async def _commit(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.gate()
            advanced = await self.checkpoints.flush()
            for tp, offset in advanced.items():
                if tp in self.world.assignment_of(self):
                    self.world.committed[tp] = offset

    async def _send(self, topic: str, records: Sequence[object]) -> "list[asyncio.Future[object]]":
        del topic, records
        sent: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.world.is_broker_down and self.world.chance.random() < 0.5:
            raise KafkaTimeoutError  # its buffer is full
        fails = self.world.is_broker_down or self.world.happens("kafka_error")

        def done() -> None:
            if not sent.done():
                if fails:
                    sent.set_exception(KafkaConnectionError())
                    sent.exception()  # looked at here too: nobody may be left to do so
                else:
                    sent.set_result(None)

        asyncio.get_running_loop().call_later(self.world.chance.choice((0.001, 0.02, 0.1)), done)
        return [sent]
