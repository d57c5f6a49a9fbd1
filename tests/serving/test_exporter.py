"""The exporter: the view as Prometheus reads it, checked by Prometheus' own tool."""

import os
import shutil
import subprocess
from dataclasses import replace

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_app.metrics.methods import Count
from stream_app.serving import exporter as exporter_module
from stream_app.serving.exporter import MAX_SERIES, Exporter, ViewCollector
from stream_app.serving.views import View, stale
from stream_app.statistics.proportions import wilson
from tests.serving.stored import HOLDOUT, HOME, NOW_MS
from tests.serving.viewing import MEANING, live, view_of


def page(view: View | None, now_ms: int = NOW_MS, accept: str = "") -> str:
    collector = ViewCollector(lambda: view, MEANING, "EUR", "0.1.0", lambda: now_ms)
    return Exporter(collector).render(accept)[0].decode()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return values by name and label values: window, surface, arm, or what else there is."""
    order = ("window", "surface", "arm", "collector", "outcome", "reason", "version")
    return {
        (sample.name, *(sample.labels[name] for name in order if name in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def view() -> View:
    return view_of((NOW_MS, HOME, 100, 7), (NOW_MS, HOLDOUT, 50, 0))


def test_a_window_is_exported_with_its_bounds(view: View) -> None:
    """Counts, value and both bounds stand under the contract's names, by window, surface and arm."""
    found, labels, ctr = samples(page(view)), ("5m", "home.hero", "personalized"), wilson(7, 100)
    assert (100, 7, 0, ctr.value, ctr.low, ctr.high) == (
        found["lynceus_window_impressions", *labels],
        found["lynceus_window_clicks", *labels],
        found["lynceus_window_conversions", *labels],
        found["lynceus_window_ctr_ratio", *labels],
        found["lynceus_window_ctr_ci_lower_ratio", *labels],
        found["lynceus_window_ctr_ci_upper_ratio", *labels],
    )


def test_what_has_not_enough_data_is_absent(view: View) -> None:
    """No conversion rate without sessions: absent, not 0."""
    assert [] == [key for key in samples(page(view)) if key[0] == "lynceus_window_conversion_ratio"]


def test_what_is_not_declared_as_exported_is_not(view: View) -> None:
    """Only metrics that are declared as exported have families; a count has no bounds, and no window it has not."""
    (ctr,) = (metric for metric in MEANING.metrics if metric.name == "ctr")
    count = replace(ctr, name="seen", unit="items", method=Count("impressions"), highest=None, windows=("1h", "24h"))
    meaning = msgspec.structs.replace(MEANING, metrics=(replace(ctr, is_exported=False), count))
    text = Exporter(ViewCollector(lambda: view, meaning, "EUR", "0.1.0", lambda: NOW_MS)).render("")[0].decode()
    values = {key: value for key, value in samples(text).items() if "ctr" in key[0] or "seen" in key[0]}
    assert {
        ("lynceus_window_seen_items", window, "home.hero", arm): seen
        for window in ("1h", "24h")
        for arm, seen in (("personalized", 100), ("holdout", 50))
    } == values


def test_sums_over_all_are_not_exported(view: View) -> None:
    """No surface all, no arm all, no window all: a sum in Prometheus counts everything once."""
    found = samples(page(view))
    assert [] == [key for key in found if "all" in key[1:]]
    assert 150 == sum(v for k, v in found.items() if k[:2] == ("lynceus_window_impressions", "5m"))


def test_a_window_says_where_it_ends_and_how_far_to_trust_it(view: View) -> None:
    """End, length, maturity and completeness, once per window."""
    found = samples(page(view))
    assert (NOW_MS / 1000 + 10, 300, 0, 1) == (
        found["lynceus_window_end_timestamp_seconds", "5m"],
        found["lynceus_window_length_seconds", "5m"],
        found["lynceus_window_maturity_ratio", "5m"],
        found["lynceus_window_complete", "5m"],
    )


def test_a_window_vanishes_after_three_lengths(view: View) -> None:
    """Four minutes later the last minute is gone, and the last five are still there."""
    windows = {key[1] for key in samples(page(view, NOW_MS + 240_000)) if key[0] == "lynceus_window_impressions"}
    assert {"5m", "15m", "1h", "24h", "7d", "28d"} == windows


def test_money_has_its_currency_as_unit() -> None:
    """The family of a metric in money ends with the currency."""
    assert "# TYPE lynceus_window_revenue_per_session_ci_lower_eur gauge" in page(view_of((NOW_MS, HOME, 1, 0)))


def test_the_store_and_the_records_are_exported() -> None:
    """Redis, outcomes and every reason to reject a record, also at 0; an unknown reason is other."""
    states = [live(0, NOW_MS, outcomes={"counted": 5, "late": 1}, rejected={"syntax": 2, "martian": 1})]
    view = view_of((NOW_MS, HOME, 1, 0), states=states)
    found = samples(page(view))
    assert (1, 1_000_000, 0, 5, 1, 0, 2, 1, 0) == (
        found["lynceus_redis_up",],
        found["lynceus_redis_used_memory_bytes",],
        found["lynceus_redis_max_memory_bytes",],
        found["lynceus_stored_records", "counted"],
        found["lynceus_stored_records", "late"],
        found["lynceus_stored_records", "future"],
        found["lynceus_stored_rejected_records", "syntax"],
        found["lynceus_stored_rejected_records", "other"],
        samples(page(stale(view, "gone", False, NOW_MS)))["lynceus_redis_up",],
    )


def test_without_a_view_the_page_says_so() -> None:
    """Before the first view the collectors report no success, and the build is known."""
    found = samples(page(None))
    assert (0.0, 1.0) == (
        found["lynceus_scrape_collector_success", "windows"],
        found["lynceus_build_info", "0.1.0"],
    )


def test_a_part_that_fails_leaves_the_others(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in one part is a success of 0 for it, not an empty page."""
    monkeypatch.setattr(exporter_module, "_redis", lambda _: 1 / 0)
    found = samples(page(view))
    assert (0.0, 1.0) == (
        found["lynceus_scrape_collector_success", "redis"],
        found["lynceus_scrape_collector_success", "windows"],
    )


def test_many_surfaces_stay_within_the_budget_and_lose_nothing() -> None:
    """With 300 surfaces the smallest are shown as other; series are bounded and the sum is whole."""
    view = view_of(*((NOW_MS, HOME._replace(surface=f"s{n}"), n + 1, 1) for n in range(300)))
    found = samples(page(view))
    total = sum(v for k, v in found.items() if k[:2] == ("lynceus_window_impressions", "5m"))
    assert (True, True, 300 * 301 // 2) == (
        len(found) <= MAX_SERIES,
        found["lynceus_window_folded_pairs",] > 0,
        total,
    )


def test_the_format_is_negotiated_and_has_no_created_series(view: View) -> None:
    """OpenMetrics for who asks for it; no timestamps, no _created."""
    text = page(view, accept="application/openmetrics-text; version=1.0.0")
    assert (True, False) == (text.endswith("# EOF\n"), "_created" in text)


def test_promtool_finds_nothing_wrong(view: View) -> None:
    """Prometheus' own check of names, help and types has no complaint."""
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "promtool is not installed (apt-get install prometheus)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=page(view),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (checked.returncode, checked.stdout + checked.stderr)
