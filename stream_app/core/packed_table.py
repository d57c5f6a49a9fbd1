"""A packed table: what a generation that nothing is put into any more takes a quarter of the room for.

    key      k1   k2   k3 ...        8 bytes each, ascending
    ends     20   51   87 ...        4 bytes each: where its value ends
    content  |v1  |v2  |v3 ...       the values, one after the other
    first    0    3    9  ...        where the keys of each range of hashes begin: few are left to be searched

In a dictionary an entry takes 90 bytes beside its value: the integer of its key, a place in the dictionary, the head
of an object.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from sys import getsizeof
from typing import Any, Final, Generic, TypeVar

import msgspec

KEY_BITS: Final = 60
_NO_KEY: Final = 2**64 - 1
_SEARCHED_BITS: Final = 3
"""So many halvings are left to be searched; a longer index would take more time to make than it saves."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, ...]).decode

Value = TypeVar("Value", tuple[int, ...], bytes)


class PackedTable(Mapping[int, Value], Generic[Value]):
    """The entries of a dictionary from 60-bit hashes to bytes, or to tuples of integers. Never changes."""

    __slots__ = ("_are_tuples", "_content", "_ends", "_first", "_keys", "_shift")

    def __init__(self, entries: Mapping[int, Value]) -> None:
        keys: list[int] = sorted(entries)
        values: list[Any] = [entries[key] for key in keys]
        self._are_tuples: bool = any(isinstance(value, tuple) for value in values[:1])
        packed: list[bytes] = [*map(_encode, values)] if self._are_tuples else values
        # After the last one stands what no key is: where a key would stand there is always something to compare it to.
        self._keys = array("Q", [*keys, _NO_KEY])
        self._ends = array("I", [0, *accumulate(map(len, packed))])
        self._content = b"".join(packed)
        bits = max(0, len(keys).bit_length() - _SEARCHED_BITS)
        self._shift = KEY_BITS - bits
        self._first = array("I", [bisect_left(keys, begin << self._shift) for begin in range((1 << bits) + 1)])

    def __len__(self) -> int:
        return len(self._keys) - 1

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys[:-1])

    def __sizeof__(self) -> int:
        return super().__sizeof__() + sum(map(getsizeof, (self._keys, self._ends, self._first, self._content)))

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None  # type: ignore[arg-type]  # only keys are asked for

    def __getitem__(self, key: int) -> Value:
        value: Value | None = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: int, default: Any = None) -> Any:
        """Return what stands under `key`, or the default."""
        keys, first, begin = self._keys, self._first, key >> self._shift
        at = bisect_left(keys, key, first[begin], first[begin + 1])
        if keys[at] != key:
            return default
        packed = self._content[self._ends[at] : self._ends[at + 1]]
        return _decode(packed) if self._are_tuples else packed
