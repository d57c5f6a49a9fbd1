"""Slices: the combinations of dimension values that cells are kept for, numbered and bounded.

Each partition numbers its own slices in order of first sight; the numbering is stored with its cells. The table
is bounded: beyond the bound the fine dimensions of a new slice become `other`, then its surface does, so a bad
producer can neither fill the memory nor the label space. What that cost is counted.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

NONE: Final = "none"
OTHER: Final = "other"
ALL: Final = "all"
"""The window of everything kept; and, in marginals, every surface or every arm."""


class Slice(NamedTuple):
    """One combination of dimension values."""

    surface: str
    arm: str
    policy: str
    segment: str
    channel: str
    device: str


DIMENSIONS: Final = Slice._fields


def shown_as(value: str) -> str:
    """Return the name by which a surface or an arm is shown: one called `all` is `other`, for that name is taken."""
    return OTHER if value == ALL else value


Key = tuple[str | None, str | None, str | None, str | None, str | None, str | None]


class SliceTable:
    """Slice <-> number. Mutable state: the table only grows, to at most `limit` plus the coarse rows."""

    __slots__ = ("_stored", "limit", "numbers", "overflowed", "slices")

    def __init__(self, limit: int, slices: Iterable[Slice] = ()) -> None:
        self.limit = limit
        self.slices: list[Slice] = []
        self.overflowed = 0
        self.numbers: dict[Key, int] = {}
        for slice_ in slices:
            self._append(slice_)
        self._stored = len(self.slices)

    def number(self, key: Key) -> int:
        """Return the number of the slice with these values; None values read `none`."""
        number = self.numbers.get(key)
        return self._intern(key) if number is None else number

    def coarse(self, key: Key) -> int:
        """Return the number of a slice that stands for others: where there is no room, no event lost its own by it."""
        overflowed = self.overflowed
        number = self.number(key)
        self.overflowed = overflowed
        return number

    @property
    def has_grown(self) -> bool:
        """Say whether there are slices that `mark_stored` has not seen."""
        return len(self.slices) > self._stored

    def mark_stored(self) -> None:
        """Note that the table as it is now has been written."""
        self._stored = len(self.slices)

    def _intern(self, key: Key) -> int:
        whole = Slice(*(value or NONE for value in key))
        coarse = Slice(whole.surface, whole.arm, OTHER, OTHER, OTHER, OTHER)
        last = Slice(OTHER, whole.arm, OTHER, OTHER, OTHER, OTHER)
        # Three cases: room for the slice; room for its surface and arm; only the arm can be told apart.
        for candidate, limit in ((whole, self.limit), (coarse, self.limit + self.limit // 4)):
            known = self.numbers.get(candidate)
            if known is None and len(self.slices) >= limit:
                continue
            if candidate is coarse:
                self.overflowed += 1
            number = self._append(candidate) if known is None else known
            # The alias with None values is remembered only for slices that are themselves remembered:
            # what overflowed is looked up anew each time, or the alias table would be the unbounded one.
            if candidate is whole:
                self.numbers[key] = number
            return number
        self.overflowed += 1
        known = self.numbers.get(last)
        return self._append(last) if known is None else known

    def _append(self, slice_: Slice) -> int:
        self.slices.append(slice_)
        self.numbers[slice_] = number = len(self.slices) - 1
        return number
