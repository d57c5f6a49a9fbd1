"""Whether everything gets shown or always the same: coverage, entropy and Gini of the impressions by item.

They are exact functions of exact counts; they have no interval, but a bias: in few impressions some items are missing
by chance alone. Compare windows or arms with about as many impressions.
"""

from collections.abc import Iterable
from math import log2

import msgspec


class Concentration(msgspec.Struct, frozen=True):
    """How `n` impressions spread over a catalogue.

    coverage   share of the catalogue's items that were shown, 0 to 1
    entropy    Shannon entropy over that of an even spread, 0 (one item) to 1 (all alike)
    gini       0 (all alike) to (N - 1) / N (one item)
    """

    n: int
    coverage: float
    entropy: float
    gini: float


def concentration(shown: Iterable[int], catalogue: int) -> Concentration | None:
    """Return how impressions by item spread over a catalogue of N = `catalogue` items; None without impressions.

        entropy = -sum p log2 p / log2 N      Gini = sum_i (2 i - N - 1) x_i / (N sum x),  x_1 <= ... <= x_N

    Items that were never shown count as 0 in the Gini coefficient. Sources: C. Shannon (1948), "A mathematical theory
    of communication"; C. Gini (1914), in the form of G. Shani, A. Gunawardana (2011), "Evaluating recommendation
    systems", Recommender Systems Handbook, ch. 8. Raises ValueError for more items than the catalogue has.
    """
    counts = sorted(count for count in shown if count > 0)
    if len(counts) > catalogue:
        raise ValueError(f"{len(counts)} items were shown of a catalogue of {catalogue}")
    total = sum(counts)
    if not total:
        return None
    absent = catalogue - len(counts)
    ranked = sum((2 * (absent + place) - catalogue - 1) * count for place, count in enumerate(counts, 1))
    bits = -sum(count / total * log2(count / total) for count in counts)
    return Concentration(
        total, len(counts) / catalogue, bits / log2(catalogue) if catalogue > 1 else 1.0, ranked / (catalogue * total)
    )
