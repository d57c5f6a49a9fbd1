"""Faults of real processes, and the seeded schedule that they happen by.

The schedule is one over progress, not over time: fault number n happens when record number n * size has been sent and
most of what was sent before is counted. So a slow machine gets the same faults at the same places. Each fault ends by
itself; those that take a while are ended by `Ending`s, between the others.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import redis

from tests.faults.ground import REDIS_TIMEOUT_S, SESSION_S, Ground


class Ending(NamedTuple):
    """What ends a fault, and when (monotonic seconds)."""

    at_s: float
    end: Callable[[], object]


def _after(seconds: float, end: Callable[[], object]) -> Ending:
    return Ending(time.monotonic() + seconds, end)


def kill_worker(ground: Ground) -> Ending | None:
    """SIGKILL a worker and start another."""
    ground.chance.choice(ground.running).kill()
    ground.start_worker()
    return None


def zombie(ground: Ground) -> Ending:
    """SIGSTOP a worker until the group has given its partitions away; then it wakes up."""
    return _stopped(ground, SESSION_S * 1.6)


def pause(ground: Ground) -> Ending:
    """SIGSTOP a worker for less than its session: nobody takes over, commands time out."""
    return _stopped(ground, REDIS_TIMEOUT_S * 1.2)


def _stopped(ground: Ground, seconds: float) -> Ending:
    worker = ground.chance.choice(ground.running)
    os.kill(worker.pid, signal.SIGSTOP)

    def resume() -> None:
        if worker.is_running:
            os.kill(worker.pid, signal.SIGCONT)

    return _after(seconds, resume)


def leave(ground: Ground) -> Ending | None:
    """SIGTERM a worker and start another: two rebalances."""
    worker = ground.chance.choice(ground.running)
    worker.stop()
    ground.start_worker()
    return None


def third_worker(ground: Ground) -> Ending:
    """Start one worker too many for a while."""
    worker = ground.start_worker()
    return _after(4.0, worker.stop)


def kill_redis(ground: Ground) -> Ending:
    """SIGKILL Redis; it comes back with what its file has: at most a second is missing."""
    ground.redis.kill()
    return _after(ground.chance.choice((0.0, 0.5, 2.0)), ground.redis.start)


def stop_redis(ground: Ground) -> Ending:
    """SIGSTOP Redis: connected, and silent."""
    pid = ground.redis.pid
    os.kill(pid, signal.SIGSTOP)
    return _after(REDIS_TIMEOUT_S * 1.5, lambda: os.kill(pid, signal.SIGCONT))


def roll_back(ground: Ground) -> Ending | None:
    """Redis comes back as it was a moment ago: a stale replica that was promoted."""
    copy = ground.copy_redis()
    before = ground.progress()
    ground.wait_for(lambda: ground.progress() > before, 3.0)
    ground.restore_redis(copy)
    return None


def flush_scripts(ground: Ground) -> Ending | None:
    """SCRIPT FLUSH."""
    ground.client.script_flush()
    return None


def flush_all(ground: Ground) -> Ending | None:
    """FLUSHALL: everything that was counted is gone."""
    ground.client.flushall()
    return None


def kill_clients(ground: Ground) -> Ending | None:
    """CLIENT KILL every other connection."""
    for client in ground.client.client_list():
        if "lib-name" not in client or client["id"] != str(ground.client.client_id()):
            try:
                ground.client.client_kill_filter(_id=client["id"])
            except redis.ResponseError:
                continue
    return None


def full(ground: Ground) -> Ending:
    """Not a byte more: every write is refused."""
    ground.client.config_set("maxmemory", "1")

    def empty() -> None:
        ground.client.config_set("maxmemory", "0")

    return _after(1.0, empty)


def _proxied(mode: str, seconds: float, *, is_forgotten: bool = False) -> Callable[[Ground], Ending]:
    def fault(ground: Ground) -> Ending:
        ground.proxy.set_mode(mode)  # type: ignore[arg-type]  # one of Mode, from the table below

        def heal() -> None:
            if is_forgotten:
                ground.proxy.forget_held()
            ground.proxy.heal()

        return _after(seconds, heal)

    return fault


def slow_network(ground: Ground) -> Ending:
    """Every segment takes 80 ms each way."""
    ground.proxy.delay(0.08)
    return _after(2.0, ground.proxy.heal)


def reset_connections(ground: Ground) -> Ending | None:
    """RST on every connection."""
    ground.proxy.reset()
    return None


def cut_a_command(ground: Ground) -> Ending | None:
    """The connection breaks in the middle of a command."""
    ground.proxy.cut_after(ground.chance.choice((1, 20, 700, 5_000)))
    return None


def kill_broker(ground: Ground) -> Ending | None:
    """SIGKILL the broker, and start it on the same data."""
    ground.broker.kill()
    ground.broker.start()
    return None


def stop_broker(ground: Ground) -> Ending | None:
    """SIGTERM the broker, and start it on the same data."""
    ground.broker.stop()
    ground.broker.start()
    return None


FAULTS: Final[dict[str, Callable[[Ground], Ending | None]]] = {
    "kill worker": kill_worker,
    "zombie": zombie,
    "pause worker": pause,
    "SIGTERM worker": leave,
    "third worker": third_worker,
    "kill Redis": kill_redis,
    "stop Redis": stop_redis,
    "roll Redis back": roll_back,
    "SCRIPT FLUSH": flush_scripts,
    "CLIENT KILL": kill_clients,
    "Redis full": full,
    "black hole": _proxied("blackhole", REDIS_TIMEOUT_S * 1.5),
    "requests lost": _proxied("drop_up", REDIS_TIMEOUT_S * 1.5, is_forgotten=True),
    "requests late": _proxied("drop_up", REDIS_TIMEOUT_S * 1.5),
    "replies lost": _proxied("drop_down", REDIS_TIMEOUT_S * 1.5, is_forgotten=True),
    "connections refused": _proxied("refuse", 1.0),
    "slow network": slow_network,
    "connections reset": reset_connections,
    "command cut": cut_a_command,
}
RARE: Final[dict[str, Callable[[Ground], Ending | None]]] = {
    "FLUSHALL": flush_all,
    "kill broker": kill_broker,
    "stop broker": stop_broker,
}
"""Faults that cost a replay of everything, or the start of a JVM."""
ALL: Final = {**FAULTS, **RARE}


def schedule(seed: int, rare_every: int = 16) -> Iterator[str]:
    """Yield kinds of faults for ever: every kind once in each round, in an order of its own; a rare one at times."""
    chance = random.Random(f"schedule {seed}")
    rare = sorted(RARE)
    number = 0
    while True:
        for kind in chance.sample(sorted(FAULTS), len(FAULTS)):
            number += 1
            yield kind
            if number % rare_every == 0:
                yield rare[(number // rare_every - 1) % len(rare)]


class Storm:
    """Does faults and ends them. Mutable state: what was done, and what is still to be ended."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._endings: list[Ending] = []
        self.done: list[str] = []

    def strike(self, kind: str) -> None:
        """Do a fault; where it needs what another has taken away, that is ended first."""
        ground = self._ground
        if len(ground.running) < 2 or kind in ("kill Redis", "stop Redis", "roll Redis back") or not _answers(ground):
            self.end_all()
        ground.replace_workers()
        self.done.append(kind)
        ending = ALL[kind](ground)
        if ending is not None:
            self._endings.append(ending)

    @property
    def is_raging(self) -> bool:
        """Whether there is something still to be ended."""
        return bool(self._endings)

    def end_due(self) -> None:
        """End what has lasted long enough."""
        now = time.monotonic()
        due = [ending for ending in self._endings if ending.at_s <= now]
        self._endings = [ending for ending in self._endings if ending.at_s > now]
        for ending in due:
            ending.end()

    def end_all(self) -> None:
        """End everything, now."""
        endings, self._endings = self._endings, []
        for ending in endings:
            ending.end()


def _answers(ground: Ground) -> bool:
    try:
        return bool(ground.client.ping())
    except (redis.RedisError, OSError):
        return False
