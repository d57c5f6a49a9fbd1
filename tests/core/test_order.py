"""The order of records: what it may not change as long as nothing is late, and the little that it may.

Free of order: impressions, clicks and all that is credited to an impression, cell by cell. A session is credited to the
pane and slice of the impression that *arrived* first, so its cell may be another one of the same surface and arm. A
conversion must not overtake the impression that earned it: then it is unmatched, and stays so. Nor must a second click
on an impression: one click waits for it, not two.
"""

import random
from itertools import islice
from typing import Any

import pytest

from producers.world import World
from stream_app.core.events import AnyEvent, Click, Conversion, Order
from stream_app.core.records import Kind
from stream_app.core.tally import Tally
from tests.timelines import INDEX, MEASURES, T0, conversion, feed, impression, outcomes, partition, rows, total

LATENESS_MS = 300_000
BY_SESSION = [index for name, index in INDEX.items() if "session" in name and not isinstance(MEASURES[index].on, Kind)]
BY_RECORD = [index for index, measure in enumerate(MEASURES) if isinstance(measure.on, Kind)]
"""Where a record is at home may depend on which of its events arrived first; how much there is, may not."""


def shuffled(events: list[AnyEvent], chance: random.Random) -> list[AnyEvent]:
    """Return the events out of order by up to the lateness; what must overtake nothing is delayed most."""
    first: dict[tuple[str, str], str] = {}
    for event in events:
        if isinstance(event, Click):
            first.setdefault((event.decision, event.item), event.id)

    def arrives_ms(event: AnyEvent) -> float:
        is_again = isinstance(event, Click) and first[event.decision, event.item] != event.id
        is_last = is_again or isinstance(event, Conversion | Order)
        return event.ts + (LATENESS_MS if is_last else chance.uniform(0, LATENESS_MS))

    return sorted(events, key=arrives_ms)


def cells(events: list[AnyEvent]) -> tuple[dict[str, int], dict[Any, Any], dict[Any, Any]]:
    """Return the outcomes; the cells without what sessions earn; what those earn by surface and arm."""
    state = partition()
    feed(state, *events)
    by_impression: dict[Any, list[int]] = {}
    by_session: dict[Any, Tally] = {}
    for where, by_slice in rows(state).items():
        for slice_, tally in by_slice.items():
            kept = [0 if index in {*BY_SESSION, *BY_RECORD} else amount for index, amount in enumerate(tally)]
            by_impression[where, slice_] = kept
            for key, indices in ((slice_[:2], BY_SESSION), (slice_[1], BY_RECORD)):
                own = Tally(amount if index in indices else 0 for index, amount in enumerate(tally))
                by_session[key] = by_session.get(key, Tally.zero(len(MEASURES))) + own
    return outcomes(state), {key: tally for key, tally in by_impression.items() if any(tally)}, by_session


@pytest.mark.parametrize("seed", range(5))
def test_order_within_the_lateness_changes_no_cell(seed: int) -> None:
    """T1: events up to five minutes out of order: the same outcomes, the same cells, the same sessions."""
    events: list[AnyEvent] = list(islice(World(seed).events(T0, 4.0), 3_000))
    mixed = shuffled(events, random.Random(f"order {seed}"))
    assert mixed != sorted(mixed, key=lambda event: event.ts)
    assert cells(mixed) == cells(events)


def test_a_conversion_that_overtakes_its_impression_is_unmatched() -> None:
    """T1: what may differ: a conversion is not kept waiting for an impression, as a click is."""
    shown, converted = impression(0, "d1"), conversion(20, decision="d1", item="A")
    in_order, overtaken = partition(), partition()
    feed(in_order, shown, converted)
    feed(overtaken, converted, shown)
    assert (outcomes(in_order), outcomes(overtaken)) == ({"counted": 2}, {"counted": 1, "unmatched": 1})
    assert total(in_order)["impressions"] == total(overtaken)["impressions"] == 1
