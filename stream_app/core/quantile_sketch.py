"""How amounts are distributed: counts in buckets so narrow that every quantile is known to 1 %.

The quantile of a whole cannot be computed from the quantiles of its parts, but from their buckets: these are integers
that add. So a sketch is a group like a tally: merging adds, a negative count takes back, and the sketch of a whole
equals the sum of its parts' sketches, bit for bit, whatever the order.

The idea is that of C. Masson, J. Rim, H. Lee (2019), "DDSketch", PVLDB 12. Two things differ. Amounts are integers
(ms, minor units, micros), so the bounds of the buckets are integers too, computed without a logarithm: the same on
every machine. And since no positive integer is below 1, some 1,600 buckets span all of 0 to 10^15 without ever
collapsing the lowest, which would forget what a later correction has to take back. Up to 49, buckets hold one amount.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

RELATIVE_ERROR: Final = 0.01
"""By how much a bucket's `middle` differs at most from any amount in it, relative to that amount."""
LARGEST: Final = 10**15
"""Amounts above it are counted in the highest bucket, as if they were about this large."""


class Bucket(NamedTuple):
    """`size` amounts from `low` to `high`, both included."""

    low: int
    high: int
    size: int

    @property
    def middle(self) -> float:
        """The value that is relatively equally far from both ends: 2 low high / (low + high); 0 for 0."""
        return 2 * self.low * self.high / (self.low + self.high) if self.low else 0.0


def _highest_amounts() -> tuple[int, ...]:
    """Return the highest amount of each bucket: 0, then as far as (high - low) / (high + low) <= 1 / 100 allows."""
    highs = [0]
    while highs[-1] < LARGEST:
        highs.append((highs[-1] + 1) * 101 // 99)
    return tuple(highs)


_HIGHS: Final = _highest_amounts()
_LOWS: Final = (0, *(before + 1 for before, _ in pairwise(_HIGHS)))
_LAST: Final = len(_HIGHS) - 1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, int]).decode


def bucket_of(amount: int) -> int:
    """Return the number of the bucket of an amount, 0 for a negative one: what a histogram of amounts bins by."""
    return min(bisect_left(_HIGHS, amount), _LAST)


class QuantileSketch:
    """A multiset of integers >= 0, each known to 1 %.

    Mutable state: `counts`, the number of amounts by bucket, for reading only. Buckets with none are left out; there
    are at most `MOST_BUCKETS`.
    """

    __slots__ = ("counts",)

    MOST_BUCKETS: Final = len(_HIGHS)

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def add(self, amount: int, times: int = 1) -> None:
        """Add `amount` `times` times; negative `times` take it back. Raises ValueError for a negative amount."""
        bucket = bisect_left(_HIGHS, amount)
        if amount < 0:
            raise ValueError(f"amount {amount} is negative; a quantile sketch holds amounts from 0")
        if bucket > _LAST:
            bucket = _LAST
        counts = self.counts
        count = counts.get(bucket, 0) + times
        if count:
            counts[bucket] = count
        else:
            counts.pop(bucket, None)

    def merge(self, other: "QuantileSketch") -> None:
        """Add all amounts of `other`."""
        counts = self.counts
        for bucket, more in other.counts.items():
            count = counts.get(bucket, 0) + more
            if count:
                counts[bucket] = count
            else:
                del counts[bucket]

    @property
    def size(self) -> int:
        """The number of amounts."""
        return sum(self.counts.values())

    def buckets(self) -> Iterator[Bucket]:
        """Yield the buckets that hold something, from the lowest amounts to the highest."""
        return (Bucket(_LOWS[bucket], _HIGHS[bucket], count) for bucket, count in sorted(self.counts.items()))

    def at_rank(self, rank: int) -> Bucket:
        """Return the bucket of the amount that is the `rank`-th smallest, from 1 to `size`."""
        below = 0
        for bucket, size in sorted(self.counts.items()):
            below += size
            if below >= rank >= 1:
                return Bucket(_LOWS[bucket], _HIGHS[bucket], size)
        raise ValueError(f"there is no rank {rank} among {below} amounts")

    def quantile(self, share: float) -> Bucket:
        """Return the bucket of the smallest amount that at least `share` of all do not exceed; needs `size` >= 1.

        This is the inverse of the distribution function, without interpolation: rank ceil(share * size).
        """
        # 0.07 * 100 is a little above 7 in floating point; as a fraction it is 7.
        rank = -(-self.size * Fraction(share).limit_denominator(100_000) // 1)
        return self.at_rank(max(1, rank))

    def pack(self) -> bytes:
        """Return the counts as bytes: two to four for each bucket that holds something, in the common case."""
        return _encode(dict(sorted(self.counts.items())))

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> "QuantileSketch":
        """Return a sketch of these counts by the number of their bucket (`bucket_of`)."""
        sketch = cls()
        sketch.counts = {bucket: count for bucket, count in counts.items() if count}
        return sketch

    @classmethod
    def unpack(cls, packed: bytes) -> "QuantileSketch":
        """Undo `pack`. Raises ValueError for bytes that `pack` does not write."""
        sketch = cls()
        try:
            sketch.counts = _decode(packed)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{len(packed)} bytes are no quantile sketch: {error}") from None
        if any(not 0 <= bucket <= _LAST or not count for bucket, count in sketch.counts.items()):
            raise ValueError(f"a quantile sketch has buckets 0 to {_LAST} with counts other than 0")
        return sketch

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QuantileSketch):
            return NotImplemented
        return self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # mutable: equal today, different tomorrow
