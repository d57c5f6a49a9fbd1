"""What is shown, and how people respond: the tables and formulas that the world draws from and the truth sums over.

Everybody has a need: their taste, or what a context signal has made of it for the rest of the session. A policy aims
at a category; each place of the list then shows that category with probability `accuracy`, else one of the others:

    personalized    aims at the signal's category if there is one, else at the taste
    context_blind   aims at the taste
    holdout         does not aim: categories come by popularity

    P(click) = base[surface] * bias[position] * appeal[match] * segment * device * quality * mood * clicks
    P(conversion | click) = after_click[surface] * segment
"""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from stream_app.core.events import Arm

POLICIES: Final[Mapping[Arm, str]] = {
    "personalized": "contextual",
    "context_blind": "profile",
    "holdout": "popular",
}
POPULARITY: Final = (0.22, 0.18, 0.15, 0.12, 0.11, 0.09, 0.07, 0.06)
"""By category: how often the policy of the holdout shows it."""
_REACHED: Final = (*tuple(accumulate(POPULARITY))[:-1], 1.0)

POSITION_BIAS: Final = (1.5, 0.9, 0.6)
"""Clicks at positions 1 to 3 relative to the base rate of the surface."""
QUALITY: Final = (0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.3)
"""By item within the share of its category that a position shows; the mean is 1."""

MATCH, TASTE, OTHER = range(3)
"""How an item suits: it is what is needed now; what the person usually likes, but not now; neither."""
APPEAL: Final = (1.0, 0.6, 0.5)
RELEVANCE: Final = (90, 60, 35)
"""Mean relevance in hundredths, as the recommender's common scorer states it."""
RELEVANCE_NOISE: Final = 10
"""The stated relevance is uniform on the whole hundredths this far around the mean."""
APPROPRIATE: Final = (1.0, 0.0, -1.0)
"""What a person who is asked thinks of the first item."""
ANSWERS: Final = (0.20, 0.10, 0.40)
"""How likely a person who thinks so answers: the dissatisfied do, twice as often. That is the response bias."""
ASKED: Final[Mapping[str, float]] = {"mobile": 0.05, "desktop": 0.20, "tablet": 0.10}
"""By device: the probability of being asked; it travels in the event as `asked_prob`."""


class Surface(NamedTuple):
    """A place where items are shown. `signal`: the probability that a context signal comes just before it."""

    name: str
    page: str
    base: float
    after_click: float
    signal: float
    reach: Mapping[str, float]


SURFACES: Final = (
    Surface("home.hero", "/", 0.070, 0.10, 0.35, {"new": 1.0, "returning": 1.0, "loyal": 1.0}),
    Surface("search.results", "/search", 0.105, 0.14, 0.15, {"new": 0.6, "returning": 0.7, "loyal": 0.8}),
    Surface("cart.crosssell", "/cart", 0.060, 0.20, 0.10, {"new": 0.3, "returning": 0.4, "loyal": 0.6}),
    # Not there until a scenario opens it; its reach is then what the scenario says, for everybody.
    Surface("detail.similar", "/detail", 0.080, 0.12, 0.0, {"new": 1.0, "returning": 1.0, "loyal": 1.0}),
)
NEW_SURFACE: Final = len(SURFACES) - 1
SIGNALLED: Final = tuple(accumulate(surface.signal for surface in SURFACES))
"""By surface: the probability that a signal has come by then. There is at most one a session."""

CLICKS_BY_SEGMENT: Final[Mapping[str, float]] = {"new": 0.8, "returning": 1.0, "loyal": 1.3}
CLICKS_BY_DEVICE: Final[Mapping[str, float]] = {"mobile": 0.95, "desktop": 1.1, "tablet": 1.0}
SALES_BY_SEGMENT: Final[Mapping[str, float]] = {"new": 0.7, "returning": 1.0, "loyal": 1.4}


def aim(arm: Arm, taste: int | None, signalled: int | None) -> int | None:
    """Return the category that the policy of an arm aims at, None for popularity.

    `taste` and `signalled` are what the policy knows of them: None for somebody new, or without a signal.
    """
    if arm == "holdout":
        return None
    return signalled if arm == "personalized" and signalled is not None else taste


def shown(target: int | None, accuracy: float, share: float) -> int:
    """Return the category that a place shows; `share` is uniform in [0, 1)."""
    if target is None:
        return bisect_right(_REACHED, share)
    if share < accuracy:
        return target
    other = int((share - accuracy) / (1 - accuracy) * (len(POPULARITY) - 1))
    return other + (other >= target)


def probability(target: int | None, accuracy: float, category: int) -> float:
    """Return how likely `shown` gives `category`."""
    if target is None:
        return POPULARITY[category]
    return accuracy if category == target else (1 - accuracy) / (len(POPULARITY) - 1)


def suits(category: int, need: int, taste: int) -> int:
    """Return MATCH, TASTE or OTHER."""
    if category == need:
        return MATCH
    return TASTE if category == taste else OTHER


def click_rate(surface: Surface, segment: str, device: str, mood: float) -> float:
    """Return P(click) but for position, appeal and quality. `mood` has everything that passes."""
    return surface.base * CLICKS_BY_SEGMENT[segment] * CLICKS_BY_DEVICE[device] * mood


def sale_rate(surface: Surface, segment: str) -> float:
    """Return P(conversion | click)."""
    return surface.after_click * SALES_BY_SEGMENT[segment]
