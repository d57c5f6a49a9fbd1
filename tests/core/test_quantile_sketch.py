"""The quantile sketch: a group of integer counts, within 1 % of every quantile."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.quantile_sketch import LARGEST, RELATIVE_ERROR, Bucket, QuantileSketch

amounts = st.lists(st.integers(0, 10**12), max_size=60)


def sketch_of(many) -> QuantileSketch:
    sketch = QuantileSketch()
    for amount in many:
        sketch.add(amount)
    return sketch


def test_small_amounts_are_exact() -> None:
    """Up to 49 each amount has a bucket of its own; 50 and 51 share one, in whose middle 50.495 lies."""
    buckets = list(sketch_of([0, 1, 49, 50, 51, 51]).buckets())
    assert [Bucket(0, 0, 1), Bucket(1, 1, 1), Bucket(49, 49, 1), Bucket(50, 51, 3)] == buckets
    assert [0.0, 1.0, 49.0, 50.495] == [round(bucket.middle, 3) for bucket in buckets]


@given(st.integers(1, LARGEST))
def test_a_bucket_is_as_narrow_as_stated(amount: int) -> None:
    """Whatever the amount, its bucket holds it and its bucket's middle is within 1 % of it."""
    (bucket,) = sketch_of([amount]).buckets()
    assert bucket.low <= amount <= bucket.high
    assert abs(bucket.middle - amount) <= RELATIVE_ERROR * amount * (1 + 1e-12)


def test_there_are_never_more_buckets_than_stated() -> None:
    """All powers of two up to the largest and everything beyond fit in the buckets there are."""
    sketch = sketch_of([2**power for power in range(70)])
    (*_, last) = sketch.buckets()
    assert (1_561, 20) == (QuantileSketch.MOST_BUCKETS, last.size)  # 2^50 to 2^69 lie above the largest
    assert last.low <= LARGEST <= last.high


@given(amounts, amounts, st.randoms(use_true_random=False))
def test_merging_parts_is_the_whole(one: list[int], other: list[int], source: random.Random) -> None:
    """The sketch of a whole is the sum of its parts' sketches, bit for bit, in any order."""
    shuffled = [*one, *other]
    source.shuffle(shuffled)
    merged = sketch_of(other)
    merged.merge(sketch_of(one))
    assert sketch_of(one + other).pack() == merged.pack() == sketch_of(shuffled).pack()


@given(amounts, amounts)
def test_what_was_added_can_be_taken_back(kept: list[int], taken: list[int]) -> None:
    """A sketch from which amounts are taken back is the sketch that never had them; so is one merged with negatives."""
    sketch, negative = sketch_of(kept + taken), QuantileSketch()
    for amount in taken:
        sketch.add(amount, -1)
        negative.add(amount, -1)
    merged = sketch_of(kept + taken)
    merged.merge(negative)
    assert sketch_of(kept) == sketch == merged


@given(amounts)
def test_packing_loses_nothing(many: list[int]) -> None:
    """Unpacking gives an equal sketch, and packing that the same bytes."""
    sketch = sketch_of(many)
    unpacked = QuantileSketch.unpack(sketch.pack())
    assert (sketch, sketch.pack(), len(many)) == (unpacked, unpacked.pack(), unpacked.size)


@given(amounts.filter(bool), st.data())
def test_every_quantile_is_within_its_error_of_numpy(many: list[int], data: st.DataObject) -> None:
    """The bucket found holds the quantile that numpy finds in all amounts, without interpolation."""
    share = (data.draw(st.integers(1, len(many))) - 0.5) / len(many)  # between two ranks: no rounding decides
    exact = np.quantile(np.array(many, dtype=float), share, method="inverted_cdf")
    bucket = sketch_of(many).quantile(share)
    assert bucket.low <= exact <= bucket.high


def test_a_rank_is_computed_as_a_fraction() -> None:
    """7 % of 100 amounts are 7 of them, although 0.07 * 100 is more than 7 in floating point."""
    assert Bucket(7, 7, 1) == sketch_of(range(1, 101)).quantile(0.07)


@pytest.mark.parametrize(
    "call",
    [
        lambda: QuantileSketch().add(-1),
        lambda: QuantileSketch().quantile(0.5),
        lambda: sketch_of([1]).at_rank(0),
        lambda: sketch_of([1]).at_rank(2),
        lambda: QuantileSketch.unpack(b"\xc1"),
        lambda: QuantileSketch.unpack(b"\x81\x05\x00"),
        lambda: QuantileSketch.unpack(b"\x81\xcd\xff\xff\x01"),
    ],
)
def test_what_cannot_be_is_refused(call) -> None:
    """Negative amounts, ranks that are not there and bytes that are no sketch raise with what is wrong."""
    with pytest.raises(ValueError, match=r"amount|rank|sketch"):
        call()
