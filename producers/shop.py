"""A simulated shop whose true rates are known exactly: what Lynceus shows can be held against the truth.

People come back, keep their arm, walk from the home page through search to the cart, see three items on each,
click some and buy some. Everything follows from the seed and the start: the same seed gives the same bytes. A
scenario changes the rates of the personalized arm while the shop is open; arrivals and people stay the same.

    shown --1...60 s--> click --2 s...15 min--> conversion          (three positions, each shown in every
    visit)
"""

import hashlib
import heapq
import math
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from producers.publisher import Delivery, Publisher
from stream_app.core.events import Arm, Click, Conversion, Event, Impression
from stream_app.errors import LynceusError

ARM_WEIGHTS: Final[dict[Arm, float]] = {"personalized": 0.8, "context_blind": 0.1, "holdout": 0.1}
SURFACES: Final = {"home.hero": 1.0, "search.results": 0.7, "cart.crosssell": 0.4}
"""The probability that a session reaches the surface, whatever else it reaches."""
POSITION_BIAS: Final = (1.5, 0.9, 0.6)
"""Clicks at positions 1 to 3 relative to the CTR of the surface; their mean is 1."""


class Rates(NamedTuple):
    """What is true of one surface under one arm: two probabilities and the parameters of a beta distribution."""

    ctr: float
    conversion_after_click: float
    relevance_alpha: float
    relevance_beta: float


RATES: Final[dict[str, dict[Arm, Rates]]] = {
    "home.hero": {
        "personalized": Rates(0.060, 0.10, 6.0, 2.0),
        "context_blind": Rates(0.045, 0.09, 4.5, 3.5),
        "holdout": Rates(0.040, 0.08, 4.0, 4.0),
    },
    "search.results": {
        "personalized": Rates(0.090, 0.14, 6.4, 1.6),
        "context_blind": Rates(0.072, 0.13, 5.2, 2.8),
        "holdout": Rates(0.065, 0.12, 4.8, 3.2),
    },
    "cart.crosssell": {
        "personalized": Rates(0.050, 0.20, 5.6, 2.4),
        "context_blind": Rates(0.038, 0.18, 4.0, 4.0),
        "holdout": Rates(0.035, 0.17, 3.6, 4.4),
    },
}

_Name = TypeVar("_Name", bound=str)
_USERS: Final = 20_000
_ITEMS: Final = 200
_SEGMENTS: Final = {"new": 0.3, "returning": 0.5, "loyal": 0.2}
_DEVICES: Final = {"mobile": 0.6, "desktop": 0.3, "tablet": 0.1}
_SHARE_OF_APP: Final = 0.5
"""Of the mobile sessions; everybody else comes by the web."""


class Scenario(NamedTuple):
    """From `from_ms` (event time) on, the personalized CTR is `factor` times what it was."""

    name: str
    from_ms: int = 0
    factor: float = 1.0


STEADY: Final = Scenario("steady")


def drop(from_ms: int, factor: float = 0.4) -> Scenario:
    """Return the scenario in which personalization breaks at `from_ms`. Raises LynceusError outside 0...1."""
    if not 0.0 <= factor <= 1.0:
        raise LynceusError(f"factor {factor!r} of a drop", "Name what is left of the click-through rate, from 0 to 1")
    return Scenario("drop", from_ms, factor)


class _Visit(NamedTuple):
    at_ms: int
    decision: str
    surface: str
    arm: Arm
    person: dict[str, Any]


class Shop:
    """The shop of one seed. `scenario` may be set at any time, also while events are taken elsewhere."""

    def __init__(self, seed: int, scenario: Scenario = STEADY) -> None:
        """`seed` decides everything that chance decides."""
        self.seed = seed
        self.scenario = scenario

    def truth(self, at_ms: int | None = None) -> dict[str, dict[Arm, dict[str, float]]]:
        """Return the exact rates by surface and arm: of the steady shop, or of the scenario at `at_ms`.

        `ctr`: clicks per impression. `conversion`: share of the sessions that reach the surface in which
        something shown there is bought. `conversions_per_session`: of the same sessions. `relevance`: mean
        per impression.
        """
        return {
            surface: {
                arm: _truth(rates, 1.0 if at_ms is None else self._factor(arm, at_ms)) for arm, rates in arms.items()
            }
            for surface, arms in RATES.items()
        }

    def arm(self, user: str) -> Arm:
        """Return the arm of a user: decided by a salted hash, so it needs no memory and never changes."""
        return _choose(ARM_WEIGHTS, self._share(user, "arm"))

    def events(self, start_ms: int, sessions_per_second: float) -> Iterator[Event]:
        """Yield events in time order for ever; sessions arrive as a Poisson process from `start_ms` on.

        Ids contain seed and start, so two runs do not share any. Raises LynceusError when the rate is not
        above 0.
        """
        if not (sessions_per_second > 0 and math.isfinite(sessions_per_second)):
            raise LynceusError(f"{sessions_per_second!r} sessions per second", "A rate is a number above 0")
        return self._events(start_ms, sessions_per_second)

    def _events(self, start_ms: int, sessions_per_second: float) -> Iterator[Event]:
        arrivals = Random(f"{self.seed}:{start_ms}:arrivals")  # noqa: S311 a simulation, no secret
        # What is still to come of the sessions so far; bounded by the longest delay times the rate. The
        # running number decides between things of the same millisecond, so the things themselves are never
        # compared.
        waiting: list[tuple[int, int, Event | _Visit]] = []
        order = count()
        at_ms = float(start_ms)
        for number in count():
            at_ms += arrivals.expovariate(sessions_per_second) * 1000
            while waiting and waiting[0][0] < at_ms:
                _, _, due = heapq.heappop(waiting)
                if isinstance(due, Event):
                    yield due
                    continue
                # A visit is decided when it happens, so that a new scenario holds from its first moment on.
                for event in self._responses(due):
                    heapq.heappush(waiting, (event.ts, next(order), event))
            for visit in self._visits(f"{self.seed:x}-{start_ms:x}-{number:x}", int(at_ms)):
                heapq.heappush(waiting, (visit.at_ms, next(order), visit))

    def _visits(self, session: str, start_ms: int) -> Iterator[_Visit]:
        """Yield where a session goes, and when. Its own random numbers make it independent of all others."""
        chance = Random(f"{self.seed}:{session}")  # noqa: S311 a simulation, no secret
        user = f"u-{chance.randrange(_USERS):05d}"
        arm = self.arm(user)
        device = _choose(_DEVICES, self._share(user, "device"))
        person: dict[str, Any] = {
            "user": user,
            "session": session,
            "arm": arm,
            "policy": arm,
            "segment": _choose(_SEGMENTS, self._share(user, "segment")),
            "device": device,
            "channel": "app" if device == "mobile" and chance.random() < _SHARE_OF_APP else "web",
        }
        at_ms = start_ms
        for surface, reach in SURFACES.items():
            if chance.random() < reach:
                yield _Visit(at_ms, f"{session}-{surface[0]}", surface, arm, person)
                at_ms += round(chance.uniform(5, 40) * 1000)

    def _responses(self, visit: _Visit) -> Iterator[Event]:
        """Yield what a visit shows and what comes of it."""
        chance = Random(f"{self.seed}:{visit.decision}")  # noqa: S311 a simulation, no secret
        rates = RATES[visit.surface][visit.arm]
        factor = self._factor(visit.arm, visit.at_ms)
        # What is shown is drawn before what it leads to: a scenario changes the second and must not move the
        # first.
        items = chance.sample(range(_ITEMS), len(POSITION_BIAS))
        drawn = [(chance.betavariate(*rates[2:]), chance.random(), chance.random()) for _ in items]
        for position, (item, (match, rounding, attention)) in enumerate(zip(items, drawn, strict=True), 1):
            place = f"{visit.decision}{position}"
            told: dict[str, Any] = {
                **visit.person,
                "surface": visit.surface,
                "decision": visit.decision,
                "item": f"item-{item:03d}",
            }
            expected = rates.ctr * POSITION_BIAS[position - 1]
            yield Impression(
                id=f"{place}-i",
                ts=visit.at_ms,
                position=position,
                predicted=round(expected, 6),
                # To hundredths, up or down at random in proportion: the mean stays that of the distribution.
                relevance=min(math.floor(match * 100 + rounding) / 100, 1.0),
                **told,
            )
            if attention >= expected * factor:
                continue
            click_ms = visit.at_ms + round(_delay_s(chance, 5, 1, 60) * 1000)
            yield Click(id=f"{place}-c", ts=click_ms, position=position, **told)
            if chance.random() < rates.conversion_after_click:
                yield Conversion(
                    id=f"{place}-b",
                    ts=click_ms + round(_delay_s(chance, 25, 2, 900) * 1000),
                    goal="purchase",
                    value_minor=round(min(chance.lognormvariate(math.log(4_500), 0.6), 1_000_000)),
                    currency="EUR",
                    **told,
                )

    def _factor(self, arm: Arm, at_ms: int) -> float:
        scenario = self.scenario
        return scenario.factor if arm == "personalized" and at_ms >= scenario.from_ms else 1.0

    def _share(self, user: str, what: str) -> float:
        """Return a number in [0, 1) that belongs to this user and question for ever."""
        digest = hashlib.blake2b(user.encode(), digest_size=8, salt=what.encode(), key=str(self.seed).encode())
        return int.from_bytes(digest.digest()) / 2**64


def run(
    shop: Shop,
    publisher: Publisher,
    sessions_per_second: float,
    stop: threading.Event,
    *,
    clock: Callable[[], float] = time.time,
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
) -> Delivery:
    """Let the shop happen now, until `stop` is set; return what became of the records so far.

    `clock` is in seconds since the epoch; `wait` waits for the event and says whether it is set. Raises
    LynceusError as `Publisher.send` does.
    """
    for event in shop.events(int(clock() * 1000), sessions_per_second):
        early_s = event.ts / 1000 - clock()
        if wait(stop, early_s) if early_s > 0 else stop.is_set():
            break
        publisher.send(event)
    return publisher.delivery()


def _truth(rates: Rates, factor: float) -> dict[str, float]:
    bought = [rates.ctr * factor * bias * rates.conversion_after_click for bias in POSITION_BIAS]
    return {
        "ctr": rates.ctr * factor,
        "conversion": 1 - math.prod(1 - chance for chance in bought),
        "conversions_per_session": sum(bought),
        "relevance": rates.relevance_alpha / (rates.relevance_alpha + rates.relevance_beta),
    }


def _choose(weights: dict[_Name, float], share: float) -> _Name:
    """Return the name whose stretch of [0, 1) contains `share`."""
    for name, weight in weights.items():
        share -= weight
        if share < 0:
            return name
    return next(reversed(weights))  # the weights add up to 1 but for the last bit


def _delay_s(chance: Random, median: float, shortest: float, longest: float) -> float:
    return min(max(chance.lognormvariate(math.log(median), 0.8), shortest), longest)
