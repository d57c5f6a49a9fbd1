"""How many different users, items or sessions: HyperLogLog, a set that can be merged and takes no more than 2^p bytes.

Distinct counts do not add: who was there in two panes is one user. So a pane keeps for each of 2^p registers the
longest run of leading zeros among the hashes that fell there; merging takes the larger register, which makes the
sketch of a whole equal to the merged sketches of its parts, bit for bit, whatever the order and however often a key
came. It is no group: what was added cannot be taken back.

Sources: P. Flajolet et al. (2007), "HyperLogLog", AofA 07; the estimator is that of O. Ertl (2017), "New cardinality
estimation algorithms for HyperLogLog sketches", arXiv:1702.01284, which needs no bias tables.
"""

from collections.abc import Iterable
from math import inf, log, sqrt
from typing import Final

KEY_BITS: Final = 64
_SPARSE, _DENSE = 0, 1
_ENTRY_BYTES: Final = 3


class DistinctSketch:
    """A multiset of 64-bit hashes, of which only the number of different ones can be asked.

    With p = `precision`, the standard error of `estimate` is 1.04 / sqrt(2^p): 1.6 % with p = 12.

    Mutable state: the registers. Few are kept in the dictionary `sparse`, more than 2^p / 32 in the array `dense`;
    which of the two depends on their number alone, never on how they came. Both are for reading only.
    """

    __slots__ = ("_mask", "_most_sparse", "_shift", "dense", "precision", "sparse")

    def __init__(self, precision: int = 12) -> None:
        if not 7 <= precision <= 16:
            raise ValueError(f"precision {precision} is not between 7 and 16")
        self.precision = precision
        self._shift = KEY_BITS - precision
        self._mask = (1 << self._shift) - 1
        self._most_sparse = 1 << precision - 5
        self.sparse: dict[int, int] = {}
        self.dense: bytearray | None = None

    @property
    def standard_error(self) -> float:
        """The relative standard error of `estimate`, e.g. 0.016."""
        return 1.04 / sqrt(1 << self.precision)

    def add(self, key: int) -> None:
        """Add a 64-bit hash, e.g. of a user id; a key that was added before changes nothing."""
        shift = self._shift
        index = key >> shift
        rank = shift + 1 - (key & self._mask).bit_length()
        dense = self.dense
        if dense is not None:
            if dense[index] < rank:
                dense[index] = rank
        elif (sparse := self.sparse).get(index, 0) < rank:
            sparse[index] = rank
            if len(sparse) > self._most_sparse:
                self._densify()

    def merge(self, other: "DistinctSketch") -> None:
        """Add all keys of `other`. Raises ValueError when it has another precision."""
        if other.precision != self.precision:
            raise ValueError(f"sketches of precision {self.precision} and {other.precision} cannot be merged")
        if other.dense is None:
            self._raise(other.sparse.items())
            return
        if self.dense is None:
            few, self.sparse, self.dense = self.sparse, {}, bytearray(other.dense)
            self._raise(few.items())
        else:
            self.dense = _larger(self.dense, other.dense)

    def estimate(self) -> float:
        """Return the estimated number of different keys; exactly 0 for none.

            n = m^2 / (2 ln 2 * (m sigma(C0/m) + sum_k C_k 2^-k + m tau(1 - C_(q+1)/m) 2^-q))

        with m = 2^p, q = 64 - p and C_k the number of registers that hold k. Source: Ertl (2017).
        """
        registers, last = 1 << self.precision, self._shift + 1
        held = self._histogram(last)
        z = registers * _tau(1 - held[last] / registers)
        for rank in range(last - 1, 0, -1):
            z = (z + held[rank]) / 2
        z += registers * _sigma(held[0] / registers)
        # With every register full, which no honest hash reaches, the estimate is that there are all keys.
        return registers * registers / (2 * log(2) * z) if z else 2.0**KEY_BITS

    def pack(self) -> bytes:
        """Return the registers as bytes: at most 2^p + 2, three for each register while that is shorter."""
        if self.dense is not None and not self._is_short(len(self.dense) - self.dense.count(0)):
            return bytes((self.precision, _DENSE)) + self.dense
        body = b"".join(index.to_bytes(2, "big") + bytes((rank,)) for index, rank in self._entries())
        return bytes((self.precision, _SPARSE)) + body

    @classmethod
    def unpack(cls, packed: bytes) -> "DistinctSketch":
        """Undo `pack`. Raises ValueError for bytes that `pack` does not write."""
        if len(packed) < 2 or packed[1] not in (_SPARSE, _DENSE):
            raise ValueError(f"{len(packed)} bytes that begin with {packed[:2]!r} are no distinct sketch")
        sketch, body = cls(packed[0]), packed[2:]
        registers, highest = 1 << sketch.precision, sketch._shift + 1
        if packed[1] == _DENSE:
            is_whole = len(body) == registers and max(body) <= highest
            if is_whole and not sketch._is_short(registers - body.count(0)):
                sketch.dense = bytearray(body)
                return sketch
        elif len(body) % _ENTRY_BYTES == 0 and sketch._is_short(len(body) // _ENTRY_BYTES):
            places = range(0, len(body), _ENTRY_BYTES)
            entries = [(int.from_bytes(body[at : at + 2], "big"), body[at + 2]) for at in places]
            if all(index < registers and 1 <= rank <= highest for index, rank in entries):
                sketch._raise(entries)
                return sketch
        raise ValueError(f"{len(body)} bytes are no registers of a distinct sketch of precision {sketch.precision}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DistinctSketch):
            return NotImplemented
        return (self.precision, self.sparse, self.dense) == (other.precision, other.sparse, other.dense)

    __hash__ = None  # type: ignore[assignment]  # mutable: equal today, different tomorrow

    def _raise(self, entries: Iterable[tuple[int, int]]) -> None:
        """Raise each register to the rank given; change to the array when there are too many."""
        dense, sparse = self.dense, self.sparse
        if dense is not None:
            for index, rank in entries:
                if dense[index] < rank:
                    dense[index] = rank
            return
        for index, rank in entries:
            if sparse.get(index, 0) < rank:
                sparse[index] = rank
        if len(sparse) > self._most_sparse:
            self._densify()

    def _densify(self) -> None:
        self.dense = dense = bytearray(1 << self.precision)
        for index, rank in self.sparse.items():
            dense[index] = rank
        self.sparse = {}

    def _is_short(self, used: int) -> bool:
        """Say whether so many registers take less room one by one than all of them together."""
        return used * _ENTRY_BYTES < 1 << self.precision

    def _entries(self) -> list[tuple[int, int]]:
        if self.dense is None:
            return sorted(self.sparse.items())
        return [(index, rank) for index, rank in enumerate(self.dense) if rank]

    def _histogram(self, last: int) -> list[int]:
        if self.dense is not None:
            return [self.dense.count(rank) for rank in range(last + 1)]
        held = [0] * (last + 1)
        held[0] = (1 << self.precision) - len(self.sparse)
        for rank in self.sparse.values():
            held[rank] += 1
        return held


def _larger(one: bytearray, other: bytearray) -> bytearray:
    """Return the larger of each pair of bytes; all are below 128.

    As two large integers, some twenty times as fast as byte by byte: with its highest bit set, no byte of `one`
    borrows when that of `other` is subtracted, and the bit stays where `one` is not smaller.
    """
    a, b = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    high = int.from_bytes(b"\x80" * len(one), "little")
    is_first = ((a | high) - b) & high
    first = is_first - (is_first >> 7)
    return bytearray(((a & first) | (b & ~first)).to_bytes(len(one), "little"))


def _sigma(x: float) -> float:
    """Return x + sum over k >= 1 of x^(2^k) 2^(k-1): what the empty registers say (Ertl 2017)."""
    if x == 1:
        return inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    """Return (1 - x - sum over k >= 1 of (1 - x^(2^-k))^2 2^-k) / 3: what the full ones say."""
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = sqrt(x)
        before = z
        y /= 2
        z -= (1 - x) ** 2 * y
    return z / 3
