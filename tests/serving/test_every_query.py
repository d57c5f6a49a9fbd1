"""`/v1/query` for every metric, over a store with what a simulated world came to: it answers, and with the right sums.

A world of months and of the last hour is counted by the real processor, written as a worker writes it, and asked for
through the real server. What is expected is added up here, cell by cell, from the processor's own state.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import pytest
import redis as redis_client

from producers.seasons import traffic
from producers.transit import records
from producers.world import World
from stream_app.core import cells, codec
from stream_app.core.cells import CHANGE, Alive, inputs_key, partition_key, unpack_rows
from stream_app.core.events import BusinessInput
from stream_app.core.histograms import BinKey, read_key
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import add_into
from stream_app.metrics.catalogue import HISTOGRAMS, INDEX, METRICS, PLAN
from stream_app.metrics.metric import Metric
from stream_app.metrics.returns import ACQUISITION, DISCOUNT, MARGIN, PERSONALIZATION
from stream_app.serving.refresher import clock_ms
from stream_app.settings import Settings
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.serving.conftest import RedisProcess
from tests.serving.stored import APP, TOPIC
from tests.serving.test_server import serving, settings_of

Where = dict[str, str]
RATES = (MARGIN, DISCOUNT)
FIGURES = {ACQUISITION: 600.0, PERSONALIZATION: 50.0, MARGIN: 0.35, DISCOUNT: 0.1}
DAYS_AGO = (100, 98, 92, 91, 90, 84, 70, 63, 62, 61, 36, 35, 30, 29, 28, 14, 9, 8, 7, 2, 1)
THIRDS = {"personalized": 0.4, "context_blind": 0.3, "holdout": 0.3}


class Server(NamedTuple):
    """What was counted, and what the server answered to whatever was asked."""

    state: Partition
    answers: dict[tuple[str, str], Any]


def a_world(now_ms: int) -> list[bytes]:
    """Return what few people did on some days of the last months, and in the last forty minutes.

    As many of them whatever the hour: what there is to tell may not depend on when the test runs.
    """
    values = []
    for days in DAYS_AGO:
        start_ms = now_ms - days * DAY_MS
        rate = 0.06 / traffic(start_ms)
        happened = World(5, users=12, arms=THIRDS).happenings(start_ms, rate, start_ms + 300_000)  # type: ignore[arg-type]  # arms
        values += [record.value for record in records(World(5), happened)]
    start_ms = now_ms - 2_400_000
    happened = World(6, users=200, arms=THIRDS).happenings(start_ms, 0.5 / traffic(start_ms))  # type: ignore[arg-type]  # as above
    for record in records(World(6), happened):
        if record.at_ms >= now_ms:
            break
        values.append(record.value)
    return values


def write(client: "redis_client.Redis", state: Partition, applied: int) -> None:
    """Write a checkpoint, a heartbeat, and what people told."""
    now_ms = clock_ms()
    fields, _ = state.take_changes()
    fields[cells.OFFSET] = str(applied).encode()
    fields |= {cells.SLICES: cells.pack(state.slices.slices), cells.LAYOUT: cells.pack(list(PLAN.meanings))}
    fields |= {cells.INCARNATION: b"one", cells.CONFIG: b"cfg"}
    fields[cells.ALIVE] = cells.pack(Alive(now_ms, "host-1", applied, now_ms))
    client.hset(partition_key(APP, TOPIC, 0), mapping=fields)  # type: ignore[arg-type]  # bytes
    told = {
        f"{figure.key}-{figure.scope}": codec.encode(
            BusinessInput(
                id=f"{figure.key}-{figure.scope}", ts=now_ms - DAY_MS, key=figure.key, scope=figure.scope or None,
                value=value * (1 if figure in RATES else 200), from_ts=now_ms - 100 * DAY_MS,
                to_ts=now_ms + 100 * DAY_MS, author="finance",
                currency=None if figure in RATES else "EUR",
            )
        )
        for figure, value in FIGURES.items()
    }  # fmt: skip
    client.hset(inputs_key(APP), mapping=told | {CHANGE: "1"})  # type: ignore[arg-type]  # as above


def stored_world(url: str) -> Partition:
    """Count the world, and store it in an empty Redis; return the state."""
    now_ms = clock_ms()
    values = a_world(now_ms)
    state = Partition(PLAN, Rules())
    for first in range(0, len(values), 500):
        state.process([Span(first, now_ms, values[first : first + 500])])
    with redis_client.Redis.from_url(url) as client:
        client.flushall()
        write(client, state, len(values))
    return state


def wheres(metric: Metric) -> list[Where]:
    """Return what a metric is asked by: nothing, and a surface and an arm where it is known by them."""
    some = {"surface": "home.hero"} if "surface" in metric.dimensions else {}
    some |= {"arm": "personalized"} if "arm" in metric.dimensions and metric.arms is None else {}
    return [{}, some] if some else [{}]


async def ask(settings: Settings) -> dict[tuple[str, str], Any]:
    """Ask for every metric, in its default window."""
    found = {}
    async with serving(settings) as session:
        for metric in METRICS:
            for where in wheres(metric):
                async with session.get("/v1/query", params={"metric": metric.name, **where}) as response:
                    found[metric.name, json.dumps(where)] = response.status, await response.json()
                async with session.get(
                    "/v1/query", params={"metric": metric.name, "window": metric.windows[-1], **where}
                ) as response:
                    found[f"{metric.name} long", json.dumps(where)] = response.status, await response.json()
    return found


@pytest.fixture(scope="module")
def server(_shared_redis: RedisProcess) -> Server:
    """Count the world, serve it, and ask for everything once."""
    state = stored_world(_shared_redis.url)
    # The loop of a test is closed before that of the module would be: it has a thread of its own, and ends with it.
    with ThreadPoolExecutor(1) as thread:
        return Server(state, thread.submit(asyncio.run, ask(settings_of(_shared_redis.url))).result())


def _tiers(state: Partition, kept: Any) -> Iterator[tuple[int, Any, Any]]:
    """Yield what stands in the cells: where it begins, under which number, and the amounts."""
    for tier in (kept.panes, kept.hours, kept.days):
        for start, rows in tier.items():
            for number, tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items():
                yield start, number, tally


@cache
def _tallied(state: Partition, start_ms: int, end_ms: int) -> dict[int, list[int]]:
    """Return the tally of each slice in a window, by its number."""
    sums: dict[int, list[int]] = {}
    for start, number, tally in _tiers(state, state.cells):
        if start_ms <= start < end_ms:
            add_into(sums.setdefault(number, [0] * len(INDEX)), tally)
    return sums


@cache
def _binned(state: Partition, start_ms: int, end_ms: int) -> Counter[BinKey]:
    """Return the amount of each bin in a window."""
    state.bins.settle()
    sums: Counter[BinKey] = Counter()
    for start, packed, (amount,) in _tiers(state, state.bins.cells):
        if start_ms <= start < end_ms:
            sums[read_key(packed)] += amount
    return sums


def expected(state: Partition, metric: Metric, where: Where, answer: Any) -> Estimate | None:
    """Return what the sums over a window say, from the cells one by one."""
    if answer["untold"]:
        return None  # what was told of everything is not told of a part of it
    wanted = [(DIMENSIONS.index(name), value) for name, value in where.items()]
    slices = state.slices.slices

    def is_in(number: int, extra: list[tuple[int, str]]) -> bool:
        return all(slices[number][at] == value for at, value in extra)

    arm = DIMENSIONS.index("arm")
    own = [*wanted, (arm, metric.arms.arm)] if metric.arms else wanted
    base = [*wanted, (arm, metric.arms.base)] if metric.arms else wanted
    held = [*(each for each in wanted if each[0] != arm), (arm, "holdout")]
    tallies = [[0] * len(INDEX), [0] * len(INDEX)]
    window = answer["start_ms"], answer["end_ms"]
    for number, tally in _tallied(state, *window).items():
        for into, by in zip(tallies, (own, base), strict=True):
            if is_in(number, by):
                add_into(into, tally)
    names = {each.number: each.name for each in HISTOGRAMS}
    bins: list[dict[str, dict[int, int]]] = [{name: {} for name in names.values()} for _ in range(2)]
    for key, amount in _binned(state, *window).items():
        for into, by in zip(bins, (wanted, held), strict=True):
            if is_in(key.slice_number, by):
                counts = into[names[key.histogram]]
                counts[key.bin] = counts.get(key.bin, 0) + amount
    told = {figure: next(t["value"] for t in answer["told"] if t["key"] == figure.key) for figure in metric.figures}
    return lower(metric, tallies[0], INDEX, bins[0], bins[1], tallies[1], told)


@pytest.mark.parametrize("window", ["", " long"], ids=["default", "longest"])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_answered_with_what_was_counted(server: Server, metric: Metric, window: str) -> None:
    """By everything, and by a surface and an arm: 200, and the estimate that the sums of its window say."""
    for where in wheres(metric):
        status, answer = server.answers[metric.name + window, json.dumps(where)]
        assert (200, metric.name, where) == (status, answer["metric"], answer["where"])
        of = expected(server.state, metric, where, answer)
        told = None if of is None else {"value": of.value, "n": of.n, "low": of.low, "high": of.high}
        assert told == answer["estimate"]


def test_most_have_something_to_tell(server: Server) -> None:
    """In its longest window hardly a metric is without an answer: equality is not that of nothing with nothing."""
    longest = [answer for (name, _), (_, answer) in server.answers.items() if " long" in name and not answer["untold"]]
    silent = [answer["metric"] for answer in longest if not answer["estimate"]]
    assert len(silent) < 0.2 * len(longest)
