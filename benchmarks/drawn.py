"""Minutes of the home page of the simulated world, drawn session by session without making their events.

The tables are the world's own (`producers.response`, `amounts`, `seasons`, `traits`), and so are the scenarios; what an
event says of a session is worked out beforehand as a probability. A day of minutes takes a blink, where its events take
an hour: `benchmarks.causes --check` holds both against each other. People are as many as sessions here: that some come
twice, and conversions that come after a click was forgotten, are left out.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from producers import response, seasons
from producers.amounts import CLICK_DELAY_MS, CONVERSION_DELAY_MS
from producers.response import APPEAL, POSITION_BIAS, RELEVANCE, RELEVANCE_NOISE, SIGNALLED, SURFACES
from producers.scenarios import Conditions, Schedule, conditions
from producers.traits import ARM_WEIGHTS, DEVICES, SEGMENTS, TASTES
from stream_app.core.events import Arm
from stream_app.statistics.minutes import Minute
from stream_app.statistics.series import MINUTE_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
STAGE: Final = 0
SURFACE: Final = SURFACES[STAGE]
ARMS: Final = tuple(ARM_WEIGHTS)
CELLS: Final = tuple(product(ARMS, SEGMENTS, DEVICES, (False, True)))
"""Arm, segment, device, and whether a context signal has come."""
_IS_TREATED: Final = np.array([arm == "personalized" for arm, *_ in CELLS])
_SHARES: Final = np.array([
    ARM_WEIGHTS[arm] * SEGMENTS[segment] * DEVICES[device] * (SIGNALLED[STAGE] if signal else 1 - SIGNALLED[STAGE])
    for arm, segment, device, signal in CELLS
])  # fmt: skip
_PLACES: Final = len(POSITION_BIAS)
_DRAWN: Final = (
    "sessions", "impressions", "at_risk_impressions", "first_clicks", "first_conversions", "first_scores",
    "first_score_micros", "decisions", "contextual_decisions",
)  # fmt: skip
MODELLED: Final = frozenset({"clicks", "personalized_clicks", "traffic", "accuracy", "context", "lost", "absent"})


def _lags() -> tuple[Floats, Floats]:
    """Return how likely a click, and a conversion, comes so many minutes after the minute of its impression."""
    begin = (np.arange(64) + 0.5) / 64 * MINUTE_MS
    click = np.array(CLICK_DELAY_MS)[::16]
    clicks = (begin[:, None] + click[None, :]).ravel() // MINUTE_MS
    bought = np.array(CONVERSION_DELAY_MS)[::16]
    sold = (begin[:, None, None] + click[None, :, None] + bought[None, None, :]).ravel() // MINUTE_MS
    return tuple(np.bincount(lags.astype(int)) / len(lags) for lags in (clicks, sold))  # type: ignore[return-value]


_CLICK_LAGS, _SALE_LAGS = _lags()


@lru_cache(maxsize=4_096)
def chances(now: Conditions, mood: float) -> Mapping[str, Floats]:
    """Return, by cell, what is seen of a session: chances of being seen, clicking, buying, and the suits it sees."""
    kept = 1 - now.lost
    found = {name: np.zeros(len(CELLS)) for name in ("seen", "click", "sale", "contextual")}
    suits = np.zeros((len(CELLS), 3))
    for number, (arm, segment, device, has_signal) in enumerate(CELLS):
        q = kept if arm == "personalized" else 1.0
        told = now.context if has_signal and arm == "personalized" else 0.0
        factor = mood * now.clicks * (now.personalized_clicks if arm == "personalized" else 1.0)
        rate = response.click_rate(SURFACE, segment, device, factor)
        sale = response.sale_rate(SURFACE, segment)
        click = bought = 0.0
        shares = np.zeros(3)
        for shown, weight in _lists(arm, has_signal, told, now.accuracy).items():
            appeal = sum(share * suit for share, suit in zip(shown, APPEAL, strict=True))
            chances_ = [rate * bias * appeal * q * q for bias in POSITION_BIAS]
            click += weight * (1 - prod(1 - chance for chance in chances_))
            bought += weight * (1 - prod(1 - chance * sale for chance in chances_))
            shares += weight * np.array(shown)
        found["seen"][number] = 1 - (1 - q) ** _PLACES
        found["click"][number], found["sale"][number] = click, bought
        found["contextual"][number] = told
        suits[number] = shares
    return {**found, "suits": suits, "kept": np.where(_IS_TREATED, kept, 1.0)}


@lru_cache(maxsize=256)
def _lists(arm: Arm, has_signal: bool, told: float, accuracy: float) -> Mapping[tuple[float, ...], float]:
    """Return the lists that people see: the chances of a place to show what suits how, and how likely they are."""
    lists: dict[tuple[float, ...], float] = {}
    for taste, need, is_told in product(range(TASTES), range(TASTES), (False, True)):
        weight = (1 / (TASTES - 1) if need != taste else 0.0) if has_signal else float(need == taste)
        weight *= (told if is_told else 1 - told) / TASTES
        if not weight:
            continue
        target = response.aim(arm, taste, need if is_told else None)
        shown = [0.0] * 3
        for category in range(TASTES):
            shown[response.suits(category, need, taste)] += response.probability(target, accuracy, category)
        key = tuple(round(share, 9) for share in shown)
        lists[key] = lists.get(key, 0.0) + weight
    return lists


def minutes(
    rng: np.random.Generator, start_ms: int, count: int, sessions_per_second: float, schedule: Schedule = ()
) -> Iterator[Minute]:
    """Yield so many minutes from `start_ms` on, of a world in which `schedule` holds."""
    times = [start_ms + at * MINUTE_MS for at in range(count)]
    held = [conditions(schedule, at_ms) for at_ms in times]
    odd = {name for now in held for name, value in now._asdict().items() if value != getattr(Conditions(), name)}
    if not odd <= MODELLED:
        raise ValueError(f"{sorted(odd - MODELLED)} are not drawn here; make the events")
    told = [chances(now, seasons.mood(at_ms)) for now, at_ms in zip(held, times, strict=True)]
    table = {name: np.array([one[name] for one in told]) for name in told[0]}
    rate = sessions_per_second * 60 * np.array([
        seasons.traffic(at_ms) * now.traffic for now, at_ms in zip(held, times, strict=True)
    ])  # fmt: skip
    absent = np.array([now.absent for now in held])
    came = rng.poisson(rate[:, None] * _SHARES * (1 - absent[:, None] * _IS_TREATED))
    yield from _told(times, _drawn(rng, came, table))


def _drawn(rng: np.random.Generator, came: Ints, table: Mapping[str, Floats]) -> dict[str, Ints]:
    """Return the measures by minute and cell, of the sessions that came."""
    kept = table["kept"]
    seen = rng.binomial(came, table["seen"])
    # Of a session that is seen one impression is there; the others of it are there or not.
    is_whole = kept >= 1
    more = np.where(is_whole, 0.0, (_PLACES * kept / np.maximum(table["seen"], 1e-9) - 1) / (_PLACES - 1))
    impressions = np.where(is_whole, _PLACES * seen, seen + rng.binomial((_PLACES - 1) * seen, more))
    decisions = rng.binomial(came, kept)
    clicks = rng.binomial(seen, np.minimum(1.0, table["click"] / table["seen"]))
    sales = rng.binomial(seen, np.minimum(1.0, table["sale"] / table["seen"]))
    suits = rng.multinomial(seen, table["suits"])
    noise = rng.normal(0, 1, seen.shape) * np.sqrt(seen * ((2 * RELEVANCE_NOISE + 1) ** 2 - 1) / 12)
    scores = np.clip(np.rint(suits @ np.array(RELEVANCE) + noise), 0, 100 * seen).astype(np.int64) * 10_000
    contextual = rng.binomial(decisions, table["contextual"])
    amounts = (
        seen, impressions, impressions, _later(rng, clicks, _CLICK_LAGS), _later(rng, sales, _SALE_LAGS), seen, scores,
        decisions, contextual,
    )  # fmt: skip
    return dict(zip(_DRAWN, amounts, strict=True))


def _later(rng: np.random.Generator, happened: Ints, lags: Floats) -> Ints:
    """Return what happened, in the minutes in which it is told; what comes after the last one is not."""
    spread = rng.multinomial(happened, lags)
    told = np.zeros_like(happened)
    for lag in range(min(len(lags), len(told))):
        told[lag:] += spread[: len(told) - lag, :, lag]
    return told


def _told(times: list[int], drawn: Mapping[str, Ints]) -> Iterator[Minute]:
    parts = {
        arm: {
            "": np.array([cell[0] == arm for cell in CELLS]),
            **{f"segment={name}": np.array([cell[:2] == (arm, name) for cell in CELLS]) for name in SEGMENTS},
            **{f"device={name}": np.array([(cell[0], cell[2]) == (arm, name) for cell in CELLS]) for name in DEVICES},
        }
        for arm in ARMS
    }
    needed = ("sessions", "at_risk_impressions", "first_clicks")
    sums = {
        (part, arm, name): drawn[name][:, which].sum(axis=1).tolist()
        for arm, of in parts.items()
        for part, which in of.items()
        for name in (needed if part else _DRAWN)
    }
    strata = [part for part in parts[ARMS[0]] if part]
    for at, at_ms in enumerate(times):
        yield Minute(
            at_ms,
            {arm: {name: sums["", arm, name][at] for name in _DRAWN} for arm in ARMS},
            {part: {arm: {name: sums[part, arm, name][at] for name in needed} for arm in ARMS} for part in strata},
        )
