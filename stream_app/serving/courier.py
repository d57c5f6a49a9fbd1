"""Brings verdicts to Kafka: out of the outbox in Redis, in order, each at least once.

A verdict stays in the outbox until Kafka has acknowledged it, so that neither a crash nor an outage of Kafka loses one.
What arrives twice has the same id. One server sends at a time; verdicts are rare, so a connection lives for one errand.
"""

import asyncio
from typing import Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream_app.connection import client_options, is_ending, quiet
from stream_app.errors import LynceusError
from stream_app.serving.outage import Outage
from stream_app.serving.reader import StoreUnavailableError
from stream_app.serving.watch_store import WatchStore
from stream_app.settings import KafkaSettings

LOOK_EVERY_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 30.0


class _Addressed(msgspec.Struct):
    surface: str


_address = msgspec.json.Decoder(_Addressed).decode


class Courier:
    """Sends what waits. Mutable state: whether something waits, and whether Kafka took what was sent last."""

    def __init__(self, store: WatchStore, kafka: KafkaSettings, name: str) -> None:
        self._store = store
        self._kafka = kafka
        self._name = name
        self._waiting = asyncio.Event()
        self._outage = Outage("verdicts wait for Kafka", "Kafka takes verdicts again", topic=kafka.verdicts_topic)

    @property
    def is_up(self) -> bool:
        """Whether Kafka took what was sent last."""
        return not self._outage.fault

    def wake(self) -> None:
        """Take note that verdicts wait."""
        self._waiting.set()

    async def run(self) -> None:
        """Send whenever something waits, until cancelled; less and less often while Kafka does not take it."""
        delay_s = LOOK_EVERY_S
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            delay_s = LOOK_EVERY_S if await self.send() else min(2 * delay_s, LONGEST_BACKOFF_S)
            if is_ending():
                return
            await asyncio.sleep(delay_s)

    async def send(self) -> bool:
        """Send what waits and is not being sent by another server; return whether nothing went wrong."""
        try:
            if waiting := await self._store.take(self._name):
                try:
                    await self._deliver(waiting)
                finally:
                    await self._store.rest(self._name)  # perhaps another server reaches Kafka
        except StoreUnavailableError:
            return False  # told by the refresher, which cannot read either
        except (KafkaError, LynceusError, OSError, TimeoutError) as error:
            self._outage.note(" ".join(f"{type(error).__name__}: {error}".split())[:200])
            return False
        self._outage.note("")
        return True

    async def _deliver(self, waiting: list[bytes]) -> None:
        patience_s = self._kafka.connect_timeout_s
        options = client_options(self._kafka)
        producer = AIOKafkaProducer(acks="all", request_timeout_ms=int(patience_s * 1000), **options)
        with quiet():
            try:
                async with asyncio.timeout(patience_s):
                    await producer.start()
                for verdict in waiting:
                    key = _address(verdict).surface.encode()
                    async with asyncio.timeout(patience_s):
                        await producer.send_and_wait(self._kafka.verdicts_topic, verdict, key)
                    await self._store.sent(verdict)
            finally:
                await self._close(producer, patience_s)

    @staticmethod
    async def _close(producer: AIOKafkaProducer, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await producer.stop()
        except (KafkaError, OSError, TimeoutError):
            return  # what was not acknowledged stays in the outbox
