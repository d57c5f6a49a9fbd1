"""How a metric is declared: as data. `statistics.lowering` turns the declaration and a tally into an Estimate."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["proportion", "mean", "clustered"]


@dataclass(frozen=True, slots=True)
class Metric:
    """An answer derived from measures, read from a window's tally.

    `method` says how the value and its interval come from the measures:

    - `proportion`: `total` of `count` trials succeeded; Wilson score interval.
    - `mean`: the mean of `count` amounts that sum to `total` and whose squares sum to `squares`; normal interval,
      cut at `lowest` and `highest`. Amounts are stored `scale` times as large as they are shown, squares
      `squares_scale` times.
    - `clustered`: the same mean where amounts come in sessions and are alike in each: `clusters` names the number of
      sessions, the sum of the squares of their sums (`squares_scale` times), that of the squares of their counts, and
      that of the products of both (`scale` times).

    With fewer than `at_least` in `count` there is no estimate.
    """

    name: str
    title: str
    help: str
    unit: str
    method: Method
    total: str
    count: str
    squares: str = ""
    clusters: tuple[str, ...] = ()
    scale: int = 1
    squares_scale: int = 1
    lowest: float | None = 0.0
    highest: float | None = None
    at_least: int = 1
    is_up_good: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The measures that it reads."""
        return tuple(name for name in (self.total, self.count, self.squares, *self.clusters) if name)
