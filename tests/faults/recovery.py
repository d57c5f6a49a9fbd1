"""How long recovery takes: a worker killed, a worker asked to leave, Redis away, Redis gone back in time.

Everything happens under a steady load on a real Kafka; at the end every total is compared with a recount.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import redis

from stream_app.child import Child
from stream_app.core import cells as layout
from tests.faults.figures import Figures, difference, spread
from tests.faults.ground import AGO_MS, Ground
from tests.faults.load import Carousel, Tap

SESSION_S: Final = 10.0
RATE: Final = 2_000
KILLS: Final = 20
OUTAGES_S: Final = (0.0, 2.0, 10.0)
OUTAGES, ROLLBACKS = 3, 5
PATIENCE_S: Final = 60.0


class Shop:
    """A ground under load. Mutable state: the tap."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        self._carousel = Carousel(seed, time.time_ns() // 1_000_000 - AGO_MS, 20.0)
        kafka = ground.settings.kafka
        self.tap = Tap(kafka.bootstrap, kafka.events_topic, self._carousel.records(), RATE)
        self.tap.start()

    def wait(self, is_true: Callable[[], bool], what: str) -> float:
        """Return after how many seconds `is_true()`; fail when it never is."""
        began = time.monotonic()

        def asked() -> bool:
            with suppress(redis.RedisError, OSError):
                return is_true()
            return False

        assert self.ground.wait_for(asked, PATIENCE_S), f"never came true: {what}\n" + "\n".join(
            worker.tail() for worker in self.ground.running
        )
        return time.monotonic() - began

    def offsets(self) -> dict[int, int]:
        """Return the stored offset of each partition."""
        kafka = self.ground.settings.kafka
        keys = {p: layout.partition_key("chaos", kafka.events_topic, p) for p in range(kafka.partitions)}
        return {p: int(at) for p, key in keys.items() if (at := self.ground.client.hget(key, layout.OFFSET))}

    def nonces(self) -> dict[int, bytes | None]:
        """Return the owner's nonce of each partition."""
        kafka = self.ground.settings.kafka
        keys = {p: layout.partition_key("chaos", kafka.events_topic, p) for p in range(kafka.partitions)}
        return {p: self.ground.client.hget(key, layout.TOKEN) for p, key in keys.items()}

    def of(self, worker: Child) -> set[int]:
        """Return the partitions that a worker owns."""
        mine = f"-{worker.pid}"
        return {p for p, owner in self.ground.fleet.stored.owners().items() if owner.endswith(mine)}

    def is_shared(self) -> bool:
        """Whether two workers own half of the partitions each, and all of them advance."""
        return [len(self.of(worker)) for worker in self.ground.running] == [2, 2]

    def settle(self) -> None:
        """Return when both workers count, and have caught up."""
        self.wait(self.is_shared, "both workers count")
        self.wait(lambda: self.ground.fleet.stored.applied() >= self.tap.sent - RATE, "caught up")

    def finish(self) -> str:
        """Stop the load, let all be counted, and return how the totals differ from the recount."""
        sent = self.tap.close()
        self.wait(lambda: self.ground.fleet.stored.applied() >= sent, "everything counted")
        return f"{sent:,} records, {difference(self.ground.fleet.stored, *self._carousel.expected(sent))}"


@contextmanager
def _shop(seed: int, directory: Path) -> Iterator[Shop]:
    with Ground(seed, directory, session_s=SESSION_S) as ground:
        shop = Shop(ground, seed)
        try:
            shop.settle()
            yield shop
        finally:
            if shop.tap.is_alive():
                shop.tap.close()


def takeover(seed: int, directory: Path, scale: float) -> Figures:
    """Kill one of two workers, again and again; then ask one to leave, again and again."""
    killed, left, statuses = [], [], []
    kills = max(2, round(KILLS * scale))
    with _shop(seed, directory) as shop:
        ground = shop.ground
        for _ in range(kills):
            worker = ground.chance.choice(ground.running)
            theirs = shop.of(worker)
            worker.kill()
            dead_at = shop.offsets()

            def is_counted(worker: Child = worker, theirs: set[int] = theirs, at: dict[int, int] = dead_at) -> bool:
                now = shop.offsets()
                return all(now[p] > at[p] for p in theirs) and not theirs & shop.of(worker)

            killed.append(shop.wait(is_counted, "the other counts them"))
            ground.start_worker()
            shop.settle()
        unwritten: list[int] = []
        for _ in range(kills // 2):
            worker = ground.chance.choice(ground.running)
            owned, before = len(shop.of(worker)), len(_told(worker, "released"))
            began = time.monotonic()
            os.kill(worker.pid, signal.SIGTERM)
            statuses.append(worker.wait(PATIENCE_S))
            left.append(time.monotonic() - began)
            given_back = [line["unwritten"] for line in _told(worker, "released")[before:]]
            assert len(given_back) == owned, worker.tail()
            unwritten += given_back
            ground.start_worker()
            shop.settle()
        verdict = shop.finish()
    return Figures(
        f"two workers, session time-out {SESSION_S:g} s, {RATE:,} records/s",
        {
            f"{kills} x kill -9, seconds until the other counts all partitions": spread(killed),
            f"{kills // 2} x SIGTERM, seconds until it has ended": spread(left),
            "exit statuses": ", ".join(sorted({str(status) for status in statuses})),
            "records replayed after SIGTERM": f"{sum(unwritten)}, of {len(unwritten)} partitions given back",
            "counted": verdict,
        },
        {
            "p95 <= 15 s": _p95(killed) <= 15,
            "SIGTERM <= 3 s": max(left) <= 3 and set(statuses) == {0},
            "no replay": not any(unwritten),
            "exact": "exact" in verdict,
        },
    )


def redis_back(seed: int, directory: Path, scale: float) -> Figures:
    """Take Redis away for a while; then let it go back in time, idle and under load."""
    told: dict[str, str] = {}
    worst = noticed = 0.0
    outages, rollbacks = max(1, round(OUTAGES * scale)), max(1, round(ROLLBACKS * scale))
    with _shop(seed, directory) as shop:
        ground = shop.ground
        for outage in OUTAGES_S:
            seconds = []
            for _ in range(outages):
                ground.redis.kill()
                time.sleep(outage)  # how long it is away is what is varied here
                ground.redis.start()
                before = shop.offsets()

                def has_advanced(before: dict[int, int] = before) -> bool:
                    now = shop.offsets()
                    return all(now[p] > before[p] for p in before)

                seconds.append(shop.wait(has_advanced, "counting goes on"))
                shop.settle()
            worst = max(worst, *seconds)
            what = f"Redis away {outage:g} s, {outages} x: seconds from its first PONG until all partitions advance"
            told[what] = spread(seconds)
        for is_idle in (False, True):
            seconds, repaired = [], []
            for _ in range(rollbacks):
                copy, old = ground.copy_redis(), shop.nonces()
                reached = shop.tap.sent

                def is_beyond(reached: int = reached) -> bool:
                    return ground.fleet.stored.applied() > reached + RATE

                shop.wait(is_beyond, "some more counted")
                if is_idle:
                    shop.tap.rate = 0
                    shop.wait(lambda: ground.fleet.stored.applied() >= shop.tap.sent, "idle")
                lost = ground.fleet.stored.applied()
                ground.restore_redis(copy)

                def is_noticed(old: dict[int, bytes | None] = old) -> bool:
                    now = shop.nonces()
                    return all(now[p] != old[p] for p in old)

                def is_counted_again(lost: int = lost) -> bool:
                    return ground.fleet.stored.applied() >= lost

                seconds.append(shop.wait(is_noticed, "noticed"))
                repaired.append(seconds[-1] + shop.wait(is_counted_again, "counted again"))
                shop.tap.rate = RATE
                shop.settle()
            noticed = max(noticed, *seconds)
            kind = "idle" if is_idle else "under load"
            told[f"Redis rolled back {kind}, {rollbacks} x: seconds from PONG until noticed by every owner"] = spread(
                seconds
            )
            told[f"Redis rolled back {kind}, {rollbacks} x: seconds until counted again"] = spread(repaired)
        verdict = told["counted"] = shop.finish()
    return Figures(
        f"two workers, {RATE:,} records/s, appendfsync everysec",
        told,
        {"back <= 5 s": worst <= 5, "noticed <= 5 s": noticed <= 5, "exact": "exact" in verdict},
    )


def _p95(values: list[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def _told(worker: Child, event: str) -> list[dict[str, Any]]:
    """Return a worker's log lines of one kind."""
    lines = []
    for line in worker.log.read_text().splitlines():
        with suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict) and told.get("event") == event:
                lines.append(told)
    return lines
