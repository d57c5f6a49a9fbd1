"""Proportions, means and ratios: against hand-computed numbers, against statsmodels, and as laws."""

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from stream_app.statistics.estimates import Estimate
from stream_app.statistics.means import mean
from stream_app.statistics.proportions import agresti_coull, equal_clusters_effect, wilson
from stream_app.statistics.ratios import risk_ratio

counts = st.integers(1, 10_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
amounts = st.lists(st.integers(0, 1_000_000), min_size=2, max_size=50)


def rounded(estimate: Estimate | None, digits: int) -> tuple[float, float, float] | None:
    return estimate and tuple(round(x, digits) for x in (estimate.value, estimate.low, estimate.high))


def test_wilson_gives_the_hand_computed_intervals() -> None:
    """69 and 46 clicks of 10,000 impressions give the intervals computed by hand."""
    expected = [(0.0069, 0.00546, 0.00872), (0.0046, 0.00345, 0.00613)]
    assert expected == [rounded(wilson(69, 10_000), 5), rounded(wilson(46, 10_000), 5)]


def test_the_risk_ratio_gives_the_hand_computed_interval() -> None:
    """69 of 10,000 against 46 of 10,000 is one and a half times as many, with the bounds computed by hand."""
    assert (1.50, 1.03, 2.18) == rounded(risk_ratio(69, 10_000, 46, 10_000), 2)


def test_the_design_effect_by_hand() -> None:
    """Four sessions of two impressions, of which one clicks both: (4 - 1) * 4/3 * 7/8 over 2 * 0.75 is seven thirds."""
    assert pytest.approx(7 / 3) == equal_clusters_effect(4, 2, 4, 2 / 8, 8)


@given(st.integers(2, 2_000).flatmap(lambda k: st.tuples(st.just(k), st.integers(1, k - 1))), st.integers(1, 30))
def test_whole_sessions_are_one_trial_each(sessions: tuple[int, int], seen: int) -> None:
    """Where all of a session is clicked or nothing, its impressions are one trial; where each is by itself, one too."""
    k, clicked = sessions
    effect = equal_clusters_effect(k, clicked * seen, clicked * seen**2, clicked / k, k * seen)
    assert pytest.approx(seen * k / (k - 1) * (k * seen - 1) / (k * seen)) == effect
    assert pytest.approx(1.0) == equal_clusters_effect(k, clicked, clicked, clicked / k, k)


@given(counts)
def test_few_clicks_never_narrow_the_interval(count: tuple[int, int]) -> None:
    """Without sessions, with one, or with clicks in all of them alike, the design effect is 1, never less."""
    clicks, shown = count
    assert {1.0} == {
        equal_clusters_effect(sessions, clicks, clicks * clicks, clicks / shown, shown) for sessions in (0, 1)
    } | {equal_clusters_effect(shown + 1, shown + 1, shown + 1, 0.5, 2 * (shown + 1))}


def test_the_mean_gives_the_hand_computed_interval() -> None:
    """1, 2, 3, 4 have mean 2.5 and standard error sqrt(5/3/4), and Student's t of three degrees is 3.182."""
    assert (2.5, 0.446, 4.554) == rounded(mean(4, 10, 30), 3)


@given(counts)
def test_wilson_equals_statsmodels(count: tuple[int, int]) -> None:
    """The score interval is the one that statsmodels computes, to twelve digits."""
    expected = proportion_confint(*count, method="wilson")
    estimate = wilson(*count)
    assert pytest.approx(expected, abs=1e-12, rel=0) == (estimate.low, estimate.high)


@given(counts)
def test_agresti_coull_equals_statsmodels(count: tuple[int, int]) -> None:
    """The interval of two more successes and two more failures is the one that statsmodels computes."""
    expected = proportion_confint(*count, method="agresti_coull")
    estimate = agresti_coull(*count)
    assert pytest.approx(expected, abs=1e-12, rel=0) == (estimate.low, estimate.high)


@given(counts, st.floats(0.5, 20))
def test_a_design_effect_is_as_many_times_fewer_trials(count: tuple[int, int], effect: float) -> None:
    """With a design effect of 4, 400 trials have the intervals that 100 independent ones would have."""
    x, n = count[0] / effect, count[1] / effect
    found = [f(*count, design_effect=effect) for f in (wilson, agresti_coull)]
    expected = [proportion_confint(x, n, method=method) for method in ("wilson", "agresti_coull")]
    assert pytest.approx(np.ravel(expected), abs=1e-12, rel=0) == [bound for e in found for bound in (e.low, e.high)]


@given(counts, st.floats(0.5, 20))
def test_agresti_coull_contains_wilson(count: tuple[int, int], effect: float) -> None:
    """The simpler interval is never the narrower one."""
    simple, score = agresti_coull(*count, design_effect=effect), wilson(*count, design_effect=effect)
    assert (True, True) == (simple.low <= score.low + 1e-15, score.high <= simple.high + 1e-15)


@given(counts.filter(lambda c: c[0] > 0), counts.filter(lambda c: c[0] > 0))
def test_the_risk_ratio_equals_statsmodels(one: tuple[int, int], other: tuple[int, int]) -> None:
    """The log interval of the ratio is the one that statsmodels computes."""
    expected = confint_proportions_2indep(*one, *other, method="log", compare="ratio", correction=False)
    ratio = risk_ratio(*one, *other)
    assert ratio is not None
    assert pytest.approx(expected, rel=1e-9) == (ratio.low, ratio.high)


@given(amounts)
def test_the_mean_equals_statsmodels(values: list[int]) -> None:
    """Student's interval of a mean from three sums is the one that statsmodels computes from all amounts."""
    low, high = DescrStatsW(values).tconfint_mean()
    found = mean(len(values), sum(values), sum(v * v for v in values))
    assert pytest.approx((high - low, fmean(values)), rel=1e-4, abs=1e-6) == (found.high - found.low, found.value)


@given(counts)
def test_wilson_is_ordered_and_within_bounds(count: tuple[int, int]) -> None:
    """0 <= low <= value <= high <= 1, for every possible count."""
    e = wilson(*count)
    assert [0.0, e.low, e.value, e.high, 1.0] == sorted([0.0, e.low, e.value, e.high, 1.0])


@given(amounts, st.integers(0, 1_000_000))
def test_a_mean_is_ordered_and_cut_at_its_bounds(values: list[int], slack: int) -> None:
    """It is lowest <= low <= value <= high <= highest, even when rounded squares contradict the sum."""
    squares = max(0, sum(v * v for v in values) - slack)
    e = mean(len(values), sum(values), squares, lowest=0.0, highest=1_000_000.0)
    assert [0.0, e.low, e.value, e.high, 1e6] == sorted([0.0, e.low, e.value, e.high, 1e6])


@given(counts.filter(lambda c: c[0] > 0), counts.filter(lambda c: c[0] > 0))
def test_a_ratio_turned_round_is_its_inverse(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Exchanging the two proportions inverts the ratio and exchanges its bounds."""
    forth, back = risk_ratio(*one, *other), risk_ratio(*other, *one)
    assert forth is not None
    assert back is not None
    assert pytest.approx((1 / forth.value, 1 / forth.high, 1 / forth.low)) == (
        back.value,
        back.low,
        back.high,
    )


@pytest.mark.parametrize("counts_", [(0, 10, 3, 10), (3, 10, 0, 10), (0, 0, 0, 0)])
def test_there_is_no_ratio_with_a_count_of_zero(counts_: tuple[int, int, int, int]) -> None:
    """A ratio to or of nothing has no log interval, so there is no estimate."""
    assert None is risk_ratio(*counts_)


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(2, 1),
        lambda: wilson(0, 0),
        lambda: wilson(-1, 5),
        lambda: wilson(1, 5, design_effect=0.0),
        lambda: agresti_coull(2, 1),
        lambda: mean(1, 5, 25),
        lambda: risk_ratio(2, 1, 1, 1),
    ],
)
def test_impossible_counts_are_refused(call) -> None:
    """An estimator raises on counts that cannot be, instead of answering something."""
    with pytest.raises(ValueError, match=r"proportion|interval"):
        call()


def test_large_alike_amounts_do_not_cancel() -> None:
    """A hundred thousand amounts around a billion keep the spread of 1 that floating point would lose."""
    n, base = 100_000, 10**9
    half = n // 2
    e = mean(n, half * (base - 1) + half * (base + 1), half * (base - 1) ** 2 + half * (base + 1) ** 2)
    assert 1.96 == round((e.high - e.value) * n**0.5, 2)
