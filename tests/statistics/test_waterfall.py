"""The waterfall of context, the index, and differences of estimates."""

from math import isclose, log, sqrt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep

from stream_app.metrics.catalogue import INDEX, MEASURES, METRICS
from stream_app.statistics.differences import difference
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import risk_ratio
from stream_app.statistics.relevance_index import RelevanceIndex, relevance_index
from stream_app.statistics.waterfall import Share, Step, Waterfall, waterfall, waterfall_of

METRIC = {metric.name: metric for metric in METRICS}
EFFECTS = st.floats(1.0, 8.0)
SHARES = st.integers(1, 10**9).flatmap(
    lambda trials: st.builds(Share, st.integers(1, trials), st.just(trials), EFFECTS)
)


def tally(**amounts: int) -> list[int]:
    return [amounts.get(measure.name, 0) for measure in MEASURES]


def test_a_waterfall_by_hand() -> None:
    """6 %, 5 % and 4 %: context makes a fifth more, personalization without it a quarter, together a half."""
    found = waterfall(Share(60, 1_000), Share(50, 1_000), Share(40, 1_000))
    assert found is not None
    steps = (found.context, found.personalization, found.total)
    assert [("personalized", "context_blind"), ("context_blind", "holdout"), ("personalized", "holdout")] == [
        (step.arm, step.against) for step in steps
    ]
    assert [pytest.approx(1.2), pytest.approx(1.25), pytest.approx(1.5)] == [step.ratio for step in steps]
    error = sqrt(1 / 60 - 1 / 1_000 + 1 / 50 - 1 / 1_000)
    assert (pytest.approx(error), 2_000, 50) == (found.context.standard_error, found.context.n, found.context.successes)
    # The popular sum of percentages is not the whole: 20 % + 25 % are not 50 %.
    assert not isclose(0.2 + 0.25, found.total.ratio - 1)


@given(SHARES, SHARES, SHARES)
def test_the_steps_add_up_exactly_as_served(one: Share, two: Share, three: Share) -> None:
    """The two log ratios are the third to the last bit, also after they have been JSON."""
    found = waterfall(one, two, three)
    served = msgspec.json.decode(msgspec.json.encode(found), type=Waterfall)
    assert served.total.log_ratio == served.context.log_ratio + served.personalization.log_ratio
    assert found == served


@given(SHARES, SHARES, SHARES)
def test_every_step_is_the_risk_ratio(one: Share, two: Share, three: Share) -> None:
    """Each step has the ratio and the interval of Katz, as wide as the design effects make it."""
    found = waterfall(one, two, three)
    assert found is not None
    for step, (upper, lower) in (
        (found.context, (one, two)),
        (found.personalization, (two, three)),
        (found.total, (one, three)),
    ):
        katz = risk_ratio(*upper[:2], *lower[:2], (upper.effect, lower.effect))
        assert katz is not None
        assert pytest.approx((katz.value, katz.low, katz.high, katz.n), rel=1e-9) == (
            step.ratio, step.low, step.high, step.n,
        )  # fmt: skip


def test_the_middle_arm_counts_once() -> None:
    """The total is known better than a sum of independent steps would be."""
    found = waterfall(Share(600, 10_000), Share(50, 1_000), Share(40, 1_000))
    assert found is not None
    summed = sqrt(found.context.standard_error**2 + found.personalization.standard_error**2)
    assert summed > found.total.standard_error


def test_without_successes_there_is_no_waterfall() -> None:
    """An arm with no success has no logarithm; more successes than trials are an error."""
    assert None is waterfall(Share(1, 2), Share(0, 2), Share(1, 2))
    with pytest.raises(ValueError, match="no proportion"):
        waterfall(Share(3, 2), Share(1, 2), Share(1, 2))


def test_overall_and_triggered_are_the_same_function() -> None:
    """Overall are sessions that converted, triggered are signals that did; a missing arm is no waterfall."""
    arms = {
        arm: tally(sessions=1_000, converted_sessions=x, eligible_signals=400, converted_signals=y)
        for arm, x, y in (("personalized", 60, 48), ("context_blind", 50, 24), ("holdout", 40, 20))
    }
    overall, triggered = (waterfall_of(METRIC[name], arms, INDEX) for name in ("conversion", "signal_conversion"))
    assert overall is not None
    assert triggered is not None
    assert (pytest.approx(1.2), pytest.approx(2.0)) == (overall.context.ratio, triggered.context.ratio)
    assert None is waterfall_of(METRIC["conversion"], {"holdout": arms["holdout"]}, INDEX)
    broken = {**arms, "holdout": tally(sessions=1, converted_sessions=2)}
    assert None is waterfall_of(METRIC["conversion"], broken, INDEX)
    with pytest.raises(TypeError, match="no share"):
        waterfall_of(METRIC["revenue_per_session"], arms, INDEX)


def step(ratio: float, successes: int = 200) -> Step:
    """Return a step of that ratio."""
    return Step("personalized", "context_blind", log(ratio), 0.1, ratio, ratio, ratio, 9_999, successes)


def test_the_index_by_hand() -> None:
    """A = 0.8 x 0.9, a lift of +10 % is B = 0.6, C = 0.5: 100 x 0.72^(1/2) x 0.6^(1/4) x 0.5^(1/4)."""
    found = relevance_index(wilson(800, 1_000), wilson(900, 1_000), step(1.1), wilson(100, 200))
    assert found is not None
    assert pytest.approx((100 * sqrt(0.72) * (0.6 * 0.5) ** 0.25, 0.72, 0.6, 0.5)) == (
        found.value, found.response, found.lift, found.feedback,
    )  # fmt: skip


def test_the_index_needs_all_of_its_parts() -> None:
    """With one part missing, or too little behind it, there is no index; with just enough there is."""
    few, enough = wilson(50, 99), wilson(50, 100)
    full = (enough, enough, step(1.2, 100), enough)
    assert isinstance(relevance_index(*full), RelevanceIndex)
    for at, missing in enumerate((few, few, step(1.2, 99), few)):
        for absent in (missing, None):
            assert None is relevance_index(*full[:at], absent, *full[at + 1 :])  # type: ignore[arg-type]


@pytest.mark.parametrize(("lift", "ratio"), [(0.0, 0.4), (0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.0, 3.0)])
def test_a_lift_is_cut(lift: float, ratio: float) -> None:
    """-50 % and less is nothing, no lift is a half, +50 % and more is all."""
    all_ = wilson(200, 200)
    found = relevance_index(all_, all_, step(ratio), all_)
    assert found is not None
    assert (pytest.approx(lift), pytest.approx(100 * lift**0.25)) == (found.lift, found.value)


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_a_difference_of_proportions_is_newcombes(n1: int, n0: int, data: st.DataObject) -> None:
    """Of two Wilson intervals it is statsmodels' Newcombe interval."""
    x1, x0 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n0))
    found = difference(wilson(x1, n1), wilson(x0, n0))
    low, high = confint_proportions_2indep(x1, n1, x0, n0, method="newcomb", compare="diff")
    assert pytest.approx((low, high), abs=1e-9) == (found.low, found.high)
    assert (x1 / n1 - x0 / n0, n1 + n0) == (found.value, found.n)


def test_a_difference_is_not_an_overlap() -> None:
    """Two intervals that overlap may differ all the same: looking for overlap is the popular mistake."""
    one, other = wilson(560, 1_000), wilson(500, 1_000)
    found = difference(one, other)
    assert (True, True) == (one.low < other.high, found.low > 0)
