"""Costs and returns: what is declared, and what it says of a tally and of what was told."""

import pytest

from stream_app.core.inputs import Figure
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.metrics.metric import Metric
from stream_app.metrics.returns import ACQUISITION, FAMILY, MARGIN, PERSONALIZATION
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.returns import cost_per

RETURNS = {metric.name: metric for metric in FAMILY.metrics}
TOLD = {ACQUISITION: 600.0, PERSONALIZATION: 500.0, MARGIN: 0.35}
TREATED = {
    "impressions": 4_000, "sessions": 1_000, "session_revenue_minor": 600_000, "session_revenue_squares": 720_000_000,
    "converted_sessions": 200, "conversions": 240, "new_customers": 30,
}  # fmt: skip
BASE = {
    "impressions": 400, "sessions": 100, "session_revenue_minor": 40_000, "session_revenue_squares": 32_000_000,
    "converted_sessions": 4,
}  # fmt: skip


def tally(counts: dict[str, int]) -> list[int]:
    return [counts.get(name, 0) for name in INDEX]


def answer(name: str, told: dict[Figure, float] = TOLD) -> Estimate | None:
    """Return what a metric says of the two arms above."""
    return lower(RETURNS[name], tally(TREATED), INDEX, base=tally(BASE), told=told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cac", 600 / 30),
        ("cpa", 600 / 240),
        ("incremental_cpa", 500 / ((0.2 - 0.04) * 1_000)),
        ("cost_per_thousand", 1_000 * 500 / 4_000),
        ("incremental_gain", 0.35 * (6.0 - 4.0) * 1_000),
        ("roi", (700 - 500) / 500),
        ("return_ratio", 6_000 / 500),
    ],
)
def test_by_hand(name: str, value: float) -> None:
    """Each figure of the family, added up by hand."""
    found = answer(name)
    assert value == pytest.approx(found and found.value)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("name", RETURNS)
def test_what_is_not_told_is_not_answered(name: str) -> None:
    """Without any one of the figures that it needs, there is no answer; nothing is taken for 0."""
    missing = [{each: value for each, value in TOLD.items() if each != figure} for figure in RETURNS[name].figures]
    assert [None] * len(missing) == [answer(name, told) for told in missing]
    assert missing


def test_only_the_denominator_varies() -> None:
    """Cost is no sample: the interval of CAC is that of the number of customers."""
    assert cost_per(600.0, 30) == answer("cac")


def test_no_base_no_contrast() -> None:
    """What is a contrast is not answered from one arm alone."""
    alone = [lower(RETURNS[name], tally(TREATED), INDEX, told=TOLD) for name in ("roi", "incremental_gain")]
    assert [None, None] == alone


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_who_needs_to_be_told_says_so(metric: Metric) -> None:
    """Honesty `input` and figures go together; such metrics, and those that choose their arms, are asked for."""
    assert (metric.honesty == "input") == bool(metric.figures)
    assert not metric.is_exported or not (metric.figures or metric.arms)
    assert metric.arms is None or "arm" not in metric.dimensions
