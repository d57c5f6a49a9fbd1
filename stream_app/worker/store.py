"""The Redis store of Faust's tables: served from memory, written at checkpoints.

Faust asks a store synchronously, key by key; a round trip each would stall the loop, and single writes could be torn
by a crash. So a partition's state is loaded whole when it is claimed, changed in memory, and written with its offset
(worker/checkpoint.py). The table's key is the partition, its value the live `Partition`.
"""

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any, cast

from faust.stores import base
from faust.types import TP, EventT
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from stream_app.core.processor import Partition
from stream_app.errors import LynceusError
from stream_app.settings import RedisSettings


class UnreachableError(LynceusError):
    """Redis does not answer: it may do so again by itself."""


def connect(settings: RedisSettings) -> "Redis":
    """Return a client that never sends a command twice by itself: only a claim may follow a lost reply."""
    password = settings.password.get_secret_value() if settings.password else None
    return Redis.from_url(
        settings.url,
        username=settings.username,
        password=password,
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


async def check(redis: "Redis", url: str) -> str:
    """Make sure that this Redis can be the state of record; return a warning, or an empty string.

    Raises LynceusError when it is out of reach, a replica, or would evict what it is asked to keep.
    """
    try:
        role = await redis.role()
    except ResponseError as error:
        raise LynceusError(f"Redis at {url} refuses: {error}", "Check username, password and ACL") from None
    except (RedisError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise LynceusError(f"Redis at {url} does not answer: {reason}", "Start it, or set LYNCEUS_REDIS__URL") from None
    if role[0] != b"master":
        raise LynceusError(f"Redis at {url} is a {role[0].decode()}", "Point LYNCEUS_REDIS__URL at the master")
    try:
        policy = (await redis.config_get("maxmemory-policy"))["maxmemory-policy"]
    except (ResponseError, KeyError):
        return "the eviction policy cannot be read here: make sure it is noeviction"
    if policy != "noeviction":
        raise LynceusError(
            f"Redis at {url} has maxmemory-policy {policy}: it would silently forget counts",
            "Run: redis-cli CONFIG SET maxmemory-policy noeviction",
        )
    return ""


class RedisStore(base.Store):
    """partition -> Partition. Mutable state: none of its own; it shows the claims of the app's checkpoints."""

    def __post_init__(self) -> None:
        """Nothing yet: url, app and table are set after this."""

    def _states(self) -> dict[int, Partition]:
        return {tp.partition: claim.state for tp, claim in self.app.checkpoints.claims.items()}

    def __getitem__(self, key: int) -> Partition:
        return cast(Partition, self.app.checkpoints.claims[TP(self.app.events_topic, key)].state)

    def __setitem__(self, key: int, value: Partition) -> None:
        raise TypeError("a partition's state is changed in place, and written by its checkpoint")

    def __delitem__(self, key: int) -> None:
        raise TypeError("a partition's state is dropped by its checkpoint")

    def __contains__(self, key: object) -> bool:
        return key in self._states()

    def __iter__(self) -> Iterator[int]:
        return iter(self._states())

    def __len__(self) -> int:
        return len(self._states())

    def keys(self) -> KeysView[int]:
        """Return the partitions held."""
        return self._states().keys()

    def values(self) -> ValuesView[Partition]:
        """Return their states."""
        return self._states().values()

    def items(self) -> ItemsView[int, Partition]:
        """Return both."""
        return self._states().items()

    def clear(self) -> None:
        """Refuse, like the other writes."""
        raise TypeError("counts are never cleared through the table")

    def apply_changelog_batch(
        self, batch: Iterable[EventT], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Nothing to apply: there is no changelog, Redis is the state of record."""

    def persisted_offset(self, tp: TP) -> int | None:
        """Return None: offsets are kept with the state, not per table."""
        return None

    def reset_state(self) -> None:
        """Nothing is kept on this machine."""

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Nothing is kept on this machine."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Nothing is kept on this machine."""
