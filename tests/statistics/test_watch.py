"""The watch over a surface: what it says of worlds that are known, and that it is a function of the minutes fed."""

import math
from collections.abc import Iterable
from itertools import islice

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import causes as worlds
from stream_app.core.panes import DAY_MS, HOUR_MS
from stream_app.statistics.drops import DROPS, log_likelihood_ratio
from stream_app.statistics.minutes import Amounts, Minute
from stream_app.statistics.promises import Promise
from stream_app.statistics.seasons import Seasons, Usual
from stream_app.statistics.series import MINUTE_MS, expected
from stream_app.statistics.verdicts import PRECEDENCE, Verdict, leading
from stream_app.statistics.watch import (
    Policy,
    Watched,
    begin,
    meters,
    mismatch_p_value,
    observe,
)

POLICY = Policy(settle_ms=HOUR_MS)
HOUR = 60


def arm(sessions: int, click_rate: float, *, contextual: float = 0.0, kept: float = 1.0) -> dict[str, int]:
    """Return a minute of an arm without any chance: three impressions a session, one in ten who click buy."""
    clicks = round(sessions * click_rate)
    return {
        "sessions": sessions,
        "impressions": round(3 * sessions * kept),
        "at_risk_impressions": round(3 * sessions * kept),
        "first_clicks": clicks,
        "first_conversions": clicks // 10,
        "first_scores": sessions,
        "first_score_micros": 600_000 * sessions,
        "decisions": sessions,
        "contextual_decisions": round(sessions * contextual),
    }


def shop(
    number: int,
    *,
    sessions: int = 800,
    base_sessions: int = 100,
    rate: float = 0.15,
    base_rate: float = 0.1,
    contextual: float = 0.4,
    kept: float = 1.0,
    mobile_rate: float | None = None,
) -> Minute:
    """Return minute `number` of a shop in which half of the people have a phone."""
    phones = arm(sessions // 2, rate if mobile_rate is None else mobile_rate, contextual=contextual, kept=kept)
    others = arm(sessions // 2, rate, contextual=contextual, kept=kept)
    halves = [arm(base_sessions // 2, base_rate)] * 2
    whole: Amounts = {
        "personalized": {name: phones[name] + others[name] for name in phones},
        "holdout": {name: halves[0][name] + halves[1][name] for name in halves[0]},
    }
    strata = {
        "device=mobile": {"personalized": phones, "holdout": halves[0]},
        "device=desktop": {"personalized": others, "holdout": halves[1]},
    }
    return Minute(number * MINUTE_MS, whole, strata)


def feed(watched: Watched, minutes: Iterable[Minute], policy: Policy = POLICY) -> tuple[Watched, list[Verdict]]:
    """Return the state after the minutes, and what was said."""
    return worlds.watch(watched, minutes, policy)


def known(hours: int = 2) -> Watched:
    """Return the state after hours in which all was well."""
    return feed(begin("home"), (shop(number) for number in range(hours * HOUR)))[0]


KNOWN = known()
NEXT = 2 * HOUR


def opened(said: list[Verdict]) -> list[tuple[str, str]]:
    """Return what was opened, as rate and cause."""
    return [(verdict.kpi, verdict.cause) for verdict in said if verdict.is_open]


# -- a function of what is fed ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 120), st.floats(0, 0.3), st.floats(0, 0.3)), max_size=30),
    st.data(),
)
def test_replay_and_storage_change_nothing(drawn: list[tuple[int, int, float, float]], data: st.DataObject) -> None:
    """Minutes fed twice or out of order, and a state stored and read between: the same state, and said the same."""
    minutes = [
        shop(NEXT + at, sessions=one, base_sessions=two, rate=rate, base_rate=base_rate)
        for at, (one, two, rate, base_rate) in enumerate(drawn)
    ]
    expected_state = feed(KNOWN, minutes)
    watched, said = KNOWN, []
    for at, minute in enumerate(minutes):
        again = minutes[data.draw(st.integers(0, at))]
        for each in (minute, again, minute):
            watched, changed = observe(POLICY, watched, each)
            said += changed
        watched = msgspec.msgpack.decode(msgspec.msgpack.encode(watched), type=Watched)
    assert expected_state == (watched, said)


def test_a_minute_that_is_skipped_or_incomplete_is_no_evidence() -> None:
    """Whether it is left out or fed as incomplete, what follows says the same; while it is, the watch is paused."""
    kept, left_out = shop(NEXT, rate=0.01), shop(NEXT + 1, rate=0.01)._replace(is_complete=False)
    skipped, _ = feed(KNOWN, [kept, shop(NEXT + 2)])
    watched, _ = feed(KNOWN, [kept, left_out])
    assert "incomplete" == watched.paused
    assert skipped == feed(watched, [shop(NEXT + 2)])[0]


def test_a_minute_begins_on_the_minute() -> None:
    """Anything else is refused with what to do."""
    with pytest.raises(ValueError, match="feed sealed minutes"):
        observe(POLICY, begin("home"), Minute(1, {}))


def test_negative_amounts_are_refused() -> None:
    """What cannot have been counted is no evidence."""
    minute = shop(NEXT)
    odd = {**minute.arms, "holdout": {**minute.arms["holdout"], "first_clicks": -1}}
    with pytest.raises(ValueError, match="negative"):
        observe(POLICY, KNOWN, minute._replace(arms=odd))


# -- what is said ----------------------------------------------------------------------------------------------------


def test_nothing_is_said_before_enough_is_known() -> None:
    """A drop in the first hour is not told: `not_enough` is, until there is a floor; without a base, for ever."""
    first, said = feed(begin("home"), (shop(number, rate=0.01 if number > 30 else 0.15) for number in range(HOUR)))
    alone = [Minute(m.at_ms, {"personalized": m.arms["personalized"]}) for m in map(shop, range(3 * HOUR))]
    assert [("surface", "not_enough")] == opened(said) == opened(feed(begin("home"), alone)[1])
    later, said = feed(first, [shop(HOUR)])
    assert ((), [False]) == (later.verdicts, [verdict.is_open for verdict in said])


def test_a_drop_is_found_dated_measured_and_closed() -> None:
    """Half the clicks of the treated arm: since when, how much, where; closed when they are back, and the floor froze.

    What the devices add is told: only phones fell.
    """
    watched, said = feed(KNOWN, (shop(NEXT + n, mobile_rate=0.0) for n in range(HOUR)))
    (drop,) = [verdict for verdict in said if verdict.kpi == "ctr"]
    assert ("drop", NEXT * MINUTE_MS, True) == (drop.cause, drop.since_ms, drop.is_open)
    assert drop.size is not None
    assert drop.size.low < 0.5 < drop.size.high
    assert drop.size.value == pytest.approx(0.5, abs=0.02)
    assert "device=mobile" == drop.contributors[0][0]
    assert drop.log_evidence >= drop.log_threshold
    frozen, _ = feed(watched, (shop(NEXT + HOUR + n, mobile_rate=0.0) for n in range(9 * HOUR)))
    assert watched.series["ctr"].floor == frozen.series["ctr"].floor
    healed, said = feed(frozen, (shop(NEXT + 10 * HOUR + n) for n in range(3 * HOUR)))
    closed = [verdict for verdict in said if verdict.kpi == "ctr"]
    assert [(False, drop.opened_ms)] == [(verdict.is_open, verdict.opened_ms) for verdict in closed]
    assert () == healed.verdicts


def ranked(number: int, rates: tuple[float, float, float], sessions: int = 800) -> Minute:
    """Return minute `number` of a shop with lists of three, of these click rates in the treated arm."""
    base = (0.06, 0.04, 0.001)
    apart = {
        f"position={at}": {
            "personalized": {"at_risk_impressions": sessions, "first_clicks": round(sessions * rate)},
            "holdout": {"at_risk_impressions": 1_000, "first_clicks": round(1_000 * base_rate)},
        }
        for at, (rate, base_rate) in enumerate(zip(rates, base, strict=True), 1)
    }
    whole = {
        name: arm(people, sum(stratum[name]["first_clicks"] for stratum in apart.values()) / people)
        for name, people in (("personalized", sessions), ("holdout", 1_000))
    }
    return Minute(number * MINUTE_MS, whole, apart | {"device=phone": whole})


WELL = (0.12, 0.05, 0.02)
"""Of a ranking that puts the best at the top: twice as good there as chance, and half as good again below."""


@pytest.mark.parametrize(
    ("left", "named"),
    [
        ((0.0, 1.0, 1.0), ["position=1"]),
        ((1.0, 0.0, 1.0), ["position=2"]),
        ((0.5, 0.5, 0.5), ["position=1", "position=2"]),
    ],
    ids=["the first", "the second", "all alike"],
)
def test_positions_are_held_against_their_own(left: tuple[float, float, float], named: list[str]) -> None:
    """Named is what fell, by as much as it did; not what little is known of, nor a dimension with one value.

    The third position has a click a minute in the base: too few to know what is normal of it.
    """
    known_, _ = feed(begin("home"), (ranked(number, WELL) for number in range(90)))
    now = (WELL[0] * left[0], WELL[1] * left[1], WELL[2] * left[2])
    _, said = feed(known_, (ranked(90 + number, now) for number in range(3 * HOUR)))
    (drop,) = [verdict for verdict in said if verdict.kpi == "ctr" and verdict.is_open]
    assert named == [name for name, _ in drop.contributors]


def test_the_meter_is_full_while_a_drop_is_open() -> None:
    """Below the threshold before, not below it while open; one of each rate, and the p-value only of promises."""
    watched, _ = feed(KNOWN, (shop(NEXT + n, rate=0.05) for n in range(HOUR)))
    before, after = meters(POLICY, KNOWN)[0], meters(POLICY, watched)[0]
    assert (False, True) == (before.is_active, after.is_active)
    assert before.log_evidence < before.log_threshold <= after.log_evidence
    assert ["ctr", "conversion", "relevance"] == [meter.kpi for meter in meters(POLICY, watched)]
    assert mismatch_p_value(POLICY, watched) is None


def test_a_drop_without_context_is_told_as_context() -> None:
    """Context gone and fewer clicks: the surface says context, and so does the drop of clicks."""
    _, said = feed(KNOWN, (shop(NEXT + n, rate=0.08, contextual=0.0) for n in range(HOUR)))
    assert {("surface", "context"), ("ctr", "context")} == set(opened(said))


def test_lost_records_are_no_drop() -> None:
    """As many sessions, with fewer impressions and clicks: told as instrumentation, and the rates are paused."""
    watched, said = feed(KNOWN, (shop(NEXT + n, rate=0.09, kept=0.6) for n in range(2 * HOUR)))
    assert "instrumentation" == watched.paused
    assert {"instrumentation"} == {cause for _, cause in opened(said)}
    assert watched.standing is not None
    assert "instrumentation" == watched.standing.cause


def test_while_the_arms_are_mismatched_nothing_is_concluded_from_them() -> None:
    """A fifth of the sessions missing pauses the watch: a drop that begins then is told when it is over, not before."""
    watched, said = feed(KNOWN, (shop(NEXT + n, sessions=640) for n in range(2 * HOUR)))
    assert ([("surface", "mismatch")], "mismatch") == (opened(said), watched.paused)
    broken, said = feed(watched, (shop(NEXT + 2 * HOUR + n, sessions=640, rate=0.03) for n in range(3 * HOUR)))
    assert ([], watched.series["ctr"].evidence) == (said, broken.series["ctr"].evidence)
    _, said = feed(broken, (shop(NEXT + 5 * HOUR + n, rate=0.03) for n in range(4 * HOUR)))
    told = [(verdict.kpi, verdict.cause, verdict.is_open) for verdict in said if verdict.kpi in ("surface", "ctr")]
    assert [("surface", "mismatch", False), ("ctr", "drop", True)] == told


def test_what_both_arms_lose_is_nobodys_fault() -> None:
    """A third less clicks in every arm is site-wide, and closed when they are back; the ratio says nothing."""
    watched, said = feed(KNOWN, (shop(NEXT + n, rate=0.1, base_rate=0.06) for n in range(3 * HOUR)))
    assert [("surface", "site_wide")] == opened(said)
    healed, _ = feed(watched, (shop(NEXT + 3 * HOUR + n) for n in range(4 * HOUR)))
    assert () == healed.verdicts


def test_a_drop_is_not_site_wide() -> None:
    """Two thirds less clicks of most people is much less of all; the base is as ever, so only the drop is told."""
    _, said = feed(KNOWN, (shop(NEXT + n, rate=0.05) for n in range(3 * HOUR)))
    assert {"drop"} == {cause for _, cause in opened(said)}


def test_few_people_are_traffic_and_nothing_else() -> None:
    """A quarter of the people, whose rates are as ever; an outage with nobody at all as well."""
    for few in (200, 0):
        _, said = feed(KNOWN, (shop(NEXT + n, sessions=few, base_sessions=few // 8) for n in range(2 * HOUR)))
        assert [("surface", "traffic")] == opened(said)


def test_what_lasts_a_week_is_the_new_usual() -> None:
    """After a week of half the clicks everywhere it is what is expected: closed, and not told again."""
    tenths = range(NEXT, NEXT + 9 * 24 * HOUR, 10)
    low = (shop(n, rate=0.09, base_rate=0.06) for n in tenths)
    watched, said = feed(KNOWN, low)
    assert [True, False] == [verdict.is_open for verdict in said if verdict.cause == "site_wide"]
    assert () == watched.verdicts


def test_shares_that_were_promised_are_held() -> None:
    """Arms that never were as promised are told from the first day on; impressions alone tell of lost records."""
    policy = msgspec.structs.replace(POLICY, shares={"personalized": 0.8, "holdout": 0.1})
    _, fine = feed(begin("home"), (shop(n) for n in range(6 * HOUR)), policy)
    watched, few = feed(begin("home"), (shop(n, sessions=600) for n in range(6 * HOUR)), policy)
    _, lost = feed(begin("home"), (shop(n, kept=0.5) for n in range(6 * HOUR)), policy)
    causes = [{cause for _, cause in opened(said)} - {"not_enough"} for said in (fine, few, lost)]
    assert [set(), {"mismatch"}, {"instrumentation"}] == causes
    p_value = mismatch_p_value(policy, watched)
    assert p_value is not None
    assert p_value < 1e-6


def test_a_promise_is_kept_again_after_a_whole_day() -> None:
    """Broken on one day, it is broken through the next, which keeps it; on the third it is whole."""
    promise, days = Promise(), []
    for hour in range(72):
        counts = {"sessions": (500, 100) if hour < 24 else (800, 100)}
        promise = promise.watch(hour * HOUR_MS, (0.8, 0.1), counts, 0.001, 1.0)
        if hour % 24 == 23 or hour == 48:
            days.append(promise.broken_ms >= 0)
    assert [True, True, False, False] == days


# -- worlds ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet() -> tuple[Watched, int, list[Verdict]]:
    """A day and some hours of the simulated world in which nothing happens, until noon."""
    return worlds.quiet(7, minutes=34 * HOUR)


def test_nothing_is_said_of_a_world_in_which_nothing_happens(quiet: tuple[Watched, int, list[Verdict]]) -> None:
    """No verdict in a day and some hours with seasons and chance, and none standing."""
    assert ([], ()) == (quiet[2], quiet[0].verdicts)


@pytest.mark.parametrize("scenario", worlds.EXPECTED)
def test_the_cause_is_that_of_the_scenario(scenario: str, quiet: tuple[Watched, int, list[Verdict]]) -> None:
    """Three hours of a scenario of the simulated world: its cause, and no drop paged that is none."""
    said = worlds.judged(7, scenario, quiet[0], quiet[1], hours=3)
    assert (worlds.EXPECTED[scenario], False) == (said.cause, said.is_paged_falsely)


# -- the parts -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 500), st.floats(0.5, 400), st.sampled_from(DROPS))
def test_what_is_expected_is_a_poisson_mean(came: int, mean: float, drop: float) -> None:
    """Held against an expectation, ln L is x ln r + (1 - r) rho_0 E, to what rounding and the finite base leave."""
    exact = came * math.log(drop) + (1 - drop) * 0.85 * mean
    assert exact == pytest.approx(log_likelihood_ratio(expected(came, mean), 0.85, drop), abs=1e-3 * (came + mean))


def test_the_evidence_against_an_expectation_is_no_more_than_it_may_be() -> None:
    """On average L is at most 1 where as much comes as the floor says: summed over the Poisson law."""
    mean, floor = 20.0, 0.85
    for drop in DROPS:
        logs = [
            log_likelihood_ratio(expected(x, mean), floor, drop)
            + x * math.log(mean * floor)
            - mean * floor
            - math.lgamma(x + 1)
            for x in range(200)
        ]
        assert 0.99 < sum(map(math.exp, logs)) <= 1 + 1e-9


def test_an_hour_is_expected_as_it_was() -> None:
    """An hour that was seen is told by itself, one of another day by the same hour, a new one by all; half fades."""
    seasons = Seasons()
    for minute in range(120):
        at_ms = minute * MINUTE_MS
        seasons = seasons.learn(at_ms, Usual(0, 1, 100 if minute < 60 else 10, 1_000, 50, 100, 4))
    asked, usual = Usual(0, 1, 0, 1_000, 0, 100, 0), Usual(0, 1, 40, 1_000, 50, 100, 4)
    assert seasons.expect(0, asked, 61) is None  # the second hour is going on
    seasons = seasons.learn(2 * HOUR_MS, usual)
    told = [seasons.expect(at_ms, asked, 60) for at_ms in (0, DAY_MS, DAY_MS + HOUR_MS, 5 * HOUR_MS)]
    assert [100, 100, 10, 55] == [round(one.sessions) for one in told if one is not None]
    later = seasons.learn(7 * DAY_MS, usual).learn(8 * DAY_MS, usual)
    assert (60 * 3 // 4 + 1, 120 + 1 - 15 + 1) == (later.hours[0].minutes, later.total.minutes)


def test_the_expectation_follows_the_level_of_each_arm() -> None:
    """Where both arms click twice as much at night, so is expected of each, in proportion to its own level."""
    seasons = Seasons()
    for minute in range(120):
        night = 2 if minute < 60 else 1
        seasons = seasons.learn(minute * MINUTE_MS, Usual(0, 1, 100, 1_000, 50 * night, 100, 4 * night))
    seasons = seasons.learn(2 * HOUR_MS, Usual(0, 1))
    told = seasons.expect(0, Usual(0, 1, 0, 1_000, 0, 100, 0), 1)
    assert told is not None
    assert (100.0, 8.0) == pytest.approx((told.clicks, told.base_clicks))


def test_who_speaks_for_a_surface() -> None:
    """What says that the data is wrong before what explains a drop, before the drop, before what is nobody's fault."""
    said = [
        Verdict("home", "surface", cause, True, 0, number, 0, None, 0.0, 0.0, (), "")
        for number, cause in enumerate(reversed(PRECEDENCE))
    ]
    spoken = []
    while (first := leading(tuple(said))) is not None:
        spoken.append(first.cause)
        said.remove(first)
    assert list(PRECEDENCE) == spoken


def test_a_transition_has_one_name() -> None:
    """Opened, renamed and closed have names of their own, the same for whoever finds them."""
    minutes = [shop(NEXT + n, rate=0.05) for n in range(HOUR)] + [shop(NEXT + HOUR + n) for n in range(2 * HOUR)]
    once, again = ([verdict.id for verdict in feed(KNOWN, minutes)[1]] for _ in range(2))
    assert (once, len(once)) == (again, len(set(once)))


def test_the_worlds_are_the_same_for_the_same_seed() -> None:
    """What is drawn depends on the seed alone."""
    one, two = (list(islice(worlds.drawn.minutes(np.random.default_rng(3), 0, 5, 2.0), 5)) for _ in range(2))
    assert one == two
