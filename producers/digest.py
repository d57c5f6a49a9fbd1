"""The digest: a mail that nobody asked for, with a list of twelve items, an offer, and what it may lead to.

    20 min after a session begins   decision (proactive), impressions, offer shown --> clicks, offer taken or dismissed
                                    --> goals: sign-up, quote, lead --> qualified, ...

It comes after every hundredth session, in one of its own, long after the session's last decision, so what is true of
the surfaces of the site does not depend on it. No arm makes a difference here.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from producers.visits import Happening, Session
from stream_app.core.events import Click, Conversion, Decision, DecisionItem, Event, Impression, Offer

SURFACE: Final = "mail.digest"
SENT: Final = 0.01
"""Digests for each session of a person."""
AFTER_MS: Final = 1_200_000
CLICKED: Final = (0.20, 0.16, 0.13, 0.11, 0.10, 0.09, 0.08, 0.07, 0.06, 0.05, 0.05, 0.04)
"""By place: how likely what stands there is clicked."""
TAKEN, REDEEMED, DISMISSED = 0.30, 0.40, 0.25
"""Shares of the offers that are accepted, of these that are redeemed as well, and that are dismissed."""
GOALS: Final[Mapping[str, float]] = {
    "sign_up": 0.12, "inquiry": 0.10, "quote": 0.08, "demo": 0.06, "lead": 0.30, "activation": 0.08,
    "subscription": 0.06, "referral": 0.10,
}  # fmt: skip
"""How likely a digest leads to each, independently."""
QUALIFIED: Final = 0.5
"""Share of the leads that are called qualified a few minutes later."""
_ITEMS: Final = 40


def digest(session: Session, chance: Random) -> Iterator[Happening]:
    """Yield the digest that comes after a session, and what comes of it; all chance is that of `chance`."""
    name, at_ms = f"{session.name}-d", session.begin_ms + AFTER_MS
    items = tuple(f"digest-{number:02d}" for number in chance.sample(range(_ITEMS), len(CLICKED)))
    who = {**session.who, "session": name, "surface": SURFACE}
    quoted = {**who, "decision": name}
    told: list[tuple[int, Event]] = []

    def tell(kind: type[Event], ident: str, after_ms: int, **own: object) -> None:
        when_ms = at_ms + after_ms
        told.append((when_ms, kind(id=f"{name}{ident}", ts=when_ms + session.skew_ms, **own)))  # type: ignore[arg-type]

    tell(
        Decision, "k", 0, items=tuple(DecisionItem(item=item, position=at + 1) for at, item in enumerate(items)),
        proactive=True, depth="individual", automation="auto", **quoted,
    )  # fmt: skip
    for at, (item, clicked) in enumerate(zip(items, CLICKED, strict=True), 1):
        tell(Impression, f"i{at}", 250, item=item, position=at, **quoted)
        if chance.random() < clicked:
            tell(Click, f"c{at}", 2_000 + chance.randrange(40_000), item=item, position=at, **quoted)
    _offer(tell, chance.random(), chance.random(), {**quoted, "offer": name})
    for goal, probability in GOALS.items():
        if chance.random() >= probability:
            continue
        after_ms = 60_000 + chance.randrange(300_000)
        tell(Conversion, f"g-{goal}", after_ms, goal=goal, item=items[0], **quoted)
        if goal == "lead" and chance.random() < QUALIFIED:
            tell(Conversion, "g-qualified", after_ms + 120_000, goal="qualified", item=items[0], **quoted)
    yield from told


def _offer(tell: object, taken: float, redeemed: float, told: Mapping[str, object]) -> None:
    assert callable(tell)
    tell(Offer, "o", 1_000, response="shown", **told)
    if taken < TAKEN:
        tell(Offer, "oa", 30_000, response="accepted", **told)
        if redeemed < REDEEMED:
            tell(Offer, "or", 400_000, response="redeemed", **told)
    elif taken < TAKEN + DISMISSED:
        tell(Offer, "od", 15_000, response="dismissed", **told)
