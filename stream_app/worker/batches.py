"""What travels through Faust as one message: everything that one fetch brought for one partition."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from stream_app.core.processor import Span

CHUNK_RECORDS: Final = 2_000
"""How many records are counted in one step: longer steps would starve the heartbeat of the group membership."""


class RecordBatch(NamedTuple):
    """Raw records of one partition: offsets `[start, next)`, in order, perhaps with holes.

    `epoch` is that of the seek after which they were fetched; it tells leftovers of an earlier position.
    """

    topic: str
    partition: int
    start: int
    next: int
    spans: tuple[Span, ...]
    epoch: int

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(len(span.values) for span in self.spans)

    def runs(self) -> Iterator[tuple[tuple[Span, ...], int]]:
        """Yield the chunks in groups that are still one step's work, each with the offset that follows it.

        A producer's batches are small: taking each for itself would cost more than counting it.
        """
        group: list[Span] = []
        records, last = 0, self.start
        for span, follow in self.chunks():
            if group and records + len(span.values) > CHUNK_RECORDS:
                yield tuple(group), last
                group, records = [], 0
            group.append(span)
            records, last = records + len(span.values), follow
        yield tuple(group), last

    def chunks(self) -> Iterator[tuple[Span, int]]:
        """Yield short runs of records, each with the offset that follows it."""
        last = len(self.spans) - 1
        for index, span in enumerate(self.spans):
            for begin in range(0, len(span.values), CHUNK_RECORDS):
                end = min(begin + CHUNK_RECORDS, len(span.values))
                is_last = index == last and end == len(span.values)
                follow = self.next if is_last else span.offset(end - 1) + 1
                if begin == 0 and end == len(span.values):
                    yield span, follow
                else:
                    offsets = None if span.offsets is None else span.offsets[begin:end]
                    yield Span(span.offset(begin), span.arrived_ms, span.values[begin:end], offsets), follow
        if last < 0:
            yield Span(self.start, 0, ()), self.next


def after(span: Span, offset: int) -> Span:
    """Return the part of a span whose offsets are at or beyond `offset`."""
    if not span.values or span.offset(0) >= offset:
        return span
    offsets = span.offsets or range(span.first, span.first + len(span.values))
    keep = sum(1 for at in offsets if at < offset)
    rest = None if span.offsets is None else span.offsets[keep:]
    first = span.offset(keep) if keep < len(span.values) else offset
    return Span(first, span.arrived_ms, span.values[keep:], rest)
