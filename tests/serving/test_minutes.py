"""Sealed minutes: only what cannot change any more is given out, and all of it."""

from collections.abc import Iterable
from functools import reduce

import msgspec
import pytest

from stream_app.core.panes import PANE_MS
from stream_app.core.slices import Slice
from stream_app.metrics.catalogue import INDEX
from stream_app.serving import minutes
from stream_app.serving.minutes import VOUCHES_AFTER_MS, Heard, Held, Sealed
from stream_app.serving.partitions import PartitionState
from stream_app.statistics.minutes import told_apart
from stream_app.statistics.series import MINUTE_MS
from tests.serving.stored import HOLDOUT, HOME, NOW_MS
from tests.serving.viewing import live
from tests.serving.watching import MEANING, START_MS, Count, minute, scene

PANE_NOW = NOW_MS - NOW_MS % PANE_MS
SEALED = PANE_NOW - 310_000
OTHERWISE = PANE_NOW - 20 * MINUTE_MS


def sealed(*states: PartitionState) -> Sealed:
    """Return what is sealed when all this has been so for a while."""
    return seen_in_turn(earlier(states, 2 * VOUCHES_AFTER_MS), earlier(states, VOUCHES_AFTER_MS), states)


def seen_in_turn(*looks: Iterable[PartitionState]) -> Sealed:
    """Return what is sealed at the last of these looks."""
    read = [tuple(look) for look in looks]
    return minutes.sealed(read[-1], reduce(minutes.hear, read, Heard()), 10_000, 300_000, NOW_MS)


def earlier(states: Iterable[PartitionState], by_ms: int) -> list[PartitionState]:
    """Return the states as they were when hearts had beaten that much earlier."""
    return [
        state._replace(alive=state.alive and msgspec.structs.replace(state.alive, at_ms=state.alive.at_ms - by_ms))
        for state in states
    ]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (live(1, NOW_MS), Sealed(SEALED)),
        (live(1, OTHERWISE, lag=5), Sealed(OTHERWISE - 310_000, "partition 1 is behind")),
        (live(1, OTHERWISE), Sealed(SEALED)),
        (live(1, 0), Sealed(SEALED)),
        (live(1, OTHERWISE, at_ms=NOW_MS - 60_000), Sealed(OTHERWISE - 310_000, "partition 1 has no owner")),
        (PartitionState(1), Sealed(0, "partition 1 has never been claimed")),
        (live(1, NOW_MS, replay_to=500), Sealed(0, "partition 1 is counted anew")),
        (live(1, NOW_MS)._replace(fault="torn"), Sealed(0, "partition 1 torn")),
    ],
    ids=["level", "behind", "nothing waits", "never counted", "lost", "absent", "replaying", "faulty"],
)
def test_the_slowest_partition_decides(other: PartitionState, expected: Sealed) -> None:
    """A minute is sealed when it is in every partition; one in which nothing waits holds up nobody."""
    assert expected == sealed(live(0, NOW_MS), other)


UNKNOWN = Sealed(OTHERWISE - 310_000, "partition 1 may have records that wait")
"""Where nothing is sealed that partition 1 might have records of: it has come to `OTHERWISE`."""


def hour_at_once(*beats_ms: int, lag: int = 0, owner: str = "host-1") -> list[list[PartitionState]]:
    """Return looks while partition 0 is far ahead of what it was, and the heart of partition 1 beats at these times.

    The last beat knows of `lag` records and is of `owner`.
    """
    before = [live(0, OTHERWISE), live(1, OTHERWISE, at_ms=NOW_MS + beats_ms[0])]
    looks = [before, *([live(0, NOW_MS), live(1, OTHERWISE, at_ms=NOW_MS + beat)] for beat in beats_ms)]
    zero, one = looks[-1]
    assert one.alive is not None
    alive = msgspec.structs.replace(one.alive, end_offset=one.offset + lag, worker=owner)
    return [*looks[:-1], [zero, one._replace(alive=alive)]]


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        (hour_at_once(-9_000), UNKNOWN),
        (hour_at_once(-9_000, -9_000, -9_000), UNKNOWN),
        (hour_at_once(-9_000, -8_000, -7_000, -6_000, -5_001), UNKNOWN),
        (hour_at_once(-9_000, -8_000, -7_000, -6_000, -5_000), Sealed(SEALED)),
        (hour_at_once(-9_000, -1_000), UNKNOWN),
        (hour_at_once(-9_000, -8_000, -5_000, lag=3), Sealed(UNKNOWN.until_ms, "partition 1 is behind")),
        (hour_at_once(-9_000, -8_000, -5_000, owner="host-2"), UNKNOWN),
        (hour_at_once(-5_000, -4_000, -1_000, -6_000), UNKNOWN),
    ],
    ids=["not heard of", "no beat", "too soon", "still nothing", "one beat", "some wait", "another owner", "set back"],
)
def test_records_that_a_heartbeat_may_not_know_of_are_waited_for(
    looks: list[list[PartitionState]], expected: Sealed
) -> None:
    """An hour that was sent at once is not sealed by the partition that was counted first: the others may have it too.

    A heartbeat that says that nothing waits may be older than that hour, or rest on a fetch that is.
    """
    assert expected == seen_in_turn(*looks)


def test_only_the_beats_that_matter_are_kept() -> None:
    """However long a partition is heard of, it takes no more room."""
    looks = [earlier([live(1, NOW_MS)], 250 * n) for n in range(400, 0, -1)]
    heard = reduce(minutes.hear, looks, Heard())
    assert 13 == len(heard.beats[1])


def test_nothing_counted_is_nothing_sealed() -> None:
    """Before the first event there is no time to speak of, and nobody holds it up."""
    assert [Sealed(0)] * 2 == [sealed(), sealed(live(0, 0))]


def test_only_whole_minutes_that_every_partition_still_has() -> None:
    """Panes below a floor are folded into hours, and a minute that is sealed in part is not given out."""
    states = [live(0, NOW_MS, floor_ms=START_MS - 120 * MINUTE_MS + PANE_MS), live(1, NOW_MS)]
    assert Held(START_MS - 119 * MINUTE_MS, START_MS - MINUTE_MS) == minutes.held(states, START_MS + 50_000)


def test_a_minute_has_everything_once() -> None:
    """By arm and, for each dimension, by its values, which add up to the whole; other minutes are not in it."""
    phone, desk = HOME, HOME._replace(device="desktop", channel="email")
    counted = [
        *minute(START_MS, 7, 3),
        Count(START_MS + 5 * PANE_MS, desk, 50, 1),
        *minute(START_MS + MINUTE_MS, 1, 1),
        Count(START_MS - 1, phone, 9, 9),
    ]
    seen = scene(counted, NOW_MS)
    values = told_apart(seen.view.totals["all"], INDEX["impressions"])
    (found,) = minutes.minutes(seen.windows, seen.bins, START_MS, MEANING, {}, values).values()
    whole = {
        "personalized": {"impressions": 150, "sessions": 150, "at_risk_impressions": 150, "first_clicks": 8},
        "holdout": {"impressions": 100, "sessions": 100, "at_risk_impressions": 100, "first_clicks": 3},
    }
    mobile = {**whole, "personalized": dict.fromkeys(whole["holdout"], 100) | {"first_clicks": 7}}
    desktop = {"personalized": dict.fromkeys(whole["holdout"], 50) | {"first_clicks": 1}}
    strata = {
        "segment=none": whole,
        "channel=web": mobile,
        "channel=email": desktop,
        "device=phone": mobile,
        "device=desktop": desktop,
    }
    assert (START_MS, whole, strata, True) == found


def test_positions_are_parts_of_a_minute() -> None:
    """Where it is known: each down to the tenth, and one part for all below; none before they were counted."""
    at_, places = START_MS, (1, 10, 11, 64)
    seen = scene([Count(at_ + n * PANE_MS, HOLDOUT, 10 + n, n, place) for n, place in enumerate(places)], NOW_MS)
    values = told_apart(seen.view.totals["all"], INDEX["impressions"])
    told, before = (
        {name: arms for name, arms in found.strata.items() if name.startswith("position=")}
        for since in ({}, dict.fromkeys(("at_risk_by_position", "first_clicks_by_position"), START_MS + 1))
        for found in minutes.minutes(seen.windows, seen.bins, START_MS, MEANING, since, values).values()
    )
    assert {
        "position=1": {"holdout": {"at_risk_impressions": 10}},
        "position=10": {"holdout": {"at_risk_impressions": 11, "first_clicks": 1}},
        "position=11+": {"holdout": {"at_risk_impressions": 12 + 13, "first_clicks": 2 + 3}},
    } == told
    assert {} == before


def test_surplus_values_are_other() -> None:
    """Those that are told apart are the largest of all that is kept, so that none comes and goes."""
    many = [HOME._replace(device=f"d{n:02}") for n in range(20)]
    seen = scene([Count(START_MS, slice_, 20 - n, 0) for n, slice_ in enumerate(many)], NOW_MS)
    values = told_apart(seen.view.totals["all"], INDEX["impressions"])
    (found,) = minutes.minutes(seen.windows, seen.bins, START_MS, MEANING, {}, values).values()
    devices = {name: arms for name, arms in found.strata.items() if name.startswith("device=")}
    assert {f"device=d{n:02}" for n in range(12)} | {"device=other"} == set(devices)
    assert sum(range(1, 9)) == devices["device=other"]["personalized"]["impressions"]


def test_what_was_not_counted_yet_is_left_out() -> None:
    """A measure that came to the catalogue later is missing from the minutes before: 0 would be a statement."""
    seen = scene([*minute(START_MS, 7, 3), *minute(START_MS + MINUTE_MS, 7, 3)], NOW_MS)
    values = told_apart(seen.view.totals["all"], INDEX["impressions"])
    since = {"first_clicks": START_MS + 1}
    has = [
        "first_clicks"
        in minutes.minutes(seen.windows, seen.bins, start, MEANING, since, values)["home.hero"].arms["holdout"]
        for start in (START_MS, START_MS + MINUTE_MS)
    ]
    assert [False, True] == has


def test_a_surface_called_all_is_other() -> None:
    """As everywhere: the name means the sum over surfaces."""
    named = [Slice("all", arm, *HOLDOUT[2:]) for arm in ("personalized", "holdout")]
    seen = scene(minute(START_MS, 1, 1, slices=named), NOW_MS)
    assert {"other": START_MS} == minutes.first_minutes(seen.windows)
