"""Golden: the shipped Open Bandit logs through the processor, as a stream, and what its metrics say of them.

The log of the random policy is the holdout, and the truth for what a random choice is worth; that of Thompson sampling
has to tell it without. Nothing is given to it but the events: not that there are 34 items, nor which policy is which.
"""

from functools import cache
from itertools import islice

import pytest

from producers.open_bandit import DATA, PUBLISHED_CTR, events
from stream_app.core import codec
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import INDEX, METRICS, PLAN
from stream_app.metrics.off_policy import choices_of
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.metrics.listing import BinsBy, bins_of

NOON_MS = 1_574_596_800_000
METRIC = {metric.name: metric for metric in METRICS}
BTS, RANDOM = ("men", "personalized"), ("men", "holdout")


@cache
def streamed(number: int | None = None) -> BinsBy:
    """Return the bins after so many events of Thompson sampling, or after all events of both logs."""
    state = Partition(PLAN, Rules(max_remembered=1_000_000))
    replayed = events(DATA, NOON_MS)
    if number is not None:
        replayed = islice((event for event in replayed if event.policy == "bts"), number)
    raws = [codec.encode(event) for event in replayed]
    for first in range(0, len(raws), 2_000):
        state.process([Span(first, NOON_MS + 1_000, raws[first : first + 2_000])])
    return bins_of(state)


def told(name: str, pair: tuple[str, str], found: BinsBy) -> Estimate | None:
    reference = found.get(RANDOM, {})
    return lower(METRIC[name], [0] * len(INDEX), INDEX, found[pair], reference)


def rounded(estimate: Estimate | None, digits: int = 5) -> tuple[float, float, float] | None:
    return estimate and (round(estimate.low, digits), round(estimate.value, digits), round(estimate.high, digits))


@pytest.mark.parametrize(
    ("pair", "clicked", "seen"),
    [(RANDOM, [10, 22, 14], [3_284, 3_388, 3_328]), (BTS, [30, 21, 18], [3_339, 3_262, 3_399])],
)
def test_clicks_by_position(pair: tuple[str, str], clicked: list[int], seen: list[int]) -> None:
    """Each position has its counted impressions and clicks; nothing was shown at the fourth."""
    found = [told(f"ctr_at_position_{position}", pair, streamed()) for position in (1, 2, 3, 4)]
    assert [*((round(c / n, 9), n) for c, n in zip(clicked, seen, strict=True)), None] == [
        estimate and (round(estimate.value, 9), estimate.n) for estimate in found
    ]


def test_clicks_against_the_random_order() -> None:
    """Half as many clicks again as random order gets in the same places; the random order itself is par."""
    assert [(1.03135, 1.51157, 2.19346), (0.00321, 0.00529, 0.00737)] == [
        rounded(told(name, BTS, streamed())) for name in ("clicks_over_expected", "examination_corrected_ctr")
    ]
    par = told("clicks_over_expected", RANDOM, streamed())
    assert par is not None
    assert par.value == pytest.approx(1.0)


def test_the_propensities_tell_how_many_items_there_are() -> None:
    """1/p is 34 on average in both logs, to the spread that rare choices give the second."""
    among = [choices_of(streamed()[pair]["choices_by_propensity"]) for pair in (RANDOM, BTS)]
    assert among[0] == pytest.approx(34, rel=1e-6)
    assert among[1] == pytest.approx(34, rel=0.15)


def test_a_random_choice_valued_from_the_other_log_covers_the_truth() -> None:
    """From clicks under Thompson sampling alone, the interval holds the random log's rate and the published one."""
    found, worth = told("random_choice_ctr", BTS, streamed()), told("random_choice_worth", BTS, streamed())
    assert found is not None
    assert worth is not None
    assert [True, True] == [found.low <= truth <= found.high for truth in (46 / 10_000, PUBLISHED_CTR["random"])]
    assert ((0.00173, 0.00347, 0.00522), 1_388) == (rounded(found), round(worth.value))


def test_a_random_choice_valued_by_itself_is_its_click_through_rate() -> None:
    """Where the log is random all weights are 1: 46 of 10,000, and the log is worth all of its impressions."""
    names = ("random_choice_ctr", "random_choice_ctr_ipw", "random_choice_weight")
    assert [(0.00327, 0.0046, 0.00593), (0.00327, 0.0046, 0.00593), (1.0, 1.0, 1.0)] == [
        rounded(told(name, RANDOM, streamed())) for name in names
    ]
    worth = told("random_choice_worth", RANDOM, streamed())
    assert worth is not None
    assert worth.value == pytest.approx(10_000)


def test_a_short_log_is_hidden() -> None:
    """The first thousand events are worth less than 200 impressions of the random choice: there is no value."""
    names = ("random_choice_ctr", "random_choice_ctr_ipw")
    worth = told("random_choice_worth", BTS, streamed(1_000))
    assert worth is not None
    assert worth.value < 200
    assert [None, None] == [told(name, BTS, streamed(1_000)) for name in names]
    assert [True, True] == [told(name, BTS, streamed(4_000)) is not None for name in names]


def test_all_items_are_found() -> None:
    """Both policies show all 34 items."""
    for pair in (RANDOM, BTS):
        found = told("items_shown", pair, streamed())
        assert found is not None
        assert found.value == pytest.approx(34, abs=1.5)
