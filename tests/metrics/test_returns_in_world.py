"""Costs and returns in the simulated world: what the processor counts, against a recount of the raw records."""

import json
from collections import Counter
from collections.abc import Iterable

import pytest

from producers.world import World
from stream_app.metrics.catalogue import INDEX
from stream_app.metrics.returns import ACQUISITION, FAMILY, MARGIN, PERSONALIZATION
from stream_app.statistics.lowering import lower
from tests.producers.counting import by, count
from tests.recount import recount

TOLD = {ACQUISITION: 600.0, PERSONALIZATION: 50.0, MARGIN: 0.35}


def new_customers(values: Iterable[bytes], arm: str) -> int:
    """Return how many people of an arm were said to be new customers."""
    events = [event for event in map(json.loads, values) if event["type"] in ("order", "conversion")]
    said = [event for event in events if event.get("new_customer") or event.get("goal") == "activation"]
    return len({event["user"] for event in said if event["arm"] == arm})


@pytest.mark.parametrize("seed", [1, 2])
def test_each_figure_is_that_of_the_raw_records(seed: int) -> None:
    """Grouped and counted batch-wise, then divided by hand: conversions, converters, revenue and sessions by arm."""
    world = count(World(seed), 20.0, 60)
    arrived = [record.value for record in world.arrived]
    recounted, _ = recount({0: arrived})
    raw = {arm: Counter[str]() for arm in ("personalized", "holdout")}
    for (_, arm), counts in recounted.items():
        if arm in raw:
            raw[arm].update(counts)
    of, base = raw["personalized"], raw["holdout"]
    extra = of["converted_sessions"] / of["sessions"] - base["converted_sessions"] / base["sessions"]
    gained = (
        0.35 * of["sessions"] * (of["revenue_minor"] / of["sessions"] - base["revenue_minor"] / base["sessions"]) / 100
    )
    expected = {
        "cac": 600 / new_customers(arrived, "personalized"),
        "cpa": 600 / of["conversions"],
        "incremental_cpa": 50 / (extra * of["sessions"]),
        "cost_per_thousand": 50_000 / of["impressions"],
        "incremental_gain": gained,
        "roi": (gained - 50) / 50,
        "return_ratio": of["revenue_minor"] / 100 / 50,
    }
    arms = {arm: [counts.get(name, 0) for name in INDEX] for (arm,), counts in by(world.totals, 1).items()}
    found = {
        metric.name: lower(metric, arms["personalized"], INDEX, base=arms["holdout"], told=TOLD)
        for metric in FAMILY.metrics
    }
    values = {name: estimate.value for name, estimate in found.items() if estimate is not None}
    # The extra converters are told only where chance alone is not enough to make them.
    assert pytest.approx({name: expected[name] for name in values}) == values
    assert set(expected) - {"incremental_cpa"} <= set(values)
    assert (True, True) == (of["revenue_minor"] > 0, base["sessions"] > 0)
