"""Sizing of the holdout: the design's table, its limits, and the simulation."""

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest

from benchmarks.simulate import DESIGN, plan, quantiles, seen_after
from benchmarks.worlds import World
from stream_app.statistics.drops import log_threshold
from stream_app.statistics.sizing import Traffic, delays, holdout_clicks, holdout_share

LOG_A = log_threshold(1.0)
SHOP = Traffic(2_000_000, 0.1, 0.03)


def test_without_end_of_treated_clicks_it_is_the_published_table() -> None:
    """The holdout's clicks until a drop of 20, 33, 50 and 80 % is seen, against infinitely many treated ones."""
    clicks = [holdout_clicks(1 - left, LOG_A) for left in (0.8, 0.67, 0.5, 0.2)]
    assert pytest.approx([1_043, 267, 87, 19], rel=0.02) == clicks


def test_many_treated_clicks_are_as_good_as_infinitely_many() -> None:
    """The formula for a finite number of treated clicks per holdout click goes over into that for infinitely many."""
    assert pytest.approx(holdout_clicks(0.5, LOG_A), rel=1e-4) == holdout_clicks(0.5, LOG_A, odds=1e5)
    assert holdout_clicks(0.5, LOG_A, odds=1.0) > holdout_clicks(0.5, LOG_A, odds=10.0)


def test_a_drop_within_the_margin_is_never_seen() -> None:
    """Losing 4 % with a margin of 5 % is not an incident, however long one waits."""
    assert (inf, inf) == (holdout_clicks(0.04, LOG_A), delays(SHOP, LOG_A, [0.04])[0].minutes)


def test_each_factor_of_ten_in_series_costs_a_little() -> None:
    """Ten times as many series delay the alarm by 2.3 in ln A: a sixth."""
    ratio = holdout_clicks(0.5, LOG_A + log(10)) / holdout_clicks(0.5, LOG_A)
    assert pytest.approx(1.16, abs=0.01) == ratio


def test_the_delay_is_the_clicks_over_their_rate() -> None:
    """Minutes times the holdout's clicks a minute are its clicks; tempering by a half takes up to twice as long."""
    rows = delays(SHOP, LOG_A)
    assert [pytest.approx(row.holdout_clicks) for row in rows] == [row.minutes * 6_000 / 1_440 for row in rows]
    slower = [slow.minutes / row.minutes for row, slow in zip(rows, delays(SHOP, LOG_A, eta=0.5), strict=True)]
    assert all(1.8 < factor <= 2 for factor in slower)


@pytest.mark.parametrize("drop", [0.2, 0.33, 0.5, 0.8])
def test_the_formula_is_near_the_designs_simulation(drop: float) -> None:
    """The minutes of the formula are within a quarter of the medians of the design's own simulation."""
    assert pytest.approx(DESIGN[drop], rel=0.25) == delays(SHOP, LOG_A, [drop])[0].minutes


@pytest.mark.parametrize(("drop", "runs"), [(0.33, 100), (0.5, 150), (0.8, 150)])
def test_drops_are_seen_as_fast_as_promised(drop: float, runs: int) -> None:
    """Median delays of injected drops, in a shop with every common shock, are near the design's and the formula's."""
    world = World()
    median, _, found = quantiles(
        seen_after(np.random.default_rng(1), world, plan(world, 1.0, 0.05), drop, runs)["detector"]
    )
    expected = delays(SHOP, LOG_A, [drop])[0].minutes
    assert (True, True, 1.0) == (
        abs(median - DESIGN[drop]) <= 0.25 * DESIGN[drop] + 1,
        abs(median - expected) <= 0.25 * expected + 2,
        found,
    )


def test_the_formula_holds_with_more_traffic_and_less_holdout() -> None:
    """Ten times the traffic and half the holdout: the formula is within a quarter (or 2 minutes) of the simulation."""
    world = replace(World(), impressions_a_day=20_000_000, holdout_share=0.05)
    traffic = Traffic(20_000_000, 0.05, 0.03)
    watched = plan(world, 1.0, 0.05)
    for drop in (0.2, 0.5):
        median, _, _ = quantiles(seen_after(np.random.default_rng(5), world, watched, drop, 80)["detector"])
        expected = delays(traffic, LOG_A, [drop])[0].minutes
        assert abs(median - expected) <= max(0.25 * expected, 2)


def test_the_least_holdout_is_the_one_that_is_just_in_time() -> None:
    """The share that sees half the lift's clicks vanish in an hour takes an hour; a minute is not to be had."""
    share = holdout_share(SHOP, LOG_A, 0.5, 60)
    assert share is not None
    sized = Traffic(2_000_000, share, 0.03)
    assert (pytest.approx(60, rel=1e-3), None) == (
        delays(sized, LOG_A, [0.5])[0].minutes,
        holdout_share(SHOP, LOG_A, 0.5, 1),
    )


@pytest.mark.parametrize("call", [
    lambda: Traffic(0, 0.1, 0.03), lambda: Traffic(1, 1.0, 0.03), lambda: Traffic(1, 0.1, 0.0),
    lambda: Traffic(1, 0.1, 0.1, -1.0), lambda: holdout_clicks(0.0, LOG_A), lambda: holdout_clicks(1.0, LOG_A),
])  # fmt: skip
def test_what_cannot_be_is_refused(call) -> None:
    """No traffic, no holdout, no clicks or no drop raise, with the value."""
    with pytest.raises(ValueError, match=r"between|leaves"):
        call()
