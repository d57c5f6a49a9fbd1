"""Short ways to write what costs money on a timeline, and to read what was counted of it."""

from collections.abc import Iterable
from typing import Any

from stream_app.core.events import AnyEvent, Cart, Order, OrderLine, Refund
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.core.tally import Tally
from stream_app.metrics.catalogue import INDEX, MEASURES, METRICS, PLAN
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.timelines import at, feed, order, rows

METRIC = {metric.name: metric for metric in METRICS}


def bought(seconds: float, name: str, total_minor: int, *lines: OrderLine, **fields: Any) -> Order:
    """An order of this id by `u1`."""
    return order(seconds, total_minor=total_minor, id=f"e-{name}-{seconds}", order=name, lines=lines, **fields)


def line(price_minor: int, decision: str | None = None, quantity: int = 1) -> OrderLine:
    """A line of an order."""
    return OrderLine(item="A", quantity=quantity, price_minor=price_minor, decision=decision)


def refund(seconds: float, name: str, amount_minor: int, currency: str = "EUR", **fields: Any) -> Refund:
    """A refund of an order by `u1`."""
    own = {"id": f"r-{name}-{seconds}", "user": "u1"} | fields
    return Refund(ts=at(seconds), order=name, amount_minor=amount_minor, currency=currency, **own)


def added(seconds: float, user: str = "u1", **fields: Any) -> Cart:
    """Something put into a cart."""
    own = {"id": f"a-{user}-{seconds}", "action": "add", "item": "A", "session": f"s-{user}"} | fields
    return Cart(ts=at(seconds), user=user, **own)


def state_of(*events: AnyEvent) -> Partition:
    """Return the state after these events, in this order."""
    state = Partition(PLAN, Rules())
    feed(state, *events)
    return state


def tally_of(state: Partition) -> Tally:
    """Return all that was counted."""
    return Tally.total((t for by_slice in rows(state).values() for t in by_slice.values()), len(MEASURES))


def amounts(state: Partition, names: Iterable[str]) -> dict[str, int]:
    """Return the sums of these measures over all cells, zeros left out."""
    total = tally_of(state)
    return {name: total[INDEX[name]] for name in names if total[INDEX[name]]}


def placed(state: Partition, name: str) -> dict[tuple[int, str, str], int]:
    """Return where a measure stands: by start of the pane or hour, surface and arm."""
    return {
        (start, slice_[0], slice_[1]): tally[INDEX[name]]
        for (_, start), by_slice in rows(state).items()
        for slice_, tally in by_slice.items()
        if tally[INDEX[name]]
    }


def told(name: str, *events: AnyEvent) -> Estimate | None:
    """Return what a metric says of these events."""
    return lower(METRIC[name], tally_of(state_of(*events)), INDEX)


def value(name: str, *events: AnyEvent) -> float | None:
    """Return the value of a metric after these events, rounded to 12 digits."""
    found = told(name, *events)
    return None if found is None else round(found.value, 12)
