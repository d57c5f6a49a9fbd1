"""Orders: what is remembered of each, and what is added up of them.

    order          total 119.00, tax 19.00, shipping 0        gross 119.00    net 100.00
    refund                59.50                               kept 50.00: a refund carries tax as the order does

An order is at home in the pane and slice of its own event, not of what earned it: orders that no surface earned are
orders too. The rules:

- An order id is taken once: of several events with it the one that arrives first counts (`core.attribution`), for all
  metrics; the others are `repeated_orders`.
- A refund belongs to its order's pane, however late it comes, as long as the order is remembered: 28 days, as far as
  there is room. One that comes before its order waits; until then, and where no order ever comes, it is one of
  `refunds_without_order` where it came. Order and refund have to be of one user, for users are what partitions share.
- A refund first gives back goods with their tax, shipping last: of its net value no more than the order's is refunded.
  What exceeds even the gross total is not counted as money; the order is one of `overrefunded_orders`.
- Only the reporting currency is added. Orders in another are `foreign_orders`, and no money of them is; refunds in
  another are counted as refunds, their money is unknown.
"""

from typing import Any, Final, NamedTuple

from stream_app.core.events import Order, OrderLine, Refund
from stream_app.core.panes import DAY_MS
from stream_app.core.quantile_sketch import bucket_of
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Histogram, Measure, Occasion

ORDER_CAP_MINOR: Final = 50_000
"""What an order can count for at most in the winsorised mean: 500 in major units."""
ABROAD: Final = 2


class Purchase(NamedTuple):
    """What is known of an order. `placed`: 0 = not seen yet, 1 = counted, 2 = in another currency; then no amounts."""

    placed: int = 0
    gross_minor: int = 0
    tax_minor: int = 0
    net_minor: int = 0
    lines: int = 0
    recommended_lines: int = 0
    recommended_minor: int = 0
    dearest_recommended_minor: int = 0
    dearest_other_minor: int = 0
    refunds: int = 0
    refunds_abroad: int = 0
    refunded_minor: int = 0

    @property
    def refunded_net_minor(self) -> int:
        """How much of the net value went back: a refund is of goods with their tax first, then of shipping."""
        with_tax_minor = self.net_minor + self.tax_minor
        if not with_tax_minor:
            return 0
        return min(self.net_minor, self.refunded_minor * self.net_minor // with_tax_minor)

    @property
    def kept_minor(self) -> int:
        """The net value after refunds."""
        return self.net_minor - self.refunded_net_minor

    @property
    def capped_minor(self) -> int:
        """The net value, cut at the cap."""
        return min(self.net_minor, ORDER_CAP_MINOR)

    @property
    def is_cross_sold(self) -> bool:
        """Say whether something recommended was bought beside something that was not."""
        return 0 < self.recommended_lines < self.lines

    @property
    def is_upsold(self) -> bool:
        """Say whether something recommended is dearer than all that was chosen otherwise."""
        return self.is_cross_sold and self.dearest_recommended_minor > self.dearest_other_minor


def _value(line: OrderLine) -> int:
    return line.quantity * line.price_minor


def _placed(known: Purchase, order: Order) -> Purchase:
    if known.placed:
        return known
    net = max(0, order.total_minor - (order.tax_minor or 0) - (order.shipping_minor or 0))
    recommended = [line for line in order.lines if line.decision is not None]
    all_minor = sum(map(_value, order.lines))
    return known._replace(
        placed=1,
        gross_minor=order.total_minor,
        tax_minor=order.tax_minor or 0,
        net_minor=net,
        lines=len(order.lines),
        recommended_lines=len(recommended),
        # Lines may be before discounts, with tax or without: what counts is their part of the whole.
        recommended_minor=net * sum(map(_value, recommended)) // all_minor if all_minor else 0,
        dearest_recommended_minor=max((line.price_minor for line in recommended), default=0),
        dearest_other_minor=max((line.price_minor for line in order.lines if line.decision is None), default=0),
    )


def _changed(known: Purchase, event: Order | Refund) -> Purchase:
    if isinstance(event, Order):
        return _placed(known, event)
    return known._replace(refunds=known.refunds + 1, refunded_minor=known.refunded_minor + event.amount_minor)


def _changed_abroad(known: Purchase, event: Order | Refund) -> Purchase:
    if isinstance(event, Order):
        return known if known.placed else known._replace(placed=ABROAD)
    return known._replace(refunds=known.refunds + 1, refunds_abroad=known.refunds_abroad + 1)


ORDERS: Final = Kind(
    "orders",
    (Order, Refund),
    lambda event: event.order,
    Purchase(),
    _changed,
    # A refund that came first waited where it was; the order takes it along to where it is itself.
    moves=lambda known, event: isinstance(event, Order) and not known.placed,
    change_abroad=_changed_abroad,
    horizon_ms=28 * DAY_MS,
    is_personal=False,
)


def _of(name: str, help_: str, unit: str, of: Any) -> Measure:
    """Declare a measure of orders in the reporting currency."""
    return Measure(name, help_, unit, ORDERS, growth(lambda order: of(order) if order.placed == 1 else 0))


MEASURES: Final = (
    _of("orders", "Orders in the reporting currency, by order id.", "orders", lambda order: 1),
    Measure(
        "foreign_orders",
        "Orders in another currency: counted, their money is never added.",
        "orders",
        ORDERS,
        growth(lambda order: order.placed == ABROAD),
    ),
    Measure(
        "repeated_orders",
        "Further events with an order id that was taken before; they count for nothing else.",
        "events",
        Occasion.REPEATED_ORDER,
    ),
    _of("order_gross_minor", "Totals of orders, with tax and shipping.", "minor units", lambda o: o.gross_minor),
    _of("order_gross_squares", "Sum of their squares.", "minor units squared", lambda o: o.gross_minor**2),
    _of("order_net_minor", "Net values of orders: less tax and shipping.", "minor units", lambda o: o.net_minor),
    _of("order_net_squares", "Sum of their squares.", "minor units squared", lambda o: o.net_minor**2),
    _of("order_capped_minor", "Net values, of each 50,000 at most.", "minor units", lambda o: o.capped_minor),
    _of("order_capped_squares", "Sum of their squares.", "minor units squared", lambda o: o.capped_minor**2),
    _of("order_kept_minor", "Net values less what was refunded of them.", "minor units", lambda o: o.kept_minor),
    _of("order_kept_squares", "Sum of their squares.", "minor units squared", lambda o: o.kept_minor**2),
    _of("order_lines", "Lines of orders.", "lines", lambda o: o.lines),
    _of("order_line_squares", "Sum over orders of the squared number of lines.", "lines squared", lambda o: o.lines**2),
    Measure(
        "refunded_orders",
        "Orders in any currency with a refund in any currency.",
        "orders",
        ORDERS,
        growth(lambda order: order.placed > 0 and order.refunds > 0),
    ),
    _of("overrefunded_orders", "Refunds exceed the total.", "orders", lambda o: o.refunded_minor > o.gross_minor),
    Measure(
        "refunds_without_order",
        "Refunds whose order is not known, or not yet.",
        "refunds",
        ORDERS,
        growth(lambda order: 0 if order.placed else order.refunds),
    ),
    Measure(
        "foreign_refunds",
        "Refunds in another currency: counted, their money is never added.",
        "refunds",
        ORDERS,
        growth(lambda order: order.refunds_abroad),
    ),
    _of("itemised_orders", "Orders that tell their lines.", "orders", lambda o: o.lines > 0),
    _of("recommended_orders", "Orders with a line that quotes a decision.", "orders",
        lambda o: o.recommended_lines > 0),
    _of("cross_sold_orders", "Orders with such a line and one without.", "orders", lambda o: o.is_cross_sold),
    _of("upsold_orders", "Orders whose dearest line quotes a decision, with one that does not.", "orders",
        lambda o: o.is_upsold),
    _of(
        "recommended_minor",
        "Net values of orders times the share of lines' value that quotes a decision.",
        "minor units",
        lambda o: o.recommended_minor,
    ),
    _of(
        "recommended_order_minor",
        "Net values of orders with a line that quotes a decision.",
        "minor units",
        lambda o: o.net_minor if o.recommended_lines else 0,
    ),
    _of(
        "recommended_order_squares",
        "Sum of the squares of recommended_order_minor.",
        "minor units squared",
        lambda o: o.net_minor**2 if o.recommended_lines else 0,
    ),
)  # fmt: skip

HISTOGRAMS: Final = (
    Histogram(
        "order_values",
        "Net values of orders in the reporting currency.",
        "minor units",
        ORDERS,
        lambda order: bucket_of(order.net_minor) if order.placed == 1 else None,
    ),
)
