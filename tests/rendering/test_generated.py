"""What is generated from the catalogue: fresh, said to be generated, and whole."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.catalogue import FAMILIES, METRICS
from stream_app.metrics.exposition import exported_name
from stream_app.metrics.methods import Count
from stream_app.metrics.metric import Family, Metric, Settling
from stream_app.rendering.generated import Generated, generated
from stream_app.rendering.metrics_page import metrics_page
from stream_app.rendering.words import settled

ROOT = Path(__file__).parents[2]

GIFTS = Family(
    "gifts",
    "Gifts",
    "What was given.",
    (Measure("gifts", "Gifts.", "gifts", Occasion.OTHER),),
    (
        Metric(
            name="gifts_given",
            title="Gifts given",
            help="How many.",
            unit="gifts",
            formula="gifts",
            caveat="It says nothing of joy.",
            method=Count("gifts"),
            honesty="input",
            settles="cohort_age",
            cohort_days=7,
            is_up_good=None,
            is_exported=True,
            dimensions=("arm",),
            windows=("28d",),
        ),
    ),
)


@pytest.mark.parametrize("each", generated(), ids=lambda each: each.path)
def test_a_generated_file_is_fresh(each: Generated) -> None:
    """What is in the repository is what `lynceus render` would write, and its first line says so."""
    assert each.content == (ROOT / each.path).read_text(encoding="utf-8")
    assert "Generated" in each.content.splitlines()[0]
    assert "lynceus render" in each.content.splitlines()[0]


def test_the_page_has_every_metric_and_measure() -> None:
    """A section for each metric, a row for each measure and histogram, in the order of the catalogue."""
    page = metrics_page(FAMILIES, "EUR")
    assert [metric.name for metric in METRICS] == re.findall(r"^### (\w+)$", page, re.MULTILINE)
    counted = [each.name for family in FAMILIES for each in (*family.measures, *family.histograms)]
    assert counted == re.findall(r"^\| `(\w+)` \|", page.partition("## Measures")[2], re.MULTILINE)


def test_every_way_to_settle_is_said() -> None:
    """Who waits for no cohort is not said to wait for one."""
    (gifts,) = GIFTS.metrics
    said = {each: settled(replace(gifts, settles=each, cohort_days=0)) for each in get_args(Settling)}
    assert ["cohort_age"] == [each for each, text in said.items() if "0 days old" in text]


def test_the_page_has_what_is_exported() -> None:
    """A row for each exported metric, under its name in Prometheus, in the reporting currency."""
    rows = metrics_page(FAMILIES, "SEK").partition("## Exported")[2].partition("## Measures")[0]
    assert [exported_name(m, "SEK") for m in METRICS if m.is_exported] == re.findall(r"^\| `(\w+)`", rows, re.MULTILINE)
    assert "lynceus_window_revenue_per_session_sek" in rows


def test_a_section_says_what_is_not_as_usual() -> None:
    """Fewer dimensions and windows, no interval, no good direction, and the age of a cohort are said."""
    section = metrics_page([GIFTS], "EUR").partition("### gifts_given")[2].partition("## Exported")[0]
    told = dict(re.findall(r"^\| ([\w ]+) \| (.+) \|$", section, re.MULTILINE))
    assert {
        "formula": "gifts",
        "unit": "gifts, from 0",
        "honest": "rests on figures that people told",
        "interval": "none: it claims nothing beyond its window",
        "settles": "when those who began are 7 days old",
        "against": "not to be had: it says what was counted and claims nothing beyond, so nothing says how far a "
        "difference is chance",
        "good": "neither",
        "needs": "`gifts`",
        "dimensions": "arm",
        "windows": "28d",
        "PromQL": '`max without (instance, pod) (lynceus_window_gifts_given_gifts{window="5m"})`',
    } == told
