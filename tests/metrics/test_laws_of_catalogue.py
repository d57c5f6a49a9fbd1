"""Merge = whole, duplicates and replay do not matter: for every family at once, over a simulated world.

The families' own property tests draw their events at random; this one has every family by construction.
"""

from functools import cache
from random import Random

import pytest

from producers.world import World
from stream_app.core.events import Event
from stream_app.metrics.catalogue import FAMILIES
from stream_app.metrics.metric import Family
from tests.metrics.families import NOON, Sums, added, state_of, sums

NEAR_MS = 2_000
"""How far events change places."""


@cache
def events() -> tuple[Event, ...]:
    """Return what some 250 sessions of few people bring."""
    happened = World(6, users=60, arms={"personalized": 0.4, "context_blind": 0.3, "holdout": 0.3})
    return tuple(happened.events(NOON, 0.4, NOON + 600_000))


@cache
def told(how: str) -> Sums:
    """Return what these events add up to, told in this way."""
    chance, all_ = Random(1), list(events())
    match how:
        case "as it happened":
            return sums(state_of(all_))
        case "duplicates":
            return sums(state_of(each for event in all_ for each in [event] * chance.choice((1, 1, 2))))
        case "restart":
            return sums(state_of(all_, restart_after=len(all_) // 2))
        case "replay":
            # The last thousand come once more, as after a checkpoint that was not written.
            return sums(state_of([*all_[:-500], *all_[-1_500:]]))
        case "partitions":
            parts = ([e for e in all_ if e.user[-1] in "02468"], [e for e in all_ if e.user[-1] not in "02468"])
            return added(*(sums(state_of(part)) for part in parts))
        case _:
            return sums(state_of(sorted(all_, key=lambda event: event.ts + chance.randrange(NEAR_MS))))


def of_family(family: Family, found: Sums, but: frozenset[str] = frozenset()) -> Sums:
    """Return the sums of a family's measures and histograms, but of these."""
    own = {each.name for each in (*family.measures, *family.histograms)} - but
    return {name: n for name, n in found.items() if (name[0] if isinstance(name, tuple) else name) in own}


WAYS = ("duplicates", "restart", "replay", "partitions", "another order")
OF_ORDER = {("context_response", "another order")}
"""What overtakes one of several signals of a person counts for the one before: `metrics.signals` says so."""
AT_FIRST_SIGHT = frozenset({"first_score_micros", "first_score_squares"})
"""What arrives first is the first impression of a session, so what overtakes it is told: `first_relevance` says so."""
CASES = [(family, how) for family in FAMILIES for how in WAYS if (family.name, how) not in OF_ORDER]


@pytest.mark.parametrize(("family", "how"), CASES, ids=[f"{family.name}-{how}" for family, how in CASES])
def test_only_what_happened_counts(family: Family, how: str) -> None:
    """Told twice, after a restart, once more, in two partitions or in a slightly other order: the same sums."""
    but = AT_FIRST_SIGHT if how == "another order" else frozenset[str]()
    assert of_family(family, told("as it happened"), but) == of_family(family, told(how), but)
