"""Sends records set apart, many in one request: Faust would make a future for each, which costs more than counting it.

Who sends may wait for what became of them, and makes them leave by waiting; else they leave when they are many or when
they have waited long enough. Reads aiokafka's producer below Faust's (tests/worker/test_contract.py holds the names).
"""

import asyncio
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from faust.transport.drivers import aiokafka as driver

GATHER_S = 0.2
"""How long records set apart may wait for more of them: a request costs as much as counting some seventy records."""


class Record(Protocol):
    """What is sent: a record with its headers."""

    @property
    def key(self) -> bytes:
        """The key."""

    @property
    def value(self) -> bytes:
        """The value."""

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """The headers."""


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """Records that go together: the batch, whether it must leave, whether it has left, and Kafka's acknowledgement.

    Whoever awaits it makes it leave, and goes on when Kafka has acknowledged it. Raises what the sending did.
    """

    batch: Any
    due: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    sent: "asyncio.Future[object]" = field(default_factory=asyncio.Future)

    def __await__(self) -> Generator[Any, None, object]:
        self.due.set()
        # Several claims wait for one batch: what one of them cancels stays its own.
        return asyncio.shield(self.sent).__await__()


class Producer(driver.Producer):
    """Faust's producer, and a way to send many records together: a future for each would cost more than counting it.

    Mutable state: by topic, the batch that is gathered while another is on its way, and the task that sends them. More
    than these two batches never wait, each at most the producer's batch size.
    """

    def __post_init__(self) -> None:
        """Begin with nothing gathered."""
        super().__post_init__()
        self._gathered: dict[str, Gathered] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}

    async def send_together(self, topic: str, records: Iterable[Record]) -> Sequence[Gathered]:
        """Send the records in order to one partition, soon; return the batches they are in, to be awaited.

        Waits only while a batch is full and the one before it is not acknowledged.
        """
        batches: list[Gathered] = []
        for record in records:
            gathered = self._gather(topic)
            while not _is_added(gathered.batch, record):
                assert gathered.batch.record_count(), "one record always fits"
                gathered.due.set()
                await gathered.left.wait()
                gathered = self._gather(topic)
            if not batches or batches[-1] is not gathered:
                batches.append(gathered)
        return batches

    def _gather(self, topic: str) -> Gathered:
        """Return the batch that is being gathered; the first record of one sees to it that it will be sent."""
        gathered = self._gathered.get(topic)
        if gathered is None:
            gathered = self._gathered[topic] = Gathered(self._ensure_producer().create_batch())
            if topic not in self._sending:
                self._sending[topic] = asyncio.create_task(self._send_gathered(topic))
        return gathered

    async def _send_gathered(self, topic: str) -> None:
        """Send batch after batch, each when it is full, somebody waits for it, or it has waited long enough."""
        gathered = None
        try:
            while (gathered := self._gathered.get(topic)) is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(gathered.due.wait(), GATHER_S)
                del self._gathered[topic]
                gathered.left.set()
                try:
                    producer = self._ensure_producer()
                    partition = min(await producer.partitions_for(topic))
                    gathered.sent.set_result(
                        await (await producer.send_batch(gathered.batch, topic, partition=partition))
                    )
                except Exception as error:  # whatever it is: whoever waits for the batch must know
                    gathered.sent.set_exception(error)
                    gathered.sent.exception()  # and where its claims are gone, nobody waits: that is no fault to log
        finally:
            del self._sending[topic]
            for left in (gathered, self._gathered.pop(topic, None)):
                if left is not None:
                    left.left.set()
                    left.sent.cancel()


def _is_added(batch: Any, record: Record) -> bool:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is not None
