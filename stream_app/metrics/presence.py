"""Presence: how many different people there are, and how many of them use features.

A person is counted once, in the pane of the latest sign of life; with the next one the count moves along. So of every
window that ends now the sum is the number of different people seen in it, exactly, for minutes as for weeks:

    pane       1     2     3     4     5                  seen in panes 3 to 5: u and v
    u          x     .     x     .     x     1 in pane 5
    v          .     .     .     x     .     1 in pane 4
    w          x     x     .     .     .     1 in pane 2

It is so of windows that end *now*. Of one that ended earlier only those are left who have not come since; and people of
different partitions are added, which is right because a user has one partition.

A sign of life is what people do and decisions made for them, not each impression: these are nine of ten events, and
say nothing about a person that their page and their decision do not. Messages, refunds and what services say are none.
In one pane the first event to arrive decides in which slice a person counts, and a pane that comes late moves nobody.
"""

from typing import Final, NamedTuple

from stream_app.core.events import (
    Cart,
    Click,
    Conversion,
    Decision,
    Engagement,
    Event,
    FeatureUse,
    Feedback,
    JourneyStep,
    Order,
    PageView,
    Search,
)
from stream_app.core.panes import DAY_MS, PANE_MS
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Measure
from stream_app.metrics.methods import Count, Proportion
from stream_app.metrics.metric import Family, Metric

HORIZON_MS: Final = 29 * DAY_MS
"""As long as the longest window reaches back: whoever is forgotten is in no window any more."""
SIGNS_OF_LIFE: Final = (
    Decision, PageView, Search, Click, Cart, Engagement, Order, Conversion, FeatureUse, JourneyStep, Feedback,
)  # fmt: skip


class Seen(NamedTuple):
    """The number of the pane in which somebody was seen last, counted from the beginning of the epoch."""

    pane: int = 0


class Adopter(NamedTuple):
    """The number of the day on which somebody used a feature last: so long as that goes on, they are remembered."""

    day: int = 0


def _seen(seen: Seen, event: Event) -> Seen:
    pane = event.ts // PANE_MS
    return Seen(pane) if pane > seen.pane else seen


def _is_later(seen: Seen, event: Event) -> bool:
    return event.ts // PANE_MS > seen.pane


def _who(event: Event) -> str:
    return event.user


def _adopter(adopter: Adopter, event: FeatureUse) -> Adopter:
    return Adopter(max(adopter.day, event.ts // DAY_MS))


ACTIVE: Final = Kind("active", SIGNS_OF_LIFE, _who, Seen(), _seen, moves=_is_later, horizon_ms=HORIZON_MS)
FEATURE_USERS: Final = Kind("feature_users", (FeatureUse,), _who, Seen(), _seen, moves=_is_later, horizon_ms=HORIZON_MS)
ADOPTERS: Final = Kind("feature_adopters", (FeatureUse,), _who, Adopter(), _adopter, horizon_ms=HORIZON_MS)

MEASURES: Final = (
    Measure(
        "active_users",
        "People, each in the pane of the latest sign of life: summed over a window that ends now, how many were there.",
        "users",
        ACTIVE,
        growth(lambda seen: seen.pane > 0),
    ),
    Measure(
        "feature_users",
        "People, each in the pane of the latest use of a feature: summed over a window that ends now, how many did.",
        "users",
        FEATURE_USERS,
        growth(lambda seen: seen.pane > 0),
    ),
    Measure(
        "feature_adopters",
        "People at the first use of any feature; who has used none for 29 days begins anew.",
        "users",
        ADOPTERS,
        growth(lambda adopter: adopter.day > 0),
    ),
)

_WHO: Final = (
    "A person is a pseudonymous user id with consent to analytics: one who changes devices may be two, and one who "
    "denies analytics is none. "
)
_DIMENSIONS: Final = ("arm", "segment")
"""What a person keeps. By surface, channel or device people would count where they were last, and nowhere else."""
_ROOM: Final = (
    "Exact as long as all are remembered; where there are more people than room, those who come back after they were "
    "forgotten count again."
)

METRICS: Final = (
    Metric(
        name="active_users",
        title="Active users",
        help="How many different people were seen in the window, each counted once.",
        unit="users",
        formula="different users with a page, search, click, cart, heartbeat, order, conversion, decision, use of a "
        "feature, step of a journey or feedback",
        caveat=_WHO + "Impressions alone do not make somebody active; a decision does. Only of windows that end now: "
        "users of two windows do not add up to those of both. " + _ROOM,
        method=Count("active_users"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        dimensions=_DIMENSIONS,
    ),
    Metric(
        name="feature_usage",
        title="Users of features",
        help="Share of the people active in the window who used any feature in it.",
        unit="ratio",
        formula="different users with a use of a feature / different active users",
        caveat=_WHO + "It says nothing about how often, nor which feature. Only of windows that end now. " + _ROOM,
        method=Proportion("feature_users", "active_users"),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
        dimensions=_DIMENSIONS,
    ),
    Metric(
        name="feature_adoption",
        title="Feature adoption rate",
        help="Share of the people active in the window who used a feature for the first time in it.",
        unit="ratio",
        formula="users whose first use of any feature is in the window / different active users",
        caveat=_WHO + "First as far as is remembered: since counting began, and within 29 days of the last use. So in "
        "the first weeks everybody is new, and it falls. Not the share of people who use features: once all have "
        "adopted them, it is 0. " + _ROOM,
        method=Proportion("feature_adopters", "active_users"),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
        dimensions=_DIMENSIONS,
    ),
)

FAMILY: Final = Family("presence", "Presence", "How many people there are, and who uses what.", MEASURES, METRICS)
