"""The watch over recorded events: records in, verdicts out. Pure; what reads the records is `backtest_sources`.

Each partition is counted as a worker counts it, its sealed minutes are added to those of the others, and each surface
is watched as a server watches it: from the minute on in which it was seen in both arms, minute by minute. A day or more
without any event is skipped.

    records of a partition -> core's Partition -> cells -> sealed minutes --+
    records of another     -> ...                                         --+-> Minute -> observe -> Verdict
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from stream_app.core.aggregation import Cells
from stream_app.core.cells import unpack_rows
from stream_app.core.codec import Rejected, decode_all
from stream_app.core.histograms import Bin, bin_of
from stream_app.core.panes import DAY_MS, HOUR_MS, Watermark
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.slices import Slice
from stream_app.core.tally import Plan, add_into
from stream_app.metrics.catalogue import FAMILIES
from stream_app.statistics.minutes import BY_POSITION, WATCHED, Minute, minutes_of
from stream_app.statistics.series import MINUTE_MS
from stream_app.statistics.verdicts import Verdict
from stream_app.statistics.watch import Policy, Watched, begin, observe

RUN: Final = 500
"""Records counted at a time."""
RUN_MS: Final = HOUR_MS // 2
"""Event time counted at a time: panes are looked at before they are folded, two hours behind the watermark."""
PACK_EVERY: Final = 40
"""Runs after which what lies behind is packed, as at a checkpoint."""
MAX_SILENCE_MS: Final = DAY_MS
MAX_VERDICTS: Final = 10_000
Panes = Mapping[int, dict[int, list[int]]]
"""By the start of each, its rows by their numbers."""
NO_PANES: Final[tuple[Panes, Panes]] = {}, {}


def watched_plan() -> Plan:
    """Return what the watch reads, and no more: it costs a fraction of the catalogue."""
    return Plan.of(
        [measure for family in FAMILIES for measure in family.measures if measure.name in WATCHED],
        [histogram for family in FAMILIES for histogram in family.histograms if histogram.name in BY_POSITION],
    )


class Pending(NamedTuple):
    """What is known of a minute that is not sealed everywhere: tallies by slice, and amounts by bin."""

    rows: dict[Slice, list[int]]
    bins: dict[Bin, list[int]]


class Account(msgspec.Struct, frozen=True):
    """What became of the records, and which event time was judged: `[first_ms, end_ms)`, None where none was."""

    records: int
    outcomes: dict[str, int]
    rejected: dict[str, int]
    first_ms: int | None
    end_ms: int | None
    minutes: int
    skipped_minutes: int
    surfaces: tuple[str, ...]
    one_armed: tuple[str, ...]
    """Surfaces that were never seen in both arms, and so cannot be watched."""


class Backtest:
    """Mutable state: the partitions, minutes that are sealed in some of them, the watch of each surface, and verdicts.

    Verdicts beyond `MAX_VERDICTS` are counted, not kept.
    """

    def __init__(self, rules: Rules, policy: Policy, partitions: Iterable[int] = (0,)) -> None:
        plan = watched_plan()
        self._rules, self._policy = rules, policy
        self._histograms = plan.histograms
        self._index = {name: at for name in WATCHED if (at := plan.place_of(name)) is not None}
        self._partitions = {number: Partition(plan, rules) for number in partitions}
        self._taken_ms = dict.fromkeys(self._partitions, 0)
        self._reading = set(self._partitions)
        self._runs = 0
        self._pending: dict[int, Pending] = {}
        self._arms: dict[str, set[str]] = {}
        self.watched: dict[str, Watched] = {}
        self._first_ms: int | None = None
        self._next_ms = 0
        self._minutes = self._skipped = 0
        self.verdicts: list[Verdict] = []
        self.untold = 0

    def feed(self, partition: int, values: Sequence[bytes | None], arrived_ms: int) -> None:
        """Count records of a partition, in order; `arrived_ms` is when the last of them could first be read."""
        state = self._partitions[partition]
        for run, is_leap in _runs(values, state.watermark):
            # One record that takes time on by hours folds panes that it also seals: they are looked at before.
            before = self._panes(partition) if is_leap else NO_PANES
            state.process([Span(state.head.applied, arrived_ms, run)])
            self._take(partition, state.watermark.sealed_before_ms, before)
            self._runs += 1
            if self._runs % PACK_EVERY == 0:
                state.take_changes()
        self._judge(self._sealed_ms())

    def finish(self, partition: int) -> None:
        """Take note that a partition has no more records: it holds up the others no longer."""
        self._reading.discard(partition)

    def lead_ms(self, partition: int) -> int:
        """Return how far a partition's event time is ahead of the slowest that is being read: 0 for that one."""
        newest = {number: self._partitions[number].watermark.newest_ms for number in self._reading}
        return newest.get(partition, 0) - min(newest.values(), default=0)

    def close(self, *, is_whole: bool) -> Account:
        """Judge what remains, and return the account.

        With `is_whole` nothing more can come, so that every minute is final; else only the sealed ones are.
        """
        self._reading.clear()
        newest = max(state.watermark.newest_ms for state in self._partitions.values())
        until = newest - newest % MINUTE_MS + MINUTE_MS if is_whole else self._sealed_ms()
        for number in self._partitions:
            self._take(number, until)
        self._judge(until)
        heads = [state.head for state in self._partitions.values()]
        return Account(
            sum(head.applied for head in heads),
            dict(sum((Counter(head.outcomes) for head in heads), Counter())),
            dict(sum((Counter(head.rejected) for head in heads), Counter())),
            self._first_ms,
            None if self._first_ms is None else self._next_ms,
            self._minutes,
            self._skipped,
            tuple(sorted(self.watched)),
            tuple(sorted(self._arms.keys() - self.watched.keys())),
        )

    @property
    def standing(self) -> tuple[Verdict, ...]:
        """The verdicts that are open."""
        return tuple(verdict for _, watched in sorted(self.watched.items()) for verdict in watched.verdicts)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _sealed_ms(self) -> int:
        """Return until when nothing changes any more; a partition read to its end is as far as the furthest."""
        newest = [state.watermark.newest_ms for state in self._partitions.values()]
        reading = [self._partitions[number].watermark.newest_ms for number in self._reading]
        reached = min(reading, default=max(newest))
        rules = self._rules
        return Watermark(rules.out_of_orderness_ms, rules.lateness_ms, reached).sealed_before_ms

    def _panes(self, number: int) -> tuple[Panes, Panes]:
        """Return a copy of the panes of a partition that were not taken yet, of tallies and of bins."""
        state, since_ms = self._partitions[number], self._taken_ms[number]
        state.cells.settle()
        state.bins.settle()
        tallies, bins = (_copied(kept, since_ms) for kept in (state.cells, state.bins.cells))
        return tallies, bins

    def _take(self, number: int, until_ms: int, before: tuple[Panes, Panes] = NO_PANES) -> None:
        """Add what a partition has in whole minutes before `until_ms` to what is pending.

        Panes that were folded since `before` are those of `before`: what folds a pane adds nothing to it.
        """
        until_ms -= until_ms % MINUTE_MS
        state, since_ms = self._partitions[number], self._taken_ms[number]
        if until_ms <= since_ms:
            return
        state.cells.settle()
        state.bins.settle()
        slices = state.slices.slices
        tallies, bins = (
            _between(kept, since_ms, until_ms, panes)
            for kept, panes in zip((state.cells, state.bins.cells), before, strict=True)
        )
        for start, rows in tallies.items():
            _add(self._at(start).rows, ((slices[key], tally) for key, tally in rows.items()))
        for start, rows in bins.items():
            _add(self._at(start).bins, ((bin_of(slices, key), amount) for key, amount in rows.items()))
        self._taken_ms[number] = until_ms

    def _at(self, at_ms: int) -> Pending:
        return self._pending.setdefault(at_ms - at_ms % MINUTE_MS, Pending({}, {}))

    def _judge(self, until_ms: int) -> None:
        """Feed the watch of every surface with all whole minutes before `until_ms`, also those without any event."""
        until_ms -= until_ms % MINUTE_MS
        for start in sorted(start for start in self._pending if start < until_ms):
            self._go_to(start)
            rows, bins = self._pending.pop(start)
            found = minutes_of(start, rows.items(), self._index, bins=bins.items(), histograms=self._histograms)
            self._observe(start, found)
        if self._first_ms is not None:
            self._go_to(until_ms)

    def _go_to(self, start_ms: int) -> None:
        """Let the minutes from the last one judged until `start_ms` pass, in which nothing happened."""
        if self._first_ms is None:
            self._first_ms = self._next_ms = start_ms
        if start_ms - self._next_ms >= MAX_SILENCE_MS:
            self._skipped += (start_ms - self._next_ms) // MINUTE_MS
            self._next_ms = start_ms
        for silent in range(self._next_ms, start_ms, MINUTE_MS):
            self._observe(silent, {})

    def _observe(self, start_ms: int, minutes: Mapping[str, Minute]) -> None:
        for surface, minute in minutes.items():
            arms = self._arms.setdefault(surface, set())
            arms.update(arm for arm in minute.arms if arm in (self._policy.treated, self._policy.base))
            if len(arms) == 2 and surface not in self.watched:
                self.watched[surface] = begin(surface)
        for surface, watched in self.watched.items():
            minute = minutes.get(surface) or Minute(start_ms, {})
            self.watched[surface], changed = observe(self._policy, watched, minute)
            room = MAX_VERDICTS - len(self.verdicts)
            self.verdicts += changed[:room]
            self.untold += len(changed[room:])
        self._minutes += 1
        self._next_ms = start_ms + MINUTE_MS


def _runs(values: Sequence[bytes | None], watermark: Watermark) -> Iterator[tuple[Sequence[bytes | None], bool]]:
    """Cut records into runs that take event time on by little; one that may take it far on is a run of its own.

    Each run must have been counted, and so have moved `watermark`, before the next one is asked for. A record whose
    time nobody knows goes with its neighbours.
    """
    begin_at = 0
    for at, event in enumerate(decode_all(values)):
        is_far = not isinstance(event, Rejected) and event.ts >= watermark.newest_ms + RUN_MS
        if at > begin_at and (is_far or at - begin_at >= RUN):
            yield values[begin_at:at], False
            begin_at = at
            is_far = not isinstance(event, Rejected) and event.ts >= watermark.newest_ms + RUN_MS
        if is_far:
            yield values[at : at + 1], True
            begin_at = at + 1
    if begin_at < len(values):
        yield values[begin_at:], False


def _copied(kept: Cells, since_ms: int) -> Panes:
    return {
        start: {number: list(tally) for number, tally in _unpacked(rows).items()}
        for start, rows in kept.panes.items()
        if start >= since_ms
    }


def _between(kept: Cells, since_ms: int, until_ms: int, before: Panes) -> Panes:
    """Return the panes that begin in `[since_ms, until_ms)`, and of those folded since `before` what was there."""
    panes = {start: rows for start, rows in before.items() if start < kept.floor_ms}
    return panes | {start: _unpacked(rows) for start, rows in kept.panes.items() if since_ms <= start < until_ms}


Place = TypeVar("Place", Slice, Bin)


def _add(sums: dict[Place, list[int]], rows: Iterable[tuple[Place, list[int]]]) -> None:
    for place, tally in rows:
        known = sums.get(place)
        if known is None:
            sums[place] = list(tally)
        else:
            add_into(known, tally)


def _unpacked(rows: dict[int, list[int]] | bytes) -> dict[int, list[int]]:
    return unpack_rows(rows) if isinstance(rows, bytes) else rows
