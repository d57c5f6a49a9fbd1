"""The drop detector: its recursion, its laws, and what a pane may not do to it."""

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.batch import alarms
from benchmarks.worlds import World, minutes
from stream_app.statistics.drops import (
    DROPS,
    Alarm,
    Counts,
    Evidence,
    Plan,
    contributions,
    log_likelihood_ratio,
    log_threshold,
    mirrored,
    recovery,
    start,
    update,
    update_strata,
)
from stream_app.statistics.floors import floor
from stream_app.statistics.tempering import eta

PLAN = Plan(1.2, log_threshold(365.0))

panes = st.builds(Counts, st.integers(0, 2_000), st.integers(0, 60), st.integers(0, 300), st.integers(0, 12))
series = st.lists(panes, max_size=60)


def feed(plan: Plan, counts: list, evidence: Evidence | None = None, first: int = 0) -> tuple[Evidence, list[Alarm]]:
    evidence, found = evidence or start(plan), []
    for pane, seen in enumerate(counts, first):
        evidence, alarm = update(plan, evidence, pane, Counts(*seen))
        found += [alarm] if alarm else []
    return evidence, found


class Reference:
    """The recursion in plain numbers, as the design states it: sums that do not take logs, one pane at a time."""

    def __init__(self, ratio: float, threshold: float) -> None:
        self.ratio, self.threshold, self.r = ratio, threshold, [0.0] * 4

    def update(self, n_t: int, c_t: int, n_c: int, c_c: int) -> bool:
        if n_t > 0 and n_c > 0:
            base = math.log(self.ratio * n_t + n_c)
            for j, r in enumerate(DROPS):
                d = base - math.log(self.ratio * r * n_t + n_c)
                self.r[j] = (self.r[j] + 1) * math.exp(c_t * (math.log(r) + d) + c_c * d)
        if sum(self.r) / 4 >= self.threshold:
            self.r = [0.0] * 4
            return True
        return False


@given(series)
def test_the_evidence_is_that_of_the_reference(counts: list[Counts]) -> None:
    """In logs or in plain numbers, the evidence and the alarms are the same, pane by pane."""
    reference, evidence = Reference(1.2, math.exp(PLAN.log_threshold)), start(PLAN)
    for pane, seen in enumerate(counts):
        evidence, alarm = update(PLAN, evidence, pane, seen)
        assert reference.update(*seen) == (alarm is not None)
        assert max(0.0, math.log(max(sum(reference.r) / 4, 1e-300))) == pytest.approx(evidence.log_evidence, abs=1e-9)


@given(series, st.data())
def test_a_pane_read_again_changes_nothing(counts: list[Counts], data: st.DataObject) -> None:
    """Panes up to the last one may be replayed, in any order: evidence and alarms are those of reading once."""
    whole, once = feed(PLAN, counts)
    evidence, found = start(PLAN), []
    for pane, seen in enumerate(counts):
        evidence, alarm = update(PLAN, evidence, pane, seen)
        found += [alarm] if alarm else []
        for again in data.draw(st.lists(st.integers(0, pane), max_size=3)):
            evidence, alarm = update(PLAN, evidence, again, counts[again])
            found += [alarm] if alarm else []
    assert (whole, once) == (evidence, found)


@given(series, st.integers(0, 60))
def test_evidence_survives_a_restart(counts: list[Counts], cut: int) -> None:
    """Written as JSON and read back anywhere, the evidence goes on as if nothing had happened."""
    early, before = feed(PLAN, counts[:cut])
    restored = msgspec.json.decode(msgspec.json.encode(early), type=Evidence)
    late, after = feed(PLAN, counts[cut:], restored, first=len(counts[:cut]))
    assert feed(PLAN, counts) == (late, before + after)


def test_a_pane_in_which_an_arm_saw_nobody_says_nothing() -> None:
    """A year of outage is a year without evidence: only the mark of what was read moves."""
    evidence, _ = feed(PLAN, [(900, 20, 100, 5)] * 5)
    later, found = feed(PLAN, [(0, 0, 100, 9), (900, 0, 0, 0), (0, 0, 0, 0)] * 500, evidence, first=5)
    assert (msgspec.structs.replace(evidence, last_pane=1504), []) == (later, found)


def test_a_broken_personalization_is_an_alarm_that_says_since_when() -> None:
    """From minute 300 on half of the lift's clicks are gone: the alarm comes within the hour and dates it."""
    rng = np.random.default_rng(1)
    rates = [1.25 if t < 300 else 0.6 for t in range(400)]
    counts = [(1250, rng.poisson(37.5 * r), 139, rng.poisson(4.2)) for r in rates]
    plan = Plan(1.1875, log_threshold(1.0))
    _, found = feed(plan, counts)
    first = found[0]
    assert (True, True, 0.5) == (300 < first.pane < 330, abs(first.since - 300) <= 5, first.left)
    assert (True, plan.log_threshold) == (first.log_evidence >= first.log_threshold, first.log_threshold)


def test_the_begin_of_a_drop_is_dated_without_bias() -> None:
    """Of 40 drops by a half, half are dated to within 5 minutes, and early as often as late, give or take."""
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(40):
        treated = rng.poisson([46.9] * 200 + [23.4] * 200)
        counts = list(zip([1250] * 400, treated.tolist(), [139] * 400, rng.poisson(4.2, 400).tolist(), strict=True))
        errors.append(feed(Plan(1.1875, log_threshold(1.0)), counts)[1][0].since - 200)
    assert (True, True) == (float(np.median(np.abs(errors))) <= 5, abs(float(np.median(errors))) <= 3)


def test_after_an_alarm_the_evidence_starts_anew() -> None:
    """An alarm spends its evidence; what goes on is found again."""
    counts = [(1000, 5, 1000, 30)] * 100
    evidence, found = feed(PLAN, counts[:10])
    gaps = {b.pane - a.pane for a, b in pairwise(feed(PLAN, counts)[1])}
    assert ({found[0].pane + 1}, found[0].since) == (gaps, 0)
    assert evidence.last_pane == 9


def test_a_common_shock_is_no_evidence() -> None:
    """When both arms lose nine of ten clicks, nothing speaks for a drop: the mean of ln L stays below 0."""
    rng = np.random.default_rng(2)
    counts = [(1250, rng.poisson(46 * s), 139, rng.poisson(4.2 * s)) for s in [1.0] * 200 + [0.1] * 800]
    evidence, found = feed(Plan(1.1875, log_threshold(1.0)), counts)
    assert ([], True) == (found, evidence.log_evidence < 6)


@given(panes, st.floats(0.2, 5), st.sampled_from(DROPS), st.integers(1, 9))
def test_log_likelihood_ratios_scale_with_the_counts(counts: Counts, ratio: float, r: float, k: int) -> None:
    """Equal panes, merged, are as many times the evidence of one."""
    merged = Counts(*(k * x for x in counts))
    expected = k * log_likelihood_ratio(counts, ratio, r)
    assert pytest.approx(expected, rel=1e-9, abs=1e-9) == log_likelihood_ratio(merged, ratio, r)


@given(st.integers(1, 300), st.integers(1, 60), st.floats(0.5, 3), st.sampled_from(DROPS), st.floats(1.0, 2.0))
def test_the_expected_likelihood_ratio_is_at_most_one(n_t: int, n_c: int, ratio: float, r: float, above: float) -> None:
    """For any ratio at or above the floor, and Poisson clicks of any rate: E[L] <= 1, and exactly 1 at the floor."""
    a = math.exp(log_likelihood_ratio(Counts(n_t, 1, n_c, 0), ratio, r))
    b = math.exp(log_likelihood_ratio(Counts(n_t, 0, n_c, 1), ratio, r))
    for rate in (0.001, 0.03, 0.9):
        exponents = [rate * n_t * ratio * k * (a - 1) + rate * n_c * (b - 1) for k in (1.0, above)]
        assert pytest.approx(0.0, abs=1e-9 * n_t * ratio) == exponents[0]
        assert exponents[1] <= exponents[0] + 1e-9


@given(st.lists(panes, min_size=1, max_size=4), series)
def test_one_stratum_is_the_plain_detector(strata: list[Counts], counts: list[Counts]) -> None:
    """With a single stratum the stratified form is the plain one; with several their evidence adds."""
    evidence, found = start(PLAN), []
    for pane, seen in enumerate(counts):
        evidence, alarm = update_strata(PLAN, evidence, pane, [(PLAN.floor, seen)])
        found += [alarm] if alarm else []
    assert feed(PLAN, counts) == (evidence, found)
    parts = contributions({str(i): (1.0 + i, seen) for i, seen in enumerate(strata)}, 0.5)
    whole = sum(log_likelihood_ratio(seen, 1.0 + i, 0.5) for i, seen in enumerate(strata))
    assert (pytest.approx(whole), sorted(parts.values(), reverse=True)) == (sum(parts.values()), list(parts.values()))


def test_a_shift_of_the_mix_is_no_drop_within_strata() -> None:
    """Phones have a lift of 1.1, desktops of 1.6: when all move to phones, the plain detector alarms, strata do not."""
    rng = np.random.default_rng(3)
    plan = Plan(1.3, log_threshold(365.0))
    plain = strata = start(plan)
    fired = {"plain": 0, "strata": 0}
    for pane in range(1500):
        parts = [
            (0.95 * lift, Counts(n, int(rng.poisson(n * 0.03 * lift)), n // 9, int(rng.poisson(n // 9 * 0.03))))
            for n, lift in ((1_200, 1.1), (30, 1.6))
        ]
        plain, one = update(plan, plain, pane, Counts(*(sum(x) for x in zip(*(c for _, c in parts), strict=True))))
        strata, two = update_strata(plan, strata, pane, parts)
        fired["plain"] += one is not None
        fired["strata"] += two is not None
    assert (True, 0) == (fired["plain"] > 0, fired["strata"])


def test_the_broken_stratum_contributes_most() -> None:
    """What lost its clicks leads the list; what is fine speaks against the drop."""
    fine, broken = Counts(1_000, 38, 1_000, 30), Counts(1_000, 15, 1_000, 30)
    parts = contributions({"tablet": (1.2, fine), "phone": (1.2, broken), "web": (1.2, fine)}, 0.5)
    assert ("phone", True, True) == (next(iter(parts)), parts["phone"] > 3, parts["web"] < 0)


def test_recovery_is_the_same_detector_seen_in_a_mirror() -> None:
    """While the drop lasts there is no recovery; when the ratio is back, there is one within minutes."""
    rng = np.random.default_rng(4)
    plan = recovery(Plan(1.1875, log_threshold(1.0)), ratio_during=0.6)
    counts = [mirrored(Counts(1250, rng.poisson(37.5 * r), 139, rng.poisson(4.2))) for r in [0.6] * 600 + [1.25] * 60]
    _, found = feed(plan, counts)
    assert (True, Counts(1, 2, 3, 4)) == (600 < found[0].pane < 630, mirrored(mirrored(Counts(1, 2, 3, 4))))
    assert pytest.approx(1 / 1.1875) == recovery(Plan(1.1875, 1.0), 2.0).floor


def test_the_threshold_is_the_number_of_panes_per_allowed_alarm() -> None:
    """Twenty series, one false alarm a year: A = 20 * 525,600, as each factor of ten costs 2.3."""
    assert pytest.approx(math.log(1.0512e7)) == log_threshold(1.0, 20)
    assert pytest.approx(math.log(10)) == log_threshold(0.1) - log_threshold(1.0)


def test_the_floor_is_below_the_ratio_by_margin_and_doubt() -> None:
    """Few clicks give a low floor, many one of 5 % below the ratio, none none."""
    few, many = floor(Counts(900, 45, 100, 4)), floor(Counts(9 * 10**8, 45 * 10**6, 10**8, 4 * 10**6))
    assert few is not None
    # rho = 1.25: 0.95 * 1.25 * exp(-2.326 * sqrt(1/45 + 1/4))
    assert (0.353, pytest.approx(0.95 * 1.25, rel=2e-3), None) == (round(few, 3), many, floor(Counts(900, 0, 100, 4)))
    clustered = floor(Counts(900, 45, 100, 4), design_effect=4.0)
    assert clustered is not None
    assert clustered < few


@given(st.dictionaries(st.integers(1, 30), st.integers(1, 500), min_size=1), st.floats(0.3, 5), st.floats(0.5, 40))
def test_tempering_keeps_the_expectation_at_one(histogram: dict[int, int], ratio: float, k: float) -> None:
    """For any histogram the largest power is between 1/m and 1, keeps E[L] <= 1, and a little more would not."""
    for r in DROPS:
        power = eta(ratio, r, k, histogram)
        odds = k * ratio
        shrunk = math.log((odds + 1) / (odds * r + 1))

        def excess(p: float, r: float = r, odds: float = odds, shrunk: float = shrunk) -> float:
            return sum(
                s * (odds * math.expm1(p * (math.log(r) + shrunk) * y) + math.expm1(p * shrunk * y))
                for y, s in histogram.items()
            )

        scale = sum(histogram.values()) * odds
        assert 1 / max(histogram) - 1e-12 <= power <= 1
        assert excess(power) <= 1e-9 * scale
        assert power == 1 or excess(power * 1.001) > -1e-9 * scale


def test_first_clicks_need_no_tempering() -> None:
    """Sessions that click once or not at all have a power of one; those that click four times, of a quarter."""
    assert ([1.0] * 4, [0.25] * 4) == (
        [eta(1.2, r, 9.0, {0: 1_000, 1: 30}) for r in DROPS],
        [pytest.approx(eta(1.2, r, 9.0, {4: 7}), abs=1e-9) for r in DROPS],
    )


def test_many_shops_at_once_are_the_same_detector() -> None:
    """The simulation's arrays fire at the same minutes as the detector itself, outages included."""
    shops = [minutes(World(), np.random.default_rng(seed), 1, 0.6, 500) for seed in (1, 2)]
    for shop in shops:
        shop.base_trials[700:720] = shop.base_successes[700:720] = 0
    plan = Plan(1.2, log_threshold(365.0), etas=(1.0, 0.9, 0.8, 0.7))
    expected = [[alarm.pane for alarm in feed(plan, shop.rows())[1]] for shop in shops]
    assert (expected, True) == ([times.tolist() for times in alarms(plan, shops)], len(expected[0]) > 3)


@pytest.mark.parametrize("call", [
    lambda: Plan(0.0, 1.0), lambda: Plan(1.0, 1.0, drops=(1.0,), etas=(1.0,)), lambda: Plan(1.0, 1.0, etas=(1.0,)),
    lambda: Plan(1.0, 1.0, etas=(0.0, 1.0, 1.0, 1.0)), lambda: log_threshold(0.0),
    lambda: update(PLAN, start(PLAN), 1, Counts(1, -1, 1, 1)),
    lambda: update(PLAN, start(Plan(1.0, 1.0, (0.5,), (1.0,))), 1, Counts(1, 1, 1, 1)),
    lambda: floor(Counts(1, 1, 1, 1), margin=1.0), lambda: eta(1.0, 0.5, 9.0, {0: 5}),
])  # fmt: skip
def test_what_cannot_be_is_refused(call) -> None:
    """Floors of 0, drops of nothing, negative counts and evidence of another plan raise, with the value."""
    with pytest.raises(ValueError, match=r"floor|eta|budget|negative|alternatives|margin|tempering"):
        call()
