"""How much room the cells of the whole catalogue take: the bound on which four partitions in 512 MB rest."""

from itertools import islice

from producers.transit import records
from producers.world import World
from stream_app.core import cells as layout
from stream_app.core import codec
from stream_app.core.events import PageView
from stream_app.core.panes import HOUR_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import PLAN

T0 = 490_000 * HOUR_MS


def test_old_panes_take_little_room() -> None:
    """A row of a pane that is kept and stored takes less than 100 bytes once it is old, of some 250 measures."""
    world = World(1)
    told = [record.value for record in islice(records(world, world.happenings(T0, 20.0)), 12_000)]
    last = codec.encode(PageView(id="last", ts=T0 + HOUR_MS, user="u", surface="home", page="/"))
    state = Partition(PLAN, Rules())
    state.process([Span(0, T0 + 10 * HOUR_MS, [*told, last])])
    fields, _ = state.take_changes()
    kept = {start: rows for start, rows in state.cells.panes.items() if start < T0 + HOUR_MS // 2}
    rows = sum(len(layout.unpack_rows(packed)) for packed in kept.values() if isinstance(packed, bytes))
    assert kept == {start: fields[layout.pane_field(start)] for start in kept}
    assert 100 * rows > sum(map(len, kept.values())) > 0
