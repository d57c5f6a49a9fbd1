"""What the checkpoints need of Kafka: where a partition's log begins and ends, and to read on where they say."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from faust.types import TP


class Log(Protocol):
    """What the checkpoints need of Kafka: the consumer, in the worker."""

    async def seek_epoch(self, partition: TP, offset: int, epoch: int) -> None:
        """Read on at `offset`."""

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        """Return the group's committed offsets."""

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return where the log begins."""

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return where the log ends."""

    def log_end(self, partition: TP) -> int | None:
        """Return where the log ended at the last fetch, if there was one."""

    def owned(self) -> set[TP]:
        """Return the partitions of events that Kafka assigned to this worker."""

    def topic_partitions(self, topic: str) -> int | None:
        """Return how many partitions the topic has, as far as is known."""


class Ends:
    """What Kafka says of partitions, asked once for all that are claimed together, and only if one needs it.

    These questions wait behind the consumer's long polls: asked for each partition, a take-over of many took seconds.
    Mutable state: the answers.
    """

    def __init__(self, source: Log, partitions: list[TP]) -> None:
        self._source = source
        self._partitions = partitions
        self._answers: dict[TP, tuple[int, int, int]] = {}

    async def of(self, partition: TP) -> tuple[int, int, int]:
        """Return a partition's first offset, its next one, and the one that was committed. Raises KafkaError.

        The last is a witness only, and never beyond the end: somebody may have set it to anything.
        """
        if not self._answers:
            begins, ends, committed = await asyncio.gather(
                self._source.earliest_offsets(*self._partitions),
                self._source.highwaters(*self._partitions),
                self._source.committed(self._partitions),
            )
            self._answers = {tp: (begins[tp], ends[tp], min(committed[tp] or 0, ends[tp])) for tp in self._partitions}
        return self._answers[partition]
