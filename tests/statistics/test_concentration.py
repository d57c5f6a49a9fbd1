"""How impressions spread over a catalogue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from stream_app.statistics.concentration import Concentration, concentration

counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=30).filter(any)


def test_the_hand_computed_spreads() -> None:
    """All alike is 1, 1, 0; one item of four 1/4, 0, 3/4; one, two, three and four have a Gini of 1/4."""
    assert [Concentration(8, 1.0, 1.0, 0.0), Concentration(5, 0.25, 0.0, 0.75), 0.25] == [
        concentration([2, 2, 2, 2], 4),
        concentration([5], 4),
        concentration([1, 2, 3, 4], 4).gini,  # type: ignore[union-attr]
    ]


@given(counts)
def test_spreads_equal_their_definitions(shown: list[int]) -> None:
    """The entropy is scipy's over that of an even spread; Gini half the mean difference over the mean."""
    x = np.array(shown, dtype=float)
    gini = np.abs(x[:, None] - x[None, :]).mean() / (2 * x.mean())
    found = concentration(shown, len(shown))
    assert found is not None
    assert pytest.approx((sum(shown), np.count_nonzero(x) / len(x), entropy(x) / np.log(len(x)), gini), abs=1e-9) == (
        found.n,
        found.coverage,
        found.entropy,
        found.gini,
    )


@given(counts)
def test_the_order_of_items_does_not_matter(shown: list[int]) -> None:
    """Neither the order nor items that were never shown change what the counts say."""
    assert concentration(shown, 40) == concentration([*reversed(shown), 0, 0], 40)


def test_nothing_shown_says_nothing_and_too_much_is_refused() -> None:
    """Without impressions there is no spread; with more items than the catalogue has, something is wrong."""
    assert None is concentration([0], 5)
    with pytest.raises(ValueError, match="3 items were shown of a catalogue of 2"):
        concentration([1, 1, 1], 2)
