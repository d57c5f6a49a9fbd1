"""docs/ranking.md names what there is: every sum, every function, every threshold."""

import importlib
import re
from pathlib import Path

from stream_app.core.quantile_sketch import QuantileSketch
from stream_app.metrics.clicked_lists import ListSums
from stream_app.metrics.off_policy import RobustSums, WeightSums
from stream_app.metrics.predictions import PredictionSums

PAGE = (Path(__file__).parents[2] / "docs" / "ranking.md").read_text(encoding="utf-8")
NEEDS = PAGE.partition("## What the metrics need")[2].partition("\n## ")[0]


def test_every_field_of_the_sums_is_named() -> None:
    """The page lists the fields of each kind of sums, in the order of the code."""
    fields = PAGE.partition("Fields of the sums:")[2].partition("Sums of squares")[0]
    named = {kind: re.findall(r"\w+", text) for kind, text in re.findall(r"`(\w+)`((?: |\n)[\w,\s]+)\.(?=\s)", fields)}
    assert {kind.__name__: list(kind._fields) for kind in (ListSums, PredictionSums, WeightSums, RobustSums)} == named


def test_every_function_that_is_named_exists() -> None:
    """Each function in the table of metrics is a function of the module that stands before it."""
    missing = []
    for cell in re.findall(r"^\| [^|]+ \| ([^|]+) \|", NEEDS, re.MULTILINE)[1:]:
        module = ""
        for name in re.findall(r"`([\w.]+)`", cell):
            module, function = name.split(".") if "." in name else (module, name)
            if not hasattr(importlib.import_module(f"stream_app.statistics.{module}"), function):
                missing.append(name)
    assert [] == missing


def test_the_stated_error_is_that_of_the_sketch() -> None:
    """Amounts are exact to 49, and to 1 % above."""
    amounts = QuantileSketch()
    for amount in (49, 50, 51):
        amounts.add(amount)
    assert [1, 2] == [bucket.size for bucket in amounts.buckets()]
