"""Context in the simulated world: recounted from what was delivered, and what scenarios must show."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest

from producers import truth
from producers.scenarios import STEADY, phase
from producers.world import World
from stream_app.core.quantile_sketch import bucket_of
from stream_app.metrics.catalogue import INDEX, METRICS
from stream_app.metrics.fixed_point import MICROS
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from stream_app.statistics.proportions import wilson
from stream_app.statistics.waterfall import ARMS, waterfall_of
from tests.metrics.counted import bins_of
from tests.producers.counting import Counted, by, count, processed, totals

THIRDS: Any = {"personalized": 1 / 3, "context_blind": 1 / 3, "holdout": 1 / 3}
METRIC = {metric.name: metric for metric in METRICS}
SCENARIOS = ("steady", "context-dead", "context-dead=0.5", "skew", "duplicates", "bots")
MINUTE, DAY = 60_000, 86_400_000
FEW, MANY = 300, 20_000
"""People: so few that they come several times at once, and so many that hardly anybody comes twice."""
Told = dict[str, Any]
Sums = dict[tuple[str, str], Counter[str]]


@cache
def ran(name: str, seed: int = 11, users: int = FEW) -> Counted:
    """Return the count of a small world."""
    scenario, _, size = name.partition("=")
    schedule = (phase(scenario, size=float(size) if size else None),)
    return count(World(seed, schedule, users=users, arms=THIRDS), 0.5 if name == "bots" else 1.2, 480)


def delivered(run: Counted) -> list[Told]:
    """Return what people did, each event once, in the order of its time."""
    events = {told["id"]: told for told in map(json.loads, (record.value for record in run.arrived))}
    return sorted((told for told in events.values() if not told.get("bot")), key=lambda told: told["ts"])


def place(told: Told) -> tuple[str, str]:
    return told.get("surface", "none"), told["arm"]


def followed(events: list[Told]) -> Iterator[tuple[Told, list[Told], list[Told], list[Told]]]:
    """Yield each signal with the decisions, clicks and purchases of its person until the next one."""
    of_user = defaultdict(list)
    for told in events:
        of_user[told["user"]].append(told)
    for all_ in of_user.values():
        signals = [told for told in all_ if told["type"] == "context_signal"]
        for signal, following in pairwise([*signals, None]):
            assert signal is not None
            end_ms = following["ts"] if following else float("inf")
            mine = [told for told in all_ if signal["ts"] <= told["ts"] < end_ms]
            soon = [told for told in mine if told["ts"] <= signal["ts"] + 10 * MINUTE]
            yield (
                signal,
                # What somebody decided by hand could not follow a signal.
                [told for told in soon if told["type"] == "decision" and told.get("automation") != "manual"],
                [told for told in soon if told["type"] == "click"],
                [t for t in mine if t["type"] in ("conversion", "order") and t["ts"] <= signal["ts"] + DAY],
            )


def is_contextual(decision: Told) -> bool:
    return decision.get("depth") == "contextual" or "signal" in decision


def is_rejection(told: Told) -> bool:
    """Say whether somebody rejects unasked what was decided for them."""
    is_said = told["type"] == "feedback" and (
        told["kind"] == "hide" or (told["kind"], told.get("score")) == ("thumb", -1)
    )
    return is_said or told.get("response") == "dismissed"


def recounted(events: list[Told]) -> Sums:
    """Return the sums of this family by surface and arm, computed in a batch."""
    sums: Sums = defaultdict(Counter)
    for signal, decisions, clicks, purchases in followed(events):
        here = sums[place(signal)]
        here["context_signals"] += 1
        if not decisions:
            continue
        first_ms = decisions[0]["ts"]
        used = [d for d in decisions if d.get("context_ts", 0) >= signal["ts"] or d.get("signal") == signal["signal"]]
        here["eligible_signals"] += 1
        here["responses"] += bool(used)
        here["responses_in_time"] += bool(used) and used[0]["ts"] - first_ms <= 5_000
        here["judged_responses"] += bool(used) and "changed" in used[0]
        here["changed_responses"] += bool(used) and used[0].get("changed", False)
        here["clicked_signals"] += any(click["ts"] >= first_ms for click in clicks)
        here["converted_signals"] += any(told["ts"] >= first_ms for told in purchases)
    about = {told["decision"]: told for told in reversed(events) if told["type"] == "decision"}
    taken = {
        told["decision"] for told in events if told.get("response") in ("accepted", "redeemed") and "decision" in told
    }
    for told in events:
        here = sums[place(told)]
        if is_rejection(told) and is_contextual(decided := about.get(told.get("decision"), {})):
            sums[place(decided)]["contextual_negatives"] += 1
        if told["type"] == "decision":
            here["adopted_decisions"] += told["decision"] in taken
            here["decisions"] += 1
            here["deep_decisions"] += "depth" in told
            here["substitution_decisions"] += told.get("depth") == "substitution"
            here["segment_decisions"] += told.get("depth") == "segment"
            here["individual_decisions"] += told.get("depth") == "individual"
            here["contextual_depth_decisions"] += told.get("depth") == "contextual"
            here["contextual_decisions"] += is_contextual(told)
            here["driven_decisions"] += "automation" in told
            here["automatic_decisions"] += told.get("automation") == "auto"
            here["dated_decisions"] += "context_ts" in told
            here["stale_decisions"] += told["ts"] - told.get("context_ts", told["ts"]) > 30 * MINUTE
        elif told["type"] == "feedback" and told["kind"] == "context_relevance":
            weight = round(1e6 / told["asked_prob"])
            for name in ("timely", "appropriate", "fitting"):
                verdict = told["appropriate" if name == "fitting" else name]
                here[f"{name}_answers"] += 1
                here[f"{name}_positive"] += verdict > 0
                here[f"{name}_weight_micros"] += weight
                here[f"{name}_positive_weight_micros"] += weight * (verdict > 0)
                here[f"{name}_square_micros"] += weight * weight // 1_000_000
            here["asked_answers"] += 1
            here["asked_weight_micros"] += weight
            here["asked_square_micros"] += weight * weight // 1_000_000
        elif told["type"] == "consent_change" and not told["granted"] and told["scope"] == "personalization":
            here["contextual_opt_outs"] += any(
                d["type"] == "decision"
                and d["user"] == told["user"]
                and is_contextual(d)
                and told["ts"] - DAY <= d["ts"] <= told["ts"]
                for d in events
            )
    return {at: +of for at, of in sums.items() if +of}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_counted_is_what_a_batch_counts(name: str) -> None:
    """Every measure, by surface and arm, is that of a recount of all that was delivered, to the unit."""
    run = ran(name)
    expected = recounted(delivered(run))
    names = {measure for of in expected.values() for measure in of}
    found = {at: {n: of[n] for n in names if of[n]} for at, of in by(run.totals, 0, 1).items()}
    assert {at: dict(of) for at, of in expected.items()} == {at: of for at, of in found.items() if of}
    assert sum(of["eligible_signals"] for of in expected.values()) > 100


def arms_of(name: str) -> dict[str, list[int]]:
    """Return the tally of each arm in a world of many people."""
    return {arm: [of[measure] for measure in INDEX] for (arm,), of in by(ran(name, users=MANY).totals, 1).items()}


def estimates(name: str) -> Callable[..., Estimate]:
    """Return what a metric of an arm is, in that world."""
    arms = arms_of(name)

    def of(metric: str, arm: str = "personalized") -> Estimate:
        found = lower(METRIC[metric], arms[arm], INDEX)
        assert found is not None
        return found

    return of


@pytest.mark.parametrize("seed", [11, 12])
def test_metrics_are_those_of_the_recount(seed: int) -> None:
    """From the recount by hand: response rate, staleness, automation, of each arm."""
    run = ran("steady", seed)
    expected: dict[str, Counter[str]] = defaultdict(Counter)
    for (_, arm), of in recounted(delivered(run)).items():
        expected[arm] += of
    found = {arm: [of[measure] for measure in INDEX] for (arm,), of in by(run.totals, 1).items()}
    for arm in ARMS:
        sums = expected[arm]
        assert [
            wilson(sums["responses_in_time"], sums["eligible_signals"]),
            wilson(sums["converted_signals"], sums["eligible_signals"]),
            wilson(sums["automatic_decisions"], sums["driven_decisions"]),
        ] == [
            lower(METRIC[name], found[arm], INDEX) for name in ("context_response", "signal_conversion", "automation")
        ]


def test_a_dead_pipe_of_context_shows() -> None:
    """Steady: nearly all signals are responded to in a quarter second. Dead: none, and the context is hours old."""
    steady, half, dead = map(estimates, ("steady", "context-dead=0.5", "context-dead"))
    assert steady("context_response").value > 0.9
    assert 0.3 < half("context_response").value < 0.75
    assert dead("context_response").value == 0
    assert steady("context_missed").value < 0.1
    assert dead("context_missed").value == 1
    assert steady("stale_context").value == 0
    # A decision knows nothing of a dead pipe before a signal comes, so not every one of them is stale.
    assert 0.15 < half("stale_context").low < dead("stale_context").low
    assert steady("contextual_depth").low > 0.3 > dead("contextual_depth").high


def test_latency_and_age_of_context() -> None:
    """The age of context jumps to hours when the pipe is dead; every eligible signal stands in the latency."""
    ages = []
    for name in ("steady", "context-dead"):
        counts = {
            histogram: bins_of(ran(name, users=MANY).state, histogram)
            for histogram in ("adaptation_ms", "context_age_ms")
        }
        sums = by(ran(name, users=MANY).totals)[()]
        assert (sums["eligible_signals"], sums["dated_decisions"]) == tuple(sum(of.values()) for of in counts.values())
        # A quarter second is what a page takes in this world; who was not used yet stands at ten minutes.
        at_once = sum(number for bin_, number in counts["adaptation_ms"].items() if bin_ <= bucket_of(MINUTE))
        assert sums["responses"] == at_once
        age = lower(METRIC["context_age_p95"], [0] * len(INDEX), INDEX, counts)
        assert age is not None
        ages.append(age.value)
    assert (True, True) == (ages[0] < 180, ages[1] > 5.9 * 3_600)


def test_answers_are_weighted_back_to_those_who_were_asked() -> None:
    """The answer rate is that of the truth, within its interval twice as wide; answers alone would be far below."""
    true = truth.expected(World(11, users=MANY, arms=THIRDS).population, STEADY, 1.0, "personalized", ("personalized",))
    answering = sum(each.answers for each in true) / sum(each.asked for each in true)
    found = estimates("steady")
    rate = found("context_answer_rate")
    assert abs(rate.value - answering) < rate.high - rate.low
    sums = by(ran("steady", users=MANY).totals, 1)["personalized",]
    assert sums["asked_answers"] / sums["decisions"] < answering / 4
    assert 0.05 <= found("context_ask_rate").value <= 0.2
    assert sums["asked_weight_micros"] == sums["timely_weight_micros"] > sums["asked_answers"] * 4 * MICROS


def test_what_context_adds_is_between_the_arms() -> None:
    """The waterfall of clicks after signals: context adds, and what it adds is gone when it is dead."""
    steps = {}
    for name in ("steady", "context-dead"):
        found = waterfall_of(METRIC["signal_ctr"], arms_of(name), INDEX)
        assert found is not None
        assert found.total.log_ratio == found.context.log_ratio + found.personalization.log_ratio
        steps[name] = found.context
    one, other = steps["steady"], steps["context-dead"]
    assert one.log_ratio - other.log_ratio > -2 * sqrt(one.standard_error**2 + other.standard_error**2)
    assert other.low < 1 < other.high


def test_records_that_arrive_late_do_not_look_like_slow_context() -> None:
    """With one record in twenty lost to lateness fewer signals are eligible, and the response rate stays."""
    late, steady = estimates("late"), estimates("steady")
    assert late("context_response").n < steady("context_response").n
    assert late("context_response").high > steady("context_response").low
    assert late("stale_context").value == 0


def lagging(value: bytes, lag_ms: int) -> bytes:
    """Return the record as it would be if context reached the recommender that much later."""
    told = json.loads(value)
    if told["type"] != "decision" or "context_ts" not in told or told["ts"] - told["context_ts"] >= lag_ms:
        return value
    fresh = {name: said for name, said in told.items() if name not in ("signal", "changed")}
    return json.dumps({**fresh, "context_ts": told["ts"] - lag_ms, "depth": "individual"}).encode()


def test_context_that_comes_late_shows() -> None:
    """With a pipe that lags 20 seconds few respond in time, some later, and nobody sooner than it lags."""
    values = [lagging(record.value, 20_000) for record in ran("steady", users=MANY).arrived]
    state = processed(values)
    sums = by(totals(state), 1)["personalized",]
    tally = [sums[measure] for measure in INDEX]
    found, before = lower(METRIC["context_response"], tally, INDEX), estimates("steady")("context_response")
    assert found is not None
    assert found.high < before.low / 4
    assert (found.n, 0) == (before.n, sums["stale_decisions"])
    assert 0 < sums["responses_in_time"] < sums["responses"] < sums["eligible_signals"]
    waits = bins_of(state, "adaptation_ms")
    assert min(waits) >= bucket_of(20_000)
