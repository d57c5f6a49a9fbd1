"""Asks Redis what changed: the border between the store and everything that is served.

Per refresh one pipeline of small reads for all partitions, then only the cells that their directories say
have changed. Every answer about a partition is one HMGET, which Redis answers whole: no view mixes two
checkpoints.
"""

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from stream_app.core.cells import CHANGE, inputs_key, partition_key
from stream_app.core.events import BusinessInput
from stream_app.core.inputs import NO_INPUTS, Inputs, read
from stream_app.errors import LynceusError
from stream_app.serving.partitions import META, Answer, Attempt, Change, Known, PartitionState
from stream_app.serving.snapshot import StoreState
from stream_app.settings import RedisSettings

CHUNK: Final = 500
"""Cells per HMGET: a few megabytes at most, so that Redis answers others in between."""
MAX_ROUNDS: Final = 200
"""Answers per partition and refresh, before it is left for the next: a writer cannot keep a refresh going."""
MAX_PARTITIONS: Final = 4_096
SCAN_COUNT: Final = 200


class StoreUnavailableError(Exception):
    """Redis did not answer; the message says why, without credentials."""


class Reading(NamedTuple):
    """What one refresh found."""

    changes: tuple[Change, ...]
    partitions: tuple[PartitionState, ...]
    store: StoreState
    inputs: Inputs = NO_INPUTS


def connect(settings: RedisSettings) -> "Redis":
    """Return a client that fails fast: waiting and trying again is decided by whoever refreshes."""
    credentials: dict[str, Any] = {}
    if settings.username is not None:
        credentials["username"] = settings.username
    if settings.password is not None:
        credentials["password"] = settings.password.get_secret_value()
    return Redis.from_url(
        settings.url,
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        # Once, at once: a connection that died while idle is replaced, an outage is reported.
        retry=Retry(NoBackoff(), 1),
        client_name="lynceus-server",
        **credentials,
    )


def printable(url: str) -> str:
    """Return the URL without user, password and options: it may be shown."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


async def check_store(redis: "Redis", settings: RedisSettings) -> str | None:
    """Check that Redis is there and keeps what is written; return a warning where that cannot be known.

    Raises LynceusError when it is unreachable, or evicts.
    """
    url = printable(settings.url)
    try:
        await translated(_let_in(redis, settings), settings)
        policy = (await translated(redis.config_get("maxmemory-policy"), settings)).get("maxmemory-policy", "")
    except StoreUnavailableError as error:
        raise LynceusError(
            f"Redis at {url} cannot be reached: {error}",
            "Start it, or set LYNCEUS_REDIS__URL (and LYNCEUS_REDIS__USERNAME, LYNCEUS_REDIS__PASSWORD)",
        ) from None
    except (NoPermissionError, ResponseError):
        return f"Redis at {url} does not say its maxmemory-policy; it must be noeviction, or counts can be lost"
    if policy != "noeviction":
        raise LynceusError(
            f"Redis at {url} evicts keys (maxmemory-policy {policy}): counts would be lost silently",
            "Run `redis-cli CONFIG SET maxmemory-policy noeviction`, and set it in redis.conf",
        )
    return None


async def _let_in(redis: "Redis", settings: RedisSettings) -> None:
    """Raise LynceusError when Redis is there and wants a password, or another one."""
    try:
        # redis-py annotates this reply as a plain value too.
        await redis.ping()
    except AuthenticationError:
        what = "refuses the user name or the password" if settings.password else "wants a password"
        raise LynceusError(
            f"Redis at {printable(settings.url)} {what}",
            "Set LYNCEUS_REDIS__PASSWORD (and LYNCEUS_REDIS__USERNAME)",
        ) from None


class Reader:
    """Reads the partitions of one app and topic, and what people told the app.

    Mutable state: what it knows of each, how far it scanned.

    It must be asked by one task at a time.
    """

    def __init__(
        self,
        redis: "Redis",
        settings: RedisSettings,
        app: str,
        topic: str,
        partitions: int,
        columns: Sequence[str],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._key: Callable[[int], str] = lambda partition: partition_key(app, topic, partition)
        self._prefix, self._suffix = self._key(0).split("0}")[0], "}"
        self._columns = tuple(columns)
        self._clock = clock
        self._known: dict[int, Known] = dict.fromkeys(range(partitions), Known())
        self._inputs_key = inputs_key(app)
        self._inputs: Inputs = NO_INPUTS
        self._change: bytes | None = None
        self._cursor = 0
        self._may_scan = True
        self.has_scanned = False
        """Whether every partition that is stored has been found, once."""

    async def refresh(self) -> Reading:
        """Return what changed since the last refresh that succeeded.

        Raises StoreUnavailableError; then nothing is lost: the next refresh returns it.
        """
        began = self._clock()
        answers = await self._ask_all()
        elapsed = self._clock() - began
        memory, scanned, change = answers[:3]
        if change != self._change:
            self._inputs, self._change = await self._read_inputs(change), change
        self._discover(scanned)
        attempts: dict[int, Attempt] = {}
        faults: dict[int, str] = {}
        for partition, answer in zip(self._known, answers[3:], strict=False):
            attempts[partition] = Attempt(partition, self._known[partition], self._columns)
            self._observe(attempts, faults, partition, answer)
        await self._complete(attempts, faults)
        changes, states = [], []
        for partition, known in self._known.items():
            if partition in attempts:
                new, change = attempts[partition].conclude()
                self._known[partition] = new
                if change:
                    changes.append(change)
                states.append(new.state or PartitionState(partition))
            else:
                state = known.state or PartitionState(partition)
                states.append(state._replace(is_claimed=True, fault=faults.get(partition, "not read yet")))
        used, limit = memory if isinstance(memory, tuple) else (0, 0)
        return Reading(
            tuple(changes),
            tuple(sorted(states)),
            StoreState(True, round(elapsed * 1000, 3), used, limit),
            self._inputs,
        )

    def forget(self) -> None:
        """Forget all that was read: the next refresh returns everything, for windows that know nothing."""
        self._known = dict.fromkeys(self._known, Known())
        self._change = None

    # -- inside ----------------------------------------------------------------------------------------------

    async def _ask_all(self) -> list[Any]:
        """Ask for memory, further partitions, whether inputs changed, and META of every known partition: one trip."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.info("memory")
        if self._may_scan:
            pipe.scan(self._cursor, match=f"{_literal(self._prefix)}*{self._suffix}", count=SCAN_COUNT)
        else:
            pipe.ping()
        pipe.hmget(self._inputs_key, [CHANGE])
        for partition in self._known:
            pipe.hmget(self._key(partition), META)
        answers = await translated(pipe.execute(raise_on_error=False), self._settings)
        memory, scanned, changed, *states = answers
        # Where the inputs may not be read, none are told.
        change = None if isinstance(changed, ResponseError) else changed
        self._raise_first([change, *states])
        if isinstance(memory, dict):
            memory = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
        return [memory, scanned, change and change[0], *states]

    async def _read_inputs(self, change: bytes | None) -> Inputs:
        """Read what people told; they do so rarely."""
        if change is None:
            return NO_INPUTS
        try:
            fields = await translated(self._redis.hgetall(self._inputs_key), self._settings)
        except ResponseError:
            return NO_INPUTS
        return {id_: each for id_, each in read(fields).items() if isinstance(each, BusinessInput)}

    def _discover(self, scanned: object) -> None:
        """Take one step of the scan for further partitions; they are read from the next refresh on."""
        if isinstance(scanned, ResponseError):  # not allowed here: then only the configured ones are read
            self._may_scan, self.has_scanned = False, True
        if not isinstance(scanned, tuple | list):
            return
        self._cursor, keys = int(scanned[0]), scanned[1]
        self.has_scanned = self.has_scanned or self._cursor == 0
        for key in keys:
            number = key.decode(errors="replace")[len(self._prefix) : -len(self._suffix)]
            if number.isascii() and number.isdigit() and int(number) < MAX_PARTITIONS:
                self._known.setdefault(int(number), Known())

    async def _complete(self, attempts: dict[int, Attempt], faults: dict[int, str]) -> None:
        """Ask for missing cells until nothing is missing."""
        for _ in range(MAX_ROUNDS):
            wanted = {p: attempt.missing[:CHUNK] for p, attempt in attempts.items() if attempt.missing}
            if not wanted:
                return
            pipe = self._redis.pipeline(transaction=False)
            for partition, fields in wanted.items():
                pipe.hmget(self._key(partition), [*META, *fields])
            answers = await translated(pipe.execute(raise_on_error=False), self._settings)
            self._raise_first(answers)
            for (partition, fields), answer in zip(wanted.items(), answers, strict=True):
                self._observe(attempts, faults, partition, answer, fields)
        for partition in [p for p, attempt in attempts.items() if attempt.missing]:
            del attempts[partition]
            faults[partition] = "changes faster than it can be read"

    def _observe(
        self,
        attempts: dict[int, Attempt],
        faults: dict[int, str],
        partition: int,
        answer: Answer,
        fields: Sequence[str] = (),
    ) -> None:
        try:
            attempts[partition].observe(answer, fields)
        except ValueError as error:  # what is known of it stays as it was
            del attempts[partition]
            faults[partition] = f"its stored state cannot be read ({error})"

    def _raise_first(self, answers: Iterable[object]) -> None:
        for answer in answers:
            if isinstance(answer, Exception):
                raise StoreUnavailableError(_reason(answer, self._settings)) from None


async def translated(call: Any, settings: RedisSettings) -> Any:
    """Await a call of the Redis client; raise StoreUnavailableError where Redis is not to be had."""
    try:
        return await call
    except (NoPermissionError, ResponseError):
        raise
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailableError(_reason(error, settings)) from None


def _reason(error: BaseException, settings: RedisSettings) -> str:
    """Return the first line of what a client error says, without the password, whatever it says."""
    text = (str(error) or type(error).__name__).splitlines()[0][:200]
    secret = settings.password.get_secret_value() if settings.password else ""
    for hidden in (secret, urlsplit(settings.url).password):
        text = text.replace(hidden, "***") if hidden else text
    return text.rstrip(".")


def _literal(text: str) -> str:
    """Escape what SCAN would take for a pattern."""
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in text)
