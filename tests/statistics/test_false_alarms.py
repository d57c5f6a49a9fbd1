"""A slice of `make simulate`: the expected number of false alarms stays within its budget, whatever hits both arms."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.batch import alarms, offset_rule
from benchmarks.simulate import broken, incidents, plan, tempered
from benchmarks.worlds import DAY, World, exact, minutes

DAYS, SHOPS = 30, 4
YEARS = DAYS * SHOPS / 365
BUSY = 3_650.0  # false alarms a year, so that four months show something


def fired(world: World, budget: float, margin: float, etas: tuple[float, ...], seed: int = 1) -> int:
    rng = np.random.default_rng(seed)
    shops = [minutes(world, rng, DAYS) for _ in range(SHOPS)]
    return sum(len(times) for times in alarms(plan(world, budget, margin, etas), shops))


@pytest.mark.parametrize("budget", [BUSY, 365.0])
def test_a_ratio_exactly_at_the_floor_stays_within_the_budget(budget: float) -> None:
    """The worst null there is, sales, floods, outages and seasons and all: fewer alarms than allowed, but some."""
    count = fired(exact(World()), budget, 0.0, (1.0,) * 4)
    assert (True, True) == (count <= budget * YEARS, count > 0.2 * budget * YEARS)


def test_clustered_clicks_need_tempering() -> None:
    """Sessions that click many times: with the power from the histogram the budget holds, without it it does not."""
    world = replace(exact(World()), is_clustered=True)
    kept = fired(world, BUSY, 0.0, tempered(world, 0.0))
    untempered = fired(world, BUSY, 0.0, (1.0,) * 4)
    assert (True, True) == (kept <= BUSY * YEARS, untempered > 1.5 * BUSY * YEARS)


def test_a_breathing_lift_above_its_floor_is_quiet() -> None:
    """In four realistic months, at a budget of one a year, the detector is silent; the Prometheus rule pages daily."""
    rng = np.random.default_rng(2)
    world = World()
    shops = [minutes(world, rng, DAYS) for _ in range(SHOPS)]
    quiet = alarms(plan(world, 1.0, 0.05), shops)
    pages = sum(incidents(offset_rule(shop)) for shop in shops)
    assert (0, True) == (sum(len(times) for times in quiet), pages > DAYS * SHOPS / 2)


def test_the_offset_rule_is_the_one_that_prometheus_evaluates() -> None:
    """A CTR that halves at minute 2,000 falls below 0.8 of yesterday's two minutes on, and fires 5 minutes later."""
    world = replace(World(), has_shocks=False, breathing=0.0, impressions_a_day=2e9)
    shop = minutes(world, np.random.default_rng(3), 2)
    for counts in (shop.successes, shop.base_successes):
        counts[2_000:] //= 2
    # ctr[5m] is (5 - k/2)/5 of yesterday's after k minutes: below 0.8 from k = 3, the evaluation at minute 2,002.
    assert ([2_007], DAY) == (offset_rule(shop).tolist(), 1440)


def test_bounds_that_do_not_hold_are_said() -> None:
    """More alarms than the budget, late drops and sequences above 5 % end the simulation with words."""
    said = broken(
        [
            {"shop": "a", "budget a year": 1.0, "alarms a year": 9.0},
            {"shop": "wrong", "budget a year": 1.0, "alarms a year": 9.0},
        ],
        [{"drop": 0.5, "median": 40.0, "design": 24.0, "formula": 22.0}],
        [{"test": "a sequence", "finds nothing as something": 0.06}],
        1,
    )
    assert ["a", "drop 0.5", "drop 0.5", "a sequence"] == [line.split(":")[0] for line in said]
