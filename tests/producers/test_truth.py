"""The exported truth against what is counted: additive measures to the unit, estimates at their stated rate.

A miss is an interval without the truth. Over many seeds the misses of a 95 % interval are binomial with p = 0.05; the
bounds here are the 1e-4 quantiles at both ends, so intervals that are too narrow fail, and too wide ones as well.
"""

import json
from collections import Counter, defaultdict
from functools import cache, cached_property
from math import prod, sqrt
from random import Random
from statistics import fmean, variance

import pytest
from scipy import stats

from producers import response, truth
from producers.ledger import MEASURES
from producers.scenarios import SCENARIOS, STEADY, Schedule, conditions, phase
from producers.traits import Population, Traits
from producers.world import World
from stream_app.core import codec
from stream_app.core.events import Event, Impression
from stream_app.metrics.catalogue import INDEX, METRICS, PLAN
from stream_app.statistics.contrasts import contrast
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.producers.counting import LEDGERS, START_MS, Counted, by, count, processed, totals

THIRDS = {"personalized": 1 / 3, "context_blind": 1 / 3, "holdout": 1 / 3}
SEEDS, SESSIONS, USERS = 200, 90, 2_000
METRIC = {metric.name: metric for metric in METRICS}
EVERYTHING = "everything"
SURFACE, ARM = 0, 1


def schedule_of(name: str) -> Schedule:
    """Return a scenario from the first moment on, or all of them together."""
    wanted = SCENARIOS if name == EVERYTHING else (name,)
    # Together they must leave enough to count, and not ten times as much.
    return tuple(phase(each) for each in wanted if name != EVERYTHING or each not in ("spike", "traffic-drop"))


@cache
def counted(name: str) -> Counted:
    """Return what is counted of a world in which a scenario holds."""
    rate = {"spike": 0.15, "traffic-drop": 4.0, "bots": 0.5, EVERYTHING: 0.6}.get(name, 1.2)
    plan = PLAN if name == EVERYTHING else LEDGERS
    return count(World(3, schedule_of(name), arms=THIRDS), rate, 480, plan)  # type: ignore[arg-type]  # the arms' names


@pytest.mark.parametrize("name", [*SCENARIOS, EVERYTHING])
def test_what_is_counted_is_what_happened(name: str) -> None:
    """Under every scenario each measure of the ledger, by slice, and each outcome is the ledger's, to the unit."""
    run = counted(name)
    assert len(run.arrived) > 5_000
    known = {key: {name: amount for name, amount in of.items() if name in MEASURES} for key, of in run.totals.items()}
    told = {key: of for key, of in known.items() if of}
    assert (run.ledger.totals(), dict(run.ledger.outcomes)) == (told, run.outcomes)


def test_a_few_families_count_as_all_of_them_do() -> None:
    """Under all scenarios together, what the ledger's families count is what they count beside all the others."""
    run = counted(EVERYTHING)
    few = totals(processed((record.value for record in run.arrived), LEDGERS))
    names = {column.partition(":")[0] for column in LEDGERS.columns}
    among_all = {key: {name: n for name, n in of.items() if name in names} for key, of in run.totals.items()}
    assert {key: of for key, of in among_all.items() if of} == few


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "late"])
def test_what_happens_is_what_is_true(name: str) -> None:
    """Under every scenario rates are within four standard errors of the truth, and lost records take their part."""
    run, now = counted(name), conditions(schedule_of(name), START_MS)
    true = truth.rates(World(3, arms=THIRDS).population, now)  # type: ignore[arg-type]  # as above
    away = {}
    for (surface, arm), of in by(run.totals, SURFACE, ARM).items():
        if surface not in true:
            continue
        rates = true[surface][arm]
        kept = 1 - now.lost if arm == "personalized" else 1.0
        shown, visits = of["impressions"], of["sessions"]
        ctr, relevance = rates["ctr"] * kept, rates["relevance"]
        away[surface, arm, "ctr"] = abs(of["clicks"] / shown - ctr) / sqrt(ctr * (1 - ctr) / shown)
        # What a session is shown is alike: a session, not an impression, is one observation of relevance.
        away[surface, arm, "relevance"] = abs(of["relevance_micros"] / shown / 1e6 - relevance) / sqrt(0.09 / visits)
        if kept == 1.0:
            p = rates["conversion"]
            away[surface, arm, "conversion"] = abs(of["converted_sessions"] / visits - p) / sqrt(p * (1 - p) / visits)
    assert len(away) >= 3 * 3 * 3 - 3
    assert {key: far for key, far in away.items() if far > 4} == {}


def test_money_is_told_by_currency() -> None:
    """Revenue is that of the reporting currency alone; what is credited in others stands beside it, sum by sum."""
    run = count(World(3, arms=THIRDS, currencies={"EUR": 0.5, "CHF": 0.3, "SEK": 0.2}), 2.0, 480, LEDGERS)  # type: ignore[arg-type]  # as above
    sums = {name: sum(of.get(name, 0) for of in run.totals.values()) for name in INDEX}
    told = run.ledger.told()["credited_minor"]
    assert (sums["revenue_minor"], {"EUR", "CHF", "SEK"}) == (told["EUR"], set(told))
    assert 0 < sums["foreign_revenue_events"] < sums["conversions"]


def test_revenue_that_is_true_is_that_of_one_currency() -> None:
    """Of a market of which half pays abroad, revenue is what the others buy; how much is bought stays as it was."""
    whole, half = (
        truth.rates(Population(1, currencies=shares))["home.hero"]["personalized"]
        for shares in ({"EUR": 1.0}, {"EUR": 0.5, "CHF": 0.5})
    )
    bought = half["conversions_per_session"]
    assert (whole["conversions_per_session"], 0.0) == (pytest.approx(bought), whole["foreign_conversions_per_session"])
    abroad = half["foreign_conversions_per_session"] / bought
    assert 0.48 < abroad < 0.52
    assert pytest.approx(whole["revenue_per_session"] * (1 - abroad)) == half["revenue_per_session"]


def test_the_truth_is_the_sum_over_everything_that_may_be_shown() -> None:
    """For one kind of person, listing every list that can be shown gives what the closed form says."""
    who, now, stage = Traits("personalized", "loyal", "tablet", 2), STEADY._replace(context=0.25, clicks=0.9), 1
    surface = response.SURFACES[stage]
    (clicks, converted, relevance) = (0.0, 0.0, 0.0)
    signalled = 0.35 + 0.15
    for need, seen, chance in [
        (2, None, 1 - signalled),
        *((need, need, signalled * 0.25 / 7) for need in range(8) if need != 2),
        *((need, None, signalled * 0.75 / 7) for need in range(8) if need != 2),
    ]:
        target = 2 if seen is None else seen
        shown = [(0.7 if category == target else 0.3 / 7, category) for category in range(8)]
        suits = [(p, 0 if category == need else 1 if category == 2 else 2) for p, category in shown]
        rate = 0.105 * 1.3 * 1.0 * 0.9
        # Every choice of a list: three places, eight categories and eight qualities each, summed place by place.
        sold = [
            sum(
                p / 8 * (1 - rate * bias * (1.0, 0.6, 0.5)[suit] * quality * 0.14 * 1.4)
                for p, suit in suits
                for quality in response.QUALITY
            )
            for bias in (1.5, 0.9, 0.6)
        ]
        clicks += chance * sum(rate * b * sum(p * (1.0, 0.6, 0.5)[s] for p, s in suits) for b in (1.5, 0.9, 0.6))
        converted += chance * (1 - prod(sold))
        relevance += chance * sum(p * (0.90, 0.60, 0.35)[suit] for p, suit in suits)

    class OneKind(Population):
        """Everybody is the same."""

        @cached_property
        def counts(self) -> dict[Traits, float]:
            return {who: 1.0}

    reach = surface.reach["loyal"]
    found = truth.expected(OneKind(1, 1), now, 1.0, "personalized", ("personalized",))[stage]
    assert pytest.approx((reach, 3 * reach, reach * clicks, reach * converted)) == (
        found.visits, found.impressions, found.clicks, found.converted,
    )  # fmt: skip
    assert pytest.approx(relevance) == found.rates()["relevance"]


def test_context_is_what_makes_the_difference() -> None:
    """Personalized beats context-blind beats holdout; with a dead pipe the first two are one; waterfalls multiply."""
    population = Population(1)
    steady, dead = (truth.lift(population, STEADY._replace(context=share)) for share in (1.0, 0.0))
    for surface, of in steady["personalized_vs_holdout"].items():
        blind, context = (
            steady[pair][surface]["ctr"] for pair in ("context_blind_vs_holdout", "personalized_vs_context_blind")
        )
        assert 1.05 < context < 1.3
        assert 1.1 < blind < 1.4
        assert pytest.approx(blind * context) == of["ctr"]
    assert all(of["ctr"] == pytest.approx(1.0) for of in dead["personalized_vs_context_blind"].values())


def test_the_dissatisfied_answer_more() -> None:
    """Those who answer are unhappier than those who are asked: the bias is there, and known."""
    for by_arm in truth.rates(Population(1)).values():
        for rates in by_arm.values():
            assert rates["appropriate_of_answers"] < rates["appropriate"] - 0.1


def test_the_truth_is_json_and_says_what_changes() -> None:
    """The export is plain JSON, the same for the same seed, and has each phase with its own truth."""
    schedule = (phase("drop", START_MS, size=0.5, ramp_ms=2_000), phase("new-surface", START_MS))
    one, again = (truth.told(4, World(4).population, schedule, START_MS, 2.0) for _ in range(2))
    told = json.loads(json.dumps(one))
    drop, opened = told["phases"]
    assert json.dumps(one) == json.dumps(again)
    assert {
        "what": "personalized_clicks", "is": "clicks of the personalized arm relative to the tables", "from": 1.0,
        "to": 0.5,
    } == drop["changes"]  # fmt: skip
    assert (
        pytest.approx(told["steady"]["rates"]["home.hero"]["personalized"]["ctr"] / 2)
        == (drop["rates"]["home.hero"]["personalized"]["ctr"])
    )
    assert {"detail.similar"} == opened["rates"].keys() - told["steady"]["rates"].keys()


class Coverage:
    """Intervals with and without the truth in them, over the seeds."""

    def __init__(self) -> None:
        self.trials: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()
        self.design_effects: dict[str, list[float]] = defaultdict(list)

    def see(self, name: str, interval: tuple[float, float] | Estimate | None, true: float) -> None:
        """Take one interval into account; None is no interval, and no miss."""
        if interval is None:
            return
        low, high = (interval.low, interval.high) if isinstance(interval, Estimate) else interval
        self.trials[name] += 1
        self.misses[name] += not low <= true <= high

    def bounds(self, name: str, rate: float = 0.05) -> tuple[int, int]:
        """Return how few and how many misses are still believable when each interval misses at `rate`."""
        trials = stats.binom(self.trials[name], rate)
        return int(trials.ppf(1e-4)), int(trials.ppf(1 - 1e-4))


def design_effect(events: list[Event], arm: str, relevance: Estimate) -> float:
    """Return how many times the estimate's variance is that of as many impressions that have nothing in common."""
    shown = [e.relevance for e in events if isinstance(e, Impression) and e.arm == arm and e.relevance is not None]
    alone = variance(shown) / len(shown)
    return ((relevance.high - relevance.low) / 2 / 1.96) ** 2 / alone


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    """Run 200 small worlds, and hold every interval against the truth of its own people."""
    found = Coverage()
    for seed in range(SEEDS):
        world = World(seed, users=USERS, arms=THIRDS)  # type: ignore[arg-type]  # as above
        run = count(world, SESSIONS / 60, 60, LEDGERS)
        events = [event for event in (codec.decode(record.value) for record in run.arrived) if isinstance(event, Event)]
        rows = {arm: [of[name] for name in INDEX] for (arm,), of in by(run.totals, ARM).items()}
        for arm in world.population.arms:
            sums = truth.Expected()
            for each in truth.expected(world.population, STEADY, 1.0, arm, (arm,)):
                sums = sums.plus(each, 1.0)
            true = sums.rates()
            for name in ESTIMATES:
                estimate = lower(METRIC[name], rows[arm], INDEX)
                found.see(name, estimate, true[name])
                found.see(f"{name} {arm}", estimate, true[name])
                if name == "relevance" and estimate:
                    found.design_effects[arm].append(design_effect(events, arm, estimate))
        lifts = truth.lift(world.population)["personalized_vs_holdout"][truth.ALL]
        found.see("lift", contrast(METRIC["ctr"], rows["personalized"], rows["holdout"], INDEX), lifts["ctr"])
    return found


ESTIMATES = ("ctr", "conversion", "relevance")


@pytest.mark.parametrize("name", [*ESTIMATES, *(f"relevance {arm}" for arm in THIRDS), "lift"])
def test_intervals_miss_as_often_as_they_say(coverage: Coverage, name: str) -> None:
    """Over impressions, over sessions, clustered by session, between arms: 5 % of 200 seeds, within chance."""
    low, high = coverage.bounds(name)
    assert low <= coverage.misses[name] <= high


def test_impressions_of_a_session_are_alike_in_relevance(coverage: Coverage) -> None:
    """What a session is shown without context is alike: over impressions the interval would be too narrow there."""
    effect = {arm: fmean(coverage.design_effects[arm]) for arm in THIRDS}
    assert effect["context_blind"] > 1.25 > 1.2 > max(effect["personalized"], effect["holdout"])


def test_order_values_have_the_mean_that_is_said() -> None:
    """Drawing from a table gives its exact mean on the long run: the truth of revenue rests on it."""
    from producers.amounts import ORDER_VALUE, draw, mean

    chance = Random(1)
    drawn = [draw(ORDER_VALUE, chance) for _ in range(40_000)]
    spread = sqrt(fmean(value**2 for value in ORDER_VALUE) - float(mean(ORDER_VALUE)) ** 2)
    assert abs(fmean(drawn) - float(mean(ORDER_VALUE))) < 4 * spread / sqrt(len(drawn))
