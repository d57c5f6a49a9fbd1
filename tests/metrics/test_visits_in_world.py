"""Visits of the simulated world: every sum against a recount of what was delivered, and the answers made of them."""

import json
import math
from collections import defaultdict
from functools import cache
from statistics import fmean, variance
from typing import Any

import pytest
from scipy import stats

from producers.transit import records
from producers.world import World
from stream_app.metrics import engagement, visits
from tests.metrics.families import estimate
from tests.metrics.retold import Place, Told, grouped, place, summed
from tests.metrics.worlds import WORLDS, Run, counted, of_family, run
from tests.producers.counting import START_MS

OWN = ("page_view", "search", "click", "cart", "order", "conversion", "engagement")
OF_EXPOSURES = ("session_clicks", "session_click_squares")


def visit(events: list[Told]) -> dict[str, Any]:
    """Return what a visit was, from all its events."""
    types = [event["type"] for event in events]
    times = [event["ts"] for event in events]
    over = [event for event in events if event["type"] == "engagement" and event["final"]]
    adds = sum(event["type"] == "cart" and event["action"] == "add" for event in events)
    pages, searches, clicks = (types.count(name) for name in ("page_view", "search", "click"))
    bought = types.count("order") + types.count("conversion")
    return {
        "is_one": bool(pages + searches + clicks + types.count("cart")),
        "pages": pages,
        "searches": searches,
        "acts": clicks + adds,
        "seconds": (max(times) - min(times)) / 1_000,
        "active_ms": sum(event.get("active_ms", event["elapsed_ms"]) for event in over) if over else None,
        "points": min(pages, 10) + 2 * min(searches, 3) + 3 * min(clicks, 5) + 5 * min(adds, 3) + 10 * min(bought, 1),
    }


def amounts(one: dict[str, Any]) -> dict[str, int]:
    """Return what a visit adds."""
    active_ms = one["active_ms"] or 0
    log = math.log1p(math.floor(one["seconds"]))
    return {
        "visits": 1,
        "visit_pages": one["pages"],
        "visit_page_squares": one["pages"] ** 2,
        "visit_searches": one["searches"],
        "visit_search_squares": one["searches"] ** 2,
        "searching_visits": int(one["searches"] > 0),
        "visit_interactions": one["acts"],
        "visit_interaction_squares": one["acts"] ** 2,
        "visit_log_span_nanos": int(log * 1e9 + 0.5),
        "visit_log_span_square_nanos": int(log**2 * 1e9 + 0.5),
        "timed_visits": int(one["active_ms"] is not None),
        "visit_active_ms": active_ms,
        "visit_active_square_seconds": (active_ms**2 + 500_000) // 1_000_000,
        "engagement_points": one["points"],
        "engagement_point_squares": one["points"] ** 2,
    }


def in_groups(events: list[Told], key: Any) -> list[tuple[Place, dict[str, Any]]]:
    """Return all visits, and where they began."""
    groups = [(place(group[0]), visit(group)) for group in grouped(events, key, *OWN)]
    return [(where, one) for where, one in groups if one["is_one"]]


def clicked(events: list[Told]) -> dict[Place, dict[str, int]]:
    """Return the clicked items per session and surface, and their squares."""
    shown: dict[tuple[str, str], tuple[str, Place]] = {}
    first: dict[tuple[str, str], Place] = {}
    items: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for event in events:
        if event["type"] == "impression":
            exposure = event["session"], event["surface"]
            first.setdefault(exposure, place(event))
            shown[event["decision"], event["item"]] = exposure
    for event in events:
        if event["type"] == "click" and (exposure := shown.get((event["decision"], event["item"]))):
            items[exposure].add((event["decision"], event["item"]))
    return summed(
        (first[exposure], {"session_clicks": len(of), "session_click_squares": len(of) ** 2})
        for exposure, of in items.items()
    )


def without_sessions(name: str) -> Run:
    """Return a world of few people in which no session is told: visits are what silences make them."""
    world = World(int(name[-1]), users=25)
    happened = world.happenings(START_MS, 0.03, START_MS + 5 * 3_600_000)
    values = []
    for record in records(world, happened):
        event = json.loads(record.value)
        event.pop("session", None)
        values.append(json.dumps(event).encode())
    return counted(values)


@cache
def visits_by_silence(name: str) -> tuple[Run, list[tuple[Place, dict[str, Any]]]]:
    """Return that world, and its visits found in a batch: the events of a user sorted, and cut at silences."""
    found = without_sessions(name)
    visit_of: dict[str, tuple[str, int]] = {}
    for group in grouped(found.events, lambda event: event["user"], *OWN):
        number, last = 0, group[0]["ts"]
        for event in sorted(group, key=lambda event: event["ts"]):
            number += event["ts"] - last > 1_800_000
            last = event["ts"]
            visit_of[event["id"]] = event["user"], number
    return found, in_groups(found.events, lambda event: visit_of[event["id"]])


@pytest.mark.parametrize("name", WORLDS)
def test_visits_are_those_of_a_recount(name: str) -> None:
    """Every measure by surface and arm is that of the delivered events, to the unit, whatever happens to records."""
    events, state = run(name)
    found = in_groups(events, lambda event: (event["user"], event["session"]))
    assert len(found) > 200
    assert summed((where, amounts(one)) for where, one in found) == of_family(state, [visits.FAMILY])


@pytest.mark.parametrize("name", WORLDS)
def test_clicks_of_sessions_are_those_of_a_recount(name: str) -> None:
    """The clicks of exposed sessions and their squares, by surface and arm, are those of the delivered events."""
    events, state = run(name)
    told = {
        where: {measure: amount for measure, amount in of.items() if measure in OF_EXPOSURES}
        for where, of in of_family(state, [engagement.FAMILY]).items()
    }
    assert clicked(events) == {where: amounts for where, amounts in told.items() if any(amounts.values())}


@pytest.mark.parametrize("name", ["seed 3", "seed 4"])
def test_visits_by_silence_are_those_of_a_recount(name: str) -> None:
    """Without session ids, visits over five hours are those that sorting and cutting finds."""
    (_, state), found = visits_by_silence(name)
    assert len({where for where, _ in found}) >= 3
    assert summed((where, amounts(one)) for where, one in found) == of_family(state, [visits.FAMILY])


@pytest.mark.parametrize("name", WORLDS)
def test_answers_are_those_of_the_visits_themselves(name: str) -> None:
    """Means, intervals and quantiles from sums are those that the visits one by one give."""
    events, state = run(name)
    all_ = [one for _, one in in_groups(events, lambda event: (event["user"], event["session"]))]
    for metric, values in (
        ("pages_per_visit", [one["pages"] for one in all_]),
        ("searches_per_visit", [one["searches"] for one in all_]),
        ("interactions_per_visit", [one["acts"] for one in all_]),
        ("engagement_score", [one["points"] / 56 for one in all_]),
        ("active_time_per_visit", [one["active_ms"] / 1e3 for one in all_ if one["active_ms"] is not None]),
    ):
        found = estimate(metric, state)
        assert found is not None
        half = stats.t.ppf(0.975, len(values) - 1) * math.sqrt(variance(values) / len(values))
        assert (len(values), pytest.approx(fmean(values)), pytest.approx(fmean(values) + half, rel=1e-3)) == (
            found.n,
            found.value,
            found.high,
        )
    for metric, seconds, share in (
        ("visit_duration_median", [one["seconds"] for one in all_], 0.5),
        ("visit_duration_p90", [one["seconds"] for one in all_], 0.9),
        ("active_time_median", [one["active_ms"] / 1e3 for one in all_ if one["active_ms"] is not None], 0.5),
    ):
        found = estimate(metric, state)
        assert found is not None
        assert pytest.approx(sorted(seconds)[math.ceil(share * len(seconds)) - 1], rel=0.01) == found.value
    typical = estimate("visit_duration", state)
    assert typical is not None
    assert (
        pytest.approx(math.expm1(fmean(math.log1p(math.floor(one["seconds"])) for one in all_)), rel=1e-6)
        == typical.value
    )
