"""What can be done to the simulated world: each fault says whether it could happen."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.faults.logs import log
from tests.faults.sim_worker import PARTITIONS, key_of

if TYPE_CHECKING:
    from tests.faults.simulation import World

SESSION_S: Final = 1.0
SECOND_LOG: Final = 1_000
"""A topic that is created again holds the log of this number and more."""
SAVED_FOR_LATER: Final = 4
"""The last batches of every log arrive only when the faults are over."""


def kill(world: "World") -> bool:
    """SIGKILL a worker; another starts soon."""
    alive = [worker for worker in world.workers if worker.is_alive]
    if alive:
        world.kill(world.chance.choice(alive))
    return bool(alive)


def stop(world: "World") -> bool:
    """SIGSTOP a worker for longer than its session; it wakes up later, and joins again later still."""
    running = [worker for worker in world.workers if worker.is_alive and not worker.is_stopped]
    if not running:
        return False
    worker = world.chance.choice(running)
    world.tell(f"{worker.name} is stopped")
    worker.stop()

    async def later() -> None:
        await asyncio.sleep(SESSION_S)
        if worker.is_stopped:
            await world.rebalance()
        await asyncio.sleep(world.chance.choice((0.0, 0.3, 1.0)))
        world.tell(f"{worker.name} goes on")
        worker.resume()
        await asyncio.sleep(world.chance.choice((0.0, 0.2, 1.0)))
        await world.rebalance()

    world.background(later())
    return True


def reassign(world: "World") -> bool:
    """Rebalance."""
    world.background(world.rebalance())
    return True


def roll_back(world: "World") -> bool:
    """Redis dies, and comes back without its last writes."""
    kept = world.chance.randint(0, world.redis.unsynced)
    world.tell(f"Redis dies and comes back without its last {world.redis.unsynced - kept} writes")
    world.connections += 1
    world.redis.roll_back(kept)
    return True


def redis_down(world: "World") -> bool:
    """Redis refuses connections for a while."""
    world.tell("Redis is down")
    world.connections += 1
    world.is_redis_down = True

    def back() -> None:
        world.is_redis_down = False

    world.later(world.chance.choice((0.1, 0.6, 2.0)), back)
    return True


def wipe(world: "World") -> bool:
    """FLUSHALL, not too often: it costs a replay."""
    if world.chance.random() > 0.4:
        return False
    world.tell("FLUSHALL")
    world.redis.flush_all()
    return True


def fill(world: "World") -> bool:
    """No byte more fits into Redis, for a while."""
    world.tell("Redis is full")
    world.redis.is_full = True

    def back() -> None:
        world.redis.is_full = False

    world.later(world.chance.choice((0.1, 0.6)), back)
    return True


def retain(world: "World") -> bool:
    """The log loses its beginning."""
    tp = world.chance.choice(PARTITIONS)
    ends = [end for end in world.logs[tp].ends() if world.begins[tp] < end <= world.ends[tp]]
    if not ends or tp in world.recreated:
        return False
    world.begins[tp] = world.chance.choice(ends)
    world.oracle.retained(tp, world.begins[tp])
    world.tell(f"partition {tp.partition} now begins at {world.begins[tp]}")
    return True


def recreate(world: "World") -> bool:
    """A topic is deleted and created, with other records."""
    tp = world.chance.choice(PARTITIONS)
    if world.begins[tp] or tp in world.recreated:
        return False
    world.recreated.add(tp)
    number = SECOND_LOG + world.chance.randrange(3)
    world.logs[tp] = log(number)
    world.changed(key_of(tp), frozenset((b"@off",)))
    world.ends[tp] = world.chance.choice(world.logs[tp].ends()[:-SAVED_FOR_LATER])
    world.committed.pop(tp, None)
    world.tell(f"partition {tp.partition} is created anew, with {world.ends[tp]} offsets")
    for worker in world.workers:
        worker.consumer.forget(tp)
    world.background(world.rebalance())
    return True


def reset_offsets(world: "World") -> bool:
    """The group's offsets are set to anything."""
    for tp in PARTITIONS:
        world.committed[tp] = world.chance.choice((0, 1, world.ends[tp]))
    return True


def broker_down(world: "World") -> bool:
    """Kafka does not answer for a while."""
    world.tell("the broker is down")
    world.is_broker_down = True

    def back() -> None:
        world.is_broker_down = False

    world.later(world.chance.choice((0.1, 1.0)), back)
    return True


ACTIONS: Final[dict[str, Callable[["World"], bool]]] = {
    "kill": kill,
    "stop": stop,
    "rebalance": reassign,
    "redis_down": redis_down,
    "roll_back": roll_back,
    "wipe": wipe,
    "full": fill,
    "retention": retain,
    "recreate": recreate,
    "offsets_reset": reset_offsets,
    "broker_down": broker_down,
}
