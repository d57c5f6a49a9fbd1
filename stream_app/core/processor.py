"""The processor: a run of raw records of one partition in, cells and joins changed, and an account of each record.

Every record ends in exactly one of counted, duplicate, late, future, unmatched, rejected, and which one is a function
of the record, the state at its offset and the rules alone: no clock, no chunk boundary, no worker changes it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest as digest

from stream_app.core import cells as layout
from stream_app.core.aggregation import Cells
from stream_app.core.attribution import Attribution
from stream_app.core.codec import Rejected, decode_all
from stream_app.core.events import Event
from stream_app.core.histograms import Bins
from stream_app.core.joins import Joins
from stream_app.core.memory import KEY_MASK, KEY_SHIFT, Remembered
from stream_app.core.panes import PANE_MS, Watermark
from stream_app.core.rules import Rules
from stream_app.core.slices import SliceTable
from stream_app.core.tally import Plan, has_place

COUNTED, DUPLICATE, LATE, FUTURE, UNMATCHED, REJECTED = layout.OUTCOMES

DECODED_AT_ONCE: Final = 512
"""Bounds how many decoded events exist at once: many are added up together, and all still fit into the cache.

What they brought is added up when there are so many, from however many spans: a producer's batches may be small.
"""

GATHERED_AT_MOST: Final = 16_384
"""Events of which bins gather what to add: the more at once, the less each costs."""


class Span(NamedTuple):
    """Records of one Kafka batch: their offsets, and when the broker appended the batch (ms).

    `offsets` is None when they are contiguous from `first`.
    """

    first: int
    arrived_ms: int
    values: Sequence[bytes | None]
    offsets: Sequence[int] | None = None

    def offset(self, index: int) -> int:
        """Return the offset of the record at `index`."""
        return self.first + index if self.offsets is None else self.offsets[index]


class SetApart(NamedTuple):
    """A record that was not counted and is kept elsewhere: rejected, future or late."""

    offset: int
    value: bytes | None
    outcome: str
    reason: str
    detail: str


@dataclass(slots=True)
class BatchReport:
    """What became of a run of records. `outcomes` adds up to `records`."""

    records: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    events: Counter[type[Event]] = field(default_factory=Counter)
    duplicates: Counter[type[Event]] = field(default_factory=Counter)
    apart: list[SetApart] = field(default_factory=list)

    def set_apart(self, span: Span, index: int, outcome: str, reason: str, detail: str) -> None:
        """Take note of a record that is not counted."""
        self.outcomes[outcome] += 1
        self.apart.append(SetApart(span.offset(index), span.values[index], outcome, reason, detail))


class Partition:
    """The whole state of one partition at one offset: head, cells, joins and slices, rebuilt from stored fields."""

    def __init__(self, plan: Plan, rules: Rules) -> None:
        self.plan = plan
        self.rules = rules
        self.head = layout.Head()
        self.cells = Cells(plan)
        self.joins = Joins(rules, plan.kinds)
        self.slices = SliceTable(rules.max_slices)
        self.bins = Bins(plan, self.slices)
        self.watermark = Watermark(rules.out_of_orderness_ms, rules.lateness_ms)
        self.attribution = Attribution(rules, self.joins, self.slices, self.cells, self.bins)
        self.is_laid_out_anew = True
        self._unsettled = self._gathering = 0

    @classmethod
    def restore(cls, plan: Plan, rules: Rules, fields: dict[str, bytes]) -> tuple["Partition", list[str]]:
        """Rebuild the state from the fields of its hash; also return leftovers that may be deleted.

        Raises KeyError or msgspec.MsgspecError when the fields are not a whole state.
        """
        self = cls(plan, rules)
        self.is_laid_out_anew = False
        head = self.head = layout.unpack_head(fields[layout.HEAD])
        directory = layout.unpack_directory(fields[layout.DIRECTORY])
        missing = next((name for name in directory if name not in fields), None)
        if missing is not None:
            raise KeyError(missing)
        self.slices = SliceTable(rules.max_slices, layout.unpack_slices(fields[layout.SLICES]))
        self.slices.overflowed = head.overflowed
        self.bins = Bins(plan, self.slices)
        stale: list[str] = []
        for kept in (self.cells, self.bins.cells):
            own = {field: packed for field, packed in fields.items() if field.startswith(tuple(kept.prefixes))}
            sequences = {field: sequence for field, sequence in directory.items() if field in own}
            stale += kept.restore(head.floor_ms, sequences, own.items())
        chunks: dict[str, dict[tuple[int, int], bytes]] = {}
        for name, value in fields.items():
            if name.startswith("j:"):
                _, table, generation, chunk = name.split(":")
                chunks.setdefault(table, {})[int(generation), int(chunk)] = value
        for remembered in self.joins.tables:
            at = head.remembered.get(remembered.name, layout.Generation(0, 0, 0))
            remembered.restore(at.number, at.started_ms, at.forgotten, chunks.pop(remembered.name, {}))
            stale += remembered.take_stale()
        # Of kinds that the catalogue has no more.
        stale += [f"j:{table}:{number}:{chunk}" for table, parts in chunks.items() for number, chunk in parts]
        self.watermark.newest_ms = head.newest_ms
        self.attribution = Attribution(rules, self.joins, self.slices, self.cells, self.bins)
        for joined, needed_since_ms in self._needed():
            joined.remind(self.watermark.at_ms, needed_since_ms)
        self._adopt_layout(layout.unpack_layout(fields[layout.LAYOUT]))
        return self, stale

    def _adopt_layout(self, stored: list[str]) -> None:
        """Go on with the plan's measures where a state has others: a newer catalogue, or an older one again.

        What is new here is whole from the next pane on: nothing newer than that was counted before. Of a new kind of
        record that is so for all records that begin from then on; one that was going on then is not known, and counts
        as begun with the next event of it, as everything does in a new installation. No delay would mend that: how long
        the longest goes on nobody knows, and the ends of most are known sooner.
        """
        columns, head = self.plan.meanings, self.head
        if tuple(stored) == columns:
            return
        self.cells.relay([column for column in stored if has_place(column)])
        whole_from_ms = head.newest_ms - head.newest_ms % PANE_MS + PANE_MS if head.newest_ms else 0
        before = set(stored)
        delays = self.plan.delays
        head.since = {
            # Who is told of late began before the measure did, until the delay has passed.
            column: head.since.get(column, 0) if column in before else whole_from_ms + delays.get(column, 0)
            for column in columns
            if column in before or whole_from_ms
        }
        head.since = {column: since for column, since in head.since.items() if since}
        self.is_laid_out_anew = True

    def process(self, spans: Iterable[Span]) -> BatchReport:
        """Apply the records in order. Never raises for what a record says."""
        report, credit = BatchReport(), self.attribution.credits()
        for span in spans:
            self._apply(span, report, credit)
        self._settle()
        report.rejected.update(apart.reason for apart in report.apart if apart.outcome == REJECTED)
        del report.events[Rejected]
        report.records = sum(report.outcomes.values())
        head = self.head
        head.applied += report.records
        for name, number in report.outcomes.items():
            head.outcomes[name] = head.outcomes.get(name, 0) + number
        for reason, number in report.rejected.items():
            head.rejected[reason] = head.rejected.get(reason, 0) + number
        return report

    def number_from(self, number: int) -> None:
        """Give changes of cells numbers above this one."""
        for kept in (self.cells, self.bins.cells):
            kept.sequence = max(kept.sequence, number)

    @property
    def changes(self) -> int:
        """How many cells the next checkpoint must write."""
        return self.cells.changes + self.bins.cells.changes

    def take_changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Return every field that a checkpoint must write (but @off), and the names of fields to delete after it."""
        self.bins.settle()
        fields = self.cells.take_changes() | self.bins.cells.take_changes()
        stale: list[str] = self.cells.take_removed() + self.bins.cells.take_removed()
        head = self.head
        for remembered in self.joins.tables:
            fields |= remembered.take_fresh()
            head.remembered[remembered.name] = layout.Generation(
                remembered.generation, remembered.started_ms, remembered.forgotten
            )
            stale += remembered.take_stale()
        if self.slices.has_grown:
            fields[layout.SLICES] = layout.pack(self.slices.slices)
            self.slices.mark_stored()
        head.newest_ms, head.floor_ms = self.watermark.newest_ms, self.cells.floor_ms
        head.overflowed = self.slices.overflowed
        if self.is_laid_out_anew:
            fields[layout.LAYOUT] = layout.pack(list(self.plan.meanings))
            self.is_laid_out_anew = False
        fields[layout.HEAD] = layout.pack(head)
        fields[layout.DIRECTORY] = layout.pack(self.cells.sequences | self.bins.cells.sequences)
        return fields, stale

    def _apply(self, span: Span, report: BatchReport, credit: dict[type[Event], Callable[..., bool]]) -> None:
        # The loop that every record passes: what it needs of others it keeps in locals, and what others changed (a
        # generation of ids, the watermark) it reads again right after it made them change it.
        outcomes, ids = report.outcomes, self.joins.ids
        newer, older, capacity = ids.newer, ids.older, ids.capacity
        attribution, watermark = self.attribution, self.watermark
        exclude, id_of = attribution.exclude, digest
        arrived = span.arrived_ms
        future = arrived + self.rules.future_ms
        sealed_before = watermark.sealed_before_ms
        newest = watermark.newest_ms
        next_pane = newest - newest % PANE_MS + PANE_MS
        pane: tuple[int] = (0,)
        pane_begin = pane_end = same = 0
        is_late = False
        released = attribution.released
        counted = 0
        for begin in range(0, len(span.values), DECODED_AT_ONCE):
            events = decode_all(span.values[begin : begin + DECODED_AT_ONCE])
            report.events.update(map(type, events))
            for index, event in enumerate(events, begin):
                if isinstance(event, Rejected):
                    report.set_apart(span, index, REJECTED, event.reason, event.detail)
                    continue
                at = event.ts
                if at != same:
                    # What follows from the time holds for all events of a list: it is asked once.
                    if at > future:
                        report.set_apart(span, index, FUTURE, "future", f"ts is {at - arrived} ms after its arrival")
                        continue
                    same, is_late = at, at < sealed_before
                    if not pane_begin <= at < pane_end:
                        pane_begin = at - at % PANE_MS
                        pane, pane_end = (pane_begin,), pane_begin + PANE_MS
                key = id_of(event.id.encode()) >> KEY_SHIFT & KEY_MASK
                if key in newer or key in older:
                    outcomes[DUPLICATE] += 1
                    report.duplicates[type(event)] += 1
                    continue
                if is_late:
                    report.set_apart(span, index, LATE, "late", f"its pane was sealed at {sealed_before}")
                    continue
                if len(newer) >= capacity:
                    ids.rotate()
                    newer, older = ids.newer, ids.older
                newer[key] = pane
                if not (exclude if event.bot or event.test else credit[type(event)])(event):
                    outcomes[UNMATCHED] += 1
                    continue
                counted += 1
                # Time goes on only with what is counted, and never past the moment the broker received it.
                if at > newest < arrived:
                    newest = min(at, arrived)
                    if newest >= next_pane:
                        watermark.observe(newest)
                        self._advance()
                        newer, older = ids.newer, ids.older
                        sealed_before = watermark.sealed_before_ms
                        next_pane = newest - newest % PANE_MS + PANE_MS
            self._settle_some(len(events))
            del events, event
        watermark.observe(newest)
        outcomes[COUNTED] += counted
        if attribution.released != released:
            # Clicks that overtook their impression were unmatched until it came.
            outcomes[COUNTED] += attribution.released - released
            outcomes[UNMATCHED] -= attribution.released - released

    def _settle_some(self, events: int) -> None:
        """Take note of so many events; add up what they brought once there are enough of them."""
        self._unsettled += events
        if self._unsettled >= DECODED_AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Add up what the events brought since the last time."""
        # Here they are still in the processor's cache, and after it their memory is used again.
        self.attribution.settle()
        self.cells.settle()
        self._gathering += self._unsettled
        self._unsettled = 0
        if self._gathering >= GATHERED_AT_MOST:
            self._gathering = 0
            self.bins.settle()

    def _advance(self) -> None:
        """Let a new pane's worth of event time take effect: on what is remembered, and on which panes are folded."""
        at = self.watermark.at_ms
        self.attribution.settle()
        for table, needed_since_ms in self._needed():
            table.advance(at, needed_since_ms)
        self.cells.advance(at)
        self.bins.cells.advance(at)

    def _needed(self) -> Iterator[tuple[Remembered[Any], int]]:
        return self.joins.needed(self.watermark.at_ms, self.watermark.sealed_before_ms)
