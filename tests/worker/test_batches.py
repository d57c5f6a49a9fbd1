"""A batch taken apart: no record lost, doubled or moved, whatever the holes, the chunks and the position."""

from itertools import pairwise

import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.events import LATEST_MS
from stream_app.core.processor import Span
from stream_app.worker.batches import CHUNK_RECORDS, RecordBatch, after
from stream_app.worker.transport import _span

Records = list[tuple[int, bytes]]

# Small ones for the corners, and those around the ends of one chunk and of two.
SIZES = st.integers(1, 4) | st.sampled_from([k * CHUNK_RECORDS + d for k in (1, 2) for d in (-1, 0, 1)])


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    """Return a batch: spans in order, some with holes in them, before them and after the last."""
    start = at = draw(st.integers(0, 10) | st.just(2**40))
    spans = []
    for number in range(draw(st.integers(0, 4))):
        at += draw(st.integers(0, 3))
        size = draw(SIZES)
        if draw(st.booleans()):
            first, offsets = at, None
            at += size
        else:
            gaps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
            offsets = [at]
            for index in range(size - 1):
                offsets.append(offsets[-1] + gaps[index % len(gaps)])
            first, at = offsets[0], offsets[-1] + 1
        values = [b"%d" % offset for offset in (offsets or range(first, first + size))]
        spans.append(Span(first, 1_000 + number, values, offsets))
    return RecordBatch("events", 0, start, at + draw(st.integers(0, 3)), tuple(spans), 7)


def records(*spans: Span) -> Records:
    return [(span.offset(index), value or b"") for span in spans for index, value in enumerate(span.values)]


@given(batches())
def test_chunks_are_the_batch(batch: RecordBatch) -> None:
    """Chunks put together are the batch, each short, with the arrival of its span and the right offset behind it."""
    chunks = list(batch.chunks())
    spans = [span for span, _ in chunks]
    bounds = [batch.start, *(follow for _, follow in chunks)]
    inside = [
        all(low <= offset < high for offset, _ in records(span))
        for span, (low, high) in zip(spans, pairwise(bounds), strict=True)
    ]
    arrivals = {offset: span.arrived_ms for span in batch.spans for offset, _ in records(span)}
    assert records(*batch.spans) == records(*spans)
    assert batch.records == sum(len(span.values) for span in spans)
    assert ([True] * len(spans), sorted(bounds), batch.next) == (inside, bounds, bounds[-1])
    assert max(len(span.values) for span in spans) <= CHUNK_RECORDS
    assert arrivals == {offset: span.arrived_ms for span in spans for offset, _ in records(span)}


@given(batches(), st.data())
def test_only_what_is_new_remains(batch: RecordBatch, data: st.DataObject) -> None:
    """Read again from any position, exactly the records at or beyond it are left, at their own offsets."""
    position = data.draw(st.integers(batch.start - 2, batch.next + 2))
    rest = [after(span, position) for span, follow in batch.chunks() if follow > position]
    expected = [(offset, value) for offset, value in records(*batch.spans) if offset >= position]
    assert expected == records(*rest)
    assert all(b"%d" % offset == value for offset, value in records(*rest))


@pytest.mark.parametrize("magic", [0, 1])
def test_message_sets_from_before_kafka_0_11_are_read(magic: int) -> None:
    """They say neither their base offset nor their arrival: every record has its own offset, and none is refused."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=1, batch_size=10_000)
    for offset in range(4):
        builder.append(offset, 1_763_770_000_000 + offset, b"k", b"v%d" % offset)
    sets = MemoryRecords(bytes(builder.build()))
    assert sets.has_next()
    span = _span(sets.next_batch(), 2)
    arrived_ms = 1_763_770_000_003 if magic else LATEST_MS
    assert (2, arrived_ms, [b"v2", b"v3"], [2, 3]) == (span.first, span.arrived_ms, span.values, span.offsets)
