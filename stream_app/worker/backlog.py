"""What was fetched and is not counted yet, and how much of that there may be.

Kafka is the buffer: what finds no room here stays compressed with the client, which then fetches no more of that
partition. A record costs its bytes and what Python keeps with it, so one bound holds for many small ones and few large.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from faust.types import TP

from stream_app.worker.batches import RecordBatch

RECORD_COST: Final = 64
PARTITION_BYTES: Final = 2 * 2**20
TOTAL_BYTES: Final = 8 * 2**20
"""Some 20,000 records: a third of a second of counting."""
SCARCE_BYTES: Final = 2**19
"""In place of the total while the process is short of memory: about one fetch at a time."""

Standing = tuple[int, int]
"""Epoch and next offset of a claim."""


class Backlog:
    """Mutable state: what was handed on, by partition. Owned by the consumer's thread; `is_scarce` by the loop."""

    def __init__(self) -> None:
        self.is_scarce = False
        self._handed: dict[TP, deque[tuple[int, int, int]]] = {}

    def settle(self, standing: Callable[[TP], Standing | None]) -> None:
        """Forget what has been counted, or never will be: it was fetched for another claim or position."""
        for tp in list(self._handed):
            batches, now = self._handed[tp], standing(tp)
            while batches and (now is None or batches[0][0] != now[0] or batches[0][1] <= now[1]):
                batches.popleft()
            if not batches:
                del self._handed[tp]

    def room(self, partition: TP) -> int:
        """Return how many bytes may be handed on; what is a little more is allowed once."""
        total = SCARCE_BYTES if self.is_scarce else TOTAL_BYTES
        waiting = {tp: sum(cost for _, _, cost in batches) for tp, batches in self._handed.items()}
        return min(PARTITION_BYTES - waiting.get(partition, 0), total - sum(waiting.values()))

    def add(self, partition: TP, batch: RecordBatch) -> None:
        """Note what is handed on."""
        cost = sum(cost_of(span.values) for span in batch.spans)
        self._handed.setdefault(partition, deque()).append((batch.epoch, batch.next, cost))


def cost_of(values: Sequence[bytes | None]) -> int:
    """Return what records take while they wait, in bytes."""
    return RECORD_COST * len(values) + sum(map(len, filter(None, values)))
