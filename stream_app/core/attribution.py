"""Attribution: which impression earned this, in which slice and pane is it counted.

    impression --------- click ------------------------- conversion
        |<- click window ->|                                  |
        |                  |<- conversion window after click ->|
        |<--------- conversion window after view ------------->|

Everything is credited to the pane and slice of the *impression* (or of the session's first impression), so that a
numerator never exceeds its denominator; such values settle until the windows have passed. What is not found, or found
too late, is `unmatched`, never guessed. A click that overtakes its impression waits for it.

Consent: without `analytics` an event counts in totals and is joined by its decision alone; nothing is kept under the
user or the session. Bots and tests are counted apart and leave no state.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest as digest

from stream_app.core.aggregation import Cells, Place
from stream_app.core.events import (
    EVENT_TYPES,
    AnyEvent,
    Arm,
    Assignment,
    Click,
    Consent,
    Conversion,
    Event,
    Impression,
    Order,
)
from stream_app.core.histograms import Bins
from stream_app.core.keeping import Keeping
from stream_app.core.lists import NO_IMPRESSION, ListUnderWay
from stream_app.core.memory import KEY_MASK, KEY_SHIFT, Bound, Remembered
from stream_app.core.panes import PANE_MS
from stream_app.core.records import Change, Exposure, Kind, Scores, packed_at
from stream_app.core.slices import SliceTable
from stream_app.core.tally import Occasion
from stream_app.core.touches import LastTouches

_ARMS: Final[tuple[Arm, ...]] = ("personalized", "context_blind", "holdout")
ARM_HORIZON_MS: Final = 28 * 86_400_000
"""How long an assignment speaks for a user whose events name no arm."""
RECORDS_SHARE: Final = 12
"""Of the impressions remembered, one in so many may be a record of each kind."""
_NO_SESSION: Final = 0
MICROS: Final = 1_000_000
_NO_USER: Final = 0


class Rules(NamedTuple):
    """What decides whose credit an event is. Milliseconds; part of the stored configuration."""

    currency: str = "EUR"
    click_window_ms: int = 600_000
    view_conversion_window_ms: int = 86_400_000
    click_conversion_window_ms: int = 7 * 86_400_000
    session_gap_ms: int = 1_800_000
    out_of_orderness_ms: int = 10_000
    lateness_ms: int = 300_000
    future_ms: int = 60_000
    max_slices: int = 1_000
    max_remembered: int = 174_000


class Shown(NamedTuple):
    """What is remembered of an impression.

    It is kept as packed bytes, 64 of memory: a tuple and its integers take 176, and this is most of what there is.
    """

    at_ms: int
    slice_number: int
    exposure: int
    user: int


_SHOWN: Final = struct.Struct(">qIQQ")
_pack: Final = _SHOWN.pack


def _unpack(packed: bytes) -> Shown:
    return Shown(*_SHOWN.unpack(packed))


def _shown_at(packed: bytes) -> int:
    return int.from_bytes(packed[:8])


class Joins:
    """What one partition remembers for attribution: bounded tables keyed by 60-bit hashes.

    ids          event id                 -> (pane,)
    impressions  decision and item        -> Shown, packed; also the decision's first, by itself
    clicks       impression               -> (at, user)
    waiting      impression not yet seen  -> (at of the click, user)
    exposures    session, surface and arm -> Exposure; (pane, slice) until something comes of it
    scores       session, surface and arm -> (pane, slice, impressions scored, their relevance), for a session's time
    sessions     user without session ids -> (last activity, start)
    arms         user                     -> (at, arm by number)
    records      per kind: thing          -> record with its home, packed

    Who looked and clicked last is derived from `impressions` and `clicks`, and forgotten with them: for that, the
    two are only ever appended to, and an impression's own key stands after its decision's.
    """

    def __init__(self, rules: Rules, kinds: Sequence[Kind] = ()) -> None:
        self.rules = rules
        capacity = rules.max_remembered // 2
        # An impression takes two places and begins at most one session: half as many sessions reach as far back.
        sessions = capacity // 2
        join_ms = max(rules.click_conversion_window_ms, rules.view_conversion_window_ms, rules.click_window_ms)

        def table(name: str, horizon_ms: int, capacity: int = capacity) -> Remembered[tuple[int, ...]]:
            return Remembered(name, Bound(capacity, horizon_ms), itemgetter(0))

        self.ids = table("ids", join_ms)
        self.impressions: Remembered[bytes] = Remembered("impressions", Bound(capacity, join_ms), _shown_at)
        self.clicks = table("clicks", join_ms)
        # A click is looked for where its impression was found, and only there.
        self.impressions.followers = (self.clicks,)
        self.waiting = table("waiting", max(rules.click_window_ms, 1))
        self.exposures = table("exposures", join_ms, sessions)
        # One that is forgotten early counts as a new session: the interval is then a little too narrow, no count wrong.
        self.scores = table("scores", rules.session_gap_ms * 4, max(1, sessions // 4))
        self.sessions = table("sessions", rules.session_gap_ms * 4, sessions)
        self.arms = table("arms", ARM_HORIZON_MS)
        records = max(1, capacity // RECORDS_SHARE)
        self.records: dict[Kind, Remembered[bytes]] = {
            kind: Remembered(kind.table, Bound(records, kind.horizon_ms), packed_at) for kind in kinds
        }

    @property
    def tables(self) -> Sequence[Remembered[Any]]:
        """All tables, in a fixed order."""
        return (
            self.ids, self.impressions, self.clicks, self.waiting, self.exposures, self.scores, self.sessions,
            self.arms, *self.records.values(),
        )  # fmt: skip

    def needed(self, watermark_ms: int, sealed_before_ms: int) -> Iterator[tuple[Remembered[Any], int]]:
        """Yield each table with the event time from which on its entries still matter."""
        rules = self.rules
        conversion_ms = max(rules.click_conversion_window_ms, rules.view_conversion_window_ms)
        yield self.impressions, watermark_ms - conversion_ms
        for table in (self.clicks, self.exposures):
            yield table, watermark_ms - conversion_ms
        # A duplicate of a sealed pane would be late anyway: forgetting its id can change no count.
        yield self.ids, sealed_before_ms
        yield self.waiting, watermark_ms - rules.out_of_orderness_ms
        yield self.sessions, watermark_ms - rules.session_gap_ms
        yield self.scores, watermark_ms - rules.session_gap_ms
        yield self.arms, watermark_ms - ARM_HORIZON_MS
        for kind, records in self.records.items():
            yield records, watermark_ms - kind.horizon_ms


class Attribution:
    """Turns accepted events into credits, which `cells` adds. Mutable state: the joins, the slices, the cells."""

    def __init__(self, rules: Rules, joins: Joins, slices: SliceTable, cells: Cells, bins: Bins) -> None:
        self.rules = rules
        self.joins = joins
        self.slices = slices
        self.cells = cells
        self.keeping = Keeping(joins.records, cells, bins)
        self._add = cells.add
        self._shown = cells.gathered(Occasion.IMPRESSION)
        self._begun = cells.gathered(Occasion.SESSION)
        self._scored = cells.gathered(Occasion.SCORES)
        self._numbers = slices.numbers
        self._mixes: list[int] = []
        self._places: dict[int, Place] = {}
        self._places_of = -1
        self._list = ListUnderWay()
        self._seen = LastTouches()
        self._clicked = LastTouches()
        self._derive_touches()

    def credits(self) -> dict[type[Event], Callable[..., bool]]:
        """Return by type of event what credits it: False when nothing was found that earned it. Not for bots and tests.

        To be asked for and let go: kept here, its bound methods would be a cycle, and the memory of a partition that
        was given away would wait for the collector, beside that of the next one.
        """
        credit_of: dict[type[Event], Callable[..., bool]] = {
            **dict.fromkeys(EVENT_TYPES, self._other),
            Impression: self._impression,
            Click: self._click,
            Conversion: self._conversion,
            Order: self._order,
            Assignment: self._assignment,
        }
        return {of: partial(self._keep, credit) if of in self.keeping else credit for of, credit in credit_of.items()}

    def exclude(self, event: AnyEvent) -> bool:
        """Count an event of a bot or a test apart."""
        self._add(event.ts, self._slice(event), Occasion.EXCLUDED, event)
        return True

    def _other(self, event: AnyEvent) -> bool:
        """Count an event that no impression has to have earned, by its own time and dimensions."""
        self._add(event.ts, self._slice(event), Occasion.OTHER, event)
        return True

    def _keep(self, credit: Callable[..., bool], event: AnyEvent) -> bool:
        """Credit the event, and let it change what grows by itself, whatever earned it or did not."""
        is_earned = credit(event)
        consent = event.consent
        self.keeping.take(event, self._slice(event), is_personal=consent is None or consent.analytics)
        return is_earned

    def _slice(self, event: Event) -> int:
        arm: str | None = event.arm
        if arm is None and (user := self._user(event)) and (assigned := self.joins.arms.get(user)):
            arm = _ARMS[assigned[1]]
        return self.slices.number((event.surface, arm, event.policy, event.segment, event.channel, event.device))

    def _impression(self, event: Impression) -> bool:
        # Most events are impressions: this method is written for speed, with what the others call written out.
        joins, list_ = self.joins, self._list
        if not list_.goes_on_with(event) or list_.exposed_in != joins.exposures.generation:
            self._begin(event)
        list_.impressions.append(event)
        shown = list_.decision ^ (digest(event.item.encode()) * 3 & KEY_MASK)
        impressions = joins.impressions
        if shown in impressions.newer or shown in impressions.older:
            return True  # seen again: a further impression; clicks stay with the first one
        if list_.decided_in != impressions.generation:
            if list_.decision not in impressions:
                impressions.put(list_.decision, list_.record)
            list_.decided_in = impressions.generation
        if len(impressions.newer) >= impressions.capacity:
            impressions.rotate()
        impressions.newer[shown] = list_.record
        if user := list_.user:
            seen = self._seen
            if seen.generation == impressions.generation:
                seen.newer[user] = shown
            else:
                seen.put(user, shown, impressions.generation)
        waiting = joins.waiting
        if shown in waiting.newer or shown in waiting.older:
            self._release(shown, _unpack(list_.record))
        return True

    def _begin(self, event: Impression) -> None:
        """Begin a list: work out once what its impressions have in common."""
        self._list.end()
        at, arm, list_, joins = event.ts, event.arm, self._list, self.joins
        known = self._numbers.get((event.surface, arm, event.policy, event.segment, event.channel, event.device))
        number = self._slice(event) if known is None or arm is None else known
        place = list_.place = self._place(at, number)
        consent, session = event.consent, event.session
        if consent is None or consent.analytics:
            user = digest(event.user.encode()) >> KEY_SHIFT
            visit = digest(session.encode()) >> KEY_SHIFT if session else self._derived_session(at, user)
            exposure = visit ^ (self._mixes[number] if number < len(self._mixes) else self._mix(number))
            exposures = joins.exposures
            if exposure not in exposures.newer and exposure not in exposures.older:
                exposures.put(exposure, place)
                self._begun[place].append(event)
        else:
            user, exposure = _NO_USER, _NO_SESSION
        # What is looked up anew for each impression (an inherited arm, a session derived from the time since the last
        # event, a slice beyond the bound) makes each a list of its own.
        list_.first = event if known is not None and arm is not None and (session or not user) else NO_IMPRESSION
        list_.user, list_.exposure = user, exposure
        list_.decision = digest(event.decision.encode()) >> KEY_SHIFT
        list_.record = _pack(at, number, exposure, user)
        list_.exposed_in, list_.decided_in = joins.exposures.generation, -1

    def settle(self) -> None:
        """Credit the lists. Due before anything is forgotten or stored: then it changes nothing when it is.

        So how records are cut into runs makes no difference.
        """
        self._list.end()
        shown, scored, remembered = self._shown, self._scored, self.joins.scores
        for session, place, impressions in self._list.take_ended():
            shown[place] += impressions
            scores = [int(score * MICROS + 0.5) for each in impressions if (score := each.relevance) is not None]
            if not scores:
                continue
            if session == _NO_SESSION:  # then each impression is one of its own
                scored[place] += [Scores(1, score * score // MICROS, 1, score) for score in scores]
                continue
            number, total = len(scores), sum(scores)
            known = remembered.get(session)
            if known is None:
                remembered.put(session, (place[0], place[1], number, total))
                scored[place].append(Scores(1, total * total // MICROS, number * number, number * total))
            else:
                scored[known[0], known[1]].append(self._rescore(session, known, number, total))

    def _rescore(self, session: int, known: tuple[int, ...], number: int, total: int) -> Scores:
        """Return by how much the sums over sessions grow with `number` further scores that add up to `total`."""
        at, slice_number, before, total_before = known
        number += before
        total += total_before
        self.joins.scores.put(session, (at, slice_number, number, total))
        return Scores(
            0,
            total * total // MICROS - total_before * total_before // MICROS,
            number * number - before * before,
            number * total - before * total_before,
        )

    def _place(self, at: int, number: int) -> Place:
        """Return (pane, slice): one value for all sessions that begin there, for it is kept with each of them."""
        start = at - at % PANE_MS
        if start != self._places_of:
            self._places_of, self._places = start, {}
        place = self._places.get(number)
        if place is None:
            place = self._places[number] = (start, number)
        return place

    def _release(self, key: int, record: Shown) -> None:
        """Credit the click that overtook this impression, if one is waiting and has not been released before."""
        waiting = self.joins.waiting.get(key)
        if waiting is not None and waiting[0] and self._within_click_window(waiting[0], record.at_ms):
            self.joins.waiting.put(key, (0, 0))
            self._click_on(key, record, waiting[0])
            self.released += 1

    released: int = 0
    """Clicks that were reported unmatched and found their impression later; the processor takes them back."""

    def _within_click_window(self, click_ms: int, impression_ms: int) -> bool:
        elapsed = click_ms - impression_ms
        return -self.rules.out_of_orderness_ms <= elapsed <= self.rules.click_window_ms

    def _click(self, event: Click) -> bool:
        key = _pair(digest(event.decision.encode()) >> KEY_SHIFT, event.item)
        packed = self.joins.impressions.get(key)
        if packed is None:
            self.joins.waiting.put(key, (event.ts, self._user(event)))
            return False
        record = _unpack(packed)
        if not self._within_click_window(event.ts, record.at_ms):
            return False
        self._click_on(key, record, event.ts)
        return True

    def _click_on(self, key: int, record: Shown, click_ms: int) -> None:
        at, number, exposure, user = record
        if key in self.joins.clicks:
            self._add(at, number, Occasion.REPEAT_CLICK, None)
            return
        self._add(at, number, Occasion.CLICK, None)
        self.joins.clicks.put(key, (click_ms, user))
        self._grow(exposure, clicks=1)
        if user:
            self._clicked.put(user, key, self.joins.clicks.generation)

    def _conversion(self, event: Conversion) -> bool:
        key = None
        if event.decision is not None:
            key = digest(event.decision.encode()) >> KEY_SHIFT
            if event.item is not None:
                key = _pair(key, event.item)
        return self._convert(event, key, event.value_minor, event.currency)

    def _order(self, event: Order) -> bool:
        quoted = next((line for line in event.lines if line.decision is not None), None)
        key = None
        if quoted is not None and quoted.decision is not None:
            key = _pair(digest(quoted.decision.encode()) >> KEY_SHIFT, quoted.item)
        net = max(0, event.total_minor - (event.tax_minor or 0) - (event.shipping_minor or 0))
        return self._convert(event, key, net, event.currency)

    def _convert(self, event: Event, key: int | None, value_minor: int | None, currency: str | None) -> bool:
        record = self._earned(event, key)
        if record is None:
            return False
        at, number, exposure, _ = record
        self._add(at, number, Occasion.CONVERSION, event)
        earned_minor = 0
        if value_minor and currency not in (None, self.rules.currency):
            self._add(at, number, Occasion.FOREIGN_REVENUE, event)
        elif value_minor:
            earned_minor = value_minor
            self._add(at, number, Occasion.REVENUE, earned_minor)
        self._grow(exposure, conversions=1, revenue_minor=earned_minor)
        return True

    def _grow(self, key: int, *, clicks: int = 0, conversions: int = 0, revenue_minor: int = 0) -> None:
        """Let an exposure grow, unless it is forgotten or was never to be kept."""
        known = self.joins.exposures.get(key) if key else None
        if known is None:
            return
        before = Exposure(*known)
        after = Exposure(
            before.at_ms,
            before.slice_number,
            before.clicks + clicks,
            before.conversions + conversions,
            before.revenue_minor + revenue_minor,
        )
        self.joins.exposures.put(key, after)
        self._add(before.at_ms, before.slice_number, Occasion.EXPOSURE, Change(before, after))

    def _earned(self, event: Event, key: int | None) -> Shown | None:
        """Return the impression that earned a conversion: the one it quotes, else the user's last click, last view."""
        if key is not None:
            return self._if_in_window(event.ts, key)
        user = self._user(event)
        if not user:
            return None
        for touches in (self._clicked, self._seen):
            key = touches.get(user)
            if key is not None and (record := self._if_in_window(event.ts, key)):
                return record
        return None

    def _if_in_window(self, at_ms: int, key: int) -> Shown | None:
        packed = self.joins.impressions.get(key)
        if packed is None:
            return None
        record = _unpack(packed)
        if at_ms < record.at_ms - self.rules.out_of_orderness_ms:
            return None
        click = self.joins.clicks.get(key)
        if click is not None and at_ms - click[0] <= self.rules.click_conversion_window_ms:
            return record
        return record if at_ms - record.at_ms <= self.rules.view_conversion_window_ms else None

    def _assignment(self, event: Assignment) -> bool:
        if user := self._user(event):
            self.joins.arms.put(user, (event.ts, _ARMS.index(event.arm)))
        return self._other(event)

    def _user(self, event: Event) -> int:
        consent: Consent | None = event.consent
        return digest(event.user.encode()) >> KEY_SHIFT if consent is None or consent.analytics else _NO_USER

    def _derived_session(self, at: int, user: int) -> int:
        """Return the key of the user's session at `at`, for events that name none: a gap of silence ends it."""
        known = self.joins.sessions.get(user)
        if known is not None and abs(at - known[0]) <= self.rules.session_gap_ms:
            last, start = max(at, known[0]), known[1]
        else:
            last, start = at, at
        self.joins.sessions.put(user, (last, start))
        return (user + start * 0x9E3779B97F4A7C15) & KEY_MASK

    def _mix(self, number: int) -> int:
        """Return a key of the slice's surface and arm: an exposure is a session there, whatever else differs."""
        while number >= len(self._mixes):
            slice_ = self.slices.slices[len(self._mixes)]
            self._mixes.append(digest(f"{slice_.surface}\x1f{slice_.arm}".encode()) >> KEY_SHIFT)
        return self._mixes[number]

    def _derive_touches(self) -> None:
        impressions, clicks = self.joins.impressions, self.joins.clicks
        self._seen.generation, self._clicked.generation = impressions.generation, clicks.generation
        for shown, seen in ((impressions.older, self._seen.older), (impressions.newer, self._seen.newer)):
            seen.update((user, key) for key, packed in shown.items() if (user := _unpack(packed).user))
        for clicked, touched in ((clicks.older, self._clicked.older), (clicks.newer, self._clicked.newer)):
            touched.update((value[1], key) for key, value in clicked.items() if value[1])


def _pair(decision: int, item: str) -> int:
    """Return the key of an item within a decision; unlike XOR alone, the two cannot be exchanged."""
    return decision ^ (digest(item.encode()) * 3 & KEY_MASK)
