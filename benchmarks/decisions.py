"""How fast the decisions client answers: `get` of 1 and of 100 entities, read from Redis and from memory.

    python -m benchmarks.decisions [--questions N]        # prints, and writes benchmarks/results/decisions.json

A Redis of its own, 300 surfaces of 200 entities. "read" is the slow way, two commands: surfaces take turns, more of
them than a client remembers. "memory" asks one surface again and again. The clients share the machine with Redis; CPU
time is that of the client alone, which a machine that is busy with other work stretches less. Targets: p99 of at most
2 ms for 1 entity and of 5 ms for 100; exits with 1 when one is missed.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, NamedTuple

import redis

from benchmarks.throughput import machine
from stream_app.decisions.aio import AsyncLynceus
from stream_app.decisions.answer import Status
from stream_app.decisions.client import Lynceus
from stream_app.decisions.contract import META, WHOLE, pointer_key, snapshot_key
from stream_app.decisions.memory import MAX_WINDOWS
from stream_app.embedded import RedisServer

TARGETS_MS: Final = {1: 2.0, 100: 5.0}
ENTITIES: Final = 200
SURFACES: Final = [f"surface-{number}" for number in range(MAX_WINDOWS + 44)]
RESULTS: Final = Path("benchmarks/results/decisions.json")
CELL: Final = json.dumps({kpi: [12_345, 678, 0.0549, 0.051, 0.059] for kpi in ("ctr", "session_ctr", "conversion")})
WARM_UP: Final = 100


class Took(NamedTuple):
    """How long a question took, and how long of it this thread was at work."""

    ms: float
    cpu_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--questions", type=int, default=2_000, help="of each kind (default %(default)s)")
    number = parser.parse_args().questions
    rows = []
    with RedisServer().start() as server:
        publish(server.url)
        load = os.getloadavg()[0]
        for entities in TARGETS_MS:
            names = [f"policy-{at}" for at in range(entities)]
            for how, surfaces in (("read", SURFACES), ("memory", SURFACES[:1])):
                for client, times in (
                    ("Lynceus", asked(server.url, names, surfaces, number)),
                    ("AsyncLynceus", asyncio.run(asked_async(server.url, names, surfaces, number))),
                ):
                    rows.append(row(client, how, entities, times))
    for each in rows:
        print(
            "{client:<13} {how:<7} {entities:>3} entities   p50 {p50_ms:6.3f} ms   p99 {p99_ms:6.3f} ms   "
            "CPU p50 {cpu_p50_ms:6.3f} ms".format(**each)
        )
    told = {"machine": machine(), "load_before": round(load, 2), "questions": number, "targets_ms": TARGETS_MS}
    RESULTS.write_text(json.dumps({**told, "results": rows}, indent=2) + "\n")
    sys.exit(any(each["p99_ms"] > TARGETS_MS[each["entities"]] for each in rows))


def publish(url: str) -> None:
    """Write a snapshot of every surface, which ends now."""
    end_ms = time.time_ns() // 1_000_000
    fields = {META: json.dumps({"complete": True}), WHOLE: CELL}
    fields |= {f"policy=policy-{at}": CELL for at in range(ENTITIES)}
    with redis.Redis.from_url(url) as client:
        for surface in SURFACES:
            client.hset(snapshot_key("lynceus", surface, "5m", end_ms), mapping=fields)
            client.set(pointer_key("lynceus", surface, "5m"), end_ms)


def asked(url: str, names: Sequence[str], surfaces: Sequence[str], number: int) -> list[Took]:
    """Return what each question took."""
    times = []
    with Lynceus(url, max_age="1h", timeout_s=1) as lynceus:
        for surface, _ in zip(cycle(surfaces), range(number + WARM_UP), strict=False):
            began, before = time.perf_counter(), time.thread_time()
            found = lynceus.get(kpi="ctr", surface=surface, policies=names)
            times.append(Took((time.perf_counter() - began) * 1000, (time.thread_time() - before) * 1000))
            assert all(each.status is Status.OK for each in found.values())
    return times[WARM_UP:]


async def asked_async(url: str, names: Sequence[str], surfaces: Sequence[str], number: int) -> list[Took]:
    """Return what each question took."""
    times = []
    async with AsyncLynceus(url, max_age="1h", timeout_s=1) as lynceus:
        for surface, _ in zip(cycle(surfaces), range(number + WARM_UP), strict=False):
            began, before = time.perf_counter(), time.thread_time()
            found = await lynceus.get(kpi="ctr", surface=surface, policies=names)
            times.append(Took((time.perf_counter() - began) * 1000, (time.thread_time() - before) * 1000))
            assert all(each.status is Status.OK for each in found.values())
    return times[WARM_UP:]


def row(client: str, how: str, entities: int, times: Sequence[Took]) -> dict[str, Any]:
    cuts = quantiles((took.ms for took in times), n=100)
    cpu = quantiles((took.cpu_ms for took in times), n=100)
    return {
        "client": client, "how": how, "entities": entities, "p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3),
        "cpu_p50_ms": round(cpu[49], 3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
