"""Lists: what is worked out once for them is what would be worked out for each of their impressions."""

from itertools import islice

import pytest
from msgspec.structs import replace

from producers.world import World
from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.attribution import Rules
from stream_app.core.events import Consent, Impression
from stream_app.core.processor import Partition, Span
from stream_app.metrics.catalogue import PLAN

START_MS = 1_748_736_000_000
ARRIVED_MS = START_MS + 30 * 86_400_000


def _records() -> list[bytes]:
    """Records of a shop in which some lists change within: their consent, their session, their arm, their device."""
    records = []
    for number, event in enumerate(islice(World(3).events(START_MS, 20.0), 1_200)):
        changed = event
        if isinstance(event, Impression):
            match number % 11:
                case 0:
                    changed = replace(event, consent=Consent(analytics=False))
                case 1:
                    changed = replace(event, session=None)
                case 2:
                    changed = replace(event, arm=None)
                case 3:
                    changed = replace(event, device="kiosk", relevance=None)
        records.append(codec.encode(changed))
        if number % 13 == 0:  # seen again: another id, the same item of the same list
            records.append(codec.encode(replace(changed, id=f"again-{number}")))
    return records


def _state(records: list[bytes], run: int, rules: Rules) -> dict[str, object]:
    state = Partition(PLAN, rules)
    for first in range(0, len(records), run):
        state.process((Span(first, ARRIVED_MS, records[first : first + run]),))
    fields, _ = state.take_changes()
    return {
        "rows": {name: layout.unpack_rows(value) for name, value in fields.items() if name.startswith(("p:", "h:"))},
        "slices": state.slices.slices,
        "outcomes": state.head.outcomes,
        **{table.name: (table.generation, table.older, table.newer) for table in state.joins.tables},
    }


@pytest.mark.parametrize("max_remembered", [8, 64, 1_000, 174_000])
def test_where_a_list_is_cut_changes_nothing(max_remembered: int) -> None:
    """Counts and memory are the same record by record and in one run, also when the tables turn over within a list."""
    records = _records()
    rules = Rules(max_remembered=max_remembered, max_slices=40)
    expected = _state(records, 1, rules)
    assert [_state(records, run, rules) == expected for run in (2, 7, 600, len(records))] == [True] * 4
