"""Every metric of the catalogue, lowered from a counted world, against the truth of that world.

A metric without an entry fails, and says where to add one.
"""

from collections import defaultdict
from functools import cache
from typing import NamedTuple

import pytest

from producers import truth
from producers.scenarios import phase
from producers.transit import records
from producers.world import World
from stream_app.core.processor import Partition
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.metrics.metric import Metric
from stream_app.metrics.returns import ACQUISITION, DISCOUNT, MARGIN, PERSONALIZATION
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.metrics import true_values
from tests.metrics.ageing import answer
from tests.metrics.listing import bins_of
from tests.metrics.retold import told
from tests.metrics.seen import Seen
from tests.metrics.test_people_in_world import counted
from tests.metrics.true_cohorts import COHORTS, SEED, sums
from tests.metrics.true_values import HELD, NEAR, TRUTHS
from tests.metrics.worlds import run
from tests.producers.counting import START_MS, by, processed, totals

ARMS = {"personalized": 0.5, "context_blind": 0.2, "holdout": 0.3}
CURRENCIES = {"EUR": 0.65, "CHF": 0.35}
TOLD = {
    ACQUISITION: true_values.COST,
    PERSONALIZATION: true_values.COST,
    MARGIN: true_values.MARGIN,
    DISCOUNT: true_values.DISCOUNT,
}
NOT_THERE = {
    "stayed_600s": "nobody of this world stays for ten minutes",
    "random_choice_capped": "no propensity of this world is so small",
}
"""Metrics whose truth in this world is 0, and why."""
NEVER = {
    "other_goal_sessions": "the goals of this world are those that the catalogue knows",
    "overrefunded_orders": "nobody is given back more than they paid",
    "refunds_without_order": "a refund comes after its order, from the same user",
    "repeated_orders": "an order id is one order; what arrives twice is the same event, and a duplicate",
    "views_reached_600s": "nobody of this world stays for ten minutes",
}
"""Measures of which no world has any, and why."""
Bins = dict[str, dict[int, int]]


class Day(NamedTuple):
    """A world of a quarter of an hour, and what was counted of it."""

    seen: Seen
    state: Partition
    bins: Bins
    reference: Bins


@cache
def day() -> Day:
    """Return a world in which some people are new, some pay abroad, and context is lost on some decisions."""
    schedule = (phase("cold-start", size=0.1), phase("context-dead", size=0.8))
    world = World(6, schedule, users=2_000, arms=ARMS, currencies=CURRENCIES)  # type: ignore[arg-type]  # arms' names
    values = [record.value for record in records(world, world.happenings(START_MS, 3.0, START_MS + 900_000))]
    state = processed(values)
    bins: Bins = defaultdict(lambda: defaultdict(int))
    reference: Bins = defaultdict(lambda: defaultdict(int))
    for (_, arm), by_name in bins_of(state).items():
        for name, counts in by_name.items():
            for bin_, amount in counts.items():
                bins[name][bin_] += amount
                reference[name][bin_] += amount * (arm == "holdout")
    return Day(Seen(values, told(values)), state, bins, reference)


@cache
def tallies() -> dict[str, list[int]]:
    """Return the tally of each arm, and under "" that of all."""
    found = {arm: [of[name] for name in INDEX] for (arm,), of in by(totals(day().state), 1).items()}
    return found | {"": [sum(column) for column in zip(*found.values(), strict=True)]}


def lowered(metric: Metric) -> Estimate | None:
    """Return what a metric says of the world of its kind."""
    if metric.name in COHORTS:
        return answer(metric.name, counted(SEED), TOLD)
    tally, base = (tallies()[arm] for arm in metric.arms or ("", "holdout"))
    return lower(metric, tally, INDEX, day().bins, day().reference, base, TOLD)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_says_what_is_true(metric: Metric) -> None:
    """The value is that of the definition applied to what happened, and there is something to tell."""
    if metric.name in COHORTS:
        true = COHORTS[metric.name](sums())
    elif metric.name in TRUTHS:
        true = TRUTHS[metric.name](day().seen)
    else:
        pytest.fail(
            f"nobody says what is true of {metric.name}: add it to TRUTHS in tests/metrics/true_values.py, or to "
            "COHORTS in true_cohorts.py, computed from the plain events; if the world never does such a thing, let it"
        )
    found = lowered(metric)
    if true is None:
        assert found is None
        return
    assert found is not None, "the world has too little of it"
    if metric.name in HELD:
        assert found.low <= true <= found.high
    else:
        assert pytest.approx(true, rel=NEAR.get(metric.name, 1e-5), abs=1e-9) == found.value
    is_nothing = true == 0 and metric.lowest == 0
    assert is_nothing == (metric.name in NOT_THERE), "what the world never does is no proof; name the reason or let it"


def test_every_measure_is_above_0_somewhere() -> None:
    """A measure that no world ever counts is held against nothing: some world has it, or a reason is named."""
    grown = {name for name in INDEX if tallies()[""][INDEX[name]] > 0} | {name for _, _, name in counted(SEED)}
    grown |= {name for amounts in totals(run("everything").state).values() for name, n in amounts.items() if n > 0}
    assert sorted(NEVER) == sorted(set(INDEX) - grown)


def test_the_truths_are_those_of_the_catalogue() -> None:
    """No entry is left over from a metric that is gone, and none is in both lists."""
    assert sorted([*TRUTHS, *COHORTS]) == sorted(metric.name for metric in METRICS)


@pytest.mark.parametrize(("name", "arm"), [(name, arm) for name, by_arm in truth.said().items() for arm in by_arm])
def test_what_people_say_is_what_the_world_says_of_them(name: str, arm: str) -> None:
    """The parameter that the truth exports is within twice the interval of what was counted: four standard errors."""
    metric = next(metric for metric in METRICS if metric.name == name)
    found = lower(metric, tallies()[arm], INDEX)
    if found is not None:  # so few answers that nothing may be told
        half = max(found.high - found.value, found.value - found.low)
        assert abs(found.value - truth.said()[name][arm]) <= 2 * half
