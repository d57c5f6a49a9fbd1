"""docs/adding-a-metric.md leads to a metric that works: its code is taken from the page and run."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from stream_app.core.records import Kind
from stream_app.core.tally import Plan
from stream_app.metrics import catalogue, engagement
from stream_app.metrics.metric import Family
from tests import timelines
from tests.metrics.test_catalogue import test_a_metric_says_all_there_is_to_say as says_all
from tests.metrics.test_catalogue import test_the_bounds_are_those_of_the_method as is_bounded

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-metric.md").read_text(encoding="utf-8")
MEASURES, METRICS, TEST, MODULE, TEST_OF_RECORDS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def put(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put what a family declares into the catalogue."""
    grown = (*catalogue.MEASURES, *family.measures)
    changes = {"MEASURES": grown, "PLAN": Plan.of(grown), "INDEX": {m.name: at for at, m in enumerate(grown)}}
    for name, value in changes.items():
        monkeypatch.setattr(timelines, name, value)
        monkeypatch.setattr(catalogue, name, value)
    monkeypatch.setattr(catalogue, "METRICS", (*catalogue.METRICS, *family.metrics))


def passed(test: str) -> int:
    """Run the tests of a text, and return how many there are."""
    namespace: dict[str, object] = {}
    exec(test, namespace)
    tests = [run for name, run in namespace.items() if name.startswith("test_") and callable(run)]
    assert [None] * len(tests) == [run() for run in tests]
    return len(tests)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    """Put the entries of the page into the catalogue, as if they stood in the module that it names."""
    measures, metrics = (eval(f"({entries})", dict(vars(engagement))) for entries in (MEASURES, METRICS))
    viewability = engagement.FAMILY._replace(measures=measures, metrics=metrics)
    put(viewability, monkeypatch)
    return viewability


@pytest.fixture
def searching(monkeypatch: pytest.MonkeyPatch) -> Family:
    """Put the family of the module of the page into the catalogue."""
    module = ModuleType("stream_app.metrics.searching")
    exec(MODULE, vars(module))
    put(module.FAMILY, monkeypatch)
    return module.FAMILY  # type: ignore[no-any-return]  # of a module that is a text


def test_the_metric_of_the_page_is_a_metric(family: Family) -> None:
    """Its entry satisfies what every entry must, and reads the measures that the page adds."""
    (metric,) = family.metrics
    says_all(metric)
    is_bounded(metric)
    assert {measure.name for measure in family.measures} == set(metric.needs)


def test_the_test_of_the_page_passes(family: Family) -> None:
    """What the page counts by hand is what the page's entries count."""
    assert (1, "viewability") == (passed(TEST), family.metrics[0].name)


def test_the_metric_of_records_is_one(searching: Family) -> None:
    """Its measures are lifts of one kind of record, 0 of a blank one; its names are taken by nobody else."""
    (metric,) = searching.metrics
    says_all(metric)
    is_bounded(metric)
    (kind,) = {measure.on for measure in searching.measures}
    assert isinstance(kind, Kind)
    assert [0, 0] == [measure.lift(kind.blank) for measure in searching.measures]
    assert {measure.name for measure in searching.measures} == set(metric.needs)
    assert 1 == [each.name for each in catalogue.METRICS].count(metric.name)


def test_the_test_of_records_passes(searching: Family) -> None:
    """The third search corrects the pane of the first, whatever comes first."""
    assert (1, "search_persistence") == (passed(TEST_OF_RECORDS), searching.metrics[0].name)


def test_the_page_counts_its_lines() -> None:
    """The page says how many lines each takes."""
    lines = [len(text.splitlines()) for text in (MODULE, TEST_OF_RECORDS)]
    assert f"{lines[0]} lines, and {lines[1]} of test" in PAGE
