"""Short ways to write events on a timeline; times are seconds after `T0`."""

from typing import Any

from producers import ledger
from stream_app.core import codec
from stream_app.core.cells import OUTCOMES
from stream_app.core.events import AnyEvent, Click, Conversion, Impression, Order
from stream_app.core.processor import BatchReport, Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.tally import Plan, Tally
from stream_app.metrics import catalogue

T0 = 1_763_769_600_000
"""2025-11-22T00:00:00Z: the start of an hour."""
LATER = T0 + 365 * 86_400_000
_ATTRIBUTED = {*ledger.MEASURES, "foreign_revenue_events"}
MEASURES = tuple(measure for measure in catalogue.MEASURES if measure.name in _ATTRIBUTED)
"""What attribution decides about, as the ledger knows it: what families add to that has its own tests."""
PLAN = Plan.of(MEASURES)
INDEX = {measure.name: index for index, measure in enumerate(MEASURES)}


def at(seconds: float) -> int:
    """Return the time `seconds` after T0, in ms."""
    return T0 + round(seconds * 1000)


def impression(seconds: float, decision: str = "d1", item: str = "A", user: str = "u1", **fields: Any) -> Impression:
    """An impression, of a session named after its user."""
    fields = {"id": f"i-{decision}-{item}-{seconds}", "surface": "home", "arm": "personalized", "position": 1} | fields
    return Impression(ts=at(seconds), user=user, decision=decision, item=item, **({"session": f"s-{user}"} | fields))


def click(seconds: float, decision: str = "d1", item: str = "A", user: str = "u1", **fields: Any) -> Click:
    """A click."""
    fields = {"id": f"c-{decision}-{item}-{seconds}"} | fields
    return Click(ts=at(seconds), user=user, decision=decision, item=item, **fields)


def conversion(seconds: float, user: str = "u1", **fields: Any) -> Conversion:
    """A conversion; quotes nothing unless told."""
    fields = {"id": f"v-{user}-{seconds}", "goal": "signup"} | fields
    return Conversion(ts=at(seconds), user=user, **fields)


def order(seconds: float, user: str = "u1", total_minor: int = 1000, **fields: Any) -> Order:
    """An order in the reporting currency."""
    fields = {"id": f"o-{user}-{seconds}", "order": f"o-{user}-{seconds}", "currency": "EUR"} | fields
    return Order(ts=at(seconds), user=user, total_minor=total_minor, **fields)


def partition(**rules: Any) -> Partition:
    """A fresh partition of what attribution decides about."""
    return Partition(PLAN, Rules(**rules))


def feed(state: Partition, *events: AnyEvent | bytes | None, arrived_ms: int = LATER) -> BatchReport:
    """Process events in this order, as one run of records."""
    raws = [codec.encode(event) if not isinstance(event, bytes | None) else event for event in events]
    return state.process([Span(state.head.applied, arrived_ms, raws)])


def outcomes(state: Partition) -> dict[str, int]:
    """Return the outcomes that occurred."""
    return {name: n for name in OUTCOMES if (n := state.head.outcomes.get(name, 0))}


def rows(state: Partition) -> dict[tuple[str, int], dict[tuple[str, ...], Tally]]:
    """Return all cells: (tier, start) -> slice -> tally, with empty tallies left out."""
    from stream_app.core.cells import unpack_rows

    found: dict[tuple[str, int], dict[tuple[str, ...], Tally]] = {}
    for tier, cells in (("pane", state.cells.panes), ("hour", state.cells.hours)):
        for start, content in cells.items():
            unpacked = unpack_rows(content) if isinstance(content, bytes) else content
            named = {state.slices.slices[n]: Tally(t) for n, t in unpacked.items() if any(t)}
            if named:
                found[tier, start] = named
    return found


def total(state: Partition) -> dict[str, int]:
    """Return the sum of all cells by measure, zeros left out."""
    sums = Tally.total((t for by_slice in rows(state).values() for t in by_slice.values()), len(MEASURES))
    return {name: sums[INDEX[name]] for name in INDEX if sums[INDEX[name]]}
