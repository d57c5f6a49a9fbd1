"""What becomes of a context signal: who could have used it, who did, how soon, and what the person did then.

    signal ------ first decision ------ first decision that uses it ------ click, conversion
      |<---------- opportunity ------------->|<- SLA ->|
      |<------------------ adaptation ------>|

One record per person speaks of their latest signal, and is at home in the pane and slice of that signal. Until a signal
comes it remembers the last three decisions and the last click and conversion, because what is decided with a signal may
arrive before it.

Everything in a record is an earliest or a latest moment, so of one signal nothing depends on the order in which events
arrive, but for one thing, which is lost: of more than three decisions that overtake it the earliest. Where a person has
several signals, one that arrives after a later one is lost, and so is what happened before a signal and arrives after
it; what overtakes a signal counts for the former one too. Signals of one person in one millisecond are one. A click
belongs to a signal for ten minutes, a conversion for a day.
"""

from typing import Final, NamedTuple
from zlib import crc32

from stream_app.core.events import AnyEvent, Click, ContextSignal, Conversion, Decision, Order
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Kind

OPPORTUNITY_MS: Final = 600_000
"""A signal with no decision for the person within so long had no opportunity, and is no failure."""
SLA_MS: Final = 5_000
"""A response is in time this long after the first opportunity."""
LEAST_CHANGE: Final = 0.1
"""From this `delta_topk` on a list is another one: with Jaccard's distance, one item of ten replaced is 0.18."""
UNSAID, SAME, CHANGED = range(3)
"""Whether the response was another list than without the signal."""


class Decided(NamedTuple):
    """What is remembered of a decision: when, with the context of when, by which signal, whether that changed it."""

    at_ms: int = 0
    context_ms: int = 0
    signal_key: int = 0
    change: int = UNSAID


class Signal(NamedTuple):
    """The latest context signal of a person; 0 for what has not been. The last three fours are decisions.

    `clicked_ms` and `converted_ms` are the last moments within reach of the signal, or, before it, the last of all.
    """

    signal_ms: int = 0
    opportunity_ms: int = 0
    response_ms: int = 0
    change: int = UNSAID
    clicked_ms: int = 0
    converted_ms: int = 0
    signal_key: int = 0
    last_click_ms: int = 0
    first: int = 0
    first_context: int = 0
    first_signal: int = 0
    first_change: int = 0
    second: int = 0
    second_context: int = 0
    second_signal: int = 0
    second_change: int = 0
    third: int = 0
    third_context: int = 0
    third_signal: int = 0
    third_change: int = 0

    @property
    def is_eligible(self) -> bool:
        """Whether something was decided for the person in time to use it."""
        return self.opportunity_ms > 0

    @property
    def is_answered(self) -> bool:
        """Whether it was used at all."""
        return self.response_ms > 0

    @property
    def is_in_time(self) -> bool:
        """Whether it was used within the SLA after the first opportunity."""
        return 0 < self.response_ms <= self.opportunity_ms + SLA_MS

    @property
    def is_clicked(self) -> bool:
        """Whether the person clicked after the first opportunity, whatever was decided there."""
        return 0 < self.opportunity_ms <= self.clicked_ms

    @property
    def is_converted(self) -> bool:
        """Whether the person converted after the first opportunity, whatever was decided there."""
        return 0 < self.opportunity_ms <= self.converted_ms

    @property
    def adaptation_ms(self) -> int | None:
        """How long until it was used, cut at ten minutes for what has not been; None without an opportunity."""
        if not self.is_eligible:
            return None
        return self.response_ms - self.signal_ms if self.is_answered else OPPORTUNITY_MS


_LAST_CLICK: Final = Signal._fields.index("last_click_ms")
_LATEST: Final = Signal._fields.index("first")


def key_of(signal: str) -> int:
    """Return what is remembered of a signal's id, never 0."""
    return crc32(signal.encode()) + 1


def decided(event: Decision) -> Decided:
    """Return what is remembered of a decision."""
    change = UNSAID
    if event.changed is not None or event.delta_topk is not None:
        change = CHANGED if event.changed or (event.delta_topk or 0.0) >= LEAST_CHANGE else SAME
    return Decided(event.ts, event.context_ts or 0, key_of(event.signal) if event.signal is not None else 0, change)


def follow(record: Signal, event: AnyEvent) -> Signal:
    """Return the record after the event."""
    if isinstance(event, Decision):
        # What somebody decided by hand could not follow a signal.
        return record if event.automation == "manual" else _with_decision(record, decided(event))
    if isinstance(event, ContextSignal):
        return record if record.signal_ms else _with_signal(record, event)
    if isinstance(event, Click):
        if event.ts > record.last_click_ms:
            record = Signal._make((*record[:_LAST_CLICK], event.ts, *record[_LATEST:]))
        return _with_click(record, event.ts) if record.signal_ms else record
    return _with_conversion(record, event.ts)


def _with_signal(record: Signal, event: ContextSignal) -> Signal:
    """Begin to follow a signal, with what has overtaken it."""
    begun = record._replace(signal_ms=event.ts, signal_key=key_of(event.signal), clicked_ms=0, converted_ms=0)
    for at in range(_LATEST, len(record), 4):
        begun = _with_use(begun, Decided(*record[at : at + 4]))
    return _with_conversion(_with_click(begun, record.last_click_ms), record.converted_ms)


def _with_decision(record: Signal, decision: Decided) -> Signal:
    if decision.at_ms > record.first:  # as nearly always
        kept = record[:_LATEST] + decision + record[_LATEST:-4]
    else:
        latest = (decision, *(record[at : at + 4] for at in range(_LATEST, len(record), 4)))
        one, two, three, _ = sorted(latest, reverse=True)
        kept = (*record[:_LATEST], *one, *two, *three)
    return _with_use(Signal._make(kept), decision)


def _with_use(record: Signal, decision: Decided) -> Signal:
    at_ms, signal_ms, response_ms = decision.at_ms, record.signal_ms, record.response_ms
    if not signal_ms or not signal_ms <= at_ms <= signal_ms + OPPORTUNITY_MS:
        return record
    if not record.opportunity_ms or at_ms < record.opportunity_ms:
        record = record._replace(opportunity_ms=at_ms)
    if decision.context_ms < signal_ms and decision.signal_key != record.signal_key:
        return record
    if not response_ms or at_ms < response_ms:
        return record._replace(response_ms=at_ms, change=decision.change)
    if at_ms == response_ms:  # of two in one moment, the one that says more
        return record._replace(change=max(record.change, decision.change))
    return record


def _with_click(record: Signal, at_ms: int) -> Signal:
    if record.signal_ms <= at_ms <= record.signal_ms + OPPORTUNITY_MS:
        return record._replace(clicked_ms=max(record.clicked_ms, at_ms))
    return record


def _with_conversion(record: Signal, at_ms: int) -> Signal:
    if not record.signal_ms or record.signal_ms <= at_ms <= record.signal_ms + DAY_MS:
        return record._replace(converted_ms=max(record.converted_ms, at_ms))
    return record


def _begins(record: Signal, event: AnyEvent) -> bool:
    return isinstance(event, ContextSignal) and event.ts > record.signal_ms


def _leave(record: Signal) -> Signal:
    """Return what may have overtaken the next signal."""
    return Signal._make((0, 0, 0, UNSAID, 0, record.converted_ms, 0, *record[_LAST_CLICK:]))


SIGNALS: Final = Kind(
    "signals",
    (ContextSignal, Decision, Click, Conversion, Order),
    lambda event: event.user,
    Signal(),
    follow,
    begins_anew=_begins,
    leaves=_leave,
    shows=Signal._fields.index("signal_key"),
)
