"""What estimates are made of: sums of measures, and the bins of histograms."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from stream_app.core.inputs import Figure
from stream_app.metrics.methods import terms

Bins = Mapping[str, Mapping[int, int]]
"""By the names of histograms: amounts by the numbers of bins."""
NO_BINS: Final[Bins] = {}
Figures = Mapping[Figure, float]
"""What people told, of what a metric needs and for what it is asked: costs in major units of the reporting currency."""
NO_FIGURES: Final[Figures] = {}
NOTHING: Final[Mapping[int, int]] = {}


class Counted(NamedTuple):
    """What was counted: a tally, the position of each measure in it, and the bins of the histograms.

    `reference` are the bins of the holdout at the same surfaces in the same window, for what is told against it.
    For a method that holds an arm against another, `base` is the other one's tally; `told` is what people told.
    """

    tally: Sequence[int]
    position: Mapping[str, int]
    bins: Bins = NO_BINS
    reference: Bins = NO_BINS
    base: Sequence[int] = ()
    told: Figures = NO_FIGURES

    def amount(self, sum_: str) -> int:
        """Return a sum of measures."""
        at = self.position.get(sum_)
        if at is not None:
            return self.tally[at]
        return sum(sign * self.tally[self.position[measure]] for sign, measure in terms(sum_))

    def histogram(self, name: str) -> Mapping[int, int]:
        """Return the bins of a histogram; none where nothing was counted."""
        return self.bins.get(name, NOTHING)
