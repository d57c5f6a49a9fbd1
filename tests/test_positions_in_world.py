"""Where a drop is, in the simulated world: of the positions of its lists, those whose clicks are taken away."""

import random
from collections.abc import Callable
from functools import cache

from producers.world import World
from stream_app.backtest import Backtest
from stream_app.core.codec import encode
from stream_app.core.events import Click, Impression
from stream_app.core.panes import HOUR_MS
from stream_app.core.rules import Rules
from stream_app.statistics.series import MINUTE_MS
from stream_app.statistics.verdicts import Verdict
from stream_app.statistics.watch import Policy
from tests.timelines import LATER, T0

NOON = T0 + 12 * HOUR_MS
MINUTES, BREAKS = 72, 50
POLICY = Policy(settle_ms=30 * MINUTE_MS, series=1)


@cache
def happened() -> tuple[tuple[Impression | Click, int, bool], ...]:
    """Return what was seen and clicked on the home page, of clicks the position, and whether it was ranked."""
    world = World(5, users=20_000, arms={"personalized": 0.5, "holdout": 0.5})
    shown: dict[tuple[str, str], tuple[int, bool]] = {}
    found: list[tuple[Impression | Click, int, bool]] = []
    for event in world.events(NOON, 3.0, NOON + MINUTES * MINUTE_MS):
        if isinstance(event, Impression) and event.surface == "home.hero":
            shown[event.decision, event.item] = event.position, event.arm == "personalized"
            found.append((event, 0, False))
        elif isinstance(event, Click) and (event.decision, event.item) in shown:
            found.append((event, *shown[event.decision, event.item]))
    return tuple(found)


def said(is_lost: Callable[[int], bool]) -> list[Verdict]:
    """Return what is said of first clicks where those of some positions are lost in the personalized arm."""
    log = [
        encode(event)
        for event, position, is_ranked in happened()
        if not (position and is_ranked and event.ts >= NOON + BREAKS * MINUTE_MS and is_lost(position))
    ]
    backtest = Backtest(Rules(), POLICY)
    for begin in range(0, len(log), 1_000):
        backtest.feed(0, log[begin : begin + 1_000], LATER)
    backtest.close(is_whole=False)
    return [verdict for verdict in backtest.verdicts if verdict.kpi == "ctr"]


def at_positions(verdict: Verdict) -> dict[str, float]:
    """Return what positions add to the evidence."""
    return {name: evidence for name, evidence in verdict.contributors if name.startswith("position=")}


def test_the_position_that_lost_its_clicks_is_named_first() -> None:
    """Before any device, segment or channel; and no other position is named, for nothing is wrong with them."""
    (drop,) = said(lambda position: position == 1)
    assert ("position=1", {"position=1"}) == (drop.contributors[0][0], {*at_positions(drop)})


def test_where_all_lost_alike_no_position_stands_out() -> None:
    """Of two thirds of all clicks no position adds more than the parts of a dimension that have most people."""
    chance = random.Random(1)
    (drop,) = said(lambda _: chance.random() < 0.66)
    assert True is (max(at_positions(drop).values(), default=0) < drop.contributors[0][1])


def test_where_nothing_is_lost_nothing_is_named() -> None:
    """No drop, so no position of one."""
    assert [] == said(lambda _: False)
