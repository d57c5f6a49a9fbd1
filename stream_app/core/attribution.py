"""Attribution: which impression earned this, in which slice and pane is it counted.

    impression --------- click ------------------------- conversion
        |<- click window ->|                                  |
        |                  |<- conversion window after click ->|
        |<--------- conversion window after view ------------->|

Everything is credited to the pane and slice of the *impression* (or of the session's first impression), so that a
numerator never exceeds its denominator; such values settle until the windows have passed. Only that a session clicked
or converted for the first time is told in the pane in which it did: who watches must not wait for a window.

What is not found, or found too late, is `unmatched`, never guessed. A click that overtakes its impression waits for it.
An order is known by its own id too: of several events that tell of it the one that arrives first counts, for
everything, the others are counted apart.

Consent: without `analytics` an event counts in totals and is joined by its decision alone; nothing is kept under the
user or the session. Bots and tests are counted apart and leave no state.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

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
from stream_app.core.followed import FollowedLists
from stream_app.core.goals import PURCHASE, goal_bit
from stream_app.core.histograms import Bins
from stream_app.core.joins import Joins, Shown, pack_shown, unpack_shown
from stream_app.core.keeping import Keeping
from stream_app.core.lists import NO_IMPRESSION, ListUnderWay
from stream_app.core.memory import KEY_MASK, KEY_SHIFT
from stream_app.core.panes import PANE_MS
from stream_app.core.records import Exposure, Scores
from stream_app.core.rules import Rules
from stream_app.core.slices import SliceTable
from stream_app.core.tally import Occasion
from stream_app.core.touches import LastTouches

_ARMS: Final[tuple[Arm, ...]] = ("personalized", "context_blind", "holdout")
_NO_SESSION: Final = 0
MICROS: Final = 1_000_000
_NO_USER: Final = 0


def micros(score: float) -> int:
    """Return a relevance score, 0 to 1, in millionths, rounded half up."""
    return int(score * MICROS + 0.5)


class Attribution:
    """Turns accepted events into credits, which `cells` adds. Mutable state: the joins, the slices, the cells."""

    def __init__(self, rules: Rules, joins: Joins, slices: SliceTable, cells: Cells, bins: Bins) -> None:
        self.rules = rules
        self.joins = joins
        self.slices = slices
        self.cells = cells
        self.keeping = Keeping(joins.records, cells, bins, rules.currency)
        self.bins = bins
        self.followed = FollowedLists(joins.lists, bins)
        self._add = cells.add
        self._exposed = cells.grown_on(Occasion.EXPOSURE)
        self._shown = cells.gathered(Occasion.IMPRESSION)
        self._begun = cells.gathered(Occasion.SESSION)
        self._rated = cells.gathered(Occasion.RATED)
        self._scored = cells.gathered(Occasion.SCORES)
        self._at_risk = cells.gathered(Occasion.AT_RISK) if cells.grows_on(Occasion.AT_RISK) else None
        self._positions_at_risk = bins.gathered(Occasion.POSITIONS_AT_RISK)
        self._first_clicks_at = bins.gathered(Occasion.FIRST_CLICK_AT)
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
        kept = {of: partial(self._keep, credit) if of in self.keeping else credit for of, credit in credit_of.items()}
        return kept | {Order: partial(self._once, kept[Order])}

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
        self.keeping.take(event, self._slice, is_personal=consent is None or consent.analytics)
        return is_earned

    def _once(self, credit: Callable[..., bool], event: Order) -> bool:
        """Credit an order, unless an event that arrived before told of the same one."""
        key = digest(event.order.encode()) >> KEY_SHIFT & KEY_MASK
        if key in self.joins.orders:
            self._add(event.ts, self._slice(event), Occasion.REPEATED_ORDER, event)
            return True
        self.joins.orders.put(key, (event.ts,))
        return credit(event)

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
        list_.keys.append(shown)
        impressions = joins.impressions
        if shown in impressions.newer or shown in impressions.older:
            return True  # seen again: a further impression; clicks stay with the first one
        if list_.decided_in != impressions.generation:
            if list_.decision not in impressions:
                impressions.put(list_.decision, list_.record)
                list_.is_new = True
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
            self._release(list_.decision, shown, unpack_shown(list_.record))
        return True

    def _begin(self, event: Impression) -> None:
        """Begin a list: work out once what its impressions have in common."""
        self._list.end()
        at, arm, list_, joins = event.ts, event.arm, self._list, self.joins
        known = self._numbers.get((event.surface, arm, event.policy, event.segment, event.channel, event.device))
        number = self._slice(event) if known is None or arm is None else known
        place = list_.place = self._place(at, number)
        if self.followed.is_needed:
            # Numbered now, not when the list is credited: where it is cut may change nothing.
            list_.home = self._place(at, self.bins.coarse(number))
        consent, session = event.consent, event.session
        if consent is None or consent.analytics:
            user = digest(event.user.encode()) >> KEY_SHIFT
            visit = digest(session.encode()) >> KEY_SHIFT if session else self._derived_session(at, user)
            exposure = visit ^ (self._mixes[number] if number < len(self._mixes) else self._mix(number))
            exposures = joins.exposures
            known_session = exposures.get(exposure)
            if known_session is None:
                exposures.put(exposure, place)
                self._begun[place].append(event)
                self.keeping.expose(event, number)
            list_.is_at_risk = known_session is None or not _has_clicked(known_session, at)
        else:
            user, exposure, list_.is_at_risk = _NO_USER, _NO_SESSION, False
        # What is looked up anew for each impression (an inherited arm, a session derived from the time since the last
        # event, a slice beyond the bound) makes each a list of its own.
        list_.first = event if known is not None and arm is not None and (session or not user) else NO_IMPRESSION
        list_.user, list_.exposure = user, exposure
        list_.decision = digest(event.decision.encode()) >> KEY_SHIFT & KEY_MASK
        list_.is_new = False
        list_.record = pack_shown(at, number, exposure, user)
        list_.exposed_in, list_.decided_in = joins.exposures.generation, -1

    def settle(self) -> None:
        """Credit the lists, and change the records. Due before anything is forgotten or stored.

        Then it changes nothing when it is: how records are cut into runs makes no difference.
        """
        self._settle_lists()
        self.keeping.settle()

    def _settle_lists(self) -> None:
        self._list.end()
        shown, rated, scored, remembered = self._shown, self._rated, self._scored, self.joins.scores
        at_risk = self._at_risk
        for session, place, home, decision, is_new, is_at_risk, impressions, keys in self._list.take_ended():
            shown[place] += impressions
            if is_at_risk and at_risk is not None:
                at_risk[place] += impressions
            if self.followed.is_needed:
                seen = self.followed.take(decision, home, impressions, keys, is_new=is_new)
                if is_at_risk:
                    self._positions_at_risk[home].append(seen)
            scores = [micros(score) for each in impressions if (score := each.relevance) is not None]
            if not scores:
                continue
            number, total = len(scores), sum(scores)
            rated[place].append((number, total))
            if session == _NO_SESSION:  # then each impression is one of its own
                scored[place] += [Scores(1, score * score // MICROS, 1, score) for score in scores]
                continue
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
        """Return (pane, number): one value for all that begin there, for it is kept with each session or assignment."""
        start = at - at % PANE_MS
        if start != self._places_of:
            self._places_of, self._places = start, {}
        place = self._places.get(number)
        if place is None:
            place = self._places[number] = (start, number)
        return place

    def _release(self, decision: int, key: int, record: Shown) -> None:
        """Credit the click that overtook this impression, if one is waiting and has not been released before."""
        waiting = self.joins.waiting.get(key)
        if waiting is not None and waiting[0] and self._within_click_window(waiting[0], record.at_ms):
            self.joins.waiting.put(key, (0, 0))
            self._click_on(decision, key, record, waiting[0])
            self.released += 1

    released: int = 0
    """Clicks that were reported unmatched and found their impression later; the processor takes them back."""

    def _within_click_window(self, click_ms: int, impression_ms: int) -> bool:
        elapsed = click_ms - impression_ms
        return -self.rules.out_of_orderness_ms <= elapsed <= self.rules.click_window_ms

    def _click(self, event: Click) -> bool:
        decision = digest(event.decision.encode()) >> KEY_SHIFT
        key = _pair(decision, event.item)
        packed = self.joins.impressions.get(key)
        if packed is None:
            self.joins.waiting.put(key, (event.ts, self._user(event)))
            return False
        record = unpack_shown(packed)
        if not self._within_click_window(event.ts, record.at_ms):
            return False
        self._click_on(decision, key, record, event.ts)
        return True

    def _click_on(self, decision: int, key: int, record: Shown, click_ms: int) -> None:
        at, number, exposure, user = record
        if key in self.joins.clicks:
            self._add(at, number, Occasion.REPEAT_CLICK, None)
            return
        self._add(at, number, Occasion.CLICK, None)
        self.joins.clicks.put(key, (click_ms, user))
        # A click cannot have come before what was clicked, whatever the clocks say; nor then in a pane that is sealed.
        now_ms = max(click_ms, at)
        is_first = self._grow(exposure, now_ms, clicks=1)
        if exposure == self._list.exposure:
            self._list.end()  # what comes next of it may no longer be at risk: where it is cut may change nothing
        if self.followed.is_needed:
            self._settle_lists()  # the list must know the impression before the click on it
            position = self.followed.click(decision, key)
            if is_first:
                self._first_clicks_at[now_ms - now_ms % PANE_MS, self.bins.coarse(number)].append(position)
        if user:
            self._clicked.put(user, key, self.joins.clicks.generation)

    def _conversion(self, event: Conversion) -> bool:
        key = None
        if event.decision is not None:
            key = digest(event.decision.encode()) >> KEY_SHIFT
            if event.item is not None:
                key = _pair(key, event.item)
        return self._convert(event, key, event.value_minor, event.currency, event.goal)

    def _order(self, event: Order) -> bool:
        quoted = next((line for line in event.lines if line.decision is not None), None)
        key = None
        if quoted is not None and quoted.decision is not None:
            key = _pair(digest(quoted.decision.encode()) >> KEY_SHIFT, quoted.item)
        net = max(0, event.total_minor - (event.tax_minor or 0) - (event.shipping_minor or 0))
        return self._convert(event, key, net, event.currency, PURCHASE)

    def _convert(self, event: Event, key: int | None, value_minor: int | None, currency: str | None, goal: str) -> bool:
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
        self._grow(exposure, event.ts, conversions=1, revenue_minor=earned_minor, goals=goal_bit(goal))
        return True

    def _grow(
        self, key: int, now_ms: int, *, clicks: int = 0, conversions: int = 0, revenue_minor: int = 0, goals: int = 0
    ) -> bool:
        """Let an exposure grow, unless it is forgotten or was never to be kept; count the first of a kind when it is.

        What it earns is told where the exposure is at home; that it earned for the first time, in the pane of `now_ms`.
        Return whether this was its first click.
        """
        known = self.joins.exposures.get(key) if key else None
        if known is None:
            return False
        before = Exposure(*known)
        is_first_click = clicks > 0 and not before.clicks
        after = Exposure(
            before.at_ms,
            before.slice_number,
            before.clicks + clicks,
            before.conversions + conversions,
            before.revenue_minor + revenue_minor,
            before.goals | goals,
            now_ms if is_first_click else before.clicked_ms,
        )
        self.joins.exposures.put(key, after)
        if is_first_click:
            self._add(now_ms, before.slice_number, Occasion.FIRST_CLICK, None)
        if conversions and not before.conversions:
            self._add(now_ms, before.slice_number, Occasion.FIRST_CONVERSION, None)
        # No measure reads where and when: without them exposures are alike, and their differences known.
        earned_before, earned_after = (
            known._replace(at_ms=0, slice_number=0, clicked_ms=0) for known in (before, after)
        )
        self.cells.grow(before.at_ms, before.slice_number, self._exposed, earned_before, earned_after)
        return is_first_click

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
        record = unpack_shown(packed)
        if at_ms < record.at_ms - self.rules.out_of_orderness_ms:
            return None
        click = self.joins.clicks.get(key)
        if click is not None and at_ms - click[0] <= self.rules.click_conversion_window_ms:
            return record
        return record if at_ms - record.at_ms <= self.rules.view_conversion_window_ms else None

    def _assignment(self, event: Assignment) -> bool:
        if user := self._user(event):
            self.joins.arms.put(user, self._place(event.ts, _ARMS.index(event.arm)))
        return self._other(event)

    def _user(self, event: Event) -> int:
        consent: Consent | None = event.consent
        return digest(event.user.encode()) >> KEY_SHIFT & KEY_MASK if consent is None or consent.analytics else _NO_USER

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
            seen.update((user, key) for key, packed in shown.items() if (user := unpack_shown(packed).user))
        for clicked, touched in ((clicks.older, self._clicked.older), (clicks.newer, self._clicked.newer)):
            touched.update((value[1], key) for key, value in clicked.items() if value[1])


def _has_clicked(exposure: tuple[int, ...], at_ms: int) -> bool:
    """Say whether the session of an exposure clicked there before `at_ms`; of most there is nothing but their home."""
    return len(exposure) > 2 and (known := Exposure(*exposure)).clicks > 0 and known.clicked_ms < at_ms


def _pair(decision: int, item: str) -> int:
    """Return the key of an item within a decision; unlike XOR alone, the two cannot be exchanged."""
    return decision ^ (digest(item.encode()) * 3 & KEY_MASK)
