"""Ranking and accuracy on the simulated world: every metric against a recount of what arrived."""

from functools import cache
from math import exp

import pytest

from producers.world import World
from stream_app.metrics.accuracy import THRESHOLD_LOGIT
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.statistics.lowering import lower
from tests.metrics.listing import (
    BinsBy,
    Item,
    Pair,
    accuracy_of,
    bins_of,
    corrected_of,
    lists_of,
    order_of,
    random_choice_of,
)
from tests.producers.counting import count

METRIC = {metric.name: metric for metric in METRICS}
PLACES = range(1, 12)
"""The last one is of all positions from there on."""
NOTHING = [0] * len(INDEX)
Lists = dict[Pair, list[list[Item]]]


@cache
def run(seed: int) -> tuple[Lists, BinsBy]:
    """Return the lists of three minutes of a shop, recounted, and what the processor's bins hold."""
    counted = count(World(seed), 8.0, 180)
    bins = bins_of(counted.state)
    lists = lists_of(record.value for record in counted.arrived)
    return lists, {pair: of for pair, of in bins.items() if "lists_by_clicks" in of}


def told(bins: BinsBy, pair: Pair, names: list[str]) -> dict[str, float | None]:
    """Return the values of metrics of a surface and arm."""
    reference = bins.get((pair[0], "holdout"), {})
    found = {name: lower(METRIC[name], NOTHING, INDEX, bins[pair], reference) for name in names}
    return {name: None if estimate is None else estimate.value for name, estimate in found.items()}


@pytest.mark.parametrize("seed", [11, 12])
def test_lists_and_their_items_are_counted_to_the_unit(seed: int) -> None:
    """Lists, seen and clicked positions, stated predictions and propensities are those of the recount."""
    lists, bins = run(seed)
    expected = {
        pair: (
            len(own),
            {p: n for p in PLACES if (n := sum(min(i.position, 11) == p for one in own for i in one))},
            {p: n for p in PLACES if (n := sum(min(i.position, 11) == p and i.is_clicked for one in own for i in one))},
            sum(i.predicted is not None for one in own for i in one),
            sum(i.propensity is not None and i.is_clicked for one in own for i in one),
        )
        for pair, own in lists.items()
    }
    assert expected == {
        pair: (
            of["lists_by_clicks"][0],
            {p: of["lists_by_clicks"][99 + p] for p in PLACES if 99 + p in of["lists_by_clicks"]},
            {p: of["lists_by_clicks"][119 + p] for p in PLACES if 119 + p in of["lists_by_clicks"]},
            of.get("predictions_by_score", {}).get(0, 0),
            sum(n for bin_, n in of.get("choices_by_propensity", {}).items() if bin_ % 3 == 1),
        )
        for pair, of in bins.items()
    }


@pytest.mark.parametrize("k", [5, 10])
@pytest.mark.parametrize("seed", [11, 12])
def test_the_order_of_lists_is_told_by_its_definitions(seed: int, k: int) -> None:
    """Precision, hit rate, reciprocal rank and nDCG are those of the textbook, to a millionth."""
    lists, bins = run(seed)
    for pair, own in lists.items():
        if sum(any(item.is_clicked for item in one) for one in own) > 1:
            expected = order_of(own, k)
            assert pytest.approx(expected, abs=1e-6) == told(bins, pair, list(expected))


@pytest.mark.parametrize("seed", [11, 12])
def test_clicks_are_held_against_the_holdout(seed: int) -> None:
    """What corrects for position is what the holdout's own rates by position say; of itself, it is par."""
    lists, bins = run(seed)
    for pair, own in lists.items():
        holdout = lists[pair[0], "holdout"]
        if not any(item.is_clicked and item.position == 1 for one in holdout for item in one):
            continue
        expected = corrected_of(own, holdout)
        if not any(item.is_clicked for one in own for item in one):
            del expected["examination_corrected_ctr"]  # without any click there is none
        assert pytest.approx(expected) == told(bins, pair, list(expected))
        if pair[1] == "holdout":
            assert expected["clicks_over_expected"] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", [11, 12])
def test_predictions_are_judged_by_their_definitions(seed: int) -> None:
    """Losses, calibration and the threshold are exact to 10^-8, the area to the error of its bins."""
    lists, bins = run(seed)
    for pair, own in lists.items():
        items = [item for one in own for item in one if item.predicted is not None]
        if sum(item.is_clicked for item in items) > 1:
            expected = accuracy_of(items, 1 / (1 + exp(-THRESHOLD_LOGIT)))
            area = expected.pop("prediction_auc")
            assert pytest.approx(expected, abs=1e-8) == told(bins, pair, list(expected))
            found = lower(METRIC["prediction_auc"], NOTHING, INDEX, bins[pair])
            assert found is not None
            assert found.low <= area <= found.high
            assert area == pytest.approx(found.value, abs=0.01)


@pytest.mark.parametrize("seed", [11, 12])
def test_a_random_choice_is_valued_from_every_arm(seed: int) -> None:
    """The weighted value is that of the definition, where every arm shows each of 64 items with its own propensity."""
    lists, bins = run(seed)
    for pair, own in lists.items():
        if (value := told(bins, pair, ["random_choice_ctr"])["random_choice_ctr"]) is not None:
            items = [item for one in own for item in one]
            assert random_choice_of(items) == pytest.approx(value, rel=0.02)
            assert value <= 20 * sum(item.is_clicked for item in items) / len(items)


@pytest.mark.parametrize("seed", [11, 12])
def test_different_items_are_counted_within_their_interval(seed: int) -> None:
    """Most counts of different items hold the true one within their interval, and all within a tenth."""
    lists, bins = run(seed)
    hits = []
    for pair, own in lists.items():
        true = len({item.item for one in own for item in one})
        found = lower(METRIC["items_shown"], NOTHING, INDEX, bins[pair])
        assert found is not None
        assert found.value == pytest.approx(true, rel=0.1)
        hits.append(found.low <= true <= found.high)
    assert sum(hits) >= 0.8 * len(hits)
