"""The reader: what it finds in a real Redis, and only that, whatever the worker does in between."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as redis_client
from pydantic import SecretStr

from stream_app.core import cells
from stream_app.core.panes import PANE_MS
from stream_app.errors import LynceusError
from stream_app.metrics.catalogue import INDEX
from stream_app.serving.partitions import NEVER
from stream_app.serving.reader import (
    CHUNK,
    Reader,
    Reading,
    StoreUnavailableError,
    check_store,
    connect,
    printable,
)
from stream_app.settings import RedisSettings
from tests.serving.conftest import RedisProcess
from tests.serving.stored import APP, HOLDOUT, HOME, LAYOUT, NOW_MS, TOPIC, Partition


@pytest.fixture
def client(redis_url: str) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.fixture
async def reader(redis_url: str) -> AsyncIterator[Reader]:
    settings = RedisSettings(url=redis_url)
    async with connect(settings) as redis:
        yield Reader(redis, settings, APP, TOPIC, 2, LAYOUT)


def impressions(reading: Reading) -> dict[str, list[int] | None]:
    """Return the impressions of each field that changed, by slice number."""
    at = INDEX["impressions"]
    return {
        field: None if packed is None else [tally[at] for _, tally in sorted(cells.unpack_rows(packed).items())]
        for change in reading.changes
        for field, packed in change.fields.items()
    }


def pane(number: int) -> str:
    return cells.pane_field(NOW_MS + number * PANE_MS)


async def test_an_empty_redis_has_partitions_that_nobody_claimed(reader: Reader) -> None:
    """Where nothing was written there are no changes, and the configured partitions are unclaimed."""
    reading = await reader.refresh()
    assert ((), [(0, False), (1, False)]) == (
        reading.changes,
        [(p.partition, p.is_claimed) for p in reading.partitions],
    )


async def test_the_first_refresh_reads_everything_and_the_next_nothing(reader: Reader, client: Any) -> None:
    """What was read once is not read again."""
    partition = Partition(client)
    partition.count(NOW_MS, HOME, 3)
    partition.count(NOW_MS, HOLDOUT, 2)
    partition.count(NOW_MS + PANE_MS, HOME, 1)
    partition.write()
    assert {pane(0): [3, 2], pane(1): [1]} == impressions(await reader.refresh())
    assert () == (await reader.refresh()).changes


async def test_only_changed_cells_are_read_again(reader: Reader, client: Any) -> None:
    """A second checkpoint that touches one pane changes that pane alone."""
    partition = Partition(client)
    partition.count(NOW_MS, HOME, 3)
    partition.count(NOW_MS + PANE_MS, HOME, 1)
    partition.write()
    await reader.refresh()
    partition.count(NOW_MS + PANE_MS, HOME, 4)
    partition.write()
    reading = await reader.refresh()
    assert {pane(1): [5]} == impressions(reading)
    assert not reading.changes[0].is_reset


async def test_a_fold_removes_the_pane_and_changes_the_hour(reader: Reader, client: Any) -> None:
    """When panes become part of their hour, the reader says both."""
    partition = Partition(client)
    partition.count(NOW_MS, HOME, 3)
    partition.write()
    await reader.refresh()
    partition.cells.advance(NOW_MS + 3 * 3_600_000)
    partition.write()
    hour = cells.hour_field(NOW_MS - NOW_MS % 3_600_000)
    assert {pane(0): None, hour: [3]} == impressions(await reader.refresh())


@pytest.mark.parametrize("life", ["incarnation", "config"])
async def test_another_life_of_a_partition_is_a_reset(reader: Reader, client: Any, life: str) -> None:
    """Another incarnation, or another configuration, voids what was known and reads all again."""
    first = Partition(client)
    first.count(NOW_MS, HOME, 3)
    first.write()
    await reader.refresh()
    client.delete(first.key)
    second = Partition(client)
    setattr(second, life, b"other")
    second.count(NOW_MS, HOME, 1)
    second.count(NOW_MS, HOME, 1)
    second.write()
    reading = await reader.refresh()
    assert (True, {pane(0): [2]}) == (reading.changes[0].is_reset, impressions(reading))


async def test_a_sequence_that_goes_back_is_a_reset(reader: Reader, client: Any) -> None:
    """A partition that was rolled back is read anew, although it says it is the same."""
    partition = Partition(client)
    for _ in range(3):
        partition.count(NOW_MS, HOME, 1)
        partition.write()
    await reader.refresh()
    client.delete(partition.key)
    again = Partition(client)
    again.count(NOW_MS, HOME, 9)
    again.write()
    reading = await reader.refresh()
    assert (True, {pane(0): [9]}) == (reading.changes[0].is_reset, impressions(reading))


async def test_a_deleted_partition_is_a_reset_to_nothing(reader: Reader, client: Any) -> None:
    """When the state is gone, so is what was read of it."""
    partition = Partition(client)
    partition.count(NOW_MS, HOME, 1)
    partition.write()
    await reader.refresh()
    client.flushall()
    reading = await reader.refresh()
    assert [(True, {})] == [(change.is_reset, change.fields) for change in reading.changes]
    assert () == (await reader.refresh()).changes


async def test_measures_are_read_by_name(reader: Reader, client: Any) -> None:
    """A layout with another order, unknown measures and a missing one is mapped to ours."""
    partition = Partition(client)
    partition.count(NOW_MS, HOME, 3, clicks=2)
    partition.write()
    width = len(LAYOUT)
    stored = {0: [7, *range(100, 100 + width - 1)]}
    layout = ["unheard_of", *reversed(LAYOUT[1:])]  # `impressions`, the first, is missing
    client.hset(partition.key, mapping={pane(0): cells.pack_rows(stored), cells.LAYOUT: cells.pack(layout)})
    reading = await reader.refresh()
    (change,) = reading.changes
    packed = change.fields[pane(0)]
    assert packed is not None
    assert {0: [0, *reversed(range(100, 100 + width - 1))]} == cells.unpack_rows(packed)
    assert {"impressions": NEVER} == reading.partitions[0].since


async def test_a_missing_cell_is_a_fault_until_it_is_there(reader: Reader, client: Any) -> None:
    """A directory that names a missing cell makes the partition torn; the cell is asked for again."""
    partition = Partition(client)
    partition.count(NOW_MS, HOME, 3)
    partition.count(NOW_MS + PANE_MS, HOME, 1)
    partition.write()
    kept = client.hget(partition.key, pane(1))
    client.hdel(partition.key, pane(1))
    torn = await reader.refresh()
    assert ({pane(0): [3]}, "1 of its cells are missing") == (impressions(torn), torn.partitions[0].fault)
    assert "1 of its cells are missing" == (await reader.refresh()).partitions[0].fault
    client.hset(partition.key, pane(1), kept)
    healed = await reader.refresh()
    assert ({pane(1): [1]}, "") == (impressions(healed), healed.partitions[0].fault)


async def test_unreadable_bytes_are_a_fault_of_that_partition_alone(reader: Reader, client: Any) -> None:
    """Garbage in one partition leaves the other readable, and what was known of the first as it was."""
    one, other = Partition(client, 0), Partition(client, 1)
    for partition in (one, other):
        partition.count(NOW_MS, HOME, 1)
        partition.write()
    await reader.refresh()
    other.count(NOW_MS, HOME, 1)
    other.write()
    client.hset(one.key, cells.DIRECTORY, b"\xc1garbage")
    reading = await reader.refresh()
    assert ({pane(0): [2]}, True, "") == (
        impressions(reading),
        reading.partitions[0].fault.startswith("its stored state cannot be read"),
        reading.partitions[1].fault,
    )


async def test_partitions_beyond_the_configured_ones_are_found(reader: Reader, client: Any) -> None:
    """A partition that exists is read, although the settings know only two."""
    partition = Partition(client, 11)
    partition.count(NOW_MS, HOME, 3)
    partition.write()
    client.set("lynceus:{lynceus:lynceus.events:nonsense}", "x")
    await reader.refresh()
    reading = await reader.refresh()
    assert ([0, 1, 11], {pane(0): [3]}) == ([p.partition for p in reading.partitions], impressions(reading))


async def test_more_cells_than_a_chunk_are_read_whole(reader: Reader, client: Any) -> None:
    """A partition with more cells than one answer holds is complete after one refresh."""
    partition = Partition(client)
    for number in range(CHUNK + 20):
        partition.count(NOW_MS + number * PANE_MS, HOME, 1)
    partition.write()
    assert {pane(n): [1] for n in range(CHUNK + 20)} == impressions(await reader.refresh())


async def test_a_checkpoint_between_two_answers_is_not_mixed_with_the_one_before(client: Any, redis_url: str) -> None:
    """When the worker writes while a partition is read in chunks, what is returned is its last checkpoint."""
    partition = Partition(client)
    for number in range(2 * CHUNK):
        partition.count(NOW_MS + number * PANE_MS, HOME, 1)
    partition.write()
    settings = RedisSettings(url=redis_url)
    async with connect(settings) as redis:
        execute = redis.pipeline
        calls = []

        def pipeline(**options: Any) -> Any:
            calls.append(1)
            if len(calls) == 3:  # after the first chunk was answered
                for number in (0, 2 * CHUNK - 1, 2 * CHUNK):
                    partition.count(NOW_MS + number * PANE_MS, HOME, 1)
                partition.write()
            return execute(**options)

        redis.pipeline = pipeline  # type: ignore[method-assign]
        reading = await Reader(redis, settings, APP, TOPIC, 1, LAYOUT).refresh()
    expected = {pane(n): [1] for n in range(2 * CHUNK)}
    expected |= {pane(0): [2], pane(2 * CHUNK - 1): [2], pane(2 * CHUNK): [1]}
    assert (expected, partition.offset) == (impressions(reading), reading.partitions[0].offset)


async def test_an_outage_is_reported_and_loses_nothing(own_redis: RedisProcess) -> None:
    """Without Redis a refresh says so; with Redis back, the next refresh returns what is there."""
    settings = RedisSettings(url=own_redis.url, timeout_s=1)
    async with connect(settings) as redis:
        reader = Reader(redis, settings, APP, TOPIC, 1, LAYOUT)
        await reader.refresh()
        own_redis.stop()
        with pytest.raises(StoreUnavailableError, match="onnect"):
            await reader.refresh()
        own_redis.start()
        with redis_client.Redis.from_url(own_redis.url) as client:
            partition = Partition(client)
            partition.count(NOW_MS, HOME, 3)
            partition.write()
        assert {pane(0): [3]} == impressions(await reader.refresh())


async def test_memory_and_time_are_reported(reader: Reader) -> None:
    """Every refresh says how much memory Redis uses and how long it took to answer."""
    store = (await reader.refresh()).store
    assert (True, True, True, 0) == (
        store.up,
        store.ms > 0,
        store.used_memory_bytes > 100_000,
        store.max_memory_bytes,
    )


async def test_a_redis_that_evicts_is_refused(redis_url: str, client: Any) -> None:
    """With any eviction policy but noeviction the start fails, with the remedy."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    settings = RedisSettings(url=redis_url)
    async with connect(settings) as redis:
        with pytest.raises(LynceusError, match=r"evicts keys \(maxmemory-policy allkeys-lru\).*CONFIG SET"):
            await check_store(redis, settings)


async def test_a_redis_that_forbids_config_is_a_warning(redis_url: str, client: Any) -> None:
    """Where CONFIG is not allowed there is a warning; SCAN and INFO may be forbidden as well."""
    client.execute_command("ACL SETUSER reader reset on >pass~word ~* +ping +hmget +hello +client")
    settings = RedisSettings(url=redis_url, username="reader", password="pass~word")
    try:
        async with connect(settings) as redis:
            warning = await check_store(redis, settings)
            reader = Reader(redis, settings, APP, TOPIC, 1, LAYOUT)
            await reader.refresh()
            reading = await reader.refresh()
    finally:
        client.execute_command("ACL DELUSER reader")
    assert (True, (0, 0)) == (
        "does not say its maxmemory-policy" in (warning or ""),
        (reading.store.used_memory_bytes, reading.store.max_memory_bytes),
    )


async def test_an_unreachable_redis_is_refused_without_its_credentials() -> None:
    """The one line names the URL and the remedy, and never the password."""
    settings = RedisSettings(url="redis://127.0.0.1:1/0", username="someone", password=SecretStr("canary"), timeout_s=1)
    async with connect(settings) as redis:
        with pytest.raises(LynceusError) as caught:
            await check_store(redis, settings)
    line = str(caught.value)
    assert (True, True, False) == (
        "redis://127.0.0.1:1/0" in line,
        "LYNCEUS_REDIS__URL" in line,
        "canary" in line,
    )


def test_a_printable_url_has_no_credentials() -> None:
    """User, password and options are cut; the rest stays."""
    assert "rediss://host:6380/2" == printable("rediss://user:secret@host:6380/2?password=x")
