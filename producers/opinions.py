"""What people say of what they were shown, asked and unasked: how likely each is, and which answers they give.

A visit brings one opinion at most, drawn from one number. What is said depends on the arm or the device alone, so the
truth of each answer is a sum over people. CSAT is asked more of some devices than of others, and `asked_prob` says so:
the plain share is that of those who were asked, the weighted one that of everybody.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple

from stream_app.core.events import Arm, Feedback

Kind = Literal["thumb", "hide", "relevance", "csat", "nps", "rating", "transparency"]
Scores = tuple[float, ...]
Weights = tuple[float, ...]


class Opinion(NamedTuple):
    """One kind of opinion: which scores there are, and how likely each is by arm (or by device)."""

    kind: Kind
    scores: Scores
    by: Mapping[str, Weights]


LIKED: Final[Mapping[Arm, float]] = {"personalized": 0.80, "context_blind": 0.70, "holdout": 0.60}
"""Share of thumbs that are up, by arm."""
RELEVANT: Final[Mapping[Arm, float]] = {"personalized": 0.75, "context_blind": 0.65, "holdout": 0.50}
"""Share of answers that found it relevant, by arm."""
RECOMMENDED: Final[Mapping[Arm, tuple[float, float, float]]] = {
    "personalized": (0.20, 0.30, 0.50),
    "context_blind": (0.25, 0.35, 0.40),
    "holdout": (0.30, 0.40, 0.30),
}
"""Detractors, passives and promoters, by arm."""
SATISFIED: Final[Mapping[str, Weights]] = {
    "mobile": (0.10, 0.15, 0.25, 0.30, 0.20),
    "desktop": (0.04, 0.06, 0.15, 0.40, 0.35),
    "tablet": (0.05, 0.10, 0.20, 0.40, 0.25),
}
"""Answers of 1 to 5, by device."""
CSAT_ASKED: Final[Mapping[str, float]] = {"mobile": 0.006, "desktop": 0.018, "tablet": 0.012}
"""By device: the probability of being asked at a visit; it travels in the event. Whoever is asked answers."""
RATED: Final[Weights] = (0.10, 0.02, 0.03, 0.05, 0.10, 0.10, 0.20, 0.15, 0.25)
"""Ratings of 1 to 5 by halves: more at the ends than in between."""
FELT: Final[Weights] = (0.10, 0.15, 0.20, 0.30, 0.25)
"""Sentiments of -1 to 1 by halves, of what people write about transparency."""


def _both(share: Mapping[Arm, float]) -> dict[str, Weights]:
    return {arm: (1 - up, up) for arm, up in share.items()}


def _all(weights: Weights) -> dict[str, Weights]:
    return dict.fromkeys(LIKED, weights)


def _eleven(thirds: tuple[float, float, float]) -> Weights:
    detractors, passives, promoters = thirds
    return (*[detractors / 7] * 7, *[passives / 2] * 2, *[promoters / 2] * 2)


HIDDEN, THUMBED, JUDGED, ASKED_NPS, RATES, WRITES, CLOSED = 0.004, 0.006, 0.005, 0.008, 0.004, 0.003, 0.001
"""How likely a visit brings a hide, a thumb, a word on relevance, an NPS answer, a rating, a text, a closed survey."""
NPS: Final = Opinion("nps", tuple(map(float, range(11))), {arm: _eleven(of) for arm, of in RECOMMENDED.items()})
CSAT: Final = Opinion("csat", (1.0, 2.0, 3.0, 4.0, 5.0), SATISFIED)
RATING: Final = Opinion("rating", tuple(half / 2 for half in range(2, 11)), _all(RATED))
SENTIMENT: Final = Opinion("transparency", (-1.0, -0.5, 0.0, 0.5, 1.0), _all(FELT))
OPINIONS: Final[tuple[tuple[float, Opinion], ...]] = (
    (HIDDEN, Opinion("hide", (), {})),
    (THUMBED, Opinion("thumb", (-1.0, 1.0), _both(LIKED))),
    (JUDGED, Opinion("relevance", (0.0, 1.0), _both(RELEVANT))),
    (ASKED_NPS, NPS),
    (RATES, RATING),
    (WRITES, SENTIMENT),
    # A survey that is closed without an answer: senders tell it, and it is none.
    (CLOSED, Opinion("nps", (), {})),
)
_REACHED: Final = tuple(accumulate(probability for probability, _ in OPINIONS))
_AFTER_MS: Final = (3_000, 40_000)


def opinions(
    decision: str, at_ms: int, skew_ms: int, share: float, quoted: Mapping[str, Any]
) -> Iterator[tuple[int, Feedback]]:
    """Yield (true time, what is said of a decision), if anything; `share` is uniform in [0, 1)."""
    asked = CSAT_ASKED[quoted["device"]]
    if share >= _REACHED[-1] + asked:
        return
    if share < _REACHED[-1]:
        number = bisect_right(_REACHED, share)
        probability, opinion = OPINIONS[number]
        rest = (share - (_REACHED[number] - probability)) / probability
        asked_prob = None
    else:
        opinion, rest, asked_prob = CSAT, (share - _REACHED[-1]) / asked, asked
    # The remainder of a number that has been used up to a threshold is as random as a new one.
    score, rest = _answer(opinion, quoted, rest)
    at_ms += _AFTER_MS[0] + int(rest * (_AFTER_MS[1] - _AFTER_MS[0]))
    is_text = opinion is SENTIMENT
    yield (
        at_ms,
        Feedback(
            id=f"{decision}z", ts=at_ms + skew_ms, kind=opinion.kind, score=None if is_text else score,
            sentiment=score if is_text else None, asked_prob=asked_prob, **quoted,
        ),
    )  # fmt: skip


def mean(opinion: Opinion, of: str, worth: Sequence[float] = ()) -> float:
    """Return what those of an arm (or device) say on the mean; each score is worth itself, or what `worth` says."""
    return sum(p * value for p, value in zip(opinion.by[of], worth or opinion.scores, strict=True))


def _answer(opinion: Opinion, quoted: Mapping[str, Any], share: float) -> tuple[float | None, float]:
    """Return the score, and the remainder of the number."""
    if not opinion.scores:
        return None, share
    below = 0.0
    for score, weight in zip(opinion.scores, opinion.by[quoted["device" if opinion is CSAT else "arm"]], strict=True):
        if share < below + weight:
            return score, (share - below) / weight
        below += weight
    return opinion.scores[-1], 0.0  # the weights add up to 1 but for rounding
