"""Carts: what a session puts into its cart, and how much of it had been recommended.

A cart is what one session adds: by its id, wherever midnight is, and for senders without session ids by user until 30
minutes without an add have passed (by the order of arrival, where events of both sides of that are out of order). It is
at home where its earliest add is. What is taken out again is not subtracted: events do not say of which add it was. A
price in another currency is not added, one without a currency is in the reporting one.
"""

from typing import Any, Final, NamedTuple

from stream_app.core.events import Cart
from stream_app.core.quantile_sketch import bucket_of
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Histogram, Measure
from stream_app.metrics.methods import ClusteredMean, Clusters, Mean, Quantile
from stream_app.metrics.metric import Family, Metric

GAP_MS: Final = 1_800_000
LARGEST_MINOR: Final = 10**12
"""What one add can be worth: as much as any amount of money in an event."""


class Filled(NamedTuple):
    """What a session put into its cart; `first_ms` = 0: nothing yet."""

    first_ms: int = 0
    last_ms: int = 0
    adds: int = 0
    recommended: int = 0
    priced: int = 0
    value_minor: int = 0
    abroad: int = 0


def _whose(event: Cart) -> str | None:
    return (event.session or event.user) if event.action == "add" else None


def _added(cart: Filled, event: Cart) -> Filled:
    return cart._replace(
        first_ms=min(cart.first_ms or event.ts, event.ts),
        last_ms=max(cart.last_ms, event.ts),
        adds=cart.adds + 1,
        recommended=cart.recommended + (event.decision is not None),
    )


def _changed(cart: Filled, event: Cart) -> Filled:
    added = _added(cart, event)
    if event.price_minor is None:
        return added
    value = min(event.price_minor * (event.quantity or 1), LARGEST_MINOR)
    return added._replace(priced=cart.priced + 1, value_minor=cart.value_minor + value)


def _changed_abroad(cart: Filled, event: Cart) -> Filled:
    return _added(cart, event)._replace(abroad=cart.abroad + 1)


CARTS: Final = Kind(
    "carts",
    (Cart,),
    _whose,
    Filled(),
    _changed,
    begins_anew=lambda cart, event: event.session is None and event.ts - cart.last_ms > GAP_MS,
    moves=lambda cart, event: event.ts < cart.first_ms,
    change_abroad=_changed_abroad,
)


def _of(name: str, help_: str, unit: str, of: Any) -> Measure:
    return Measure(name, help_, unit, CARTS, growth(of))


MEASURES: Final = (
    _of("carts", "Sessions that put something into a cart.", "carts", lambda cart: cart.adds > 0),
    _of("cart_adds", "Times that something was put into a cart.", "adds", lambda cart: cart.adds),
    _of("cart_add_squares", "Sum over carts of its square.", "adds squared", lambda cart: cart.adds**2),
    _of("recommended_adds", "Adds that quote a decision.", "adds", lambda cart: cart.recommended),
    _of("recommended_add_squares", "Sum over carts of its square.", "adds squared", lambda cart: cart.recommended**2),
    _of("recommended_add_products", "Sum over carts of recommended_adds times cart_adds.", "adds squared",
        lambda cart: cart.recommended * cart.adds),
    _of("priced_carts", "Carts with a price in the reporting currency.", "carts", lambda cart: cart.priced > 0),
    _of("cart_value_minor", "Prices times quantities of what was added.", "minor units", lambda cart: cart.value_minor),
    _of("cart_value_squares", "Sum over carts of its square.", "minor units squared", lambda cart: cart.value_minor**2),
    _of("foreign_cart_adds", "Adds with a price in another currency, which is not added.", "adds",
        lambda cart: cart.abroad),
)  # fmt: skip

HISTOGRAMS: Final = (
    Histogram(
        "cart_values",
        "Values of what sessions put into carts, in the reporting currency.",
        "minor units",
        CARTS,
        lambda cart: bucket_of(cart.value_minor) if cart.priced else None,
    ),
)

METRICS: Final = (
    Metric(
        name="cart_size",
        title="Cart adds per cart",
        help="Mean number of adds of a session that adds anything.",
        unit="adds",
        formula="cart adds / sessions with at least one",
        caveat="Adds, not pieces, and removals are not subtracted. It is of those who fill a cart: where more people "
        "do, it may fall.",
        method=Mean("cart_adds", "carts", "cart_add_squares"),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="cart_value",
        title="Cart value",
        help="Mean value of what a session puts into its cart, in major units of the reporting currency.",
        unit="currency",
        formula="sum of price x quantity over adds / sessions with at least one priced add",
        caveat="It is not revenue: most carts are never ordered, and removals are not subtracted. A few dear ones move "
        "it: see the median. Prices in another currency are not in it.",
        method=Mean("cart_value_minor", "priced_carts", "cart_value_squares", scale=100, squares_scale=10_000),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        at_least=2,
    ),
    Metric(
        name="cart_value_median",
        title="Cart value, median",
        help="The value that half of the carts do not exceed.",
        unit="currency",
        formula="median of the sum of price x quantity over sessions with at least one priced add",
        caveat="To 1 %: carts are counted in narrow classes of value. Surface and arm alone are told apart.",
        method=Quantile("cart_values", 0.5, scale=100),
        honesty="exact",
        settles="session_close",
        is_up_good=True,
        dimensions=("surface", "arm"),
    ),
    Metric(
        name="recommended_add_share",
        title="Share of cart adds from recommendations",
        help="Share of what is put into carts that quotes a decision.",
        unit="ratio",
        formula="cart adds that quote a decision / cart adds",
        caveat="Descriptive: much of it would have been found without being recommended. Needs cart events that name "
        "the decision.",
        method=ClusteredMean(
            "recommended_adds",
            "cart_adds",
            Clusters("carts", "recommended_add_squares", "cart_add_squares", "recommended_add_products"),
        ),
        honesty="exact",
        settles="session_close",
        is_up_good=None,
        highest=1.0,
        at_least=2,
    ),
)

FAMILY: Final = Family(
    "carts",
    "Carts",
    "What sessions put into their carts, and how much of it had been recommended.",
    MEASURES,
    METRICS,
    HISTOGRAMS,
)
