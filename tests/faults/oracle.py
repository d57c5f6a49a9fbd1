"""The simulation's judge: whether what is stored is the fold of the log below `@off`, and of nothing else.

It looks at every image that Redis ever holds, also at those that come back after a crash. Two things it cannot know
beforehand, and so allows both ways: what retention took before it was counted, as long as it was really gone; and
which of two logs is counted when a topic was created anew before anything of it was stored.
"""

from collections.abc import Iterator, Mapping

from faust.types import TP

from stream_app.core import cells as layout
from stream_app.core.processor import Partition
from tests.faults.logs import PLAN, RULES, Gaps, Log, Truth, fold, truth_of


class Oracle:
    """Mutable state: what is known of each incarnation, and of each image that was seen."""

    def __init__(self, logs: Mapping[TP, Log]) -> None:
        """`logs` is what the partitions hold now: the world's own, looked at when needed."""
        self._logs = logs
        self._counted: dict[bytes, int] = {}
        self._undecided: dict[bytes, int] = {}
        self._gaps: dict[tuple[bytes, int, int], Gaps] = {}
        self._before: dict[TP, tuple[bytes, int, Gaps]] = {}
        self._began: dict[int, set[int]] = {}
        self._published: dict[tuple[bytes, str, int], bytes] = {}
        self.reused: list[str] = []
        """Fields whose content changed under one sequence number: a reader that saw the first would keep it."""

    def retained(self, tp: TP, begin: int) -> None:
        """Note that the log of a partition now begins at `begin`."""
        self._began.setdefault(self._logs[tp].number, set()).add(begin)

    def judge(self, tp: TP, fields: dict[str, bytes]) -> str:
        """Return what is wrong with an image, or an empty string."""
        try:
            return self._judge(tp, fields)
        except (KeyError, ValueError) as error:
            return f"not a whole state ({error!r})"

    def _judge(self, tp: TP, fields: dict[str, bytes]) -> str:
        offset, incarnation = int(fields[layout.OFFSET]), fields[layout.INCARNATION]
        state, _ = Partition.restore(PLAN, RULES, fields)
        head, truth = state.head, truth_of(state)
        for name, sequence in (state.cells.sequences | state.bins.cells.sequences).items():
            published = self._published.setdefault((incarnation, name, sequence), fields[name])
            if layout.unpack_rows(published) != layout.unpack_rows(fields[name]):
                self.reused.append(f"partition {tp.partition}: {name} changed under sequence number {sequence}")
        number = self._number(tp, incarnation, truth, head.first_offset, offset)
        skipped = offset - head.first_offset - head.applied
        if head.skipped_offsets != skipped:
            return f"at {offset}: skipped {head.skipped_offsets}, should be {skipped}"
        wrong = ""
        for gaps in self._possible_gaps(tp, incarnation, offset, skipped, number):
            expected = fold(number, head.first_offset, gaps).below(offset)
            if truth == expected:
                self._gaps[incarnation, offset, skipped] = gaps
                self._before[tp] = incarnation, offset, gaps
                return ""
            wrong = wrong or f"at {offset} of log {number}: {truth.against(expected)}"
        return wrong

    def _number(self, tp: TP, incarnation: bytes, truth: Truth, first: int, offset: int) -> int:
        """Return the number of the log that an incarnation counts."""
        now = self._logs[tp].number
        number = self._counted.setdefault(incarnation, now)
        if not truth.applied:
            if number != now:
                self._undecided[incarnation], self._counted[incarnation] = number, now
        elif (older := self._undecided.pop(incarnation, None)) is not None and truth == fold(older, first).below(
            offset
        ):
            self._counted[incarnation] = older
        return self._counted[incarnation]

    def _possible_gaps(self, tp: TP, incarnation: bytes, offset: int, skipped: int, number: int) -> Iterator[Gaps]:
        """Yield what may have been lost to retention below `offset`: only what really was not there any more."""
        if (known := self._gaps.get((incarnation, offset, skipped))) is not None:
            yield known
        before = self._before.get(tp)
        gaps = before[2] if before and before[0] == incarnation else ()
        yield gaps
        if before and before[0] == incarnation:
            for begin in sorted(self._began.get(number, ())):
                if before[1] < begin <= offset:
                    yield (*gaps, (before[1], begin))
