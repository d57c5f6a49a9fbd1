"""Views: rows, marginals, contrasts, series, maturity and completeness of what was counted."""

from dataclasses import replace

import msgspec
import pytest

from stream_app.core.panes import HOUR_MS, PANE_MS
from stream_app.core.slices import Slice
from stream_app.metrics.catalogue import METRICS
from stream_app.metrics.windows import windows_from
from stream_app.serving import views
from stream_app.serving.queries import query
from stream_app.serving.views import Meaning, estimates_of, stale
from stream_app.statistics.contrasts import CONTRASTED
from stream_app.statistics.proportions import wilson
from stream_app.statistics.ratios import risk_ratio
from tests.serving.stored import HOLDOUT, HOME, NOW_MS
from tests.serving.viewing import MEANING, live, row, view_of

CART = HOME._replace(surface="cart")


def test_a_row_has_its_measures_and_its_metrics() -> None:
    """One surface and arm: every exported metric, and the measures that these are lowered from, and no others."""
    found = row(view_of((NOW_MS, HOME, 100, 7)), "5m", "home.hero", "personalized")
    assert found is not None
    read = {measure for metric in METRICS if metric.is_exported for measure in metric.needs}
    assert (dict.fromkeys(read, 0) | {"impressions": 100, "clicks": 7}) == found.measures
    assert (wilson(7, 100), None) == (found.metrics["ctr"], found.metrics["conversion"])


def test_marginals_add_up() -> None:
    """Surface all and arm all are the sums over the others."""
    view = view_of((NOW_MS, HOME, 10, 1), (NOW_MS, HOLDOUT, 20, 0), (NOW_MS, CART, 5, 2))
    rows = {(r.surface, r.arm): r.measures["impressions"] for r in view.snapshot.windows["5m"].rows}
    expected = {
        ("all", "all"): 35,
        ("all", "personalized"): 15,
        ("all", "holdout"): 20,
        ("home.hero", "all"): 30,
        ("home.hero", "personalized"): 10,
        ("home.hero", "holdout"): 20,
        ("cart", "all"): 5,
        ("cart", "personalized"): 5,
    }
    assert expected == rows


def test_segments_are_summed_in_rows() -> None:
    """Policy, segment, channel and device are summed over."""
    view = view_of((NOW_MS, HOME, 10, 1), (NOW_MS, HOME._replace(segment="new", device="tv"), 5, 1))
    found = row(view, "5m", "home.hero", "personalized")
    assert found is not None
    assert 15 == found.measures["impressions"]


def test_a_row_stays_in_windows_where_it_counted_nothing() -> None:
    """What was seen an hour ago is 0 in the last minute, not gone."""
    view = view_of((NOW_MS - HOUR_MS, CART, 5, 1), (NOW_MS, HOME, 10, 1))
    found = row(view, "1m", "cart", "personalized")
    assert found is not None
    assert (0, None) == (found.measures["impressions"], found.metrics["ctr"])


def test_a_surface_that_is_called_all_is_other() -> None:
    """The name of the sum cannot be taken by a part of it."""
    view = view_of((NOW_MS, HOME._replace(surface="all"), 10, 1), (NOW_MS, HOME, 5, 1))
    other, everything = row(view, "5m", "other", "personalized"), row(view, "5m", "all", "all")
    assert other is not None
    assert everything is not None
    assert (10, 15) == (other.measures["impressions"], everything.measures["impressions"])


def test_surplus_pairs_are_other_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the surfaces with fewest impressions are other, and nothing is lost."""
    monkeypatch.setattr(views, "MAX_PAIRS", 2)
    counted = [(NOW_MS, HOME._replace(surface=f"s{n}"), n, 0) for n in (1, 2, 3, 4)]
    view = view_of(*counted)
    found = {r.surface: r.measures["impressions"] for r in view.snapshot.windows["5m"].rows if r.arm == "personalized"}
    assert ({"s4": 4, "s3": 3, "other": 3, "all": 10}, 2) == (found, view.snapshot.folded_pairs)


def test_a_contrast_is_the_ratio_of_two_arms() -> None:
    """Personalized against holdout, per surface and over all."""
    view = view_of((NOW_MS, HOME, 100, 30), (NOW_MS, HOLDOUT, 100, 20))
    found = {(c.surface, c.metric, c.arm, c.against): c.ratio for c in view.snapshot.windows["5m"].contrasts}
    expected = risk_ratio(30, 100, 20, 100)
    compared = [metric for metric in MEANING.headlines("5m") if isinstance(metric.method, CONTRASTED)]
    assert {
        (surface, metric, "personalized", "holdout"): expected if metric == "ctr" else None
        for surface in ("all", "home.hero")
        for metric in (m.name for m in compared if surface == "all" or "surface" in m.dimensions)
    } == found


def test_windows_end_with_the_newest_pane() -> None:
    """Fine windows reach back their length, long ones to the hour, all to the oldest cell."""
    view = view_of((NOW_MS - 3 * HOUR_MS, HOME, 1, 0), (NOW_MS + 1, HOME, 1, 0))
    end = NOW_MS + PANE_MS
    day = view.snapshot.windows["24h"]
    assert (end, end, end - 300_000, 0, NOW_MS - 3 * HOUR_MS) == (
        view.snapshot.end_ms,
        day.end_ms,
        view.snapshot.windows["5m"].start_ms,
        day.start_ms % HOUR_MS,
        view.snapshot.windows["all"].start_ms,
    )


def test_times_follow_from_the_newest_event() -> None:
    """Watermark and seal lie behind the newest event's pane by what the settings allow."""
    snapshot = view_of((NOW_MS + 5_000, HOME, 1, 0)).snapshot
    expected = (NOW_MS + 5_000, NOW_MS - 10_000, NOW_MS - 310_000)
    assert expected == (snapshot.newest_ms, snapshot.watermark_ms, snapshot.sealed_ms)


def test_before_anything_is_counted_there_are_no_times() -> None:
    """An empty view is a view: null times, no rows but the sum, maturity 1."""
    snapshot = view_of(states=[live(0, 0)]).snapshot
    window = snapshot.windows["5m"]
    assert (None, None, None, None, 1.0, 1, ()) == (
        snapshot.end_ms,
        snapshot.newest_ms,
        snapshot.watermark_ms,
        snapshot.sealed_ms,
        window.maturity,
        len(window.rows),
        snapshot.series.points,
    )


def test_maturity_is_the_share_of_impressions_that_had_their_click_window() -> None:
    """Three of four impressions lie in a pane that ended a click window before the watermark."""
    old = NOW_MS - 10_000 - 600_000 - PANE_MS
    windows = view_of((old, HOME, 3, 0), (old + 1, HOME, 0, 0), (NOW_MS, HOME, 1, 0)).snapshot.windows
    assert [0.0, 0.75, 0.75, 0.75] == [windows[name].maturity for name in ("1m", "15m", "24h", "all")]


def test_the_series_is_an_hour_of_minutes() -> None:
    """Sixty points, oldest first, each over five minutes; the newest is cut where the windows end; few make none."""
    at = NOW_MS - NOW_MS % 60_000
    series = view_of(
        (at - 60_000, HOME, 30, 1), (at + 20_000, HOME, 20, 2), (at + 20_000, HOLDOUT, 19, 1)
    ).snapshot.series
    last, before = series.points[-1], series.points[-2]
    assert (60, at - 59 * 60_000, (at, at + 30_000)) == (
        len(series.points),
        series.points[0].start_ms,
        (last.start_ms, last.end_ms),
    )
    assert (wilson(3, 50), None, wilson(1, 30), ["personalized"]) == (
        last.arms["personalized"]["ctr"],
        last.arms["holdout"]["ctr"],
        before.arms["personalized"]["ctr"],
        list(before.arms),
    )


def test_a_partition_that_is_behind_holds_the_windows_and_makes_them_incomplete() -> None:
    """The windows end with the slowest partition, and say why they are not complete."""
    states = [live(0, NOW_MS), live(1, NOW_MS - 60_000, lag=12_000)]
    snapshot = view_of((NOW_MS, HOME, 1, 0), states=states).snapshot
    assert (NOW_MS - 50_000, False, ("partition 1 is 12,000 records behind",), False) == (
        snapshot.end_ms,
        snapshot.complete,
        snapshot.incomplete_because,
        snapshot.windows["5m"].complete,
    )


def test_a_fine_window_below_a_floor_is_incomplete() -> None:
    """Where a partition has folded its panes, a window of panes cannot reach; longer ones of hours can."""
    states = [live(0, NOW_MS, floor_ms=NOW_MS - 600_000)]
    windows = view_of((NOW_MS, HOME, 1, 0), states=states).snapshot.windows
    assert {"5m": True, "15m": False, "1h": False, "24h": True, "all": True} == {
        name: windows[name].complete for name in ("5m", "15m", "1h", "24h", "all")
    }


def test_the_pipeline_adds_partitions_up() -> None:
    """Outcomes, lag and records are sums; workers are those whose heart beats."""
    states = [
        live(0, NOW_MS, lag=3, outcomes={"counted": 90, "rejected": 10}, rejected={"syntax": 10}),
        live(1, NOW_MS, outcomes={"counted": 1}, rejected={"syntax": 1}),
        live(2, NOW_MS, at_ms=NOW_MS - 60_000)._replace(offset=5),
    ]
    pipeline = view_of((NOW_MS, HOME, 1, 0), states=states).snapshot.pipeline
    assert (3 + 95, 300, 191, {"syntax": 11}, ("host-1",), ["live", "live", "lost"], 12.3) == (
        pipeline.lag_records,
        pipeline.records,
        pipeline.outcomes["counted"],
        pipeline.rejected,
        pipeline.workers,
        [p.state for p in pipeline.partitions],
        pipeline.events_per_second,
    )


def test_a_stale_view_keeps_its_numbers_and_says_why() -> None:
    """When Redis is lost the numbers and their time stay, and nothing is complete any more."""
    view = view_of((NOW_MS, HOME, 100, 7))
    lost = stale(view, "Redis cannot be read: Connection refused", False, NOW_MS + 60_000)
    snapshot = lost.snapshot
    assert (True, False, ("Redis cannot be read: Connection refused",), False, NOW_MS, False, "lost") == (
        lost.is_stale,
        snapshot.complete,
        snapshot.incomplete_because,
        snapshot.pipeline.redis.up,
        snapshot.at_ms,
        snapshot.windows["5m"].complete,
        snapshot.pipeline.partitions[0].state,
    )
    assert view.snapshot.windows["5m"].rows == snapshot.windows["5m"].rows


def test_the_tag_changes_with_what_is_seen_and_not_with_the_time_of_looking() -> None:
    """Two looks at the same state have one tag; one more click has another."""
    one = view_of((NOW_MS, HOME, 100, 7))
    later = view_of((NOW_MS, HOME, 100, 7), at_ms=NOW_MS + 500)
    more = view_of((NOW_MS, HOME, 100, 8))
    assert (True, False) == (one.tag == later.tag, one.tag == more.tag)


def test_the_json_is_the_contract() -> None:
    """The rendering has the contract's members, and an estimate its four."""
    told = msgspec.json.decode(view_of((NOW_MS, HOME, 100, 7)).json)
    assert {"value", "low", "high", "n"} == set(told["windows"]["5m"]["rows"][0]["metrics"]["ctr"])
    assert {"step_ms", "span_ms", "surface", "points"} == set(told["series"])
    assert ["1m", "5m", "15m", "1h", "24h", "7d", "28d", "all"] == list(told["windows"])


def test_amounts_beyond_64_bits_are_rendered() -> None:
    """Sums of squares can outgrow every JSON reader; they become floats instead of an error."""
    tally = [0] * len(MEANING.index)
    tally[MEANING.index["session_revenue_squares"]] = 2**70
    assert float(2**70) == views.measures_of(MEANING.index, tally)["session_revenue_squares"]
    assert None is estimates_of(MEANING.metrics, tally, MEANING.index)["revenue_per_session"]


def test_a_slice_is_what_totals_are_kept_by() -> None:
    """Queries find the full slices in the view."""
    assert {HOME: 3} == {s: t[0] for s, t in view_of((NOW_MS, HOME, 3, 0)).totals["5m"].items() if isinstance(s, Slice)}


def test_a_state_that_is_counted_anew_is_said_to_be() -> None:
    """Until the offset is back where it was, the view is incomplete and says why."""
    lost = live(0, NOW_MS, replay_to=200)
    snapshot = view_of((NOW_MS, HOME, 10, 1), states=[lost]).snapshot
    assert (True, False, True) == (
        snapshot.replaying,
        snapshot.complete,
        any("counted anew: 100 of 200" in reason for reason in snapshot.incomplete_because),
    )


def test_windows_that_reach_back_to_before_partitions_were_added_say_so() -> None:
    """What users did before cannot be joined with what they did after: a window of both is not complete."""
    rekeyed = live(0, NOW_MS, partitions=4, rekeyed_ms=NOW_MS - 600_000)
    windows = view_of((NOW_MS, HOME, 10, 1), states=[rekeyed]).snapshot.windows
    assert [(False, True), (True, False)] == [
        (windows["5m"].rekeyed, windows["5m"].complete),
        (windows["15m"].rekeyed, windows["15m"].complete),
    ]


def test_windows_that_reach_back_to_lost_records_are_gapped() -> None:
    """A window that begins after the loss was found is whole; one that begins before it is not, and says so."""
    gapped = live(0, NOW_MS, lost_offsets=7, gap_ms=NOW_MS - 600_000)
    windows = view_of((NOW_MS, HOME, 10, 1), states=[gapped]).snapshot.windows
    assert [(False, True), (True, False)] == [
        (windows["5m"].gapped, windows["5m"].complete),
        (windows["15m"].gapped, windows["15m"].complete),
    ]


def test_a_window_that_reaches_back_to_before_a_measure_has_no_answer() -> None:
    """A metric of a measure that came later is answered by the windows that begin after it came, and by no other."""
    state = live(0, NOW_MS)._replace(since={"clicks": NOW_MS - 200_000})
    view = view_of((NOW_MS - 100_000, HOME, 40, 4), (NOW_MS, HOME, 40, 4), states=[state])
    short, long = row(view, "1m", "home.hero", "personalized"), row(view, "5m", "home.hero", "personalized")
    assert short is not None
    assert long is not None
    assert (wilson(4, 40), None, 80) == (short.metrics["ctr"], long.metrics["ctr"], long.measures["impressions"])
    assert [(), ("ctr",)] == [view.snapshot.windows[name].not_yet for name in ("1m", "5m")]
    assert {None} == {point.arms.get("personalized", {}).get("ctr") for point in view.snapshot.series.points}


def limited(**changes: object) -> Meaning:
    """Return a catalogue of the click-through rate alone, declared otherwise."""
    (ctr,) = (metric for metric in MEANING.metrics if metric.name == "ctr")
    return msgspec.structs.replace(MEANING, metrics=(replace(ctr, **changes),))


def test_a_window_has_the_metrics_that_make_sense_there() -> None:
    """A metric of days is in no row of minutes, and has no contrast and no point there; all that is kept has it."""
    view = view_of((NOW_MS, HOME, 100, 7), (NOW_MS, HOLDOUT, 50, 1), meaning=limited(windows=windows_from("24h")))
    windows = view.snapshot.windows
    with_it = [name for name in windows if windows[name].rows[0].metrics]
    assert ["24h", "7d", "28d", "all"] == with_it == [name for name in windows if windows[name].contrasts]
    assert {0} == {len(of) for point in view.snapshot.series.points for of in point.arms.values()}


def test_a_view_has_what_is_exported_and_a_query_everything() -> None:
    """What is not exported is in no row, point or contrast: it is computed when it is asked for."""
    meaning = limited(is_exported=False)
    view = view_of((NOW_MS, HOME, 100, 7), (NOW_MS, HOLDOUT, 50, 1), meaning=meaning)
    window = view.snapshot.windows["5m"]
    points = [of for point in view.snapshot.series.points for of in point.arms.values()]
    assert ([], [], ()) == ([r for r in window.rows if r.metrics], [of for of in points if of], window.contrasts)
    assert wilson(8, 150) == query(view, meaning, [("metric", "ctr")]).estimate


def test_a_row_has_the_metrics_that_are_known_by_it() -> None:
    """A metric that is not known by surface is in the rows of all surfaces alone."""
    view = view_of((NOW_MS, HOME, 100, 7), meaning=limited(dimensions=("arm", "device")))
    rows = view.snapshot.windows["5m"].rows
    assert [("all", "all"), ("all", "personalized")] == [(row.surface, row.arm) for row in rows if row.metrics]


@pytest.mark.parametrize(
    ("expected", "settles", "days"),
    [
        (1.0, "at_once", 0),
        (0.75, "click_window", 0),
        (0.5, "session_close", 0),
        (0.25, "conversion_window", 0),
        (0.0, "four_weeks", 0),
        (1.0, "cohort_age", 28),  # told when they are
    ],
)
def test_a_metric_matures_by_its_own_rule(expected: float, settles: str, days: int) -> None:
    """Of impressions just now, 20 minutes, 3 hours and 8 days old, each rule lets through those that are old enough."""
    ages = (0, 20 * 60_000, 3 * HOUR_MS, 8 * 24 * HOUR_MS)
    counted = [(NOW_MS - age, HOME, 10, 1) for age in ages]
    view = view_of(*counted, meaning=limited(settles=settles, cohort_days=days))
    assert {"ctr": expected} == view.snapshot.windows["28d"].maturities
