"""What all servers share of the watch, in Redis: the evidence of each surface, verdicts, and those on their way.

Evidence moves by compare-and-set on the last minute that was judged. Of any number of servers that judge the same
minute one is the first, and only its verdicts are kept; the others read what it made of it. Verdicts enter the history
and the outbox by the same write as the evidence, so that there is none without the other.

server 1   judges 14:32 ----- ADVANCE 14:31 -> 14:32: ok          its verdicts wait in the outbox
server 2   judges 14:32 ---------- ADVANCE 14:31 -> 14:32: behind      goes on from 14:32 as it is kept
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from stream_app.core.cells import watch_key, watch_keys
from stream_app.core.panes import HOUR_RETENTION_MS
from stream_app.decisions.contract import guard_key
from stream_app.serving.reader import StoreUnavailableError, translated
from stream_app.serving.watch_scripts import ADVANCE, FORGET, REST, TAKE
from stream_app.settings import RedisSettings

MAX_OUTBOX: Final = 1_000
"""Verdicts that wait for Kafka; beyond them the oldest are given up, and counted."""
FORGOTTEN_AFTER_MS: Final = HOUR_RETENTION_MS
"""A surface that nobody judged for as long as anything is kept of it is forgotten."""
LEASE_MS: Final = 60_000
"""How long a server that sends verdicts, and dies, keeps the others from it."""
BATCH: Final = 100
"""Verdicts sent at a time."""
TALLIES: Final = ("verdicts", "gone_minutes", "unsent_verdicts")

Outcome = Literal["ok", "behind", "full"]


class Kept(NamedTuple):
    """A surface as it is kept: the start of the last minute that was judged, and the evidence, packed."""

    last_ms: int
    packed: bytes


class Step(NamedTuple):
    """What became of a surface: from where (None: nowhere) to where, its verdicts (JSON), minutes that were gone."""

    surface: str
    before_ms: int | None
    after: Kept
    verdicts: tuple[bytes, ...] = ()
    gone_minutes: int = 0


class Shared(NamedTuple):
    """What there is to know at each look: how far each surface was judged, what waits, what was counted."""

    progress: Mapping[str, int]
    waiting: int
    tallies: Mapping[str, int]


class WatchStore:
    """The watch of one app in Redis. It remembers nothing itself. Every method may raise StoreUnavailableError."""

    def __init__(self, redis: "Redis", settings: RedisSettings, app: str, max_surfaces: int, max_history: int) -> None:
        self._redis = redis
        self._settings = settings
        self._app = app
        self._keys = watch_keys(app)
        self._max_surfaces = max_surfaces
        self._max_history = max_history

    async def look(self) -> Shared:
        """Return what other servers may have changed: one small round trip."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(self._keys.progress)
        pipe.llen(self._keys.outbox)
        pipe.hmget(self._keys.tallies, TALLIES)
        progress, waiting, tallies = await self._asked(pipe.execute())
        return Shared(
            {surface.decode(): int(last) for surface, last in progress.items()},
            int(waiting),
            {name: int(number or 0) for name, number in zip(TALLIES, tallies, strict=True)},
        )

    async def load(self, surfaces: Sequence[str]) -> dict[str, Kept | None]:
        """Return these surfaces as they are kept; None where one is not (any more)."""
        if not surfaces:
            return {}
        pipe = self._redis.pipeline(transaction=False)
        for surface in surfaces:
            pipe.hmget(watch_key(self._app, surface), ["last", "state"])
        answers = await self._asked(pipe.execute())
        return {
            surface: Kept(int(last), packed) if last is not None and packed is not None else None
            for surface, (last, packed) in zip(surfaces, answers, strict=True)
        }

    async def history(self) -> list[bytes]:
        """Return the verdicts that are remembered, the newest first."""
        return list(await self._asked(self._redis.lrange(self._keys.history, 0, self._max_history - 1)))

    async def advance(self, step: Step) -> Outcome:
        """Write one step, if no other server has gone on from there; say what came of it."""
        names = self._keys
        keys = [watch_key(self._app, step.surface), names.progress, names.history, names.outbox, names.tallies]
        arguments: list[Any] = [
            step.surface,
            "" if step.before_ms is None else step.before_ms,
            step.after.last_ms,
            step.after.packed,
            FORGOTTEN_AFTER_MS,
            self._max_surfaces,
            self._max_history,
            MAX_OUTBOX,
            step.gone_minutes,
            *step.verdicts,
        ]
        answer = await self._asked(self._redis.eval(ADVANCE, len(keys), *keys, *arguments))
        return cast(Outcome, answer.decode())

    async def forget(self, surface: str) -> None:
        """Give the place of a surface free that is not kept any more."""
        keys = [watch_key(self._app, surface), self._keys.progress]
        await self._asked(self._redis.eval(FORGET, len(keys), *keys, surface))

    async def guard(self, guards: Mapping[str, bytes], expire_ms: int) -> None:
        """Write what is said of each surface; it is gone after `expire_ms` unless it is written again."""
        pipe = self._redis.pipeline(transaction=False)
        for surface, json in guards.items():
            pipe.set(guard_key(self._app, surface), json, px=expire_ms)
        await self._asked(pipe.execute())

    async def take(self, sender: str) -> list[bytes]:
        """Return the oldest verdicts that wait for Kafka, which this sender alone may send for a while."""
        keys = [self._keys.outbox, self._keys.sender]
        return list(await self._asked(self._redis.eval(TAKE, len(keys), *keys, sender, LEASE_MS, BATCH)))

    async def sent(self, json: bytes) -> int:
        """Take out a verdict that Kafka has; return how many wait still."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.lrem(self._keys.outbox, 1, cast(str, json))
        pipe.llen(self._keys.outbox)
        return int((await self._asked(pipe.execute()))[-1])

    async def rest(self, sender: str) -> None:
        """Let any server send."""
        await self._asked(self._redis.eval(REST, 1, self._keys.sender, sender))

    async def _asked(self, call: Any) -> Any:
        try:
            return await translated(call, self._settings)
        except (NoPermissionError, ResponseError) as error:
            raise StoreUnavailableError(f"Redis refuses: {str(error).splitlines()[0][:200]}") from None
