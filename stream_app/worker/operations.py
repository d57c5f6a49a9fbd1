"""What an operator may look at and decide: the state of each partition, another log, a fresh start.

Every decision draws a new nonce first, so that whoever owns the partition now is fenced and claims it anew.
"""

import secrets
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from redis.asyncio import Redis

from stream_app.core import cells as layout
from stream_app.errors import LynceusError
from stream_app.settings import Settings

ADOPT: Final = """
-- Let the state continue on whatever log is there. KEYS[1] its hash; ARGV: nonce
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], '@tok', ARGV[1], '@log', '*')
return 1
"""


class PartitionReport(NamedTuple):
    """What is stored of one partition; times in ms."""

    partition: int
    offset: int
    end_offset: int
    owner: str
    alive_ms: int
    incarnation: str
    log: str
    records: int
    outcomes: dict[str, int]
    newest_ms: int
    panes: int
    hours: int
    slices: int
    stored_bytes: int
    replay_to: int
    lost_offsets: int


async def inspect(redis: "Redis", settings: Settings) -> list[PartitionReport]:
    """Return what is stored of every partition that has a state."""
    return [report async for report in _reports(redis, settings)]


async def adopt(redis: "Redis", settings: Settings, partition: int) -> None:
    """Keep a partition's counts and continue them on the log that is there now, from its start.

    Raises LynceusError when there is no state.
    """
    if not await redis.eval(ADOPT, 1, _key(settings, partition), secrets.token_hex(8)):
        raise LynceusError(f"partition {partition} has no state", "`lynceus inspect` shows those that have one")


async def reset(redis: "Redis", settings: Settings, partition: int) -> None:
    """Forget a partition's counts; its next owner counts from the log's start.

    Raises LynceusError when there is no state.
    """
    if not await redis.delete(_key(settings, partition)):
        raise LynceusError(f"partition {partition} has no state", "`lynceus inspect` shows those that have one")


def _key(settings: Settings, partition: int) -> str:
    if not 0 <= partition < settings.kafka.partitions:
        raise LynceusError(f"there is no partition {partition}", f"0 to {settings.kafka.partitions - 1} exist")
    return layout.partition_key(settings.app, settings.kafka.events_topic, partition)


async def _reports(redis: "Redis", settings: Settings) -> AsyncIterator[PartitionReport]:
    for partition in range(settings.kafka.partitions):
        stored: dict[bytes, bytes] = await redis.hgetall(_key(settings, partition))  # type: ignore[assignment]  # raw
        fields = {name.decode(): value for name, value in stored.items()}
        if layout.OFFSET not in fields:
            continue
        head = layout.unpack_head(fields[layout.HEAD])
        alive = layout.unpack_alive(fields[layout.ALIVE]) if layout.ALIVE in fields else None
        directory = layout.unpack_directory(fields[layout.DIRECTORY])
        yield PartitionReport(
            partition,
            int(fields[layout.OFFSET]),
            alive.end_offset if alive else 0,
            alive.worker if alive else "",
            alive.at_ms if alive else 0,
            fields[layout.INCARNATION].decode(),
            fields[layout.LOG].decode(),
            head.applied,
            dict(head.outcomes),
            head.newest_ms,
            sum(name.startswith("p:") for name in directory),
            sum(name.startswith("h:") for name in directory),
            len(layout.unpack_slices(fields[layout.SLICES])),
            sum(len(name) + len(value) for name, value in fields.items()),
            head.replay_to,
            head.lost_offsets,
        )
