"""The client, for threads: `Lynceus(url).get(...)` and `.guard(surface)`. Its asyncio twin is in `aio`.

    lynceus = Lynceus("redis://127.0.0.1:6379/0", max_age="2m")
    ctr = lynceus.get(kpi="ctr", surface="home", window="1h", arms=["personalized", "holdout"])
    ctr["holdout"].value, ctr["holdout"].status
    if lynceus.guard("home").is_degraded: ...

It answers within `timeout_s`, from a cache of one step of the windows where it can, and never raises for what is
missing, old, unreadable or not to be reached: the status says so, and the prior stands in.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from stream_app.decisions.answer import Answer, Limits, Prior
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

TIMEOUT_S: Final = 0.02
WINDOW: Final = "5m"
SCHEMES: Final = ("redis://", "rediss://", "unix://")

T = TypeVar("T")


class Lynceus:
    """Mutable state: the connections, and what was read within the last step.

    `prefix` is the server's LYNCEUS_APP. `priors` say by KPI what to believe without data; where there is none, the
    surface as a whole stands in. An answer with fewer than `enough` observations leans on that and is LOW_DATA.

    Raises ValueError for a URL that is not Redis', or an age that is none.
    """

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
        self._patience_s = timeout_s / 2
        self._redis = Redis.from_url(checked(url), **options(timeout_s / 2, Retry(NoBackoff(), 0)), **connection)

    def get(
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
        """Return the answer of each name in the one list that is given, or of `where` under its spelling.

        Raises ValueError for a question that makes no sense: two lists, a dimension that does not exist.
        """
        lists = dimension_lists(arms, policies, segments, channels, devices, items)
        return self._converse(self._conversations.get(question(kpi, surface, window, where, lists)))

    def guard(self, surface: str) -> Guard:
        """Return what the watch says of a surface, at most one step of the windows old."""
        return self._converse(self._conversations.guard(surface))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _converse(self, talk: Generator[Command, Reply, T]) -> T:
        began = time.monotonic()
        try:
            command = next(talk)
            while True:
                # Each wait takes at most half the time there is, so that no second one begins after the first half.
                if time.monotonic() - began > self._patience_s:
                    command = talk.throw(UnreachableError("no time left"))
                    continue
                try:
                    reply: Any = self._redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no type for it
                except (RedisError, OSError) as error:
                    command = talk.throw(UnreachableError(first_line(error)))
                else:
                    command = talk.send(reply)
        except StopIteration as ended:
            answered: T = ended.value
            return answered


def checked(url: str) -> str:
    """Return the URL of a Redis; raise ValueError for one that is not."""
    if not url.startswith(SCHEMES):
        raise ValueError(f"a URL begins with {', '.join(SCHEMES)}; this one with {url.partition(':')[0]!r}")
    return url


def options(patience_s: float, retry: Any) -> dict[str, Any]:
    """Return what connections are opened with: no wait longer than `patience_s`, no retries, RESP2 (no greeting)."""
    return {
        "socket_timeout": patience_s,
        "socket_connect_timeout": patience_s,
        "retry": retry,
        "protocol": 2,
    }


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
