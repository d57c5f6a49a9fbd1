"""Simulated worlds run through the whole catalogue, for the families to be held against a recount."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from producers.scenarios import SCENARIOS, phase
from producers.transit import records
from producers.world import World
from stream_app.core.processor import Partition
from stream_app.metrics.metric import Family
from tests.metrics.retold import Place, Told, told
from tests.producers.counting import START_MS, by, processed, totals

SURFACE, ARM = 0, 1
WORLDS = ("seed 3", "seed 4", "everything")
"""Two steady ones, and one in which records are lost, late, doubled, garbled, and clocks go wrong."""
ARMS = {"personalized": 1 / 3, "context_blind": 1 / 3, "holdout": 1 / 3}


class Run(NamedTuple):
    """What arrived, as plain JSON, and what was counted of it."""

    events: list[Told]
    state: Partition


@cache
def run(name: str) -> Run:
    """Return a world of some 8,000 events."""
    wild = [phase(each) for each in SCENARIOS if each not in ("spike", "traffic-drop")]
    world = World(int(name[-1]) if name[-1].isdigit() else 5, tuple(wild) if name == "everything" else (), arms=ARMS)  # type: ignore[arg-type]  # the arms' names
    happened = world.happenings(START_MS, 0.8, START_MS + 480_000)
    return counted([record.value for record in records(world, happened)])


def counted(values: list[bytes]) -> Run:
    """Return what comes of these records."""
    return Run(told(values), processed(values))


def of_family(state: Partition, families: Iterable[Family]) -> dict[Place, dict[str, int]]:
    """Return the amounts of these families' measures by surface and arm, zeros left out."""
    names = {measure.name for family in families for measure in family.measures}
    found = {
        where: {name: amount for name, amount in amounts.items() if amount and name in names}
        for where, amounts in by(totals(state), SURFACE, ARM).items()
    }
    return {where: amounts for where, amounts in found.items() if amounts}  # type: ignore[misc]  # two fields
