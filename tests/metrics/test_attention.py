"""Attention: what heartbeats say of how long a view lasted, and how far it was scrolled."""

from itertools import pairwise
from random import Random
from statistics import fmean, median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from stream_app.core.events import Engagement, Event
from stream_app.metrics import attention
from stream_app.metrics.attention import POINTS_S, View, after, has_reached, is_known
from stream_app.statistics.proportions import wilson
from stream_app.statistics.survival import median_between
from tests.metrics.families import NOON, estimate, plan_of, state_of, sums

PLAN = plan_of(attention.FAMILY)


def beat(number: int, seconds: float, view: str = "v", *, final: bool = False, **more: Any) -> Engagement:
    """Return a heartbeat after so many seconds of a view."""
    at_ms = round(seconds * 1000)
    return Engagement(
        id=f"e{view}{number}", ts=NOON + at_ms, user="u", view=view, elapsed_ms=at_ms, final=final, **more
    )


def fates(*beats: Engagement) -> str:
    """Return by point of time whether the view lasted: yes, no, or ? where that is not known."""
    view = View()
    for each in beats:
        view = after(view, each)
    return "".join(
        "?" if not is_known(view, at * 1_000) else "y" if has_reached(view, at * 1_000) else "n" for at in POINTS_S
    )


def test_what_a_heartbeat_says_of_a_view() -> None:
    """Points are 5, 15, 30, 60, 120, 300, 600 s: reached, known not to be, or between two check-ins."""
    assert [
        "yynnnnn",  # closed after 20 s
        "yynnnnn",  # fell silent at 15 s, promised 30
        "yyy?nnn",  # fell silent at 50 s, promised 100: whether it lasted 60 is not known
        "yy?????",  # nothing was promised
        "yyyynnn",  # closed at 20 s, and went on until 60
        "yyyyyyy",  # the last check-in
    ] == [
        fates(beat(1, 5, next_checkin_ms=15_000), beat(2, 20, final=True)),
        fates(beat(1, 15, next_checkin_ms=30_000)),
        fates(beat(1, 50, next_checkin_ms=100_000)),
        fates(beat(1, 20)),
        fates(beat(1, 20, final=True), beat(2, 60, next_checkin_ms=120_000)),
        fates(beat(1, 600)),
    ]


def test_of_two_heartbeats_of_one_time_the_final_one_counts() -> None:
    """Whatever comes first, a view that was closed is closed."""
    open_, closed = beat(1, 15, next_checkin_ms=30_000), beat(2, 15, final=True)
    assert after(after(View(), open_), closed) == after(after(View(), closed), open_)
    assert 1 == after(after(View(), closed), open_).is_final


def test_shares_by_hand() -> None:
    """Of views that last 20 s, 70 s, 15 s to 30 s, and at least 20 s: 1 of 3 lasts 30 s, and 1 of 3 lasts a minute."""
    events: list[Event] = [
        beat(1, 20, "a", final=True, scroll_pct=30.0),
        beat(1, 70, "b", final=True, scroll_pct=99.9),
        beat(1, 15, "c", next_checkin_ms=30_000, scroll_pct=100.0),
        beat(1, 20, "d"),
    ]
    state = state_of(events)
    shares = {name: estimate(name, state) for name in ("stayed_15s", "stayed_30s", "stayed_60s", "scrolled_75")}
    assert {
        "stayed_15s": wilson(4, 4),
        "stayed_30s": wilson(1, 3),
        "stayed_60s": wilson(1, 3),
        "scrolled_75": wilson(2, 3),
    } == shares
    assert wilson(1, 3) == estimate("scrolled_100", state)


def world(chance: Random, views: int) -> tuple[list[float], list[View]]:
    """Return how long views last, and what is known of them: half of the final heartbeats are lost."""
    lasted, known = [], []
    for _ in range(views):
        seconds = chance.lognormvariate(3.2, 1.0)
        passed = [at for at in (*POINTS_S, 10**6) if at <= seconds]
        due = next(at for at in (*POINTS_S, 0) if at > seconds or not at)
        view = View(passed[-1] * 1_000, 0, due * 1_000, 0, 1) if passed else View()
        if chance.random() < 0.5 or not passed:
            view = View(round(seconds * 1_000), 1, 0, 0, 1)
        lasted.append(seconds)
        known.append(view)
    return lasted, known


def counts_of(views: list[View]) -> dict[int, tuple[int, int]]:
    """Return by point how many lasted, and of how many that is known."""
    return {
        at: (sum(has_reached(v, at * 1_000) for v in views), sum(is_known(v, at * 1_000) for v in views))
        for at in POINTS_S
    }


def test_shares_are_those_of_the_kaplan_meier_estimator() -> None:
    """At the check-ins the shares are exactly statsmodels' survival of the true times, though half are never told."""
    lasted, known = world(Random(1), 2_000)
    oracle = SurvfuncRight(lasted, np.ones(len(lasted)))
    counts = counts_of(known)
    true = [oracle.surv_prob[np.searchsorted(oracle.surv_times, at, side="left") - 1] for at in POINTS_S]
    assert pytest.approx(true, abs=1e-12) == [reached / of for reached, of in counts.values()]


def test_the_median_lies_between_the_points_in_nearly_all_worlds() -> None:
    """The interval has the true median, e^3.2 s, in at least 95 % of 200 small worlds, and the last points if not."""
    found = [median_between(counts_of(world(Random(seed), 60)[1])) for seed in range(200)]
    held = [each for each in found if each is not None]
    assert (True, True) == (len(held) > 190, sum(e.low <= np.exp(3.2) <= e.high for e in held) >= 0.95 * len(held))


def test_a_mean_of_what_was_told_is_wrong() -> None:
    """The popular "average time on page", the last heartbeat taken for the end, is far too short; the median holds."""
    lasted, known = world(Random(2), 2_000)
    told = fmean(view.elapsed_ms / 1_000 for view in known)
    middle = median_between(counts_of(known))
    assert told < 0.9 * fmean(lasted)
    assert middle is not None
    assert (15.0, 30.0) == (middle.low, middle.high)
    assert middle.low <= median(lasted) <= middle.high
    assert abs(middle.value - median(lasted)) < 2.0


def test_a_median_by_hand() -> None:
    """Of 100 views 80 last 5 s and 20 last 15 s: half last 10 s, and surely between 5 and 15."""
    found = median_between({5: (80, 100), 15: (20, 100), 30: (0, 100)})
    assert found is not None
    assert (10.0, 100, 5.0, 15.0) == (found.value, found.n, found.low, found.high)


def test_no_median_where_most_last_longer_than_is_known() -> None:
    """A median beyond the last point is not guessed; nor is one of a single view."""
    assert [None, None, None] == [median_between(c) for c in ({5: (90, 100)}, {5: (0, 1)}, {})]


@given(st.lists(st.integers(0, 300), min_size=7, max_size=7))
def test_a_median_lies_within_its_interval(drops: list[int]) -> None:
    """Whatever the shares, also where they rise by chance, low <= value <= high, and both are points."""
    found = median_between({at: (min(drop, 300 - drop), 300) for at, drop in zip(POINTS_S, drops, strict=True)})
    if found is not None:
        assert [found.low, found.value, found.high] == sorted([found.low, found.value, found.high])
        assert {found.low, found.high} <= {0.0, *map(float, POINTS_S)}


def test_every_heartbeat_moves_the_view_in_its_own_pane() -> None:
    """Three heartbeats of one view add up to one view, in the pane of the first to arrive."""
    beats = [beat(n, at, next_checkin_ms=due * 1_000) for n, (at, due) in enumerate(pairwise((5, 15, 30, 60)))]
    found = sums(state_of(beats, PLAN))
    assert (1, 1, 1, None, 1) == tuple(
        found.get(name)
        for name in ("views", "views_reached_5s", "views_reached_30s", "views_reached_60s", "views_known_60s")
    )
