"""Who the people are: stable traits by a salted hash of the user key, so nobody has to remember anybody.

The population of a seed is finite. Who belongs to which arm, segment, device and taste can therefore be counted, and
what is true of the arms is an exact sum over people, not a property of a law that they were drawn from.
"""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from itertools import product
from math import ceil
from typing import Final, NamedTuple, TypeVar

from stream_app.core.events import Arm

USERS: Final = 20_000
ARM_WEIGHTS: Final[Mapping[Arm, float]] = {"personalized": 0.8, "context_blind": 0.1, "holdout": 0.1}
SEGMENTS: Final[Mapping[str, float]] = {"new": 0.3, "returning": 0.5, "loyal": 0.2}
DEVICES: Final[Mapping[str, float]] = {"mobile": 0.6, "desktop": 0.3, "tablet": 0.1}
TASTES: Final = 8
"""Categories of items, of which everybody likes one."""
HOME: Final = "EUR"
"""The currency that the shop reports in; what is paid in another one is never added to it."""
CURRENCIES: Final[Mapping[str, float]] = {HOME: 0.94, "CHF": 0.06}
"""In which currency people pay, whatever they buy. Prices are the same numbers in each."""

_GRID: Final = 65_536
_Name = TypeVar("_Name", bound=str)


class Traits(NamedTuple):
    """What is stable about a person. `taste` is the category of items that they like, `currency` what they pay in."""

    arm: Arm
    segment: str
    device: str
    taste: int
    currency: str = HOME


class Population:
    """The people of one seed. Mutable state: the traits of those who came so far, at most `users` of them."""

    def __init__(
        self,
        seed: int,
        users: int = USERS,
        arms: Mapping[Arm, float] = ARM_WEIGHTS,
        currencies: Mapping[str, float] = CURRENCIES,
    ) -> None:
        """`arms` has the share of each arm, `currencies` of each currency; both add up to 1."""
        self.users = users
        self.arms = arms
        self.currencies = currencies
        self._key = str(seed).encode()
        self._known: list[Traits | None] = [None] * users
        self._limits = tuple(_limits(weights) for weights in (arms, SEGMENTS, DEVICES))
        self._markets = _limits(currencies)

    @staticmethod
    def name(number: int) -> str:
        """Return the key of a user by number."""
        return f"u-{number:05d}"

    def traits(self, number: int) -> Traits:
        """Return the traits of the user of this number, from 0 to `users` - 1."""
        traits = self._known[number]
        if traits is None:
            traits = self._known[number] = self.of(self.name(number))
        return traits

    def of(self, user: str) -> Traits:
        """Return the traits of any user key."""
        digest = blake2b(user.encode(), digest_size=8, key=self._key).digest()
        arms, segments, devices = self._limits
        # A hash of its own: what was true of people before there was a second currency still is.
        market = blake2b(user.encode(), digest_size=2, key=self._key, person=b"currency").digest()
        return Traits(
            _choose(arms, int.from_bytes(digest[0:2])),
            _choose(segments, int.from_bytes(digest[2:4])),
            _choose(devices, int.from_bytes(digest[4:6])),
            digest[6] % TASTES,
            _choose(self._markets, int.from_bytes(market)),
        )

    @cached_property
    def counts(self) -> Mapping[Traits, float]:
        """How many people have which traits: all of them, whether they ever come or not."""
        return Counter(map(self.traits, range(self.users)))

    @cached_property
    def law(self) -> Mapping[Traits, float]:
        """The exact probability of all traits for someone whose key has never been seen."""
        arms, segments, devices = (dict(_weights(limits)) for limits in self._limits)
        markets = dict(_weights(self._markets))
        return {
            Traits(arm, segment, device, taste, market): arms[arm]
            * segments[segment]
            * devices[device]
            * markets[market]
            / TASTES
            for arm, segment, device, taste, market in product(arms, segments, devices, range(TASTES), markets)
        }


def _limits(weights: Mapping[_Name, float]) -> tuple[tuple[_Name, int], ...]:
    """Return where the stretch of each name ends on the grid of hashes; the last one ends at its end."""
    limits, reached = [], 0.0
    for name, weight in weights.items():
        reached += weight
        limits.append((name, ceil(reached * _GRID)))
    return (*limits[:-1], (limits[-1][0], _GRID))


def _weights(limits: tuple[tuple[_Name, int], ...]) -> list[tuple[_Name, float]]:
    begins = (0, *(end for _, end in limits))
    return [(name, (end - begin) / _GRID) for (name, end), begin in zip(limits, begins, strict=False)]


def _choose(limits: tuple[tuple[_Name, int], ...], share: int) -> _Name:
    return next(name for name, end in limits if share < end)
