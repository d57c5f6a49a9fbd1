"""Packed tables: they are the dictionaries that they were made of."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.memory import Bound, Remembered
from stream_app.core.packed_table import PackedTable

keys = st.one_of(st.integers(0, 2**60 - 1), st.integers(0, 99), st.integers(2**60 - 99, 2**60 - 1))
of_bytes = st.dictionaries(keys, st.binary(max_size=9))
of_tuples = st.dictionaries(keys, st.tuples(st.integers(0, 2**60), st.integers(-(2**40), 3)))


@given(of_bytes | of_tuples, st.lists(keys))
def test_a_packed_table_is_its_dictionary(
    entries: dict[int, bytes] | dict[int, tuple[int, ...]], others: list[int]
) -> None:
    """It has the same entries, finds each of them, and none that is not there."""
    packed = PackedTable(entries)
    asked = [*entries, *others]
    assert entries == dict(packed)
    assert [(entries.get(key), key in entries) for key in asked] == [(packed.get(key), key in packed) for key in asked]


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=3)), max_size=120), st.integers(1, 9))
def test_what_is_remembered_does_not_depend_on_how_it_is_kept(puts: list[tuple[int, bytes]], capacity: int) -> None:
    """A table that packs its older generation forgets, stores and restores what one that does not would."""
    plain, packed = (Remembered("t", Bound(capacity, 1), len, packs_older=packs) for packs in (False, True))
    fields: dict[str, bytes] = {}
    for each in (plain, packed):
        for key, value in puts:
            each.put(key, value)
            fields |= each.take_fresh()
    again = Remembered("t", Bound(capacity, 1), len, packs_older=True)
    chunks = {(int(g), int(c)): stored for name, stored in fields.items() for _, _, g, c in [name.split(":")]}
    again.restore(packed.generation, 0, packed.forgotten, chunks)
    expected = dict(plain.newer), dict(plain.older), plain.forgotten
    assert [expected] * 2 == [(dict(each.newer), dict(each.older), each.forgotten) for each in (packed, again)]


def test_a_packed_entry_takes_little_more_than_its_value() -> None:
    """Beside its value, an entry takes 13 bytes at most; in a dictionary its key and place alone take 60."""
    entries = {key * 0x9E3779B97F4A7C15 % 2**60: b"." * 20 for key in range(7_250)}
    assert sys.getsizeof(PackedTable(entries)) < len(entries) * (20 + 13)
