"""Ranking and accuracy, from events to the metric, against ir-measures and scikit-learn; see freeze_oracles.py."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stream_app.core.events import AnyEvent
from stream_app.metrics import predictions
from stream_app.metrics.catalogue import INDEX
from stream_app.statistics.discrimination import binning_error
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.metrics.test_ranking import METRIC, NOTHING, bins, click, shown

LOGS: dict[str, Any] = json.loads(Path(__file__).with_name("oracles.json").read_text(encoding="utf-8"))["logs"]
EACH_LOG = pytest.mark.parametrize("log", LOGS)
EXACT = 1e-12
TO_A_MILLIONTH = 5e-7
"""What a list adds is rounded to a millionth."""
TO_A_BILLIONTH = 5e-10
"""What an impression adds is rounded to a billionth."""


@cache
def counted(log: str) -> dict[str, dict[int, int]]:
    """Return the bins after the events of a log: lists a second apart, clicked a second later."""
    events: list[AnyEvent] = []
    for number, each in enumerate(LOGS[log]["lists"]):
        said = enumerate(each["predicted"], 1)
        events += [shown(f"D{number}", p, 1_000 * number, predicted=probable) for p, probable in said]
        events += [click(f"D{number}", p, 1_000 * number + 1_000) for p in each["clicked"]]
    return bins(*events)


def told(metric: str, log: str) -> Estimate | None:
    return lower(METRIC[metric], NOTHING, INDEX, counted(log))


@EACH_LOG
@pytest.mark.parametrize(
    ("metric", "oracle", "digits"),
    [
        *((f"precision_at_{k}", f"P@{k}", EXACT) for k in (5, 10)),
        *((f"hit_rate_at_{k}", f"Success@{k}", EXACT) for k in (5, 10)),
        *((f"ndcg_at_{k}", f"nDCG@{k}", TO_A_MILLIONTH) for k in (5, 10)),
        *((f"ndcg_given_click_at_{k}", f"nDCG@{k} given a click", TO_A_MILLIONTH) for k in (5, 10)),
        ("reciprocal_rank", "RR", TO_A_MILLIONTH),
        ("reciprocal_rank_given_click", "RR given a click", TO_A_MILLIONTH),
    ],
)
def test_the_order_of_lists_is_that_of_ir_measures(log: str, metric: str, oracle: str, digits: float) -> None:
    """Shares of lists and places to the last digit, gains and ranks to a millionth, over all lists or the clicked."""
    found = told(metric, log)
    assert found is not None
    assert pytest.approx(LOGS[log]["ranked"][oracle], rel=0, abs=digits) == found.value


@EACH_LOG
@pytest.mark.parametrize(
    ("metric", "oracle", "digits"),
    [
        ("brier_score", "brier_score_loss", TO_A_BILLIONTH),
        ("log_loss", "log_loss", TO_A_BILLIONTH),
        ("prediction_accuracy", "accuracy_score", EXACT),
        ("prediction_precision", "precision_score", EXACT),
        ("prediction_recall", "recall_score", EXACT),
    ],
)
def test_predictions_are_judged_as_by_scikit_learn(log: str, metric: str, oracle: str, digits: float) -> None:
    """Losses to a billionth, as what an impression adds is rounded; what is counted to the last digit."""
    found = told(metric, log)
    assert found is not None
    # A billionth of rounding for an impression shown, another for its click.
    assert pytest.approx(LOGS[log]["predicted"][oracle], rel=0, abs=3 * digits) == found.value


@EACH_LOG
def test_the_area_under_the_curve_is_that_of_scikit_learn_but_for_its_bins(log: str) -> None:
    """It differs by no more than the pairs within a bin allow, here 0.012 at most, and the interval holds it."""
    found = told("prediction_auc", log)
    assert found is not None
    seen, clicked = predictions.seen_and_clicked(counted(log)["predictions_by_score"])
    bound = binning_error(clicked, [n - c for n, c in zip(seen, clicked, strict=True)])
    true = LOGS[log]["predicted"]["roc_auc_score"]
    assert abs(found.value - true) <= bound + EXACT
    assert bound < 0.012
    assert found.low <= true <= found.high


def test_where_each_bin_has_one_prediction_the_area_is_exact() -> None:
    """Then pairs within a bin are ties indeed, and bins hide nothing."""
    found = told("prediction_auc", "a prediction a bin")
    assert found is not None
    true = LOGS["a prediction a bin"]["predicted"]["roc_auc_score"]
    assert pytest.approx(true, rel=0, abs=EXACT) == found.value
