"""Survival: against statsmodels, by hand, and as an additive state."""

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from stream_app.statistics.survival import kaplan_meier, merge, restricted_mean

people = st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=60)


def durations(seen: list[tuple[int, bool]]) -> dict[int, tuple[int, int]]:
    """Return the additive state of people seen for a time, who ended (True) or were still there."""
    state: dict[int, tuple[int, int]] = {}
    for time, ended in seen:
        state = merge(state, {time: (int(ended), int(not ended))})
    return state


def test_kaplan_meier_has_the_hand_computed_steps() -> None:
    """Five customers: one leaves after 1 day, one is censored at 2, one leaves after 3: 4/5, then 4/5 * 2/3."""
    steps = kaplan_meier({1: (1, 0), 2: (0, 1), 3: (1, 0), 5: (0, 2)})
    assert [(1, 5, 1, 0.8), (3, 3, 1, pytest.approx(8 / 15))] == [(s.at, s.at_risk, s.ended, s.survival) for s in steps]
    assert pytest.approx(8 / 15 * (1 / 20 + 1 / 6) ** 0.5) == steps[1].standard_error


@given(people.filter(lambda seen: any(ended for _, ended in seen)))
def test_kaplan_meier_equals_statsmodels(seen: list[tuple[int, bool]]) -> None:
    """Survival and Greenwood's standard error are those of statsmodels, at every step above 0."""
    oracle = SurvfuncRight([time for time, _ in seen], [int(ended) for _, ended in seen])
    steps = [s for s in kaplan_meier(durations(seen)) if s.survival > 0]
    k = len(steps)
    assert pytest.approx(oracle.surv_prob[:k], abs=1e-12) == [s.survival for s in steps]
    assert pytest.approx(oracle.surv_prob_se[:k], abs=1e-12) == [s.standard_error for s in steps]
    assert oracle.n_risk[:k].tolist() == [s.at_risk for s in steps]


@given(people)
def test_survival_falls_and_stays_within_its_interval(seen: list[tuple[int, bool]]) -> None:
    """It is 0 <= low <= survival <= high <= 1, and never rises."""
    steps = kaplan_meier(durations(seen))
    for s in steps:
        assert [0.0, s.low, s.survival, s.high, 1.0] == sorted([0.0, s.low, s.survival, s.high, 1.0])
    assert sorted((s.survival for s in steps), reverse=True) == [s.survival for s in steps]


@given(people, people, people)
def test_durations_merge_to_the_whole(a: list, b: list, c: list) -> None:
    """Panes and partitions in any grouping and order are the same state."""
    one, two, three = durations(a), durations(b), durations(c)
    assert merge(merge(one, two), three) == merge(one, merge(three, two)) == durations(a + b + c)


@given(people.map(lambda seen: [(time, True) for time, _ in seen]), st.integers(1, 25))
def test_the_restricted_mean_of_complete_lives_is_their_mean(seen: list[tuple[int, bool]], horizon: int) -> None:
    """Where nobody is censored, it is the mean of min(duration, horizon)."""
    found = restricted_mean(durations(seen), horizon)
    assert found is not None
    assert (pytest.approx(fmean(min(time, horizon) for time, _ in seen)), len(seen)) == (found.value, found.n)


def test_the_restricted_mean_has_the_variance_of_complete_lives() -> None:
    """Where nobody is censored, its standard error is the population standard deviation over sqrt(n)."""
    lives = np.random.default_rng(1).integers(1, 60, 500)
    found = restricted_mean(durations([(int(life), True) for life in lives]), 40)
    assert found is not None
    expected = np.minimum(lives, 40).std() / np.sqrt(500)
    assert pytest.approx(expected) == (found.high - found.value) / 1.959963984540054


def test_a_mean_beyond_what_was_seen_is_not_given() -> None:
    """When the last one was censored before the horizon, the rest of the curve would be a guess."""
    seen = {3: (2, 0), 5: (0, 4)}
    assert (None, None, True) == (
        restricted_mean(seen, 6),
        restricted_mean({}, 5),
        restricted_mean(seen, 5) is not None,
    )
    complete = restricted_mean({3: (2, 0), 5: (4, 0)}, 6)
    assert complete is not None
    assert pytest.approx(26 / 6) == complete.value


def test_negative_counts_are_refused() -> None:
    """Nobody can have left less than not at all."""
    with pytest.raises(ValueError, match="negative"):
        kaplan_meier({1: (-1, 0)})
