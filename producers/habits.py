"""What else a site tells: messages, offers, journeys, accounts, consent, the health of its own services.

Most sessions have one such habit at most, drawn from one number. Nothing here touches clicks or conversions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from producers.visits import Happening, Session
from stream_app.core.events import (
    Account,
    ApiCall,
    Arm,
    Assignment,
    ConsentChange,
    FeatureUse,
    JourneyStep,
    Message,
    Offer,
    ProfileSync,
)

State = Literal["sent", "delivered", "opened", "clicked", "bounced", "unsubscribed"]
Response = Literal["shown", "accepted", "redeemed", "dismissed", "expired"]
EXPERIMENT: Final = "personalization"
# Up to which number something becomes of a message, an offer, a journey, an account, consent, a call, a profile; the
# number is uniform in [0, 1), and the least stretch that it falls into counts.
BOUNCED, UNSUBSCRIBED, CLICKED, OPENED = 0.05, 0.08, 0.30, 0.55
REDEEMED, ACCEPTED, DISMISSED, EXPIRED = 0.15, 0.30, 0.70, 0.85
CANCELLED, REACTIVATED = 0.20, 0.35
GRANTED, ANSWERED, APPLIED = 0.70, 0.995, 0.97


def habits(session: Session, share: float, weights: Mapping[Arm, float]) -> Iterator[Happening]:
    """Yield the assignment that begins a session, and its habit; `share` is uniform in [0, 1)."""
    arm, at_ms = session.traits.arm, session.begin_ms
    yield (
        at_ms,
        Assignment(
            id=f"{session.name}-a", ts=at_ms + session.skew_ms, experiment=EXPERIMENT, prob=weights[arm], **session.who
        ),
    )
    lower = 0.0
    for upper, habit in _HABITS:
        if share < upper:
            # The remainder of a number that has been used up to a threshold is as random as a new one.
            yield from habit(session, at_ms, (share - lower) / (upper - lower))
            return
        lower = upper


def _states(share: float) -> Iterator[tuple[State, int]]:
    """Yield what becomes of a message, and after how many milliseconds."""
    yield "sent", 0
    if share < BOUNCED:
        yield "bounced", 700
        return
    yield "delivered", 800
    if share < OPENED:
        yield "opened", 5_000
    if share < CLICKED:
        yield "clicked", 9_000
    if share < UNSUBSCRIBED:
        yield "unsubscribed", 20_000


def _message(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    for state, after_ms in _states(share):
        yield (
            at_ms + after_ms,
            Message(
                id=f"{session.name}-m{after_ms}", ts=at_ms + session.skew_ms + after_ms, message=f"m-{session.name}",
                state=state, campaign="weekly", personalized=session.traits.arm != "holdout", **session.who,
            ),
        )  # fmt: skip


def _responses(share: float) -> Iterator[tuple[Response, int]]:
    """Yield what becomes of an offer, and after how many milliseconds."""
    yield "shown", 3_000
    if share < ACCEPTED:
        yield "accepted", 8_000
        if share < REDEEMED:
            yield "redeemed", 600_000
    elif share < DISMISSED:
        yield "dismissed", 8_000
    elif share < EXPIRED:
        yield "expired", 900_000


def _offer(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    for answer, after_ms in _responses(share):
        yield (
            at_ms + after_ms,
            Offer(
                id=f"{session.name}-o{after_ms}", ts=at_ms + session.skew_ms + after_ms, offer=f"o-{session.name}",
                response=answer, **session.who,
            ),
        )  # fmt: skip


def _journey(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    steps = 1 + int(share * 3)
    for step in range(1, steps + 1):
        after_ms = step * 12_000
        yield (
            at_ms + after_ms,
            JourneyStep(
                id=f"{session.name}-j{step}", ts=at_ms + session.skew_ms + after_ms, journey="onboarding",
                instance=f"{session.name}-j", step=step, of=3, outcome="done" if step == 3 else None, **session.who,
            ),
        )  # fmt: skip


def _feature(session: Session, at_ms: int, _share: float) -> Iterator[Happening]:
    yield (
        at_ms + 6_000,
        FeatureUse(id=f"{session.name}-u", ts=at_ms + session.skew_ms + 6_000, feature="wishlist", **session.who),
    )


def _account(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    status: Literal["active", "cancelled", "reactivated"] = "active"
    if share < REACTIVATED:
        status = "cancelled" if share < CANCELLED else "reactivated"
    yield (
        at_ms + 7_000,
        Account(
            id=f"{session.name}-n", ts=at_ms + session.skew_ms + 7_000, status=status, plan="plus", **session.who,
        ),
    )  # fmt: skip


def _consent(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    yield (
        at_ms + 500,
        ConsentChange(
            id=f"{session.name}-g", ts=at_ms + session.skew_ms + 500, scope="personalization", granted=share < GRANTED,
            **session.who,
        ),
    )  # fmt: skip


def _call(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    yield (
        at_ms + 100,
        ApiCall(
            id=f"{session.name}-l", ts=at_ms + session.skew_ms + 100, endpoint="/rank", ms=round(5 + 40 * share**3, 3),
            ok=share < ANSWERED, **session.who,
        ),
    )  # fmt: skip


def _sync(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    yield (
        at_ms + 200,
        ProfileSync(
            id=f"{session.name}-y", ts=at_ms + session.skew_ms + 200, source="crm", target="recommender",
            applied=share < APPLIED, fields_filled=int(share * 20), fields_total=20, lag_ms=int(share * 60_000),
            **session.who,
        ),
    )  # fmt: skip


_HABITS: Final[tuple[tuple[float, Callable[[Session, int, float], Iterator[Happening]]], ...]] = (
    (0.01, _account), (0.02, _consent), (0.04, _sync), (0.09, _message), (0.13, _offer), (0.18, _journey),
    (0.23, _feature), (0.33, _call), (0.36, _account),
)  # fmt: skip
"""Up to which number a session has which habit."""
