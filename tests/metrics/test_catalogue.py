"""The catalogue: every declaration is whole, consistent with itself, and with what is counted."""

import re
from collections import Counter

import pytest

from stream_app.core.slices import DIMENSIONS
from stream_app.metrics.catalogue import FAMILIES, FAMILY_OF, HISTOGRAMS, INDEX, MEASURES, METRICS, WINDOWS
from stream_app.metrics.methods import ClusteredMean, Mean, NetScore, Proportion, WeightedProportion, terms
from stream_app.metrics.metric import Metric
from stream_app.metrics.windows import EVERY_WINDOW, windows_from

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
ALL_METRICS = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_names_are_taken_once() -> None:
    """No two families, measures or metrics share a name or, of metrics, a title; all are lower case words."""
    kinds = {
        "families": [family.name for family in FAMILIES],
        "measures": [each.name for each in (*MEASURES, *HISTOGRAMS)],
        "metrics": [metric.name for metric in METRICS],
        "titles": [metric.title for metric in METRICS],
    }
    twice = {kind: [name for name, times in Counter(names).items() if times > 1] for kind, names in kinds.items()}
    odd = [name for kind in ("families", "measures", "metrics") for name in kinds[kind] if not NAME.fullmatch(name)]
    assert ({kind: [] for kind in kinds}, []) == (twice, odd)


def test_every_metric_reads_measures_of_the_catalogue() -> None:
    """No metric names a measure or a histogram that nobody counts, and each needs one at least."""
    known = {*INDEX, *(histogram.name for histogram in HISTOGRAMS)}
    unknown = {metric.name: [name for name in metric.needs if name not in known] for metric in METRICS}
    assert ({name: [] for name in unknown}, []) == (unknown, [metric.name for metric in METRICS if not metric.needs])


def test_every_metric_has_its_family() -> None:
    """The family of a metric is that of the module that declares it."""
    assert {m.name: family for family in FAMILIES for m in family.metrics} == FAMILY_OF


@ALL_METRICS
def test_a_metric_says_all_there_is_to_say(metric: Metric) -> None:
    """Title, help, formula and caveat are there; help and caveat are sentences, title and formula are none."""
    words = (metric.title, metric.help, metric.formula, metric.caveat)
    assert ([True] * 4, [False, True, False, True]) == (
        [bool(text) and text == text.strip() for text in words],
        [text.endswith((".", '."')) for text in words],
    )


@ALL_METRICS
def test_a_metric_is_asked_by_what_there_is(metric: Metric) -> None:
    """Its dimensions and windows exist, each once and in their order, and there is one of each at least."""
    assert (True, metric.dimensions, metric.windows) == (
        bool(metric.dimensions and metric.windows),
        tuple(name for name in DIMENSIONS if name in metric.dimensions),
        tuple(window.name for window in WINDOWS if window.name in metric.windows),
    )


@ALL_METRICS
def test_the_bounds_are_those_of_the_method(metric: Metric) -> None:
    """A share lies between 0 and 1, a net score between -1 and 1, and no lower bound is above the upper one."""
    shares = {Proportion: (0.0, 1.0), WeightedProportion: (0.0, 1.0), NetScore: (-1.0, 1.0)}
    bounds = (metric.lowest, metric.highest)
    assert shares.get(type(metric.method), bounds) == bounds
    assert None in bounds or sorted(bounds) == list(bounds)


@ALL_METRICS
def test_the_unit_is_that_of_the_method(metric: Metric) -> None:
    """Shares are ratios; money is stored in minor units, a hundred of them a unit; a unit can end a metric's name."""
    is_share = isinstance(metric.method, Proportion | WeightedProportion | NetScore)
    scale = getattr(metric.method, "scale", 100)
    assert (True, True, True) == (
        not is_share or metric.unit == "ratio",
        metric.unit != "currency" or scale == 100,
        NAME.fullmatch(metric.unit) is not None,
    )


@ALL_METRICS
def test_what_is_exported_is_known_by_its_labels(metric: Metric) -> None:
    """Prometheus tells surfaces and arms apart, so only what is known by both is exported."""
    assert not metric.is_exported or {"surface", "arm"} <= set(metric.dimensions)


@ALL_METRICS
def test_what_reads_a_histogram_is_asked_by_surface_and_arm(metric: Metric) -> None:
    """Histograms tell surface and arm apart and nothing else, and are lowered only when they are asked for."""
    reads = {histogram.name for histogram in HISTOGRAMS}.intersection(metric.needs)
    assert not reads or (set(metric.dimensions) <= {"surface", "arm"} and not metric.is_exported)


@ALL_METRICS
def test_a_cohort_has_an_age(metric: Metric) -> None:
    """Whoever waits for a cohort says for how many days, and nobody else does."""
    assert (metric.settles == "cohort_age") == (metric.cohort_days > 0)


@ALL_METRICS
def test_a_mean_needs_two(metric: Metric) -> None:
    """One observation has no spread, so a mean is asked for with two or more."""
    assert not isinstance(metric.method, Mean | ClusteredMean) or metric.at_least >= 2


def test_every_measure_says_what_it_counts() -> None:
    """Each measure has a sentence and a unit."""
    assert [] == [m.name for m in MEASURES if not (m.help.endswith(".") and m.unit)]


def test_a_sum_is_taken_apart() -> None:
    """Measures joined by + and - are read from left to right; anything else is refused."""
    assert [(1, "orders")] == list(terms("orders"))
    assert [(1, "order_minor"), (-1, "refunded_minor"), (1, "tips")] == list(
        terms("order_minor - refunded_minor + tips")
    )
    for text in ("", "-", "a -", "- a", "a b", "a * b", "a-b"):
        with pytest.raises(ValueError, match="no sum of measures"):
            terms(text)


def test_windows_from_one_up() -> None:
    """Windows are named from the shortest that makes sense."""
    assert (("24h", "7d", "28d"), EVERY_WINDOW) == (windows_from("24h"), windows_from("1m"))
