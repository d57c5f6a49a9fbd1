"""Spending of daily users: what people spend, not sessions; the unit is a user on a day (UTC).

    user     23:50 sees a surface      00:10 orders for 50.00      two user-days, one of them with 50.00
    arm      sum of user-days' revenue / user-days                 ARPDAU: the mean revenue of a daily user

A user-day begins where a session begins to see a surface, or with a cart, conversion or order, and is at home where the
earliest of these is. What a session goes on to see after midnight begins none; of one whose impressions on both sides
of midnight arrive out of order, the day is that of the first to arrive. So all revenue of a day is in it whether it was
credited to a surface or not, and days add over windows and partitions. In a window of 24 hours user-days are nearly the
users; over a longer one, whoever comes on three days is three, so the mean is per user and day.

Money in another currency is counted, never added; an order whose id was taken before is none. Refunds are not
subtracted: they come on other days, and are seen in the order values.

Without analytics consent there is no user, so what such people buy is not in here: it is in the order values.
"""

from typing import Any, Final, NamedTuple

from stream_app.core.events import Cart, Conversion, Impression, Order
from stream_app.core.goals import PURCHASE, goal_of
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Kind, growth
from stream_app.core.slices import DIMENSIONS
from stream_app.core.tally import Measure
from stream_app.metrics.methods import IncrementalShare, Mean, Proportion
from stream_app.metrics.metric import Family, Metric

DAY_CAP_MINOR: Final = 50_000
"""What a user-day can count for at most in the winsorised mean: 500 in major units."""
WITHOUT_SURFACE: Final = tuple(name for name in DIMENSIONS if name != "surface")
"""A user-day stands at the surface at which it began, which says nothing about that surface."""


class UserDay(NamedTuple):
    """What a user did on a day. `first_ms`: the earliest event of it, which no measure reads."""

    is_known: int = 0
    purchases: int = 0
    revenue_minor: int = 0
    purchases_abroad: int = 0
    cart_adds: int = 0
    first_ms: int = 0


def _changed(day: UserDay, event: Any) -> UserDay:
    _, purchases, revenue_minor, abroad, cart_adds, known_ms = day
    if isinstance(event, Impression):
        if 0 < known_ms <= event.ts:
            return day  # most events are further surfaces of the same day
    elif isinstance(event, Order):
        purchases += 1
        revenue_minor += max(0, event.total_minor - (event.tax_minor or 0) - (event.shipping_minor or 0))
    elif isinstance(event, Conversion):
        purchases += goal_of(event.goal) == PURCHASE
        revenue_minor += event.value_minor or 0
    else:
        cart_adds += event.action == "add"
    return UserDay(1, purchases, revenue_minor, abroad, cart_adds, min(known_ms or event.ts, event.ts))


def _changed_abroad(day: UserDay, event: Any) -> UserDay:
    if isinstance(event, Cart):
        return _changed(day, event)
    is_purchase = isinstance(event, Order) or goal_of(event.goal) == PURCHASE
    return day._replace(
        is_known=1,
        purchases=day.purchases + is_purchase,
        purchases_abroad=day.purchases_abroad + is_purchase,
        first_ms=min(day.first_ms or event.ts, event.ts),
    )


USER_DAYS: Final = Kind(
    "user_days",
    (Order, Conversion, Cart),
    lambda event: f"{event.user}\x1f{event.ts // DAY_MS}",
    UserDay(),
    _changed,
    moves=lambda day, event: event.ts < day.first_ms,
    change_abroad=_changed_abroad,
    shows=UserDay._fields.index("first_ms"),
    on_exposure=True,
    version=2,
)


def capped(day: UserDay) -> int:
    """Return what a user-day spent, cut at the cap."""
    return min(day.revenue_minor, DAY_CAP_MINOR)


def _of(name: str, help_: str, unit: str, of: Any) -> Measure:
    return Measure(name, help_, unit, USER_DAYS, growth(of))


MEASURES: Final = (
    _of("user_days", "Users by day who saw a surface, filled a cart, converted or ordered.", "user-days",
        lambda day: day.is_known),
    _of("buying_user_days", "User-days with an order, or a conversion of the goal purchase.", "user-days",
        lambda day: day.purchases > 0),
    _of("user_day_purchases", "Orders and conversions of the goal purchase.", "purchases", lambda day: day.purchases),
    _of("user_day_purchase_squares", "Sum over user-days of the squared number.", "purchases squared",
        lambda day: day.purchases**2),
    _of("user_day_purchases_abroad", "Those in another currency, whose money is not added.", "purchases",
        lambda day: day.purchases_abroad),
    _of("user_day_revenue_minor", "Values of conversions, and orders less tax and shipping, attributed or not.",
        "minor units", lambda day: day.revenue_minor),
    _of("user_day_revenue_squares", "Sum over user-days of its square.", "minor units squared",
        lambda day: day.revenue_minor**2),
    _of("user_day_revenue_capped_minor", "The same, of each user-day 50,000 at most.", "minor units", capped),
    _of("user_day_revenue_capped_squares", "Sum over user-days of its square.", "minor units squared",
        lambda day: capped(day) ** 2),
    _of("user_day_cart_adds", "Things put into carts.", "adds", lambda day: day.cart_adds),
    _of("user_day_cart_add_squares", "Sum over user-days of its square.", "adds squared",
        lambda day: day.cart_adds**2),
    _of("adding_user_days", "User-days on which something was put into a cart.", "user-days",
        lambda day: day.cart_adds > 0),
)  # fmt: skip

_UNIT: Final = (
    "The unit is a user on a day (UTC): over more than a day whoever comes back is counted again, so it is not the "
    "revenue of a person's whole time. "
)

METRICS: Final = (
    Metric(
        name="revenue_per_user",
        title="Revenue per daily user",
        help="Mean revenue of a user on a day (ARPDAU), whether it was credited to a surface or not. Between arms, "
        "what personalization adds: the incremental share of revenue is 1 - C / T.",
        unit="currency",
        formula="sum of (conversion values, orders less tax and shipping) / users by day who saw a surface, filled a "
        "cart, converted or ordered",
        caveat=_UNIT + "Few people make most of the revenue: the interval is too narrow for a few hundred of them. "
        "Money in another currency is not in it, refunds are not subtracted.",
        method=Mean("user_day_revenue_minor", "user_days", "user_day_revenue_squares", scale=100, squares_scale=10_000),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=2,
        dimensions=WITHOUT_SURFACE,
    ),
    Metric(
        name="incremental_revenue_share",
        title="Incremental share of revenue",
        help="Share of the revenue of personalized users that is there because of personalization.",
        unit="ratio",
        formula="(T - C) / T = 1 - C / T, with T the revenue per daily user personalized, C that of the holdout",
        caveat="Not the share that recommendations are *credited* with (`recommended_revenue_share`), which can be "
        "100 % where personalization changes nothing. Causal only if users were randomised. Below 0 where the holdout "
        "has more. " + _UNIT + "Days of one user are taken as independent: with many of them the interval is too "
        "narrow.",
        method=IncrementalShare(
            "user_day_revenue_minor", "user_days", "user_day_revenue_squares", scale=100, squares_scale=10_000
        ),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        lowest=None,
        highest=1.0,
        at_least=4,
        dimensions=tuple(name for name in WITHOUT_SURFACE if name not in ("arm", "policy")),
    ),
    Metric(
        name="revenue_per_user_winsorised",
        title="Revenue per daily user, winsorised",
        help="Mean revenue of a user on a day, where each counts for 500 (major units) at most.",
        unit="currency",
        formula="sum of min(revenue, 500) / users by day",
        caveat=_UNIT + "Times the number of user-days it is not the revenue. The cap is fixed, not a percentile. An "
        "effect on the dearest orders alone is not seen.",
        method=Mean(
            "user_day_revenue_capped_minor",
            "user_days",
            "user_day_revenue_capped_squares",
            scale=100,
            squares_scale=10_000,
            cap=DAY_CAP_MINOR,
        ),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=DAY_CAP_MINOR / 100,
        at_least=2,
        dimensions=WITHOUT_SURFACE,
    ),
    Metric(
        name="buyer_rate",
        title="Daily users who buy",
        help="Share of users who buy on a day on which they are there: converters over users, never above 100 %.",
        unit="ratio",
        formula="users by day with at least one purchase / users by day",
        caveat='The popular "conversions / users" is purchases per daily user, which can pass 100 %. ' + _UNIT.strip(),
        method=Proportion("buying_user_days", "user_days"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
        dimensions=WITHOUT_SURFACE,
    ),
    Metric(
        name="purchases_per_user",
        title="Purchases per daily user",
        help="Mean number of purchases of a user on a day.",
        unit="purchases",
        formula="orders and conversions of the goal purchase / users by day",
        caveat='Read as a percentage this is the popular "personalized conversion rate" (conversions / users x 100), '
        "which mixes units and can pass 100 %: for that, see daily users who buy. " + _UNIT.strip(),
        method=Mean("user_day_purchases", "user_days", "user_day_purchase_squares"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=2,
        dimensions=WITHOUT_SURFACE,
    ),
    Metric(
        name="cart_adds_per_user",
        title="Cart adds per daily user",
        help="Mean number of times that a user puts something into a cart on a day.",
        unit="adds",
        formula="cart adds / users by day",
        caveat="Adding is not buying, and what was taken out again is not subtracted. " + _UNIT.strip(),
        method=Mean("user_day_cart_adds", "user_days", "user_day_cart_add_squares"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        at_least=2,
        dimensions=WITHOUT_SURFACE,
    ),
    Metric(
        name="cart_add_rate",
        title="Daily users who fill a cart",
        help="Share of users who put something into a cart on a day on which they are there.",
        unit="ratio",
        formula="users by day with at least one cart add / users by day",
        caveat=_UNIT.strip(),
        method=Proportion("adding_user_days", "user_days"),
        honesty="exact",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
        dimensions=WITHOUT_SURFACE,
    ),
)

FAMILY: Final = Family(
    "spending",
    "Spending of daily users",
    "What people spend and put into carts on a day on which they are there.",
    MEASURES,
    METRICS,
)
