"""Reopened rows: of a pane that was packed, and that a credit has found, only the rows that credits find are unpacked.

    packed    1 [...] 2 [...] 3 [...] 4 [...]      a credit for 2      1 [...] 2 [5, 0, 1] 3 [...] 4 [...]

A busy pane has a hundred rows or more, and what still comes for it minutes later concerns two or three. To find where
each row begins takes a tenth of unpacking them all, and a row that stayed packed is written back as it is.
"""

from collections.abc import ItemsView, Mapping, ValuesView
from typing import Any

from msgspec import Raw

from stream_app.core import cells


class ReopenedRows(dict[int, list[int]]):
    """The rows of a pane or hour by number, unpacked as they are asked for: by `get`, `[]`, `items` and `values`.

    Mutable state: which rows are unpacked, and what those were like before. To msgspec it is a dictionary of rows,
    packed and unpacked ones side by side, in the order in which they were packed.
    """

    __slots__ = ("_before",)

    def __init__(self, packed: bytes) -> None:
        super().__init__(cells.split_rows(packed))  # type: ignore[arg-type]  # a Raw stands for its row
        self._before: dict[int, Raw] = {}

    def get(self, number: int, default: Any = None) -> Any:
        """Return the row of that number, which may be changed in place, or the default."""
        row: Any = super().get(number, default)
        if type(row) is Raw:
            self._before[number] = row
            row = self[number] = cells.unpack_row(row)
        return row

    def __getitem__(self, number: int) -> list[int]:
        """Return the row of that number; raise KeyError where there is none."""
        row = self.get(number)
        if row is None:
            raise KeyError(number)
        return row  # type: ignore[no-any-return]  # `get` may return any default, and there is none

    def items(self) -> ItemsView[int, list[int]]:  # type: ignore[override]  # all that anybody asks of a view
        """Return all rows with their numbers."""
        self._unpack_all()
        return super().items()

    def values(self) -> ValuesView[list[int]]:  # type: ignore[override]  # as above
        """Return all rows."""
        self._unpack_all()
        return super().values()

    def moved(self) -> tuple[Mapping[int, list[int]], Mapping[int, list[int]]]:
        """Return what rows were like that may have changed, and what those and the new ones are like now."""
        before = {number: cells.unpack_row(row) for number, row in self._before.items()}
        rows: ItemsView[int, Any] = super().items()
        return before, {number: row for number, row in rows if type(row) is not Raw}

    def _unpack_all(self) -> None:
        for number in self:
            self.get(number)
