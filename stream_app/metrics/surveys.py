"""Surveys: what people say when they are asked, and what an answer counts as.

An answer is a `feedback` event of the kind `nps` (0 to 10), `csat` (1 to 5) or `rating` (1 to 5, halves and all between
too), counted in the pane in which it is given. A score that its scale does not have, or none, is no answer: it is
counted apart, never rounded. Each event is an answer: two of one person count twice. Without analytics consent they
count as well, for nothing is kept of anybody.
"""

from collections.abc import Callable
from typing import Final, Literal

from stream_app.core.events import Feedback
from stream_app.core.tally import Measure
from stream_app.metrics.fixed_point import MICROS, divided
from stream_app.metrics.methods import Count, Mean, NetScore, Proportion, WeightedProportion
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.windows import windows_from

HUNDREDTHS: Final = 100
LEAST_ANSWERS: Final = 10
"""With fewer, the share of one answer is more than any difference that is looked for."""


def nps_kind(score: float) -> Literal["promoter", "passive", "detractor"] | None:
    """Return what an answer to "how likely are you to recommend us", 0 to 10, counts as; None for any other number.

    Source: F. Reichheld (2003), "The one number you need to grow", Harvard Business Review. A score of 8.5 is none
    of the eleven answers, and neither rounding it up nor down would be honest.
    """
    if score not in range(11):
        return None
    if score >= 9:
        return "promoter"
    return "passive" if score >= 7 else "detractor"


def is_satisfied(rating: float) -> bool | None:
    """Say whether a rating of 1 to 5 is satisfied, which 4 and 5 are; None for any other number."""
    return rating >= 4 if rating in range(1, 6) else None


def _nps(event: Feedback) -> str | None:
    return nps_kind(event.score) if event.kind == "nps" and event.score is not None else None


def _csat(event: Feedback) -> bool | None:
    return is_satisfied(event.score) if event.kind == "csat" and event.score is not None else None


def _points(event: Feedback) -> int:
    """Return the points of a CSAT answer, 0 where there is none."""
    return int(event.score) if event.score is not None and _csat(event) is not None else 0


def _rating(event: Feedback) -> int:
    """Return the hundredths of a rating, 0 where there is none."""
    if event.kind != "rating" or event.score is None or not 1 <= event.score <= 5:
        return 0
    return int(event.score * HUNDREDTHS + 0.5)


def _is_odd(event: Feedback) -> bool:
    has_answer = _nps(event) is not None or _csat(event) is not None or _rating(event) > 0
    return event.kind in ("nps", "csat", "rating") and not has_answer


def _weight(event: Feedback) -> int:
    """Return what a CSAT answer stands for, in millionths: 1 / the probability of being asked; 0 where unknown.

    With a probability below a millionth it stands for a million, not more: one answer would else be all there is.
    """
    if event.asked_prob is None or _csat(event) is None:
        return 0
    return divided(MICROS * MICROS, max(1, int(event.asked_prob * MICROS + 0.5)))


def _sentiment(event: Feedback) -> int:
    return round((event.sentiment or 0.0) * MICROS)


def _answers(name: str, help_: str, lift: Callable[[Feedback], int], unit: str = "answers") -> Measure:
    return Measure(name, help_, unit, Feedback, lift, given="score")


MEASURES: Final = (
    _answers("nps_answers", "Answers of 0 to 10 to how likely one is to recommend.", lambda e: _nps(e) is not None),
    _answers("nps_promoters", "Those of nps_answers that are 9 or 10.", lambda e: _nps(e) == "promoter"),
    _answers("nps_detractors", "Those of nps_answers that are 0 to 6.", lambda e: _nps(e) == "detractor"),
    _answers("csat_answers", "Answers of 1 to 5 to how satisfied one is.", lambda e: _csat(e) is not None),
    _answers("csat_satisfied", "Those of csat_answers that are 4 or 5.", lambda e: _csat(e) is True),
    _answers("csat_points", "Sum of csat_answers.", _points, "points"),
    _answers("csat_point_squares", "Sum of the squares of csat_answers.", lambda e: _points(e) ** 2, "points squared"),
    _answers("csat_asked_answers", "Those of csat_answers of which asked_prob is known.", lambda e: _weight(e) > 0),
    _answers(
        "csat_weight_micros", "Sum over csat_asked_answers of 1 / asked_prob, in millionths.", _weight, "millionths"
    ),
    _answers(
        "csat_satisfied_weight_micros",
        "The part of csat_weight_micros that is satisfied.",
        lambda e: _weight(e) if _csat(e) else 0,
        "millionths",
    ),
    _answers(
        "csat_weight_squares",
        "Sum over csat_asked_answers of (1 / asked_prob) squared, in millionths.",
        lambda e: divided(_weight(e) ** 2, MICROS),
        "millionths",
    ),
    _answers("rating_answers", "Ratings of 1 to 5.", lambda e: _rating(e) > 0),
    _answers("rating_hundredths", "Sum of the ratings, in hundredths.", _rating, "hundredths"),
    _answers(
        "rating_squares",
        "Sum of the squares of the ratings, in ten thousandths.",
        lambda e: _rating(e) ** 2,
        "ten thousandths",
    ),
    Measure(
        "odd_answers",
        "Answers to NPS, CSAT or rating questions with no score, or one that the scale does not have.",
        "answers",
        Feedback,
        lambda e: int(_is_odd(e)),
    ),
    Measure("sentiments", "Feedback with a sentiment, of any kind.", "answers", Feedback, given="sentiment"),
    Measure(
        "sentiment_micros", "Sum of the sentiments, in millionths.", "millionths", Feedback, _sentiment, "sentiment"
    ),
    Measure(
        "sentiment_squares",
        "Sum of the squares of the sentiments, in millionths.",
        "millionths",
        Feedback,
        lambda e: divided(_sentiment(e) ** 2, MICROS),
        "sentiment",
    ),
)

_WINDOWS: Final = windows_from("1h")
_WHO: Final = "Who answers is not who was asked: compare arms, and do not compare with other firms. "


def _survey(
    name: str,
    title: str,
    help_: str,
    unit: str,
    formula: str,
    caveat: str,
    method: NetScore | Proportion | Mean | WeightedProportion,
    bounds: tuple[float, float],
) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit=unit,
        formula=formula,
        caveat=_WHO + caveat,
        method=method,
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        lowest=bounds[0],
        highest=bounds[1],
        at_least=LEAST_ANSWERS,
        windows=_WINDOWS,
    )


def _count(name: str, title: str, help_: str, measure: str, *, is_up_good: bool | None) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="answers",
        formula=measure,
        caveat="Events, not people. How many were asked is not known, so it is no response rate.",
        method=Count(measure),
        honesty="exact",
        settles="at_once",
        is_up_good=is_up_good,
        windows=_WINDOWS,
    )


METRICS: Final = (
    _survey(
        "nps",
        "Net promoter score",
        "Share of answers of 9 and 10 less that of answers of 0 to 6, from -1 to 1 (often told times 100).",
        "ratio",
        "(answers of 9 or 10 - answers of 0 to 6) / answers of 0 to 10",
        "The two shares come from one sample, so its interval is wider than that of a share: with a hundred answers "
        "some 15 points to either side.",
        NetScore("nps_promoters", "nps_detractors", "nps_answers"),
        (-1.0, 1.0),
    ),
    _survey(
        "csat",
        "Customer satisfaction",
        "Share of answers of 4 and 5 out of 5.",
        "ratio",
        "answers of 4 or 5 / answers of 1 to 5",
        "Not the mean rating in per cent: that of all-3 is 60 %, and nobody is satisfied.",
        Proportion("csat_satisfied", "csat_answers"),
        (0.0, 1.0),
    ),
    _survey(
        "csat_weighted",
        "Customer satisfaction of all who might be asked",
        "Share of answers of 4 and 5 out of 5, each weighing as much as it stands for.",
        "ratio",
        "sum of 1 / asked_prob over answers of 4 or 5 / sum of 1 / asked_prob over answers of 1 to 5",
        "It corrects for who was asked, as far as asked_prob is told and true, not for who answered. Answers "
        "without it are not in it. With very unequal probabilities few answers carry it all: the interval says so.",
        WeightedProportion(
            "csat_satisfied_weight_micros",
            "csat_weight_micros",
            "csat_weight_squares",
            "csat_asked_answers",
            scale=MICROS,
            squares_scale=MICROS,
        ),
        (0.0, 1.0),
    ),
    _survey(
        "csat_points",
        "Mean satisfaction",
        "Mean of the answers of 1 to 5.",
        "points",
        "sum of answers / answers of 1 to 5",
        "The steps of the scale are not equally long: read the share of satisfied beside it.",
        Mean("csat_points", "csat_answers", "csat_point_squares"),
        (1.0, 5.0),
    ),
    _survey(
        "rating",
        "Mean rating",
        "Mean of the ratings of 1 to 5.",
        "points",
        "sum of ratings / ratings of 1 to 5",
        "People rate when they are delighted or angry: the mean is of the two ends, and of nobody in between.",
        Mean("rating_hundredths", "rating_answers", "rating_squares", scale=HUNDREDTHS, squares_scale=HUNDREDTHS**2),
        (1.0, 5.0),
    ),
    _survey(
        "sentiment",
        "Mean sentiment",
        "Mean of the sentiments of feedback, from -1 to 1, as its producer's model judged them.",
        "points",
        "sum of sentiments / feedback with a sentiment",
        "It is a model's opinion of what people wrote, on the model's own scale: to read beside the texts, never "
        "something to be steered by.",
        Mean("sentiment_micros", "sentiments", "sentiment_squares", scale=MICROS, squares_scale=MICROS),
        (-1.0, 1.0),
    ),
    _count("nps_answered", "NPS answers", "How many answered the NPS question.", "nps_answers", is_up_good=None),
    _count("csat_answered", "CSAT answers", "How many answered the CSAT question.", "csat_answers", is_up_good=None),
    _count("rating_answered", "Ratings", "How many ratings were given.", "rating_answers", is_up_good=None),
    _count(
        "odd_answered",
        "Answers outside their scale",
        "How many answers had no score, or one that their scale does not have.",
        "odd_answers",
        is_up_good=False,
    ),
)

FAMILY: Final = Family("surveys", "Surveys", "What people say when they are asked.", MEASURES, METRICS)
