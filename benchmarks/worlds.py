"""Simulated shops for the drop detector: four counts a minute, with everything in them that is *not* a drop.

Both arms share traffic and click rate, minute by minute: day and night, weekends, good and bad days, slow swings,
sales, bot floods, broken sites, outages. The lift itself breathes a little. Only an injected drop touches one arm
alone.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY = 1440
CLUSTER_SHARES = (0.65, 0.21, 0.09, 0.05)
"""How many of the sessions that click do so once, twice, ...: variance/mean of clicks is 2."""


@dataclass(frozen=True)
class World:
    """A shop: the treated arm clicks `lift` times as often as the holdout."""

    impressions_a_day: float = 2_000_000
    holdout_share: float = 0.1
    holdout_ctr: float = 0.03
    lift: float = 1.25
    breathing: float = 1.0  # 1: +-3 % over the day, 2 % from day to day; 0: the ratio never moves
    has_shocks: bool = True
    is_clustered: bool = False


@dataclass(frozen=True)
class Minutes:
    """Counts of consecutive minutes: impressions and clicks of the treated arm and of the holdout."""

    trials: Ints
    successes: Ints
    base_trials: Ints
    base_successes: Ints

    def rows(self) -> list[tuple[int, int, int, int]]:
        """Return the minutes as plain integers, in the order of `drops.Counts`."""
        columns = (self.trials, self.successes, self.base_trials, self.base_successes)
        return list(zip(*(column.tolist() for column in columns), strict=True))


def exact(world: World) -> World:
    """Return the same shop with a ratio that never moves: the worst case at a floor of exactly that ratio."""
    return replace(world, breathing=0.0)


def minutes(
    world: World, rng: np.random.Generator, days: int, drop: float = 0.0, drop_from: int | None = None
) -> Minutes:
    """Return `days` of the shop; from minute `drop_from` on the treated arm clicks `drop` less (0.2 = a fifth)."""
    n = days * DAY
    traffic, ctr = _common(world, rng, n)
    at = np.arange(n)
    by_day = np.repeat(rng.normal(0, 0.02, days), DAY)
    ratio = world.lift * (1 + world.breathing * (0.03 * np.sin(2 * np.pi * at / DAY + 1) + by_day))
    if drop_from is not None:
        ratio[drop_from:] *= 1 - drop
    per_minute = world.impressions_a_day / DAY * traffic
    trials = rng.poisson(per_minute * (1 - world.holdout_share))
    base_trials = rng.poisson(per_minute * world.holdout_share)
    clicks = _clustered if world.is_clustered else _single
    return Minutes(trials, clicks(rng, trials, ctr * ratio), base_trials, clicks(rng, base_trials, ctr))


def _common(world: World, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Return what both arms share: traffic (1 on average) and the holdout's click rate, minute by minute."""
    at = np.arange(n)
    days = n // DAY
    traffic = 1 - 2 / 3 * np.cos(2 * np.pi * at / DAY)  # 5 : 1 between noon and midnight
    ctr = np.full(n, world.holdout_ctr)
    if not world.has_shocks:
        return traffic, ctr
    traffic *= np.where(at // DAY % 7 >= 5, 0.85, 1.0)
    ctr *= np.where(at // DAY % 7 >= 5, 1.08, 1.0)
    ctr *= np.repeat(np.exp(rng.normal(0, 0.06, days)), DAY)
    ctr *= np.exp(_swings(rng, n))
    for day in np.flatnonzero(rng.random(days) < 20 / 365):  # sales
        ctr[day * DAY : (day + 1) * DAY] *= 1.4
    for a, b in _incidents(rng, n, 12, 60, 240):  # bots that look and rarely click
        traffic[a:b] *= 3
        ctr[a:b] *= 0.4
    for a, b in _incidents(rng, n, 6, 60, 360):  # the site is broken for all
        ctr[a:b] *= 0.65
    for a, b in _incidents(rng, n, 6, 30, 180):  # an outage
        traffic[a:b] *= 0.1
    return traffic, ctr


def _swings(rng: np.random.Generator, n: int) -> Floats:
    """Return slow swings of standard deviation 4 %: one draw each quarter of an hour, AR(0.9), joined by lines."""
    knots = np.empty(n // 15 + 2)
    knots[0] = rng.normal(0, 0.04)
    steps = rng.normal(0, 0.04 * np.sqrt(1 - 0.9**2), len(knots))
    for i in range(1, len(knots)):
        knots[i] = 0.9 * knots[i - 1] + steps[i]
    return np.interp(np.arange(n), np.arange(len(knots)) * 15, knots)


def _incidents(rng: np.random.Generator, n: int, a_year: float, shortest: int, longest: int) -> list[tuple[int, int]]:
    starts = rng.integers(0, n, rng.poisson(a_year * n / (365 * DAY)))
    return [(int(a), int(a + rng.integers(shortest, longest))) for a in starts]


def _single(rng: np.random.Generator, trials: Ints, rate: Floats) -> Ints:
    return rng.binomial(trials, np.minimum(rate, 1.0))


def _clustered(rng: np.random.Generator, trials: Ints, rate: Floats) -> Ints:
    mean = sum(y * share for y, share in enumerate(CLUSTER_SHARES, 1))
    clicks = np.zeros_like(trials)
    for y, share in enumerate(CLUSTER_SHARES, 1):
        clicks += y * rng.poisson(trials * rate * share / mean)
    return clicks
