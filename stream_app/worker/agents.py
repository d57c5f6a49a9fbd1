"""The counting agent: a batch in, cells and joins changed, a checkpoint when one is due.

It yields nothing and raises nothing: a record that cannot be counted is set apart, and a fault of our own stops the
partition rather than eat its log.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from stream_app.core.events import LATEST_MS, MAX_RECORD_BYTES
from stream_app.core.processor import LATE, Partition, SetApart, Span
from stream_app.worker.batches import RecordBatch, after
from stream_app.worker.checkpoint import FLUSH_AT_FIELDS, Checkpoints, anchor_of
from stream_app.worker.claims import Claim
from stream_app.worker.instruments import Instruments

log = structlog.get_logger("lynceus.worker")

DEAD_LETTER_SAMPLE_BYTES = 1_024


class Kept(NamedTuple):
    """A record for the dead letters or the late ones."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Send(Protocol):
    """Send records to Kafka together: returns what is to be awaited for Kafka's acknowledgement of them."""

    def __call__(self, topic: str, records: Sequence[Kept]) -> Awaitable[Sequence[Awaitable[object]]]:
        """Send them."""


@dataclass(frozen=True, slots=True, eq=False)
class Handing:
    """Records on their way to Kafka's client. Whoever awaits it goes on when Kafka has acknowledged all of them.

    Raises what the sending did.
    """

    handed: "asyncio.Future[Sequence[Awaitable[object]]]"

    def __await__(self) -> Generator[Any, None, None]:
        for acknowledged in (yield from self.handed.__await__()):
            yield from acknowledged.__await__()


class Counting:
    """Applies batches to the claims they belong to. Mutable state: none; the claims are the checkpoints'."""

    def __init__(
        self,
        partitions: Mapping[int, Partition],
        checkpoints: Checkpoints,
        instruments: Instruments,
        send: Send,
        reread: Callable[[TP, int, int], Awaitable[None]],
        *,
        dead_letters_topic: str,
        late_topic: str,
    ) -> None:
        self._partitions = partitions
        self._checkpoints = checkpoints
        self._instruments = instruments
        self._send = send
        self._reread = reread
        self._dead_letters_topic = dead_letters_topic
        self._late_topic = late_topic

    async def run(self, stream: AsyncIterator[RecordBatch]) -> None:
        """Count batch after batch."""
        async for batch in stream:
            try:
                await self.count(batch)
            except KafkaError as error:
                claim = self._checkpoints.claims.get(TP(batch.topic, batch.partition))
                if claim is not None:
                    self._checkpoints.drop(claim, f"set apart: {type(error).__name__}")
            except Exception:
                # A fault of ours. Its records must not be passed over: the partition is refused, and tried anew from
                # what is stored, until it is mended.
                log.exception("counting failed", partition=batch.partition, start=batch.start)
                self._checkpoints.halt(TP(batch.topic, batch.partition), "counting failed; see the log")

    async def count(self, batch: RecordBatch) -> None:
        """Count one batch, if it continues where its partition stands."""
        tp = TP(batch.topic, batch.partition)
        claim = self._checkpoints.claims.get(tp)
        if claim is None or batch.epoch != claim.epoch:
            return  # fetched for an owner or a position that is no more
        if claim.anchor is not None and batch.start > claim.anchor[0]:
            await self._read_again(claim, claim.anchor[0])  # a lost fetch must not take the comparison with it
            return
        if not self._is_same_log(claim, batch) or not await self._is_continuous(claim, batch):
            return
        for spans, follow in batch.runs():
            if follow <= claim.position:
                continue
            await self._count_run(claim, spans, follow)
            if claim.state.changes >= FLUSH_AT_FIELDS and not await self._checkpoints.flush_one(claim):
                return
            # Short steps: the group membership, the metrics and other partitions are served in between.
            await asyncio.sleep(0)
            if self._checkpoints.claims.get(tp) is not claim:
                return

    async def _count_run(self, claim: Claim, spans: Sequence[Span], follow: int) -> None:
        began = time.perf_counter()
        if spans and spans[0].values and spans[0].offset(0) < claim.position:
            spans = [after(span, claim.position) for span in spans]
        report = self._partitions[claim.tp.partition].process(spans)
        assert report.records == sum(len(span.values) for span in spans), report
        claim.position = follow
        head = claim.state.head
        for span in spans:
            if span.values and span.arrived_ms < LATEST_MS:
                claim.oldest_ms = min(claim.oldest_ms or span.arrived_ms, span.arrived_ms)
        last = next((span for span in reversed(spans) if span.values), None)
        if last is not None:
            end = len(last.values) - 1
            head.anchor_offset, head.anchor = last.offset(end), anchor_of(last.values[end], last.arrived_ms)
        head.skipped_offsets = follow - head.first_offset - head.applied
        self._instruments.processed(report, time.perf_counter() - began)
        if report.apart:
            await self._set_apart(claim, report.apart)

    async def _set_apart(self, claim: Claim, apart: Sequence[SetApart]) -> None:
        """Hand records to Kafka's client. From this moment on no checkpoint passes them before Kafka has them."""
        kept: dict[str, list[Kept]] = {}
        where = f"{claim.tp.topic}/{claim.tp.partition}/".encode()
        for each in apart:
            topic = self._late_topic if each.outcome == LATE else self._dead_letters_topic
            kept.setdefault(topic, []).append(kept_of(where, each))
        handings = [Handing(asyncio.ensure_future(self._send(topic, records))) for topic, records in kept.items()]
        claim.sending.update(handings)
        await asyncio.gather(*(handing.handed for handing in handings))

    def _is_same_log(self, claim: Claim, batch: RecordBatch) -> bool:
        """Compare the record before the claimed position with the one that was counted there."""
        if claim.anchor is None:
            return True
        (offset, expected), claim.anchor = claim.anchor, None
        first = batch.spans[0] if batch.spans else None
        if first is None or first.offset(0) != offset or anchor_of(first.values[0], first.arrived_ms) == expected:
            return True  # the same record, or one that compaction has removed: then nothing can be said
        self._checkpoints.halt(claim.tp, f"the record at offset {offset} is not the one counted there: another log")
        return False

    async def _is_continuous(self, claim: Claim, batch: RecordBatch) -> bool:
        """Say whether the batch continues the state; a hole is read again once, then accepted and counted."""
        if batch.next <= claim.position:
            return False
        if batch.start <= claim.position:
            return True
        if claim.reread == claim.position:
            log.warning("hole in the log", partition=claim.tp.partition, start=claim.position, end=batch.start)
            self._instruments.gap(batch.start - claim.position)
            return True
        claim.reread = claim.position
        await self._read_again(claim, claim.position)
        return False

    async def _read_again(self, claim: Claim, offset: int) -> None:
        """Go back to `offset`; what was fetched before is told by its epoch."""
        claim.epoch = self._checkpoints.next_epoch()
        await self._reread(claim.tp, offset, claim.epoch)


def kept_of(where: bytes, apart: SetApart) -> Kept:
    """Return what is kept of a record that was set apart; `where` names its topic and partition."""
    value = apart.value or b""
    headers = [("reason", apart.reason.encode()), ("detail", apart.detail.encode()), ("version", b"1")]
    if len(value) > MAX_RECORD_BYTES:
        headers.append(("sha256", hashlib.sha256(value).hexdigest().encode()))
        value = value[:DEAD_LETTER_SAMPLE_BYTES]
    return Kept(where + b"%d" % apart.offset, value, headers)
