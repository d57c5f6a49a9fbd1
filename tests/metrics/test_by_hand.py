"""Every metric has an example that was worked out on paper; a new one without fails, and says where to add it."""

import inspect
import sys
from collections.abc import Callable

import pytest

from stream_app.metrics.catalogue import METRICS
from stream_app.metrics.methods import MeanBelow, Quantile
from tests.metrics import scenes_of_choices, scenes_of_people, scenes_of_sessions, test_lifetime_forecast, test_returns
from tests.metrics.by_hand import METRIC, Scene, values_of

SCENES = (*scenes_of_sessions.SCENES, *scenes_of_choices.SCENES, *scenes_of_people.SCENES)
ELSEWHERE: dict[str, Callable[..., None]] = {
    **dict.fromkeys(
        ("cac", "cpa", "incremental_cpa", "cost_per_thousand", "incremental_gain", "roi", "return_ratio"),
        test_returns.test_by_hand,
    ),
    "lifetime_value_forecast": test_lifetime_forecast.test_the_forecast_by_hand,
}
"""Metrics that need what people tell: which test has their example."""
TO_ONE_PERCENT = (Quantile, MeanBelow)
"""Methods that read a sketch."""
TO_A_MILLIONTH = 1e-6
"""What lists and weights add is rounded to a millionth."""


def near(name: str, value: float) -> object:
    """Return what a metric may say where that is its value on paper."""
    rel = 0.0101 if isinstance(METRIC[name].method, TO_ONE_PERCENT) else 2 * TO_A_MILLIONTH
    return pytest.approx(value, rel=rel, abs=TO_A_MILLIONTH)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: next(iter(scene.values)))
def test_by_hand(scene: Scene) -> None:
    """From the events of a scene come the numbers that were worked out on paper."""
    assert {name: near(name, value) for name, value in scene.values.items()} == values_of(scene)


@pytest.mark.parametrize("name", [metric.name for metric in METRICS])
def test_every_metric_has_an_example(name: str) -> None:
    """In one scene, or in a test that names it."""
    found = [scene for scene in SCENES if name in scene.values]
    if not found and name not in ELSEWHERE:
        pytest.fail(
            f"nobody worked {name} out by hand: add it to a scene in tests/metrics/scenes_of_sessions.py, _choices.py "
            "or _people.py (a few events and the value on paper), or to ELSEWHERE with the test that has its example"
        )
    if name in ELSEWHERE:
        assert f'"{name}"' in inspect.getsource(sys.modules[ELSEWHERE[name].__module__])


def test_nothing_is_worked_out_that_is_gone() -> None:
    """No example is left of a metric that the catalogue does not have."""
    named = {*ELSEWHERE, *(name for scene in SCENES for name in scene.values)}
    assert set() == named - METRIC.keys()
