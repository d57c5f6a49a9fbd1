"""Customers: who buys again, counted from the first order, and whose account ends, counted from its beginning.

As with people, days are calendar days in UTC, the first one has age 0, and all is told when customers are old enough
for it. Whoever buys is a customer from the first order that is seen here; a subscriber is one from the first `account`
event that says `active` or `reactivated`. One that only ever cancelled here began nothing, and is not counted: those
who were there before we looked would else be seen leaving and never staying.

Rules. The first event to arrive decides the day and the arm. An account's status at an age is the last one told of its
days until then, by event time; of two of the same millisecond, the one that ends it. Events arrive in any order. An
order told twice, under two event ids, counts twice; so does one in another currency, for orders alone are counted.
"""

from operator import itemgetter
from typing import Final, NamedTuple

from stream_app.core.events import Account, AnyEvent, Order
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Aged, Kind
from stream_app.core.tally import Measure
from stream_app.metrics.methods import Mean, Proportion
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.people import HORIZON_MS
from stream_app.metrics.windows import windows_from

_AGES: Final = (28, 90)
_MONTH_DAYS: Final = 28
_ACTIVE, _PAUSED, _CANCELLED = 1, 2, 3
_STATUSES: Final = {"active": _ACTIVE, "reactivated": _ACTIVE, "paused": _PAUSED, "cancelled": _CANCELLED}


class Buyer(NamedTuple):
    """Orders of the first 28 and 90 days from the first one, and in which 28 days since the epoch the last was."""

    first_day: int = 0
    lately: int = 0
    orders_28: int = 0
    orders_90: int = 0


def bought(buyer: Buyer, event: Order) -> Buyer:
    """Return the buyer after the order."""
    day = event.ts // DAY_MS
    first = buyer.first_day or day
    return Buyer(
        first,
        max(buyer.lately, day // _MONTH_DAYS),
        buyer.orders_28 + (day - first < 28),
        buyer.orders_90 + (day - first < 90),
    )


class Subscriber(NamedTuple):
    """When the account began, if it did, and what is known of its first 28 and 90 days.

    The last status with its time, and whether it was ever cancelled.
    """

    first_day: int = 0
    lately: int = 0
    has_begun: int = 0
    at_28: int = 0
    status_28: int = 0
    at_90: int = 0
    status_90: int = 0
    ever_cancelled_90: int = 0


def _begins(subscriber: Subscriber, event: Account) -> bool:
    """Say whether the account begins with the event, more than a day after all else that was heard of it.

    Within a day it does not matter what was heard first.
    """
    is_beginning = _STATUSES[event.status] == _ACTIVE and not subscriber.has_begun
    return is_beginning and event.ts - subscriber.at_90 > DAY_MS


def told(subscriber: Subscriber, event: Account) -> Subscriber:
    """Return the subscriber after the event."""
    day, status = event.ts // DAY_MS, _STATUSES[event.status]
    first = subscriber.first_day or day
    known = subscriber._replace(
        first_day=first,
        lately=max(subscriber.lately, day // _MONTH_DAYS),
        has_begun=int(subscriber.has_begun or status == _ACTIVE),
    )
    if day - first < 28 and (event.ts, status) > (known.at_28, known.status_28):
        known = known._replace(at_28=event.ts, status_28=status)
    if day - first < 90:
        known = known._replace(ever_cancelled_90=int(known.ever_cancelled_90 or status == _CANCELLED))
        if (event.ts, status) > (known.at_90, known.status_90):
            known = known._replace(at_90=event.ts, status_90=status)
    return known


def _user(event: AnyEvent) -> str:
    return event.user


BUYERS: Final = Kind("buyers", (Order,), _user, Buyer(), bought, horizon_ms=HORIZON_MS, dimensions=("arm",))
SUBSCRIBERS: Final = Kind(
    "subscribers",
    (Account,),
    _user,
    Subscriber(),
    told,
    begins_anew=_begins,
    horizon_ms=HORIZON_MS,
    dimensions=("arm",),
)

Told = tuple[str, str, str]
"""Name, help and unit of a measure."""


def _bought(orders: int) -> tuple[int, int, int, int]:
    return orders > 0, orders > 1, orders, orders * orders


def _status(subscriber: Subscriber, status: int) -> tuple[int, int, int]:
    return (
        subscriber.has_begun,
        subscriber.has_begun and status == _CANCELLED,
        subscriber.has_begun and subscriber.ever_cancelled_90,
    )


_BOUGHT: Final = {
    28: (
        ("buyers_28d", "Customers whose first order was 28 days before.", "customers"),
        ("repeat_buyers_28d", "Those of buyers_28d who ordered more than once in these 28 days.", "customers"),
        ("buyer_orders_28d", "Orders of buyers_28d in these 28 days, the first included.", "orders"),
        ("buyer_order_28d_squares", "Sum over buyers_28d of the square of buyer_orders_28d.", "orders squared"),
    ),
    90: (
        ("buyers_90d", "Customers whose first order was 90 days before.", "customers"),
        ("repeat_buyers_90d", "Those of buyers_90d who ordered more than once in these 90 days.", "customers"),
    ),
}
_ENDED: Final = {
    28: (
        ("subscribers_28d", "Accounts that began 28 days before.", "accounts"),
        ("cancelled_28d", "Those of subscribers_28d that were cancelled when these 28 days ended.", "accounts"),
    ),
    90: (
        ("subscribers_90d", "Accounts that began 90 days before.", "accounts"),
        ("cancelled_90d", "Those of subscribers_90d that were cancelled when these 90 days ended.", "accounts"),
        (
            "ever_cancelled_90d",
            "Those of subscribers_90d that were cancelled at any time in these 90 days.",
            "accounts",
        ),
    ),
}
_AGED: Final[tuple[tuple[Aged, tuple[Told, ...]], ...]] = (
    (Aged(BUYERS, 28, lambda buyer: _bought(buyer.orders_28)), _BOUGHT[28]),
    (Aged(BUYERS, 90, lambda buyer: _bought(buyer.orders_90)[:2]), _BOUGHT[90]),
    (Aged(SUBSCRIBERS, 28, lambda subscriber: _status(subscriber, subscriber.status_28)[:2]), _ENDED[28]),
    (Aged(SUBSCRIBERS, 90, lambda subscriber: _status(subscriber, subscriber.status_90)), _ENDED[90]),
)

MEASURES: Final = tuple(
    Measure(*told_, aged, itemgetter(place)) for aged, parts in _AGED for place, told_ in enumerate(parts)
)

_WINDOWS: Final = windows_from("7d")


def _repeat(days: int) -> Metric:
    return Metric(
        name=f"repeat_purchase_{days}d",
        title=f"Repeat purchase rate, {days} days",
        help=f"Share of customers who ordered again within {days} days, the day of their first order included.",
        unit="ratio",
        formula=f"customers with two or more orders on days 0 to {days - 1} / customers whose first order was {days} "
        "days before",
        caveat="Not repeat customers over all customers of a period, most of whom had no time to come back yet. In the "
        "first weeks of an installation old customers look new, and buy again more readily than new ones. Orders that "
        "were given back count.",
        method=Proportion(f"repeat_buyers_{days}d", f"buyers_{days}d"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=days,
        is_up_good=True,
        highest=1.0,
        dimensions=("arm",),
        windows=_WINDOWS,
    )


def _churn(days: int) -> Metric:
    return Metric(
        name=f"account_churn_{days}d",
        title=f"Churn of accounts, {days} days",
        help=f"Share of accounts that were cancelled {days} days after they began.",
        unit="ratio",
        formula=f"accounts whose last status of days 0 to {days - 1} is cancelled / accounts that began {days} days "
        "before",
        caveat='Not "cancelled this month / customers", whose old customers hide that new ones leave early. A paused '
        "account is not cancelled, one that came back is not either. 1 / churn is a lifespan only if accounts are "
        "cancelled as readily in each month as in the first.",
        method=Proportion(f"cancelled_{days}d", f"subscribers_{days}d"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=days,
        is_up_good=False,
        highest=1.0,
        dimensions=("arm",),
        windows=_WINDOWS,
    )


METRICS: Final = (
    *map(_repeat, _AGES),
    Metric(
        name="purchase_frequency_28d",
        title="Orders per customer, 28 days",
        help="Mean number of orders of a customer in the 28 days from the first one on, which is one of them.",
        unit="orders",
        formula="orders of days 0 to 27 / customers whose first order was 28 days before",
        caveat="Of customers, not of people: who never ordered is in neither number. Orders given back count.",
        method=Mean("buyer_orders_28d", "buyers_28d", "buyer_order_28d_squares"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=28,
        is_up_good=True,
        at_least=2,
        dimensions=("arm",),
        windows=_WINDOWS,
    ),
    *map(_churn, _AGES),
    Metric(
        name="won_back_90d",
        title="Accounts won back",
        help="Share of accounts cancelled in their first 90 days that were not cancelled when these ended.",
        unit="ratio",
        formula="(accounts ever cancelled on days 0 to 89 - those cancelled at the end of them) / ever cancelled",
        caveat="Accounts cancelled late had little time to return: it is lower than the share that ever does.",
        method=Proportion("ever_cancelled_90d - cancelled_90d", "ever_cancelled_90d"),
        honesty="estimate",
        settles="cohort_age",
        cohort_days=90,
        is_up_good=True,
        highest=1.0,
        dimensions=("arm",),
        windows=_WINDOWS,
    ),
)

FAMILY: Final = Family(
    "customers",
    "Customers and accounts",
    "Who buys again, counted from the first order, and whose account ends, counted from its beginning.",
    MEASURES,
    METRICS,
)
