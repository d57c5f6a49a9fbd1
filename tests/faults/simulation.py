"""The checkpoint protocol under thousands of seeded schedules, in one process and in virtual time.

    storm: records arrive, faults of the kinds that this seed has drawn      quiet: faults end     idle: nothing
    ------------------------------------------------------------------|---------------------|----------------->

After every write: the stored state is that of the log below `@off`, no more, no less (safety). In the end: everything
is counted, by live owners (liveness). The workers run the real `Checkpoints`, `Counting` and `Partition`; Redis, Kafka
and time are stand-ins. Everything follows from the seed: `python -m tests.faults.simulation SEED` tells the story,
`python -m tests.faults.simulation 0 5000` tries many.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from random import Random
from typing import Any, Final, NamedTuple

import structlog
from faust.types import TP
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stream_app.worker.agents import Counting
from stream_app.worker.checkpoint import Checkpoints
from stream_app.worker.instruments import Instruments
from tests.faults import sim_faults
from tests.faults.logs import Log, log
from tests.faults.memory_redis import MemoryRedis
from tests.faults.oracle import Oracle
from tests.faults.sim_faults import SAVED_FOR_LATER, SESSION_S
from tests.faults.sim_worker import PARTITIONS, Worker, key_of
from tests.faults.virtual_time import DeadlockError, VirtualTime

TIMEOUT_S: Final = 0.5
BARRIER_S: Final = 1.5
PATIENCE_S: Final = 60.0
"""Virtual seconds in which everything must be counted once the faults have ended."""
NOTICED_S: Final = 5.0
"""Virtual seconds in which a rollback of an idle partition must be repaired."""
IDLE_S: Final = 40.0
STORM_STEPS: Final = 40
KINDS: Final = (
    "kill", "stop", "rebalance", "lost_request", "lost_reply", "late_command", "redis_down", "roll_back", "wipe",
    "full", "retention", "recreate", "offsets_reset", "kafka_error", "broker_down", "lost_fetch", "idle",
)  # fmt: skip


class Variant(NamedTuple):
    """A protocol: the real one, or a mutant of it. `rewrite` changes the text of a script."""

    checkpoints: type[Checkpoints] = Checkpoints
    counting: type[Counting] = Counting
    rewrite: Callable[[str], str] = lambda script: script


REAL: Final = Variant()


class Outcome(NamedTuple):
    """What one schedule came to. `violation` is empty when nothing went wrong."""

    seed: int
    violation: str
    faults: tuple[str, ...]
    story: tuple[str, ...]
    counted: int
    reused: tuple[str, ...]
    steps: int

    def __str__(self) -> str:
        tail = "\n".join(self.story)
        return f"{tail}\n{self.violation}\nseed {self.seed}: python -m tests.faults.simulation {self.seed}"


@lru_cache(1)
def _instruments() -> Instruments:
    """Return the one set of instruments of all simulated workers: nobody reads them."""
    return Instruments()


class World:
    """Everything outside the workers. Mutable state: all of it, for one schedule."""

    def __init__(
        self, seed: int, variant: Variant, kinds: Iterable[str] | None, kill_at: int, loop: VirtualTime
    ) -> None:
        self.seed = seed
        self.loop = loop
        self.chance = Random(seed)
        self.instruments = _instruments()
        self._variant = variant
        self.kinds = frozenset(self.chance.sample(KINDS, self.chance.randrange(1, 7)) if kinds is None else kinds)
        self.is_stormy = True
        self.story: deque[str] = deque(maxlen=400)
        self.faults: list[str] = []
        self.violation = ""
        # Kafka
        self.logs = {tp: log(self.chance.randrange(6)) for tp in PARTITIONS}
        self.begins = dict.fromkeys(PARTITIONS, 0)
        self.ends = dict.fromkeys(PARTITIONS, 0)
        self.committed: dict[TP, int] = {}
        self.is_broker_down = False
        self._lost_fetches: set[tuple[TP, int]] = set()
        self.recreated: set[TP] = set()
        # Redis
        self.steps = 0
        self._kill_at = kill_at
        self.redis = MemoryRedis(self.changed)
        self.connections = 0
        self.is_redis_down = False
        self.oracle = Oracle(self.logs)
        # the group
        self.workers: list[Worker] = []
        self._assignment: dict[str, tuple[TP, ...]] = {}
        self._rebalancing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- what the workers see ---------------------------------------------------------------------------------------

    def log(self, tp: TP) -> Log:
        """Return what is, and will be, in a partition."""
        return self.logs[tp]

    def happens(self, kind: str, probability: float = 0.08) -> bool:
        """Decide whether a fault of the network happens now."""
        if not (self.is_stormy and kind in self.kinds and self.chance.random() < probability):
            return False
        self.faults.append(kind)
        self.tell(kind)
        return True

    def loses_a_fetch(self, tp: TP, position: int) -> bool:
        """Lose the beginning of a fetch; a hole that is there twice is one of the log, so never twice."""
        if (tp, position) in self._lost_fetches or not self.happens("lost_fetch", 0.3):
            return False
        self._lost_fetches.add((tp, position))
        return True

    def step(self, worker: Worker) -> None:
        """Count a step of a worker; it may be its last."""
        self.steps += 1
        if self.steps == self._kill_at and worker.is_alive:
            self.kill(worker)

    async def ask(self, worker: Worker, script: str, keys: list[bytes], arguments: list[bytes]) -> Any:
        """Carry a script to Redis, and the answer back; either way may fail, and the client waits only so long."""
        chance, connection = self.chance, self.connections
        answer: asyncio.Future[Any] = self.loop.create_future()
        up = chance.choice((0.0002, 0.001, 0.02))
        if self.happens("late_command"):
            up += chance.choice((TIMEOUT_S * 0.9, TIMEOUT_S * 1.2, TIMEOUT_S * 3))
        down = chance.choice((0.0002, 0.001, 0.02))
        is_request_lost, is_reply_lost = self.happens("lost_request"), self.happens("lost_reply")
        text = self._variant.rewrite(script)

        def arrive() -> None:
            if self.is_redis_down or connection != self.connections:
                fail(RedisConnectionError("connection closed"))
                return
            try:
                reply = self.redis.eval(text, keys, arguments)
            except RedisError as error:
                fail(error)
                return
            self.step(worker)
            if not is_reply_lost:
                self.loop.call_later(down, lambda: answer.done() or answer.set_result(reply))

        def fail(error: RedisError) -> None:
            if not answer.done():
                answer.set_exception(error)
                answer.exception()

        if not is_request_lost:
            self.loop.call_later(up, arrive)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise RedisTimeoutError("no reply") from None

    def assignment_of(self, worker: Worker) -> tuple[TP, ...]:
        """Return what the group's coordinator says is a worker's."""
        return self._assignment.get(worker.name, ())

    def watched(self, worker: Worker, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a part of a worker: it must not raise."""

        def ended(task: "asyncio.Task[Any]") -> None:
            if not task.cancelled() and task.exception() is not None:
                self.found(f"{worker.name} raised {task.exception()!r}")

        task = self.loop.create_task(work)
        task.add_done_callback(ended)
        return task

    def tell(self, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.loop.now_s:8.3f}  {what}")

    # -- the oracle -------------------------------------------------------------------------------------------------

    def found(self, violation: str) -> None:
        self.tell(f"VIOLATION {violation}")
        self.violation = self.violation or violation

    def changed(self, key: bytes, names: frozenset[bytes]) -> None:
        fields = self.redis.hashes.get(key)
        if fields is None or names <= {b"@alive", b"@tok"} or self.violation:
            return
        tp = next(tp for tp in PARTITIONS if key == key_of(tp))
        self.tell(f"partition {tp.partition} stored at {fields.get(b'@off', b'?').decode()}")
        wrong = self.oracle.judge(tp, {name.decode(): value for name, value in fields.items()})
        if wrong:
            self.found(f"partition {tp.partition} {wrong}")

    # -- faults -----------------------------------------------------------------------------------------------------

    async def storm(self) -> None:
        """Let records arrive and faults happen."""
        for _ in range(STORM_STEPS):
            await asyncio.sleep(self.chance.expovariate(1 / 0.12))
            if self.violation:
                return
            self._produce()
            if self.chance.random() < 0.3:
                self.redis.fsync()
            actions = sorted(self.kinds & sim_faults.ACTIONS.keys())
            if actions and self.chance.random() < 0.45:
                kind = self.chance.choice(actions)
                if sim_faults.ACTIONS[kind](self):
                    self.faults.append(kind)

    async def calm(self) -> None:
        """End all faults, and bring the rest of the records."""
        self.is_stormy = False
        self.is_redis_down = self.is_broker_down = self.redis.is_full = False
        for worker in self.workers:
            worker.resume()
        if not any(worker.is_alive for worker in self.workers):
            self._start()
        for tp in PARTITIONS:
            self.ends[tp] = self.logs[tp].ends()[-SAVED_FOR_LATER]
        await self.rebalance()
        await self._until_all_is_counted(PATIENCE_S, "after the storm")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_S)
        self.redis.fsync()
        if "idle" in self.kinds:
            self.faults.append("idle")
            await asyncio.sleep(IDLE_S)
        for tp in PARTITIONS:
            self.ends[tp] = self.logs[tp].ends()[-1]
        await self._until_all_is_counted(PATIENCE_S, "with one batch more")
        if "roll_back" in self.kinds:
            # Nothing comes any more and nothing is wrong; then Redis forgets what it did last.
            sim_faults.roll_back(self)
            await self._until_all_is_counted(NOTICED_S, "after an idle rollback")
        await asyncio.sleep(3.0)
        for tp in PARTITIONS:
            self._expect_all_counted(tp, "in the end")

    async def _until_all_is_counted(self, patience_s: float, when: str) -> None:
        deadline = self.loop.now_s + patience_s
        while not self.violation:
            if all(self._is_counted(tp) for tp in PARTITIONS):
                return
            if self.loop.now_s > deadline:
                for tp in PARTITIONS:
                    self._expect_all_counted(tp, when)
                return
            await asyncio.sleep(0.1)

    def _offset(self, tp: TP) -> int:
        fields = self.redis.hashes.get(key_of(tp))
        return int(fields.get(b"@off", b"-1")) if isinstance(fields, dict) else -1

    def _is_counted(self, tp: TP) -> bool:
        return self._offset(tp) == self.ends[tp] or self._is_refused(tp)

    def _is_refused(self, tp: TP) -> bool:
        """Whether the partition waits for an operator, and rightly: its log is another one."""
        return tp in self.recreated and any(
            worker.is_alive and (wanted := worker.checkpoints.wanted.get(tp)) is not None and bool(wanted.refused)
            for worker in self.workers
        )

    def _expect_all_counted(self, tp: TP, when: str) -> None:
        if not self._is_counted(tp):
            self.found(f"partition {tp.partition} {when}: stands at {self._offset(tp)} of {self.ends[tp]}")

    def _produce(self) -> None:
        for tp in PARTITIONS:
            if self.chance.random() < 0.6:
                later = [end for end in self.logs[tp].ends()[:-SAVED_FOR_LATER] if end > self.ends[tp]]
                if later:
                    self.ends[tp] = later[min(len(later) - 1, self.chance.randrange(3))]

    def later(self, delay_s: float, act: Callable[[], object]) -> None:
        self.loop.call_later(delay_s, act)

    def _start(self) -> None:
        worker = Worker(self, len(self.workers), self._variant.checkpoints, self._variant.counting)
        self.workers.append(worker)
        self.tell(f"{worker.name} starts")

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def kill(self, worker: Worker) -> None:
        self.tell(f"{worker.name} is killed")
        worker.kill()

        async def replace() -> None:
            await asyncio.sleep(self.chance.choice((0.05, 0.5, SESSION_S)))
            self._start()
            await self.rebalance()

        self.background(replace())

    async def rebalance(self) -> None:
        """Give the partitions to those who take part: revoked from all first, but not waiting for ever."""
        async with self._rebalancing:
            members = [worker for worker in self.workers if worker.is_alive and not worker.is_stopped]
            if not members:
                return
            revoking = {self.watched(worker, worker.revoke()): worker for worker in members}
            for task, worker in revoking.items():
                worker.follow(task)
            done, late = await asyncio.wait(revoking, timeout=BARRIER_S)
            joined = [revoking[task] for task in revoking if task in done and revoking[task].is_alive]
            self.chance.shuffle(joined)
            self._assignment = {}
            for index, tp in enumerate(PARTITIONS):
                if joined:
                    owner = joined[index % len(joined)].name
                    self._assignment[owner] = (*self._assignment.get(owner, ()), tp)
            self.tell(f"assigned { ({name: [tp.partition for tp in tps] for name, tps in self._assignment.items()}) }")
            for worker in joined:
                worker.follow(self.watched(worker, worker.assign(self._assignment.get(worker.name, ()))))
        if late:
            # Who came too late was put out, finds out, and joins again.
            async def again() -> None:
                await asyncio.wait(late)
                await self.rebalance()

            self.background(again())

    async def run(self) -> None:
        """Run the schedule."""
        for _ in range(2):
            self._start()
        self.background(self.rebalance())
        await self.storm()
        if not self.violation:
            await self.calm()


@contextmanager
def _told_to(world: World) -> Iterator[None]:
    """Let the workers' own log lines be part of the story."""

    def tell(_: Any, method: str, event: dict[str, Any]) -> Any:
        rest = " ".join(f"{name}={value}" for name, value in event.items() if name != "event")
        world.tell(f"{method}: {event.get('event')} {rest}")
        if event.get("exc_info") and event.get("event") == "counting failed":
            world.found(f"counting failed: {sys.exc_info()[1]!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[tell], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def simulate(seed: int, variant: Variant = REAL, kinds: Iterable[str] | None = None, kill_at: int = 0) -> Outcome:
    """Run one schedule to its end, or to the first violation.

    `kinds` are the faults, instead of those that the seed draws. With `kill_at`, whoever does the step of that number
    (a script before it is sent, when Redis has run it, when its answer is there) dies in it.
    """
    loop = VirtualTime()
    asyncio.set_event_loop(loop)
    try:
        world = World(seed, variant, kinds, kill_at, loop)
        with _told_to(world):
            try:
                loop.run_until_complete(world.run())
            except DeadlockError:
                world.found("everybody waits for somebody else")
            counted = sum(world._offset(tp) for tp in PARTITIONS)
            leftovers = asyncio.all_tasks(loop)
            for task in leftovers:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*leftovers, return_exceptions=True))
        return Outcome(
            seed,
            world.violation,
            tuple(world.faults),
            tuple(world.story),
            counted,
            tuple(world.oracle.reused),
            world.steps,
        )
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def main(arguments: list[str]) -> int:
    """Tell the story of one seed, or try the seeds of a range: `simulation SEED [END]`. Returns the exit status."""
    first = int(arguments[0])
    if len(arguments) == 1:
        outcome = simulate(first)
        sys.stdout.write(f"{outcome}\nkinds of faults: {sorted(set(outcome.faults))}\n")
        return int(bool(outcome.violation))
    bad = [outcome for seed in range(first, int(arguments[1])) if (outcome := simulate(seed)).violation]
    sys.stdout.writelines(f"seed {outcome.seed}: {outcome.violation:.200}\n" for outcome in bad)
    sys.stdout.write(f"{int(arguments[1]) - first} schedules, {len(bad)} violations\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
