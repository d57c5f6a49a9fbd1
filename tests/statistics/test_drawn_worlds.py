"""The minutes that causes are tried on, drawn without events: they are those that the events give."""

from itertools import islice

import numpy as np
import pytest

from benchmarks import counted, drawn
from benchmarks.causes import START_MS
from producers.scenarios import phase
from stream_app.core.panes import HOUR_MS
from stream_app.statistics.minutes import WATCHED

NOON_MS = START_MS + 12 * HOUR_MS
MINUTES = 8


@pytest.mark.parametrize("scenario", ["steady", "instrumentation", "context-dead", "model-stale"])
def test_what_is_drawn_is_what_the_events_give(scenario: str) -> None:
    """Eight minutes of the home page, counted by the processor and drawn: no measure of an arm differs by chance alone.

    Every measure that the watch reads is there; those of strata add up to the whole.
    """
    schedule = (phase(scenario, NOON_MS),)
    seen = counted.minutes(5, NOON_MS, MINUTES, 3.0, schedule)
    other = list(drawn.minutes(np.random.default_rng(5), NOON_MS, MINUTES, 3.0, schedule))
    assert {} == counted.differences(seen, other)
    for minute in (seen[1], other[1]):
        whole = minute.arms["personalized"]
        assert set(WATCHED) == set(whole)
        for dimension in ("device", "segment"):
            parts = [arms for name, arms in minute.strata.items() if name.startswith(dimension)]
            summed = sum(arms.get("personalized", {}).get("at_risk_impressions", 0) for arms in parts)
            assert whole["at_risk_impressions"] == summed


def test_what_is_not_drawn_is_refused() -> None:
    """Scenarios that change what is not modelled need events: they are refused by name."""
    with pytest.raises(ValueError, match="bots"):
        list(islice(drawn.minutes(np.random.default_rng(1), NOON_MS, 2, 3.0, (phase("bots", NOON_MS),)), 1))
