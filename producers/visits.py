"""What a session is going to do, and what comes of each of its visits, from random numbers drawn beforehand.

    session  --stage gap--> home.hero --stage gap--> search.results --> cart.crosssell (--> detail.similar)
    visit    decision, impressions --1...60 s--> click --2 s...15 min--> conversion or order --10 min...6 h--> refund

All chance of a session is drawn when it begins, in one fixed order; conditions only move the thresholds that the
numbers are held against. So a scenario changes what it says, and nobody else's fate.
"""

from collections.abc import Iterator
from random import Random
from typing import Any, Final, Literal, NamedTuple

from producers import response
from producers.amounts import (
    CLICK_DELAY_MS,
    CONVERSION_DELAY_MS,
    DWELL_MS,
    ORDER_VALUE,
    REFUND_DELAY_MS,
    STAGE_GAP_MS,
    STEPS,
    draw,
)
from producers.opinions import opinions
from producers.response import MATCH, POSITION_BIAS, SURFACES
from producers.scenarios import Conditions
from producers.traits import TASTES, Traits
from stream_app.core.events import (
    Cart,
    Click,
    ContextSignal,
    Conversion,
    Decision,
    DecisionItem,
    Engagement,
    Event,
    Feedback,
    Impression,
    Order,
    OrderLine,
    PageView,
    Refund,
    Search,
)

Happening = tuple[int, Event]
"""When it happens (true time, ms), and what is said of it; their `ts` differs where a clock is wrong."""

REPEATED: Final = 0.03
"""Share of clicks that are clicked once more."""
REFUNDED: Final = 0.08
MANUAL: Final = 0.02
"""Share of decisions that an editor made."""
_QUERIES: Final = 50
_PLACES: Final = len(POSITION_BIAS)
_CHECK_INS_MS: Final = (15_000, 60_000)
_PER_PLACE: Final = 9
_PER_VISIT: Final = 7
_DRAWS: Final = _PER_VISIT + _PER_PLACE * _PLACES
_SIGNALS: Final = ("location", "weather", "intent", "stock")
_STALE_MS: Final = 6 * 3_600_000
_ITEMS: Final = tuple(
    tuple(tuple(f"item-{category}{slot * _PLACES + place:02d}" for slot in range(8)) for place in range(_PLACES))
    for category in range(TASTES)
)
"""Category, place, slot -> item: no two places of a list can show the same one."""


class Session(NamedTuple):
    """Somebody who came. `who` is what all their events say; `skew_ms` how far ahead their clock is."""

    name: str
    begin_ms: int
    traits: Traits
    is_known: bool
    is_bot: bool
    who: dict[str, Any]
    skew_ms: int


class Visit(NamedTuple):
    """A session at a surface, not yet decided. `signalled`: the signal's category, id and time, if one has come."""

    session: Session
    stage: int
    at_ms: int
    signalled: tuple[int, str, int] | None
    draws: list[float]


def is_repeated(click: Click) -> bool:
    """Say whether this is a further click on an item that was clicked before."""
    return click.id.endswith("d")


def plan(session: Session, chance: Random, new_surface: float) -> Iterator[tuple[int, Visit | Event]]:
    """Yield the visits of a session, and the context signal that may come before one of them."""
    random = chance.random
    at_ms = session.begin_ms
    signal = random()
    category = int(random() * (TASTES - 1))
    category += category >= session.traits.taste
    signalled: tuple[int, str, int] | None = None
    for stage, surface in enumerate(SURFACES):
        is_there = random() < (new_surface if stage == response.NEW_SURFACE else surface.reach[session.traits.segment])
        draws = [random() for _ in range(_DRAWS)] if is_there else []
        if signalled is None and signal < response.SIGNALLED[stage]:
            signalled = category, f"{session.name}-x", at_ms + session.skew_ms
            yield (
                at_ms,
                ContextSignal(
                    id=f"{session.name}-s",
                    ts=at_ms + session.skew_ms,
                    signal=signalled[1],
                    kind=_SIGNALS[int(signal * 997) % len(_SIGNALS)],
                    strength=0.8,
                    **session.who,
                ),
            )
        if is_there:
            at_ms += 250  # a page takes a moment, and a signal comes before what is decided with it
            yield at_ms, Visit(session, stage, at_ms, signalled, draws)
        at_ms += STAGE_GAP_MS[int(random() * STEPS)]


def happenings(visit: Visit, conditions: Conditions, mood: float) -> list[Happening]:
    """Return what a visit shows and what comes of it, in no particular order."""
    session, surface, draws = visit.session, SURFACES[visit.stage], visit.draws
    traits, who, skew_ms = session.traits, session.who, session.skew_ms
    ts = visit.at_ms + skew_ms
    decision = f"{session.name}-{visit.stage}"
    is_told = visit.signalled is not None and traits.arm == "personalized" and draws[0] < conditions.context
    seen_category = visit.signalled[0] if visit.signalled is not None and is_told else None
    need = visit.signalled[0] if visit.signalled else traits.taste
    target = response.aim(traits.arm, traits.taste if session.is_known else None, seen_category)
    accuracy = conditions.accuracy
    factor = mood * conditions.clicks * (conditions.personalized_clicks if traits.arm == "personalized" else 1.0)
    rate = response.click_rate(surface, traits.segment, traits.device, factor)
    sale = response.sale_rate(surface, traits.segment)
    said = {**who, "surface": surface.name}
    quoted = {**said, "decision": decision}
    happened: list[Happening] = [(visit.at_ms, PageView(id=f"{decision}p", ts=ts, page=surface.page, **who))]
    happen = happened.append
    if surface.page == "/search":
        happen(
            (visit.at_ms, Search(id=f"{decision}q", ts=ts, query_hash=f"q-{need}-{int(draws[1] * _QUERIES)}", **who))
        )
    elif surface.page == "/cart":
        happen((visit.at_ms, Cart(id=f"{decision}v", ts=ts, action="view", item=_ITEMS[need][0][0], **said)))
    items = []
    suited, first = MATCH, target
    clicked: list[Happening] = []
    for place in range(_PLACES):
        begin = _PER_VISIT + _PER_PLACE * place
        category = response.shown(target, accuracy, draws[begin])
        slot = int(draws[begin + 1] * 8)
        item = _ITEMS[category][place][slot]
        suit = response.suits(category, need, traits.taste)
        if place == 0:
            suited, first = suit, category
        propensity = response.probability(target, accuracy, category) / 8
        expected = rate * POSITION_BIAS[place] * response.APPEAL[suit] * response.QUALITY[slot]
        predicted = round(surface.base * POSITION_BIAS[place] * response.APPEAL[suit], 6)
        relevance = response.RELEVANCE[suit] - response.RELEVANCE_NOISE
        relevance += int(draws[begin + 2] * (2 * response.RELEVANCE_NOISE + 1))
        at = f"{decision}{place + 1}"
        items.append(DecisionItem(item=item, position=place + 1, propensity=propensity, predicted=predicted))
        clicked.append((
            visit.at_ms,
            Impression(
                id=f"{at}i", ts=ts, item=item, position=place + 1, propensity=propensity, predicted=predicted,
                relevance=relevance / 100, **quoted,
            ),
        ))  # fmt: skip
        if draws[begin + 3] < expected or session.is_bot:
            clicked += _after_click(visit, at, item, place, begin, 0.0 if session.is_bot else sale, quoted)
    explores = None if target is None else first != target
    happen((visit.at_ms, _decision(visit, decision, tuple(items), is_told, explores, said)))
    happened += clicked
    happened += _attention(visit, decision, said)
    if draws[3] < (asked := response.ASKED[traits.device]) and draws[4] < response.ANSWERS[suited]:
        appropriate = response.APPROPRIATE[suited]
        after_ms = 2_000 + int(draws[5] * 30_000)
        happen((
            visit.at_ms + after_ms,
            Feedback(
                id=f"{decision}f", ts=ts + after_ms, kind="context_relevance", score=appropriate, timely=appropriate,
                appropriate=appropriate, asked_prob=asked, **quoted,
            ),
        ))  # fmt: skip
    # What is left of numbers of which only some digits were used: nothing else has to be drawn for what is rare.
    happened += opinions(decision, visit.at_ms, skew_ms, draws[1] * _QUERIES % 1, quoted)
    return happened


def _after_click(
    visit: Visit, at: str, item: str, place: int, begin: int, sale: float, quoted: dict[str, Any]
) -> Iterator[Happening]:
    """Yield a click, and what it leads to."""
    draws, skew_ms = visit.draws, visit.session.skew_ms
    at_ms = visit.at_ms + CLICK_DELAY_MS[int(draws[begin + 4] * STEPS)]
    yield at_ms, Click(id=f"{at}c", ts=at_ms + skew_ms, item=item, position=place + 1, **quoted)
    # The remainder of a number that has been used up to a threshold is as random as a new one.
    if (again := draws[begin + 5]) < REPEATED:
        later_ms = at_ms + 1_000 + int(again / REPEATED * 4_000)
        yield later_ms, Click(id=f"{at}d", ts=later_ms + skew_ms, item=item, position=place + 1, **quoted)
    if draws[begin + 6] >= sale:
        return
    chance = Random(draws[begin + 8])  # noqa: S311 a simulation, no secret
    bought_ms = at_ms + CONVERSION_DELAY_MS[int(draws[begin + 7] * STEPS)]
    value, currency = draw(ORDER_VALUE, chance), visit.session.traits.currency
    if quoted["channel"] == "app":
        yield (
            bought_ms,
            Conversion(
                id=f"{at}b", ts=bought_ms + skew_ms, goal="purchase", value_minor=value, currency=currency, item=item,
                new_customer=_is_new(quoted), **quoted,
            ),
        )  # fmt: skip
        return
    said = {name: what for name, what in quoted.items() if name != "decision"}
    yield (
        (at_ms + bought_ms) // 2,
        Cart(
            id=f"{at}a", ts=(at_ms + bought_ms) // 2 + skew_ms, action="add", item=item, quantity=1, price_minor=value,
            currency=currency, **quoted,
        ),
    )  # fmt: skip
    yield from _order(at, item, bought_ms, skew_ms, value, currency, quoted["decision"], said, chance)


def _order(
    at: str,
    item: str,
    bought_ms: int,
    skew_ms: int,
    value: int,
    currency: str,
    decision: str,
    said: dict[str, Any],
    chance: Random,
) -> Iterator[Happening]:
    """Yield an order of this net value, and perhaps its return. One line names what earned it."""
    rest = value * 3 // 10 if chance.random() < 0.2 else 0
    lines = [OrderLine(item=item, quantity=1, price_minor=value - rest, decision=decision)]
    if rest:
        lines.append(OrderLine(item=_ITEMS[int(chance.random() * TASTES)][0][7], quantity=1, price_minor=rest))
    tax, shipping = value // 5, 490 if value < 5_000 else 0
    yield (
        bought_ms,
        Order(
            id=f"{at}b", ts=bought_ms + skew_ms, order=f"{at}o", currency=currency, total_minor=value + tax + shipping,
            tax_minor=tax, shipping_minor=shipping, lines=tuple(lines), new_customer=_is_new(said), **said,
        ),
    )  # fmt: skip
    if chance.random() < REFUNDED:
        back_ms = bought_ms + draw(REFUND_DELAY_MS, chance)
        back = Refund(
            id=f"{at}r", ts=back_ms + skew_ms, order=f"{at}o", amount_minor=value + tax, currency=currency, **said
        )
        yield back_ms, back


def _is_new(said: dict[str, Any]) -> bool | None:
    """Return what the shop says of a buyer: those of the segment `new` are new customers; of others it says nothing."""
    return True if said["segment"] == "new" else None


def _decision(
    visit: Visit,
    decision: str,
    items: tuple[DecisionItem, ...],
    is_contextual: bool,
    explores: bool | None,
    said: dict[str, Any],
) -> Decision:
    """Return the decision. The personalized arm says how fresh its context is; with a dead pipe, hours old.

    A policy that aims explores where its first item is another than what it aims at. People of whom nothing is known
    are decided for as their segment.
    """
    session, ts = visit.session, visit.at_ms + visit.session.skew_ms
    arm = session.traits.arm
    told: dict[str, Any] = {}
    if arm == "personalized":
        is_stale = visit.signalled is not None and not is_contextual
        told["context_ts"] = ts - _STALE_MS if is_stale else visit.signalled[2] if visit.signalled else ts - 1_000
        if is_contextual and visit.signalled is not None:
            told |= {"signal": visit.signalled[1], "changed": True}
    depth: Literal["substitution", "segment", "individual", "contextual"] = "individual"
    if arm == "holdout":
        depth = "substitution"
    elif is_contextual or not session.is_known:
        depth = "contextual" if is_contextual else "segment"
    automation: Literal["auto", "manual"] = "manual" if visit.draws[6] * STEPS % 1 < MANUAL else "auto"
    return Decision(
        id=f"{decision}k", ts=ts, decision=decision, items=items, depth=depth, explore=explores,
        automation=automation, latency_ms=10 + int(visit.draws[2] ** 4 * 200), **told, **said,
    )  # fmt: skip


def _attention(visit: Visit, decision: str, said: dict[str, Any]) -> Iterator[Happening]:
    """Yield the heartbeats of a view: at the check-ins that it reaches, and at its end."""
    dwell_ms = DWELL_MS[int(visit.draws[6] * STEPS)]
    told = {**said, "view": f"{decision}w"}
    ts = visit.at_ms + visit.session.skew_ms
    for elapsed_ms, next_ms in zip(_CHECK_INS_MS, (*_CHECK_INS_MS[1:], None), strict=True):
        if elapsed_ms < dwell_ms:
            yield (
                visit.at_ms + elapsed_ms,
                Engagement(
                    id=f"{decision}e{elapsed_ms // 1000}", ts=ts + elapsed_ms, elapsed_ms=elapsed_ms, final=False,
                    next_checkin_ms=next_ms, **told,
                ),
            )  # fmt: skip
    yield (
        visit.at_ms + dwell_ms,
        Engagement(
            id=f"{decision}e", ts=ts + dwell_ms, elapsed_ms=dwell_ms, final=True, active_ms=dwell_ms * 4 // 5,
            scroll_pct=float(round(min(100.0, 20 + dwell_ms / 600))), **told,
        ),
    )  # fmt: skip
