"""Golden: the shipped Open Bandit logs, whose positions, propensities and clicks are real.

The log of the random policy is a reference for positions, and the truth for what the random policy is worth; the
other log, by Thompson sampling, has to tell that value without it. There are no predicted click probabilities in
these data, so calibration is that of the propensities: the mean weight.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from operator import add
from typing import NamedTuple

import pytest

from producers.open_bandit import DATA, PUBLISHED_CTR, events
from stream_app.core.events import Click, Impression
from stream_app.metrics.off_policy import WeightSums, contribution, growth, weight_nanos
from stream_app.statistics.concentration import concentration
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.offpolicy import (
    capped_share,
    effective_size,
    inverse_propensity_value,
    mean_weight,
    self_normalised_value,
)
from stream_app.statistics.positions import (
    ByPosition,
    clicks_over_expected,
    ctr_by_position,
    examination_corrected_ctr,
)
from stream_app.statistics.proportions import wilson

ITEMS = 34
UNIFORM = 1 / ITEMS
NOON_MS = 1_574_596_800_000


class Shown(NamedTuple):
    """An impression, and whether it was clicked."""

    position: int
    item: str
    propensity: float
    is_clicked: bool


@cache
def logs() -> dict[str, list[Shown]]:
    """Return the impressions of each policy in time order."""
    replayed = list(events(DATA, NOON_MS))
    clicked = {event.decision for event in replayed if isinstance(event, Click)}
    found: dict[str, list[Shown]] = {"random": [], "bts": []}
    for one in replayed:
        if isinstance(one, Impression):
            found[one.policy].append(Shown(one.position, one.item, one.propensity, one.decision in clicked))
    return found


def by_position(rows: Iterable[Shown]) -> ByPosition:
    rows = list(rows)
    seen, clicked = Counter(r.position for r in rows), Counter(r.position for r in rows if r.is_clicked)
    return ByPosition([seen[p] for p in (1, 2, 3)], [clicked[p] for p in (1, 2, 3)])


def weighed(rows: Iterable[Shown]) -> WeightSums:
    """Return the sums for the random policy: impressions first, clicks as they come after."""
    sums = WeightSums()
    for row in rows:
        weight = weight_nanos(UNIFORM, row.propensity)
        sums = WeightSums(*map(add, sums, contribution(weight, 0)))
        if row.is_clicked:
            sums = WeightSums(*map(add, sums, growth(weight, 0, 1)))
    return sums


def rounded(estimate: Estimate | None, digits: int = 5) -> tuple[float, float, float] | None:
    return estimate and (round(estimate.low, digits), round(estimate.value, digits), round(estimate.high, digits))


@pytest.mark.parametrize(
    ("policy", "seen", "clicked"),
    [("random", [3_284, 3_388, 3_328], [10, 22, 14]), ("bts", [3_339, 3_262, 3_399], [30, 21, 18])],
)
def test_clicks_by_position(policy: str, seen: list[int], clicked: list[int]) -> None:
    """Each position has its counted impressions, clicks and Wilson's interval."""
    own = by_position(logs()[policy])
    assert (seen, clicked) == (own.seen, own.clicked)
    assert [wilson(c, n) for n, c in zip(seen, clicked, strict=True)] == ctr_by_position(own)


def test_the_random_policy_valued_by_itself_is_its_click_through_rate() -> None:
    """Where both policies are the same all weights are 1, and both estimators give 46 of 10,000."""
    sums = weighed(logs()["random"])
    expected = [(1.0, 1.0, 1.0), (0.00327, 0.0046, 0.00593), (0.00327, 0.0046, 0.00593)]
    assert expected == [rounded(f(sums)) for f in (mean_weight, inverse_propensity_value, self_normalised_value)]
    assert (10_000, 0.0) == (round(effective_size(sums)), capped_share(sums).value)  # type: ignore[union-attr]


def test_the_random_policy_valued_from_the_other_log_covers_the_truth() -> None:
    """From clicks under Thompson sampling alone, the interval holds the random log's rate and the published one."""
    sums = weighed(logs()["bts"])
    found = self_normalised_value(sums)
    assert found is not None
    assert ((0.00173, 0.00349, 0.00525), 1_350, 48) == (rounded(found), round(effective_size(sums)), sums.capped)
    assert [True, True] == [found.low <= truth <= found.high for truth in (46 / 10_000, PUBLISHED_CTR["random"])]


def test_the_mean_weight_says_when_capped_weights_mislead() -> None:
    """48 capped weights took an eighth of all weight: a mean weight away from 1 says that IPW is too low, and it is."""
    sums = weighed(logs()["bts"])
    assert [(0.81938, 0.86216, 0.90494), (0.00149, 0.00301, 0.00453)] == [
        rounded(f(sums)) for f in (mean_weight, inverse_propensity_value)
    ]


def test_a_short_log_is_hidden() -> None:
    """The first thousand impressions are worth 141 and tell nothing; two thousand are worth 237 and do."""
    short, longer = weighed(logs()["bts"][:1_000]), weighed(logs()["bts"][:2_000])
    assert [141, 237] == [round(effective_size(sums)) for sums in (short, longer)]
    assert [None, None] == [inverse_propensity_value(short), self_normalised_value(short)]
    assert [True, True] == [value(longer) is not None for value in (inverse_propensity_value, self_normalised_value)]


def test_two_halves_are_the_whole() -> None:
    """The sums of the first and the second half add up to those of the log, to the unit."""
    rows = logs()["bts"]
    assert weighed(rows) == WeightSums(*map(add, weighed(rows[:5_000]), weighed(rows[5_000:])))


def test_corrected_for_position_the_other_policy_is_still_ahead() -> None:
    """Half as many clicks again as random order would get in the same places; all at the first, 0.5 % against 0.3 %."""
    own, reference = by_position(logs()["bts"]), by_position(logs()["random"])
    assert [(1.03135, 1.51157, 2.19346), (0.00321, 0.00529, 0.00737), (0.00134, 0.00305, 0.00475)] == [
        rounded(clicks_over_expected(own, reference)),
        rounded(examination_corrected_ctr(own, reference)),
        rounded(examination_corrected_ctr(reference, reference)),
    ]


def test_random_shows_all_alike_and_the_other_its_favourites() -> None:
    """Both show all 34 items; the impressions' entropy and Gini coefficient tell random from learnt."""
    spreads = [concentration(Counter(row.item for row in rows).values(), ITEMS) for rows in logs().values()]
    assert ["random", "bts"] == list(logs())
    assert [(1.0, 0.999, 0.041), (1.0, 0.772, 0.651)] == [
        (s.coverage, round(s.entropy, 3), round(s.gini, 3)) for s in spreads if s is not None
    ]
