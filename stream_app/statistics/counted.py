"""What estimates are made of: sums of measures, and the bins of histograms."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from stream_app.metrics.methods import terms

Bins = Mapping[str, Mapping[int, int]]
"""By the names of histograms: amounts by the numbers of bins."""
NO_BINS: Final[Bins] = {}
NOTHING: Final[Mapping[int, int]] = {}


class Counted(NamedTuple):
    """What was counted: a tally, the position of each measure in it, and the bins of the histograms.

    `reference` are the bins of the holdout at the same surfaces in the same window, for what is told against it.
    """

    tally: Sequence[int]
    position: Mapping[str, int]
    bins: Bins = NO_BINS
    reference: Bins = NO_BINS

    def amount(self, sum_: str) -> int:
        """Return a sum of measures."""
        at = self.position.get(sum_)
        if at is not None:
            return self.tally[at]
        return sum(sign * self.tally[self.position[measure]] for sign, measure in terms(sum_))

    def histogram(self, name: str) -> Mapping[int, int]:
        """Return the bins of a histogram; none where nothing was counted."""
        return self.bins.get(name, NOTHING)
