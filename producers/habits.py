"""What else a site tells: messages, offers, journeys, accounts, consent, the health of its own services.

Most sessions have one such habit at most, drawn from one number. Nothing here touches clicks or conversions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

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

EXPERIMENT: Final = "personalization"


def habits(session: Session, share: float, weights: Mapping[Arm, float]) -> Iterator[Happening]:
    """Yield the assignment that begins a session, and its habit; `share` is uniform in [0, 1)."""
    arm, at_ms = session.traits.arm, session.begin_ms
    yield (
        at_ms,
        Assignment(
            id=f"{session.name}-a", ts=at_ms + session.skew_ms, experiment=EXPERIMENT, prob=weights[arm], **session.who
        ),
    )
    for upper, habit in _HABITS:
        if share < upper:
            yield from habit(session, at_ms, share / upper)
            return


def _message(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    number = int(share * 1e6)
    for state, after_ms in (("sent", 0), ("delivered", 800), ("opened", 5_000), ("clicked", 9_000)):
        if state in ("opened", "clicked") and share > 0.5:
            return
        yield (
            at_ms + after_ms,
            Message(
                id=f"{session.name}-m{after_ms}", ts=at_ms + session.skew_ms + after_ms, message=f"m-{number}",
                state=state, campaign="weekly", personalized=session.traits.arm != "holdout", **session.who,  # type: ignore[arg-type]  # a literal
            ),
        )  # fmt: skip


def _offer(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    for answer, after_ms in (("shown", 3_000), ("accepted" if share < 0.3 else "dismissed", 8_000)):
        yield (
            at_ms + after_ms,
            Offer(
                id=f"{session.name}-o{after_ms}", ts=at_ms + session.skew_ms + after_ms,
                offer=f"o-{session.traits.taste}", response=answer, **session.who,  # type: ignore[arg-type]  # a literal
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
    yield (
        at_ms + 7_000,
        Account(
            id=f"{session.name}-n", ts=at_ms + session.skew_ms + 7_000, status="cancelled" if share < 0.2 else "active",
            plan="plus", **session.who,
        ),
    )  # fmt: skip


def _consent(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    yield (
        at_ms + 500,
        ConsentChange(
            id=f"{session.name}-g", ts=at_ms + session.skew_ms + 500, scope="personalization", granted=share < 0.7,
            **session.who,
        ),
    )  # fmt: skip


def _call(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    yield (
        at_ms + 100,
        ApiCall(
            id=f"{session.name}-l", ts=at_ms + session.skew_ms + 100, endpoint="/rank", ms=round(5 + 40 * share**3, 3),
            ok=share < 0.995, **session.who,
        ),
    )  # fmt: skip


def _sync(session: Session, at_ms: int, share: float) -> Iterator[Happening]:
    yield (
        at_ms + 200,
        ProfileSync(
            id=f"{session.name}-y", ts=at_ms + session.skew_ms + 200, source="crm", target="recommender",
            applied=share < 0.97, fields_filled=int(share * 20), fields_total=20, lag_ms=int(share * 60_000),
            **session.who,
        ),
    )  # fmt: skip


_HABITS: Final[tuple[tuple[float, Callable[[Session, int, float], Iterator[Happening]]], ...]] = (
    (0.01, _account), (0.02, _consent), (0.04, _sync), (0.09, _message), (0.13, _offer), (0.18, _journey),
    (0.23, _feature), (0.33, _call),
)  # fmt: skip
"""Up to which number a session has which habit."""
