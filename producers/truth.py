"""What is true of a world: sums over its finite traits, signals, needs, places and items. Nothing here is simulated.

For somebody of given traits in a given arm, the chance of everything at one place follows from the tables of
`response`. A visit is averaged over: has a signal come, to which category, does the recommender know of it. People are
averaged as they come: everybody equally often. Two kinds of truth follow, both exact:

rates   what the arm's own people do: what an endless run of this seed would show
lift    what *all* people of the seed would do in one arm over what they would do in the other: the causal effect.
        The two differ by the luck of the assignment, as in any experiment
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import prod
from typing import Any, Final, NamedTuple

from producers import digest, opinions, response, seasons
from producers.amounts import ORDER_VALUE, mean
from producers.response import ANSWERS, APPEAL, APPROPRIATE, ASKED, POLICIES, POSITION_BIAS, RELEVANCE, SURFACES
from producers.scenarios import MEANING, STEADY, Conditions, Phase
from producers.traits import HOME, TASTES, Population, Traits
from stream_app.core.events import Arm

ALL: Final = "all"
CONTRASTS: Final[tuple[tuple[Arm, Arm], ...]] = (
    ("personalized", "holdout"),
    ("personalized", "context_blind"),
    ("context_blind", "holdout"),
)
LIFTED: Final = ("ctr", "conversion", "conversions_per_session", "revenue_per_session", "relevance")


class Expected(NamedTuple):
    """Expected amounts per visit to a surface: they add, weighted by how often visits happen."""

    visits: float = 0.0
    impressions: float = 0.0
    clicks: float = 0.0
    relevance: float = 0.0
    conversions: float = 0.0
    converted: float = 0.0
    conversions_at_home: float = 0.0
    asked: float = 0.0
    asked_appropriate: float = 0.0
    answers: float = 0.0
    answered_appropriate: float = 0.0

    def plus(self, other: "Expected", weight: float) -> "Expected":
        """Return this and `weight` times the other."""
        return Expected(*(mine + weight * its for mine, its in zip(self, other, strict=True)))

    def rates(self) -> dict[str, float]:
        """Return what follows: `conversion` is the share of sessions at the surface that buy something shown there.

        `relevance` is the mean per impression; `revenue_per_session` is in minor units of the reporting currency, and
        what is bought in another one is no part of it: that is `foreign_conversions_per_session`. `appropriate` is the
        mean opinion of all who were asked, `appropriate_of_answers` of those who answered, which is biased.
        """
        return {
            "ctr": self.clicks / self.impressions,
            "conversion": self.converted / self.visits,
            "conversions_per_session": self.conversions / self.visits,
            "revenue_per_session": self.conversions_at_home / self.visits * float(mean(ORDER_VALUE)),
            "foreign_conversions_per_session": (self.conversions - self.conversions_at_home) / self.visits,
            "relevance": self.relevance / self.impressions / 100,
            "appropriate": self.asked_appropriate / self.asked,
            "appropriate_of_answers": self.answered_appropriate / self.answers,
            "answer_rate": self.answers / self.asked,
        }


def expected(
    population: Population, conditions: Conditions, mood: float, arm: Arm, who: Iterable[Arm]
) -> list[Expected]:
    """Return, by surface, the expected amounts per session of the people of the arms `who`, if they were in `arm`."""
    chosen = set(who)
    weights: defaultdict[tuple[Traits, bool], float] = defaultdict(float)
    for counts, share, is_known in (
        (population.counts, 1 - conditions.newcomers, True),
        (population.law, conditions.newcomers, False),
    ):
        total = sum(counts.values())
        for traits, number in counts.items():
            if share and traits.arm in chosen:
                weights[traits._replace(arm=arm), is_known] += share * number / total
    sums = [Expected() for _ in SURFACES]
    for (traits, is_known), weight in weights.items():
        # What people do does not depend on what they pay in; what their money is added to does.
        is_home = traits.currency == HOME
        for stage, one in enumerate(_visits(traits._replace(currency=HOME), is_known, conditions, mood)):
            if one.visits:
                at_home = one.conversions if is_home else 0.0
                sums[stage] = sums[stage].plus(one._replace(conversions_at_home=at_home), weight)
    return sums


def rates(
    population: Population, conditions: Conditions = STEADY, mood: float = 1.0
) -> dict[str, dict[str, dict[str, float]]]:
    """Return what is true by surface and arm, of each arm's own people. Surfaces that are not there are left out."""
    by_arm = {arm: expected(population, conditions, mood, arm, (arm,)) for arm in population.arms}
    return {
        surface.name: {arm: by_arm[arm][stage].rates() for arm in population.arms}
        for stage, surface in enumerate(SURFACES)
        if all(by_arm[arm][stage].visits for arm in population.arms)
    }


def lift(population: Population, conditions: Conditions = STEADY, mood: float = 1.0) -> dict[str, Any]:
    """Return, by contrast and surface, by what factor the first arm is better than the second, for all people.

    The surface `all` has every impression and every visit to a surface together.
    """
    arms = tuple(population.arms)
    by_arm = {arm: expected(population, conditions, mood, arm, arms) for arm in arms}
    for sums in by_arm.values():
        total = Expected()
        for each in sums:
            total = total.plus(each, 1.0)
        sums.append(total)
    names = (*(surface.name for surface in SURFACES), ALL)
    by_name = {
        arm: {name: each.rates() for name, each in zip(names, sums, strict=True) if each.visits}
        for arm, sums in by_arm.items()
    }
    return {
        f"{first}_vs_{second}": {
            name: {metric: by_name[first][name][metric] / base[metric] for metric in LIFTED if base[metric]}
            for name, base in by_name[second].items()
        }
        for first, second in CONTRASTS
    }


def said() -> dict[str, dict[str, float]]:
    """Return, by metric of the catalogue and arm, what people say on the mean when they say something."""
    return {
        "thumbs_up": {arm: opinions.LIKED[arm] for arm in POLICIES},
        "found_relevant": {arm: opinions.RELEVANT[arm] for arm in POLICIES},
        "nps": {arm: promoters - detractors for arm, (detractors, _, promoters) in opinions.RECOMMENDED.items()},
        "rating": {arm: opinions.mean(opinions.RATING, arm) for arm in POLICIES},
        "sentiment": {arm: opinions.mean(opinions.SENTIMENT, arm) for arm in POLICIES},
        "hide_rate": dict.fromkeys(POLICIES, 1_000 * opinions.HIDDEN / len(POSITION_BIAS)),
    }


def told(seed: int, population: Population, schedule: Iterable[Phase], start_ms: int, rate: float) -> dict[str, Any]:
    """Return the whole truth as one JSON object: of the steady world, and of each phase at its full strength."""

    def state(conditions: Conditions) -> dict[str, Any]:
        return {"rates": rates(population, conditions), "lift": lift(population, conditions)}

    return {
        "seed": seed,
        "start_ms": start_ms,
        "sessions_per_second": rate,
        "users": population.users,
        "arms": dict(population.arms),
        "currencies": dict(population.currencies),
        "reported_in": HOME,
        "steady": state(STEADY),
        "said": said(),
        "digest": {"clicked_by_position": digest.CLICKED, "goals": digest.GOALS, "offer_taken": digest.TAKEN},
        "mood_by_hour": seasons.MOOD_BY_HOUR,
        "traffic_by_hour_of_week": seasons.TRAFFIC_BY_HOUR,
        "phases": [
            {
                "scenario": phase.scenario.name,
                "help": phase.scenario.help,
                "from_ms": phase.from_ms,
                "to_ms": phase.to_ms,
                "ramp_ms": phase.ramp_ms,
                "changes": {
                    "what": phase.scenario.field,
                    "is": MEANING[phase.scenario.field],
                    "from": getattr(STEADY, phase.scenario.field),
                    "to": phase.size,
                },
                **state(STEADY._replace(**{phase.scenario.field: phase.size})),
            }
            for phase in schedule
        ],
    }


@lru_cache(maxsize=8_192)
def _visits(traits: Traits, is_known: bool, conditions: Conditions, mood: float) -> tuple[Expected, ...]:
    """Return, by surface, what a session of such a person is expected to bring."""
    found = []
    for stage, surface in enumerate(SURFACES):
        reach = conditions.new_surface if stage == response.NEW_SURFACE else surface.reach[traits.segment]
        one = Expected()
        if reach:
            for need, seen, weight in _situations(traits.taste, response.SIGNALLED[stage], conditions.context):
                one = one.plus(_visit(traits, is_known, stage, need, seen, conditions, mood), weight * reach)
        found.append(one)
    return tuple(found)


def _situations(taste: int, signalled: float, context: float) -> Iterator[tuple[int, int | None, float]]:
    """Yield what is needed, which signal the recommender knows of, and how likely that is."""
    yield taste, None, 1 - signalled
    for category in range(TASTES):
        if category != taste and signalled:
            yield category, category, signalled * context / (TASTES - 1)
            yield category, None, signalled * (1 - context) / (TASTES - 1)


def _visit(
    traits: Traits, is_known: bool, stage: int, need: int, seen: int | None, conditions: Conditions, mood: float
) -> Expected:
    """Return the expected amounts of one visit in one situation; places are independent of each other in it."""
    surface = SURFACES[stage]
    target = response.aim(traits.arm, traits.taste if is_known else None, seen)
    suits = [0.0, 0.0, 0.0]
    for category in range(TASTES):
        suits[response.suits(category, need, traits.taste)] += response.probability(
            target, conditions.accuracy, category
        )
    factor = mood * conditions.clicks * (conditions.personalized_clicks if traits.arm == "personalized" else 1.0)
    rate = response.click_rate(surface, traits.segment, traits.device, factor)
    sale = response.sale_rate(surface, traits.segment)
    # Quality is independent of all else with mean 1, and everything below is linear in it.
    appeal = sum(p * a for p, a in zip(suits, APPEAL, strict=True))
    clicks = [rate * bias * appeal for bias in POSITION_BIAS]
    asked = ASKED[traits.device]
    return Expected(
        visits=1.0,
        impressions=float(len(POSITION_BIAS)),
        clicks=sum(clicks),
        relevance=len(POSITION_BIAS) * sum(p * r for p, r in zip(suits, RELEVANCE, strict=True)),
        conversions=sum(clicks) * sale,
        converted=1 - prod(1 - click * sale for click in clicks),
        asked=asked,
        asked_appropriate=asked * sum(p * a for p, a in zip(suits, APPROPRIATE, strict=True)),
        answers=asked * sum(p * a for p, a in zip(suits, ANSWERS, strict=True)),
        answered_appropriate=asked * sum(p * a * o for p, a, o in zip(suits, ANSWERS, APPROPRIATE, strict=True)),
    )
