"""docs/adding-a-metric.md leads to a metric that works: its code is taken from the page and run."""

import re
from pathlib import Path

import pytest

from stream_app.core.tally import Plan
from stream_app.metrics import catalogue, engagement
from stream_app.metrics.metric import Family
from tests import timelines
from tests.metrics.test_catalogue import test_a_metric_says_all_there_is_to_say as says_all
from tests.metrics.test_catalogue import test_the_bounds_are_those_of_the_method as is_bounded

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-metric.md").read_text(encoding="utf-8")
MEASURES, METRICS, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    """Put the entries of the page into the catalogue, as if they stood in the module that it names."""
    measures, metrics = (eval(f"({entries})", dict(vars(engagement))) for entries in (MEASURES, METRICS))
    grown = (*catalogue.MEASURES, *measures)
    changes = {"MEASURES": grown, "PLAN": Plan.of(grown), "INDEX": {m.name: at for at, m in enumerate(grown)}}
    for name, value in changes.items():
        monkeypatch.setattr(timelines, name, value)
        monkeypatch.setattr(catalogue, name, value)
    monkeypatch.setattr(catalogue, "METRICS", (*catalogue.METRICS, *metrics))
    return engagement.FAMILY._replace(measures=measures, metrics=metrics)


def test_the_metric_of_the_page_is_a_metric(family: Family) -> None:
    """Its entry satisfies what every entry must, and reads the measures that the page adds."""
    (metric,) = family.metrics
    says_all(metric)
    is_bounded(metric)
    assert {measure.name for measure in family.measures} == set(metric.needs)


def test_the_test_of_the_page_passes(family: Family) -> None:
    """What the page counts by hand is what the page's entries count."""
    namespace: dict[str, object] = {}
    exec(TEST, namespace)
    tests = [run for name, run in namespace.items() if name.startswith("test_") and callable(run)]
    assert [None] == [run() for run in tests]
    assert "viewability" == family.metrics[0].name
