"""Follows what people tell: the inputs' topic from its beginning, into one hash in Redis.

    lynceus.inputs  a(ts 1) b(ts 1) a(ts 2) ?        every worker reads all of it
    hash            a(ts 2) b(ts 1)                  what was told last stands, whoever writes it first
    dead letters    ?                                sent once, by the worker that first says so

Several workers do the same and agree: each compares before it writes, and writes only where the hash still is as it
was read. What Redis lost is written again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from stream_app import connection
from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import AnyInput
from stream_app.core.inputs import MOST_INPUTS, fault_of, rank, read
from stream_app.core.processor import SetApart
from stream_app.settings import KafkaSettings
from stream_app.worker import scripts
from stream_app.worker.agents import Kept, Send, kept_of
from stream_app.worker.instruments import Instruments

log = structlog.get_logger("lynceus.worker")

LOOK_EVERY_S: Final = 1.0
"""How often the hash is compared when nothing new is told."""
SOONEST_S, LATEST_S = 0.5, 30.0
"""Between two attempts, while Kafka or Redis is away or the topic is missing."""
CLOSE_WITHIN_S: Final = 5.0
WRITES_AT_ONCE: Final = 500
REJECTED: Final = "rejected"


class Register:
    """What is told, as one worker knows it, and the hash that all of them keep.

    Mutable state: the inputs by id, which of them the hash lacks, and the hash as it was last read.
    """

    def __init__(self, redis: Callable[[], "Redis"], key: str, instruments: Instruments, most: int = MOST_INPUTS):
        self._redis = redis
        self._key = key
        self._instruments = instruments
        self._most = most
        self._inputs: dict[str, AnyInput] = {}
        self._due: set[str] = set()
        self._stored: dict[bytes, bytes] = {}
        self._is_read = False

    def take(self, raw: bytes | None) -> Rejected | None:
        """Take one record of the topic; return why it is refused, if it is."""
        told = codec.decode_input(raw)
        if isinstance(told, Rejected):
            return told
        if fault := fault_of(told):
            return Rejected("input", fault)
        known = self._inputs.get(told.id)
        if known is None and len(self._inputs) >= self._most:
            return Rejected("limits", f"there are {self._most} inputs already; tell one of them anew under its id")
        if known is None or rank(told) > rank(known):
            self._inputs[told.id] = told
            self._due.add(told.id)
        return None

    async def keep(self) -> None:
        """Write what the hash lacks, and learn what it has. Raises RedisError, OSError, TimeoutError."""
        await self._look()
        while self._due:
            await self._write()
            await self._look()

    async def claim(self, partition: int, offset: int) -> bool:
        """Say whether no worker has set this record apart before; now this one does. Raises as `keep`."""
        field = layout.refused_field(partition)
        return bool(await self._eval(self._redis(), scripts.REFUSE, field, offset) == b"ok")

    async def _look(self) -> None:
        """Read the hash if it is not as it was; from then on, what it lacks is due."""
        name = layout.CHANGE.encode()
        change: bytes | None = await _answered(self._redis().hget(self._key, layout.CHANGE))
        if self._is_read and change == self._stored.get(name):
            return
        self._stored = await _answered(self._redis().hgetall(self._key))
        self._is_read = True
        stored = read(self._stored)
        for id_, each in stored.items():
            known = self._inputs.get(id_)
            if known is None or rank(each) > rank(known):
                self._inputs[id_] = each
        self._due = {id_ for id_, each in self._inputs.items() if stored.get(id_) != each}

    async def _write(self) -> None:
        pipe = self._redis().pipeline(transaction=False)
        for id_ in sorted(self._due)[:WRITES_AT_ONCE]:
            told = codec.encode(self._inputs[id_])
            self._eval(pipe, scripts.TELL, id_, self._stored.get(id_.encode(), b""), told, token_hex(8))
        replies = await pipe.execute()
        for reply in replies:
            if reply == b"ok":
                self._instruments.told()
        # What is due now, the hash itself says.
        self._is_read = False

    def _eval(self, redis: Any, script: str, *arguments: str | bytes | int) -> Any:
        return redis.eval(script, 1, self._key, *arguments)


class Following:
    """The task that reads the topic. Mutable state: what is to be sent to the dead letters, and whether all is well."""

    def __init__(
        self,
        kafka: KafkaSettings,
        register: Register,
        send: Send,
        instruments: Instruments,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kafka = kafka
        self._register = register
        self._send = send
        self._instruments = instruments
        self._sleep = sleep
        self._apart: list[Kept] = []
        self._delay_s = SOONEST_S
        self._trouble = ""

    async def run(self) -> None:
        """Follow until cancelled: whatever Kafka and Redis do, try again."""
        while not connection.is_ending():
            try:
                await self._follow()
            except (KafkaError, RedisError, OSError, TimeoutError) as error:
                await self._wait(f"{type(error).__name__}: {error}".splitlines()[0][:200])
            except Exception as error:
                # A fault of ours. Counting does not depend on inputs, so it goes on.
                log.exception("following inputs failed")
                await self._wait(type(error).__name__)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level=self._kafka.isolation,
            **connection.client_options(self._kafka),
        )
        try:
            with connection.quiet():
                async with asyncio.timeout(self._kafka.connect_timeout_s):
                    await consumer.start()
            await self._wait_for_topic(consumer)
            consumer.subscribe([self._kafka.inputs_topic])
            while not connection.is_ending():
                await self._take(await consumer.getmany(timeout_ms=int(LOOK_EVERY_S * 1000)))
                self._well()
        finally:
            # What goes wrong here must not take the place of what led here: that may be the end of the task.
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await consumer.stop()

    async def _wait_for_topic(self, consumer: AIOKafkaConsumer) -> None:
        """Return when the topic exists. All topics are asked for: naming a missing one might create it."""
        topic = self._kafka.inputs_topic
        while not connection.is_ending() and topic not in await consumer.topics():
            await self._wait(f"Kafka has no topic {topic}; `lynceus topics ensure` creates it")

    async def _take(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        for tp, records in fetched.items():
            for record in records:
                rejected = self._register.take(record.value)
                if rejected is not None and await self._register.claim(tp.partition, record.offset):
                    self._refuse(tp, record.offset, record.value, rejected)
        await self._register.keep()
        while self._apart:
            for acknowledged in await self._send(self._kafka.dead_letters_topic, self._apart[:1]):
                await acknowledged
            del self._apart[0]

    def _refuse(self, tp: TopicPartition, offset: int, value: bytes | None, rejected: Rejected) -> None:
        log.warning("input refused", offset=offset, reason=rejected.reason, detail=rejected.detail)
        self._instruments.refused_input(rejected.reason)
        apart = SetApart(offset, value, REJECTED, rejected.reason, rejected.detail)
        self._apart.append(kept_of(f"{tp.topic}/{tp.partition}/".encode(), apart))

    async def _wait(self, trouble: str) -> None:
        """Wait for longer and longer; say once what for."""
        if trouble != self._trouble:
            log.warning("inputs are not followed", reason=trouble)
        self._trouble = trouble
        await self._sleep(self._delay_s)
        self._delay_s = min(2 * self._delay_s, LATEST_S)

    def _well(self) -> None:
        if self._trouble:
            log.info("inputs are followed again")
        self._trouble, self._delay_s = "", SOONEST_S


async def _answered(command: Any) -> Any:
    """Await a command: redis-py annotates its replies as plain values too."""
    return await command
