"""The courier: one thread that carries events from the buffer to Kafka, and to the spill while Kafka is away.

    buffer -> batch in hand -> Kafka            while Kafka takes events
       |            |
       +-> spill <--+                           when it does not, with when_away="spill"
             |
             +-> batch in hand -> Kafka         when it does again: the oldest first, before the buffer

One batch is on its way at a time, and what is older always goes first, so the events of a user stay in order through
every outage. Nothing leaves the buffer but by acknowledgement, onto the disk, or into the count of failures.
"""

import threading
import time
from typing import Final, NamedTuple

from producers.broker import reason
from producers.buffer import Buffer, DeliveryRules
from producers.composition import Record
from producers.link import Link
from producers.report import DeliveryReport
from producers.spill import Spill
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

_STEP_S: Final = 0.1  # how long the thread waits for Kafka before it looks after the buffer
_SILENCE_S: Final = 1.0  # how long an answer may take before it is called trouble
_END_S: Final = 10.0  # what the thread may take beyond a timeout: to give up a batch, to write the spill


class _Hand(NamedTuple):
    """The batch that Kafka gets next, or has got; `number` is its segment, which may not be on disk yet.

    At most `limit` records are sent at once: Kafka refuses a record that is too large together with its neighbours,
    so a batch with a refusal in it is halved until the refused record is alone, and then grows again.
    """

    records: list[Record]
    number: int | None
    is_on_disk: bool
    limit: int


class Courier:
    """Delivers what `buffer` takes.

    Mutable state, of its thread alone: the link, the spill, the batch in hand, since when Kafka takes nothing.
    """

    def __init__(self, kafka: KafkaSettings, rules: DeliveryRules) -> None:
        """Open nothing yet. Raises LynceusError for rules that cannot be followed."""
        rules.require_sound()
        self.buffer = Buffer(rules, kafka.bootstrap)
        self._rules = rules
        self._address = kafka.bootstrap
        self._link = Link(kafka, rules.delivery_timeout_s)
        self._spill: Spill | None = None
        self._hand: _Hand | None = None
        self._away_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="lynceus courier", daemon=True)

    def start(self) -> None:
        """Open the spill, or else connect: without a spill, Kafka must be there now. Raises LynceusError."""
        recovered = torn = 0
        if self._rules.spill_to is None:
            self._link.connect()
        else:
            self._spill = Spill(self._rules.spill_to, self._rules.max_spill_bytes)
            try:
                recovered, torn = self._spill.survey()
            except OSError as error:
                self._spill.close()
                raise LynceusError(
                    f"spill_to={str(self._rules.spill_to)!r}: {reason(error)}", "Let this process read what is there"
                ) from None
        self.buffer.open(recovered, torn)
        self._thread.start()

    def close(self, timeout_s: float) -> DeliveryReport:
        """Deliver for at most `timeout_s` seconds, spill the rest or give it up, end; return the last report."""
        self.buffer.close(time.monotonic() + timeout_s)
        if self._thread.is_alive():
            self._thread.join(timeout_s + _END_S)
        return self.buffer.report()

    def _run(self) -> None:
        try:
            while self._has_work():
                if trouble := self._link.trouble(_STEP_S):
                    self._note(trouble)
                elif hand := self._hand or self._next_hand():
                    self._hand = hand
                    self._attempt(hand)
                self._relieve()
        finally:
            self._end()  # also after a defect: then calls raise, and what was not delivered is spilled or handed back

    def _has_work(self) -> bool:
        """Wait until there is something to deliver; False when it is closing and that is done, or time is up."""
        is_idle = self._hand is None and (self._spill is None or self._spill.is_empty)
        if is_idle:
            self.buffer.wait_for_work()
            if not self.buffer.has_records:
                return False
        # What the disk keeps need not be waited for.
        return not (self._is_overdue() or (self._spill and self._is_away() and self.buffer.closing_at is not None))

    def _is_overdue(self) -> bool:
        return self.buffer.closing_at is not None and time.monotonic() >= self.buffer.closing_at

    def _is_away(self) -> bool:
        """Whether Kafka has taken nothing for so long that memory is no place to wait."""
        return self._away_since is not None and time.monotonic() - self._away_since >= self._rules.spill_after_s

    def _note(self, trouble: str) -> None:
        self._away_since = self._away_since or time.monotonic()
        self.buffer.note(trouble=trouble)

    def _next_hand(self) -> _Hand | None:
        """Return the oldest events: a segment of the spill, else the head of the buffer."""
        if self._spill is not None and (segment := self._spill.first()) is not None:
            try:
                records = self._spill.read(segment).records
                return _Hand(records, segment, is_on_disk=True, limit=len(records))
            except OSError as error:
                self._note(f"the spill cannot be read: {reason(error)}")
                threading.Event().wait(_STEP_S)
                return None
        records = self.buffer.head()
        if not records:
            return None
        self.buffer.take(len(records))
        number = self._spill.reserve() if self._spill is not None else None
        return _Hand(records, number, is_on_disk=False, limit=len(records))

    def _attempt(self, hand: _Hand) -> None:
        """Send the batch in hand, wait for the answers, and keep in hand what is to be sent again."""
        began = time.monotonic()
        patience_s = self._rules.spill_after_s if self._spill is not None else 1.5 * self._rules.delivery_timeout_s
        batch = hand.records[: hand.limit]
        self._link.send(batch)
        while not self._link.is_settled(_STEP_S):
            waited_s = time.monotonic() - began
            if waited_s >= patience_s or self._is_overdue():
                break
            if waited_s >= _SILENCE_S:
                self._note(f"Kafka at {self._address} has not acknowledged a batch for a second or longer")
            self._relieve()
        outcome = self._link.settle()
        refused = outcome.refused if len(batch) == 1 else []
        if refused:
            self.buffer.note(failure=outcome.refusal)
        gone = outcome.delivered + refused
        changes = {"delivered": len(outcome.delivered), "failed": len(refused)}
        if hand.is_on_disk:
            self.buffer.became((), trouble=outcome.trouble, spilled=-len(gone), **changes)
        else:
            self.buffer.became(gone, trouble=outcome.trouble, pending=-len(gone), **changes)
        self._away_since = (self._away_since or began) if outcome.rest else None
        done = set(map(id, gone))
        left = [record for record in hand.records if id(record) not in done]
        if left:
            limit = len(batch) // 2 if outcome.refused and not refused else 2 * hand.limit
            self._hand = hand._replace(records=left, limit=limit)
            return
        self._hand = None
        if hand.is_on_disk and self._spill is not None and hand.number is not None:
            try:
                self._spill.remove(hand.number)
            except OSError as error:
                self._note(f"the spill cannot be emptied: {reason(error)}")

    def _relieve(self) -> None:
        """Move what is in memory to the disk when Kafka is away, and what waits there when that grows too much."""
        if self._spill is None:
            return
        is_away = self._is_away() or self._is_overdue()
        try:
            # A batch that is on its way is written only when it was given up: until then it may be delivered.
            hand = self._hand
            if hand and not hand.is_on_disk and is_away and not self._link.is_busy:
                if not self._is_moved(self._spill, hand.records, hand.number):
                    return
                self._hand = None
            while (is_away or self.buffer.is_pressed) and (records := self.buffer.head()):
                if not self._is_moved(self._spill, records, None):
                    return
        except OSError as error:
            self._note(f"the spill takes nothing: {reason(error)}")

    def _is_moved(self, spill: Spill, records: list[Record], number: int | None) -> bool:
        """Write records, of the hand if they have a number, else of the buffer; return whether all are on disk."""
        safe = spill.append(records, number)
        if number is None:
            self.buffer.take(safe)
        trouble = self.buffer.report().trouble
        self.buffer.became(records[:safe], trouble=trouble, pending=-safe, spilled=safe)
        if safe < len(records):
            self._note(f"the spill is full: {spill.size_bytes} bytes, max_spill_bytes={self._rules.max_spill_bytes}")
        return safe == len(records)

    def _end(self) -> None:
        """Spill what is left, or give it up, and let go of everything."""
        self._relieve()
        self._link.close()
        if self._spill is not None:
            self._spill.close()
        left = self._hand.records if self._hand and not self._hand.is_on_disk else []
        if left or self.buffer.has_records:
            self.buffer.note(failure=f"closed before it was delivered ({self.buffer.report().trouble or 'no time'})")
        self.buffer.give_up(left)
