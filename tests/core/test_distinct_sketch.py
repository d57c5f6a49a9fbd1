"""The distinct sketch: a set that merges exactly, within its stated error of the truth."""

import random
from math import log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest as digest

from stream_app.core.distinct_sketch import DistinctSketch

keys = st.lists(st.integers(0, 2**64 - 1), max_size=60)
numbers = st.integers(0, 400)


def sketch_of(many, precision: int = 7) -> DistinctSketch:
    sketch = DistinctSketch(precision)
    for key in many:
        sketch.add(key)
    return sketch


def hashes(*parts: range) -> list[int]:
    return [digest(str(number).encode()) for part in parts for number in part]


def test_an_empty_sketch_holds_nothing() -> None:
    """No key, no count: exactly 0."""
    assert (0.0, 2) == (DistinctSketch().estimate(), len(DistinctSketch().pack()))


def test_one_key_is_one() -> None:
    """A single key, however often it came, is estimated as 1."""
    assert 1.0 == round(sketch_of(hashes(range(1)) * 9, 12).estimate(), 3)


def test_a_register_keeps_the_longest_run_of_zeros() -> None:
    """With p = 12, a key of 0x001 and 52 zero bits is rank 53 of register 1; one with a bit set at once is rank 1."""
    sketch = sketch_of([0x001 << 52, (0x002 << 52) + (1 << 51), (0x001 << 52) + (1 << 51)], 12)
    assert {1: 53, 2: 1} == sketch.sparse


@given(keys, keys, st.randoms(use_true_random=False))
def test_merging_parts_is_the_whole(one: list[int], other: list[int], source: random.Random) -> None:
    """The sketch of a whole is the merged sketches of its parts, bit for bit, in any order, with any repetition."""
    shuffled = [*one, *other, *one]
    source.shuffle(shuffled)
    merged = sketch_of(other)
    merged.merge(sketch_of(one))
    assert sketch_of(one + other).pack() == merged.pack() == sketch_of(shuffled).pack()


@given(numbers, numbers)
def test_merging_is_the_same_in_every_form(few: int, many: int) -> None:
    """Sparse or dense, on either side, gives what adding everything gives."""
    one, other = sketch_of(hashes(range(few))), sketch_of(hashes(range(many)))
    one.merge(other)
    assert sketch_of(hashes(range(max(few, many)))) == one


@given(keys)
def test_packing_loses_nothing(many: list[int]) -> None:
    """Unpacking gives an equal sketch, and packing that the same bytes."""
    sketch = sketch_of(many)
    unpacked = DistinctSketch.unpack(sketch.pack())
    assert (sketch, sketch.pack()) == (unpacked, unpacked.pack())


def test_a_packed_sketch_is_small_while_it_holds_little() -> None:
    """Ten keys take 32 bytes; never are there more than a byte per register and two."""
    sizes = [len(sketch_of(hashes(range(size)), 12).pack()) for size in (10, 100_000)]
    assert [32, 2**12 + 2] == sizes


@pytest.mark.parametrize("size", [100, 1_000, 15_000])
def test_the_error_is_the_stated_one(size: int) -> None:
    """Over 30 sets of a size, the root mean square error is at most the stated standard error, to sampling."""
    errors = []
    for number in range(30):
        first = number * size
        errors.append(sketch_of(hashes(range(first, first + size)), 10).estimate() / size - 1)
    spread = sqrt(sum(error * error for error in errors) / len(errors))
    assert spread < 1.3 * DistinctSketch(10).standard_error


def test_adding_the_counts_of_panes_counts_people_twice() -> None:
    """The popular sum over panes: a thousand users in ten panes are not ten thousand. Merging finds the thousand."""
    pane, whole = hashes(range(1_000)), DistinctSketch()
    for _ in range(10):
        whole.merge(sketch_of(pane, 12))
    summed = 10 * sketch_of(pane, 12).estimate()
    assert (1_000, 10_000) == (round(whole.estimate(), -2), round(summed, -3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: DistinctSketch(6),
        lambda: DistinctSketch(12).merge(DistinctSketch(13)),
        lambda: DistinctSketch.unpack(b""),
        lambda: DistinctSketch.unpack(bytes((12, 2))),
        lambda: DistinctSketch.unpack(bytes((12, 1, 0))),
        lambda: DistinctSketch.unpack(bytes((12, 0, 0, 1))),
        lambda: DistinctSketch.unpack(bytes((12, 0, 16, 0, 1))),
        lambda: DistinctSketch.unpack(bytes((12, 0, 0, 1, 60))),
    ],
)
def test_what_is_no_sketch_is_refused(call) -> None:
    """Another precision, and bytes that no sketch was packed into, raise with what is wrong."""
    with pytest.raises(ValueError, match=r"precision|sketch"):
        call()


@pytest.mark.parametrize("full", [1, 5, 127])
def test_full_registers_are_corrected_for(full: int) -> None:
    """With p = 7, `full` registers at rank 58 and the others at 57, the estimate is that of Ertl's series."""
    sketch = sketch_of([register << 57 | (register >= full) for register in range(128)])
    x = 1 - full / 128
    series = (1 - x - sum((1 - x**0.5**k) ** 2 * 0.5**k for k in range(1, 60))) / 3
    expected = 128**2 / (2 * log(2) * (128 - full + 128 * series) * 0.5**57)
    assert pytest.approx(expected) == sketch.estimate()


def test_all_registers_full_are_all_keys() -> None:
    """What no honest hash reaches is 2^64, not a division by zero."""
    assert 2.0**64 == sketch_of([register << 57 for register in range(128)]).estimate()
