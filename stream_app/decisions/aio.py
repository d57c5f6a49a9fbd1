"""The client, for asyncio: as `client`, awaited."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Self, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stream_app.decisions.answer import Answer, Limits, Prior
from stream_app.decisions.client import TIMEOUT_S, WINDOW, checked, first_line, options
from stream_app.decisions.conversation import (
    Command,
    Conversations,
    Reply,
    UnreachableError,
    dimension_lists,
    question,
    seconds,
)
from stream_app.decisions.guard import Guard

T = TypeVar("T")


class AsyncLynceus:
    """`client.Lynceus` for one event loop. Mutable state: the connections, and what was read within the last step."""

    def __init__(
        self,
        url: str,
        *,
        max_age: str | float = "2m",
        prefix: str = "lynceus",
        priors: Mapping[str, Prior] | None = None,
        enough: int = 100,
        timeout_s: float = TIMEOUT_S,
        **connection: Any,
    ) -> None:
        limits = Limits(seconds(max_age) * 1000, enough)
        self._conversations = Conversations(prefix, limits, priors or {})
        self._timeout_s = timeout_s
        self._redis = Redis.from_url(checked(url), **options(timeout_s, Retry(NoBackoff(), 0)), **connection)

    async def get(
        self,
        *,
        kpi: str,
        surface: str,
        window: str = WINDOW,
        where: Mapping[str, str] | None = None,
        arms: Sequence[str] = (),
        policies: Sequence[str] = (),
        segments: Sequence[str] = (),
        channels: Sequence[str] = (),
        devices: Sequence[str] = (),
        items: Sequence[str] = (),
    ) -> dict[str, Answer]:
        """Return what `Lynceus.get` returns."""
        lists = dimension_lists(arms, policies, segments, channels, devices, items)
        return await self._converse(self._conversations.get(question(kpi, surface, window, where, lists)))

    async def guard(self, surface: str) -> Guard:
        """Return what `Lynceus.guard` returns."""
        return await self._converse(self._conversations.guard(surface))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _converse(self, talk: Generator[Command, Reply, T]) -> T:
        ends_s = asyncio.get_running_loop().time() + self._timeout_s
        try:
            command = next(talk)
            while True:
                try:
                    async with asyncio.timeout_at(ends_s):
                        reply: Any = await self._redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no type for it
                except TimeoutError:
                    command = talk.throw(UnreachableError("no answer in time"))
                except (RedisError, OSError) as error:
                    command = talk.throw(UnreachableError(first_line(error)))
                else:
                    command = talk.send(reply)
        except StopIteration as ended:
            answered: T = ended.value
            return answered
