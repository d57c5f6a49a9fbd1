"""A simulated site whose truth is known exactly: what Lynceus shows can be held against it.

People come back, keep their traits and their arm, walk from the home page through search to the cart, see items, click
some and buy some. Everything follows from the seed and the start: the same seed gives the same bytes. What the people
do is in `visits`, what changes in `scenarios`, what is true of it all in `truth`, what really happened in `ledger`.
"""

import heapq
import math
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import count
from random import Random
from typing import Any, Final
from zlib import crc32

from producers import digest, habits, seasons, walk_ins
from producers.response import POLICIES
from producers.scenarios import Conditions, Schedule, conditions
from producers.traits import ARM_WEIGHTS, CURRENCIES, USERS, Population, Traits
from producers.visits import Happening, Session, Visit, happenings, plan
from stream_app.core.events import Arm, Event
from stream_app.errors import LynceusError

TICK_MS: Final = 1_000
"""How often the world looks at its schedule: conditions hold for a whole tick, counted from the start of the epoch."""
EVENTS_PER_SESSION: Final = 17.8
"""Mean over the steady world, rounded; for choosing a rate."""
SKEWED: Final = 20
"""Percent of users whose clock goes wrong when clocks do."""
_SHARE_OF_APP: Final = 0.5
"""Of the mobile sessions; everybody else comes by the web."""


class World:
    """The world of one seed. `schedule` may be set at any time, also while events are taken."""

    def __init__(
        self,
        seed: int,
        schedule: Schedule = (),
        *,
        users: int = USERS,
        arms: Mapping[Arm, float] = ARM_WEIGHTS,
        currencies: Mapping[str, float] = CURRENCIES,
    ) -> None:
        """`seed` decides everything that chance decides; `users` is the size of the population.

        `arms` and `currencies` have the shares of people that belong to each arm, and pay in each currency.
        """
        self.seed = seed
        self.schedule = schedule
        self.population = Population(seed, users, arms, currencies)
        # Mutable state: the conditions of one tick, kept because thousands of happenings share it.
        self._held: tuple[int, Schedule, Conditions] = (-1, (), Conditions())

    def conditions(self, at_ms: int) -> Conditions:
        """Return what holds at `at_ms`: what the schedule says of the beginning of its tick."""
        tick = at_ms // TICK_MS
        held_tick, held_schedule, held = self._held
        if tick != held_tick or held_schedule is not self.schedule:
            held = conditions(self.schedule, tick * TICK_MS)
            self._held = tick, self.schedule, held
        return held

    def events(self, start_ms: int, sessions_per_second: float, until_ms: int | None = None) -> Iterator[Event]:
        """Yield events in the order in which they happen; `happenings` says when that is."""
        return (event for _, event in self.happenings(start_ms, sessions_per_second, until_ms))

    def happenings(self, start_ms: int, sessions_per_second: float, until_ms: int | None = None) -> Iterator[Happening]:
        """Yield (true time, event) in time order. Sessions arrive from `start_ms` on, as a Poisson process.

        Its intensity is `sessions_per_second` on the mean over a week. Without `until_ms` it never ends; with it,
        nobody arrives any more from then on, and what has begun comes to its end. Ids contain seed and start, so
        two runs do not share any. Raises LynceusError when the rate is not above 0.
        """
        if not (sessions_per_second > 0 and math.isfinite(sessions_per_second)):
            raise LynceusError(f"{sessions_per_second!r} sessions per second", "A rate is a number above 0")
        return self._happenings(start_ms, sessions_per_second, until_ms)

    def _happenings(self, start_ms: int, rate: float, until_ms: int | None) -> Iterator[Happening]:
        # What is still to come of the sessions so far; bounded by the longest delay times the rate. The
        # running number decides between things of the same millisecond, so the things themselves are never
        # compared.
        waiting: list[tuple[int, int, Event | Visit]] = []
        order = count()
        for number, arrival_ms in enumerate(self._arrivals(start_ms, rate, until_ms)):
            yield from self._due(waiting, order, arrival_ms)
            for when_ms, thing in self._sessions(start_ms, number, arrival_ms):
                heapq.heappush(waiting, (when_ms, next(order), thing))
        yield from self._due(waiting, order, math.inf)

    def _due(
        self, waiting: list[tuple[int, int, Event | Visit]], order: Iterator[int], before_ms: float
    ) -> Iterator[Happening]:
        """Yield what happens before `before_ms`, and take it away."""
        pop, push = heapq.heappop, heapq.heappush
        while waiting and waiting[0][0] < before_ms:
            at_ms, _, due = pop(waiting)
            if not isinstance(due, Visit):
                yield at_ms, due
                continue
            # A visit is decided when it happens, so that a new scenario holds from its first moment on.
            for when_ms, event in happenings(due, self.conditions(at_ms), seasons.mood(at_ms)):
                push(waiting, (when_ms, next(order), event))

    def _arrivals(self, start_ms: int, rate: float, until_ms: int | None) -> Iterator[int]:
        """Yield when sessions arrive: exponential gaps, drawn anew where a tick begins and the intensity may change."""
        chance = Random(f"{self.seed}:{start_ms}:arrivals")  # noqa: S311 a simulation, no secret
        at_ms = float(start_ms)
        while until_ms is None or at_ms < until_ms:
            tick_ms = int(at_ms) // TICK_MS * TICK_MS
            end_ms = tick_ms + TICK_MS if until_ms is None else min(tick_ms + TICK_MS, until_ms)
            per_ms = rate * seasons.traffic(tick_ms) * self.conditions(tick_ms).traffic / 1000
            if per_ms > 0:
                at_ms += chance.expovariate(per_ms)
                while at_ms < end_ms:
                    yield int(at_ms)
                    at_ms += chance.expovariate(per_ms)
            at_ms = float(end_ms)

    def _sessions(self, start_ms: int, number: int, at_ms: int) -> Iterator[tuple[int, Visit | Event]]:
        """Yield what a person who arrives is going to do, and the bots that come along."""
        now = self.conditions(at_ms)
        # Its own random numbers make a session independent of all others.
        chance = Random((self.seed & (2**64 - 1)) << 128 | start_ms << 64 | number)  # noqa: S311 as above
        name = f"{self.seed:x}-{start_ms:x}-{number:x}"
        is_known = chance.random() >= now.newcomers
        user_number = int(chance.random() * self.population.users)
        if is_known:
            user, traits = self.population.name(user_number), self.population.traits(user_number)
        else:
            user = f"n-{name}"
            traits = self.population.of(user)
        session = _session(name, user, traits, at_ms, chance, now)._replace(is_known=is_known)
        fate = chance.random()
        if traits.arm != "personalized" or fate >= now.absent:
            yield from habits.habits(session, chance.random(), self.population.arms)
            yield from plan(session, chance, now.new_surface)
            yield from self._besides(session, now)
        if now.bots:
            flood = Random(f"{self.seed}:{name}:bots")  # noqa: S311 as above
            for bot in range(int(now.bots + flood.random())):
                user = f"bot-{bot % 50}"
                machine = _session(f"{name}-b{bot}", user, self.population.of(user), at_ms, flood, now)
                yield from plan(machine._replace(is_bot=True, who={**machine.who, "bot": True}), flood, now.new_surface)

    def _besides(self, session: Session, now: Conditions) -> Iterator[Happening]:
        """Yield the rare things that come of a session: by a number of their own, so nobody else's fate moves."""
        name = session.name
        share = int.from_bytes(blake2b(name.encode(), digest_size=8, key=b"besides").digest()) / 2**64
        if share < digest.SENT:
            yield from digest.digest(session, Random(f"{name}:digest"))  # noqa: S311 as above
        elif share < digest.SENT + walk_ins.WALK_INS:
            user = f"w-{name}"
            chance = Random(f"{name}:walk-in")  # noqa: S311 as above
            own = _session(f"{name}-w", user, self.population.of(user), session.begin_ms, chance, now)
            yield from walk_ins.walk_in(own, chance)


def _session(name: str, user: str, traits: Traits, at_ms: int, chance: Random, now: Conditions) -> Session:
    is_app = chance.random() < _SHARE_OF_APP and traits.device == "mobile"
    who: dict[str, Any] = {
        "user": user,
        "session": name,
        "arm": traits.arm,
        "policy": POLICIES[traits.arm],
        "segment": traits.segment,
        "device": traits.device,
        "channel": "app" if is_app else "web",
    }
    skew_ms = round(now.skew_s * 1000) if now.skew_s and crc32(user.encode()) % 100 < SKEWED else 0
    return Session(name, at_ms, traits, True, False, who, skew_ms)
