"""What really happened: the totals that counting must arrive at, kept by the world that caused them.

It applies the documented rules of attribution to what was delivered, in the order of delivery: credit goes to the
slice of the impression, one click per impression counts, a session is exposed to a surface once, the first conversion
makes it a converted session, money is net of tax and shipping, bots are counted apart. Money in another currency than
the reporting one is a foreign purchase, and no revenue. It shares no code with the core, whose panes, hashes and
bounded memory it does not have.

Mutable state: the totals, the money by currency, and what may still be joined: two generations, each of `GENERATION_MS`
of event time.
"""

from collections import Counter, defaultdict
from typing import Any, Final

from producers.traits import HOME
from stream_app.core.events import Click, Conversion, Event, Impression, Order

Key = tuple[str, str, str, str, str, str]
"""surface, arm, policy, segment, channel, device; `none` where there is none."""

GENERATION_MS: Final = 3_600_000
"""At least as long as anything that is credited can come after its impression, with late records and wrong clocks."""
MEASURES: Final = (
    "impressions", "clicks", "repeat_clicks", "sessions", "excluded", "other_events", "conversions",
    "converted_sessions", "revenue_minor", "session_revenue_minor", "session_revenue_squares", "scored_impressions",
    "relevance_micros", "scored_sessions", "session_relevance_squares", "session_scored_squares",
    "session_relevance_products", "clicked_sessions", "foreign_revenue_events",
)  # fmt: skip
(
    _IMPRESSIONS, _CLICKS, _REPEATS, _SESSIONS, _EXCLUDED, _OTHER, _CONVERSIONS, _CONVERTED, _REVENUE,
    _SESSION_REVENUE, _SQUARES, _SCORED, _RELEVANCE, _SCORED_SESSIONS, _RELEVANCE_SQUARES, _SCORED_SQUARES, _PRODUCTS,
    _CLICKED, _FOREIGN,
) = range(len(MEASURES))  # fmt: skip


class Ledger:
    """Takes what is delivered, and adds up what must come of it. `outcomes` adds up to the records.

    `credited` is what was earned by currency, in minor units: one sum for each, and none over all of them.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.credited: Counter[str] = Counter()
        self.lost = 0
        self._totals: defaultdict[Key, list[int]] = defaultdict(lambda: [0] * len(MEASURES))
        self._newer: dict[str, list[Any]] = {}
        self._older: dict[str, list[Any]] = {}
        self._turned_ms = 0

    def delivered(self, event: Event) -> None:
        """Take an event that arrives for the first time, whole and in time."""
        key = _key(event)
        if event.bot:
            self._totals[key][_EXCLUDED] += 1
        elif isinstance(event, Impression):
            self._impression(event, key)
        elif isinstance(event, Click):
            if not self._click(event):
                return
        elif isinstance(event, Conversion):
            if not self._conversion(f"{event.decision}/{event.item}", event.value_minor or 0, event.currency):
                return
        elif isinstance(event, Order):
            line = next((line for line in event.lines if line.decision), None)
            net = event.total_minor - (event.tax_minor or 0) - (event.shipping_minor or 0)
            # Nobody who was shown anything buys without quoting it, so there is no last click to fall back to.
            if not self._conversion(f"{line.decision}/{line.item}" if line else "", net, event.currency):
                return
        else:
            self._totals[key][_OTHER] += 1
        self.outcomes["counted"] += 1

    def refused(self, outcome: str) -> None:
        """Take a record that must change no total: duplicate, late or rejected."""
        self.outcomes[outcome] += 1

    def totals(self) -> dict[Key, dict[str, int]]:
        """Return the totals by slice, zeros left out."""
        named = {key: dict(zip(MEASURES, amounts, strict=True)) for key, amounts in self._totals.items()}
        return {key: found for key, of in named.items() if (found := {m: n for m, n in of.items() if n})}

    def told(self) -> dict[str, Any]:
        """Return the ledger as one JSON object."""
        names = ("surface", "arm", "policy", "segment", "channel", "device")
        rows = [{**dict(zip(names, key, strict=True)), **found} for key, found in sorted(self.totals().items())]
        return {
            "outcomes": dict(self.outcomes),
            "lost_on_the_way": self.lost,
            "credited_minor": dict(self.credited),
            "totals": rows,
        }

    def _impression(self, event: Impression, key: Key) -> None:
        amounts = self._totals[key]
        amounts[_IMPRESSIONS] += 1
        if event.relevance is not None:
            hundredths = round(event.relevance * 100)
            amounts[_SCORED] += 1
            amounts[_RELEVANCE] += hundredths * 10_000
        if event.ts - self._turned_ms >= GENERATION_MS:
            self._older, self._newer, self._turned_ms = self._newer, {}, event.ts
        exposed = f"{event.session}:{event.surface}"
        exposure = self._newer.get(exposed) or self._older.get(exposed)
        if exposure is None:
            exposure = self._newer[exposed] = [key, None, False, 0, 0]
            amounts[_SESSIONS] += 1
        if event.relevance is not None:
            self._score(exposure, hundredths)
        self._newer[f"{event.decision}/{event.item}"] = [key, exposure, False]

    def _score(self, exposure: list[Any], hundredths: int) -> None:
        """Let what a session was shown grow: number and sum, of which squares and product are kept."""
        first = self._totals[exposure[0]]
        number, total = exposure[3:]
        exposure[3:] = more, new = number + 1, total + hundredths
        first[_SCORED_SESSIONS] += not number
        first[_RELEVANCE_SQUARES] += (new**2 - total**2) * 100
        first[_SCORED_SQUARES] += more**2 - number**2
        first[_PRODUCTS] += (more * new - number * total) * 10_000

    def _click(self, event: Click) -> bool:
        joined = f"{event.decision}/{event.item}"
        shown = self._newer.get(joined) or self._older.get(joined)
        if shown is None:
            self.outcomes["unmatched"] += 1
            return False
        self._totals[shown[0]][_REPEATS if shown[2] else _CLICKS] += 1
        shown[2], exposure = True, shown[1]
        if not exposure[2]:
            self._totals[exposure[0]][_CLICKED] += 1
            exposure[2] = True
        return True

    def _conversion(self, joined: str, net: int, currency: str | None) -> bool:
        shown = self._newer.get(joined) or self._older.get(joined)
        if shown is None:
            self.outcomes["unmatched"] += 1
            return False
        key, exposure = shown[0], shown[1]
        amounts, first = self._totals[key], self._totals[exposure[0]]
        amounts[_CONVERSIONS] += 1
        if net:
            self.credited[currency or HOME] += net
        if net and currency not in (None, HOME):
            amounts[_FOREIGN] += 1
            net = 0
        amounts[_REVENUE] += net
        if exposure[1] is None:
            first[_CONVERTED] += 1
            exposure[1] = 0
        spent = exposure[1]
        first[_SESSION_REVENUE] += net
        first[_SQUARES] += (spent + net) ** 2 - spent**2
        exposure[1] = spent + net
        return True


def _key(event: Event) -> Key:
    return (
        event.surface or "none", event.arm or "none", event.policy or "none", event.segment or "none",
        event.channel or "none", event.device or "none",
    )  # fmt: skip
