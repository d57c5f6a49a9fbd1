"""The verdict: every stored cell against a recount of the raw log by code that shares nothing with the worker."""

from collections import defaultdict
from typing import Any, NamedTuple

from stream_app.core import cells as layout
from stream_app.core.panes import hour_start
from stream_app.core.slices import DIMENSIONS
from stream_app.metrics.catalogue import INDEX
from stream_app.settings import Settings
from tests.fleet import Stored
from tests.recount import RECOUNTED, Recount, read

AT_ONCE = 200_000
"""Records."""
Cells = dict[tuple[Any, ...], dict[str, int]]
"""(surface, arm, policy, segment, channel, device, start of the hour) -> measure -> amount."""


class Verdict(NamedTuple):
    """What the comparison of all cells found. `lost` and `doubled` add up the amounts of records, not of money."""

    records: int
    cells: int
    lost: int
    doubled: int
    differences: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every cell and every outcome is that of the recount."""
        return not self.differences


class Verifier:
    """Holds one topic against what is stored. Mutable state: the recount so far, and how many records it has taken."""

    def __init__(self, settings: Settings, stored: Stored) -> None:
        """The topic must have nothing but records, from offset 0 on."""
        self._settings, self._stored = settings, stored
        self._recount = Recount(_cell)
        self._taken: dict[int, int] = {}

    def verdict(self) -> Verdict:
        """Recount the whole topic and compare every cell (slice and hour) and every outcome, to the unit."""
        while self._take():
            pass
        expected, outcomes = self._recount.totals(), self._recount.outcomes
        counted = stored_cells(self._settings, self._stored)
        lost = doubled = 0
        differences = []
        for key in sorted(expected.keys() | counted.keys(), key=repr):
            mine, theirs = counted.get(key, {}), expected.get(key, {})
            if mine != theirs:
                differences.append(f"{key}: counted {mine}, recounted {theirs}")
            for name in set(RECOUNTED) - {"revenue_minor"}:
                off = mine.get(name, 0) - theirs.get(name, 0)
                lost, doubled = lost + max(0, -off), doubled + max(0, off)
        if (stored := self._stored.outcomes()) != outcomes:
            differences.append(f"outcomes: counted {dict(stored)}, recounted {dict(outcomes)}")
        return Verdict(sum(self._taken.values()), len(expected), lost, doubled, tuple(differences))

    def _take(self) -> bool:
        """Recount what comes next in the topic; return whether there may be more: a soak sends what no memory holds."""
        kafka = self._settings.kafka
        log = read(kafka.bootstrap, kafka.events_topic, self._taken, at_least=AT_ONCE)
        self._taken = {number: self._taken.get(number, 0) + len(values) for number, values in log.items()}
        self._recount.take(log)
        return sum(map(len, log.values())) >= AT_ONCE


def stored_cells(settings: Settings, stored: Stored) -> Cells:
    """Return what is stored, panes added up to hours and partitions to one, zeros left out."""
    sums: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(RECOUNTED, 0))
    for partition in range(settings.kafka.partitions):
        fields = stored.fields(partition)
        if not fields:
            continue
        slices = layout.unpack_slices(fields[layout.SLICES.encode()])
        for name in layout.unpack_directory(fields[layout.DIRECTORY.encode()]):
            if not layout.holds_tallies(name):
                continue
            hour = hour_start(layout.field_start(name))
            for number, tally in layout.unpack_rows(fields[name.encode()]).items():
                cell = sums[*slices[number], hour]
                for measure in RECOUNTED:
                    cell[measure] += tally[INDEX[measure]]
    named = {key: {name: amount for name, amount in cell.items() if amount} for key, cell in sums.items()}
    return {key: cell for key, cell in named.items() if cell}


def _cell(impression: dict[str, Any]) -> tuple[Any, ...]:
    return *(impression.get(name, "none") for name in DIMENSIONS), impression["ts"] - impression["ts"] % 3_600_000
