"""Contextual relevance, part 3: what people say of timeliness and appropriateness, and what they say unasked.

Who is asked is drawn by the site, and `asked_prob` says with which probability: an answer then stands for
1 / asked_prob people, cut at 1,000. An answer without it weighs 1, as if everybody had been asked: right where no
answer has it, not where some have. Verdicts lie between -1 and 1, of which those above 0 are positive and 0 is an
answer. Weights are added in millionths, so sums are exact.

Counted at the answer's own time, under the surface and arm that it names.
"""

from collections.abc import Callable
from typing import Final

from stream_app.core.events import Feedback
from stream_app.core.tally import Measure
from stream_app.metrics.fixed_point import MICROS, divided
from stream_app.metrics.methods import Mean, Proportion, Rate, Ratio, WeightedProportion
from stream_app.metrics.metric import Family, Metric

HEAVIEST: Final = 1_000
"""No answer stands for more people than this: else a single one could rule."""

Verdict = Callable[[Feedback], bool | None]
"""Whether an answer is positive; None for one that says nothing of it."""


def weight_micros(answer: Feedback) -> int:
    """Return how many an answer stands for, in millionths."""
    if answer.asked_prob is None:
        return MICROS
    return HEAVIEST * MICROS if answer.asked_prob * HEAVIEST <= 1 else int(MICROS / answer.asked_prob + 0.5)


def square_micros(weight: int) -> int:
    """Return the square of a weight in millionths, in millionths."""
    return divided(weight * weight, MICROS)


def is_timely(answer: Feedback) -> bool | None:
    """Say whether the moment was right."""
    return None if answer.kind != "context_relevance" or answer.timely is None else answer.timely > 0


def is_appropriate(answer: Feedback) -> bool | None:
    """Say whether what was shown was right for the moment."""
    return None if answer.kind != "context_relevance" or answer.appropriate is None else answer.appropriate > 0


def is_fitting(answer: Feedback) -> bool | None:
    """Say whether all is positive that is said of timeliness and appropriateness."""
    said = [verdict for verdict in (is_timely(answer), is_appropriate(answer)) if verdict is not None]
    return all(said) if said else None


def is_thumb_up(answer: Feedback) -> bool | None:
    """Say whether a thumb is up."""
    return None if answer.kind != "thumb" or answer.score is None else answer.score > 0


def is_found_relevant(answer: Feedback) -> bool | None:
    """Say whether somebody found it relevant."""
    return None if answer.kind != "relevance" or answer.score is None else answer.score > 0


def _answers(name: str, what: str, verdict: Verdict) -> tuple[Measure, Measure]:
    return (
        Measure(f"{name}_answers", f"Answers {what}.", "answers", Feedback, lambda a: int(verdict(a) is not None)),
        Measure(f"{name}_positive", f"Positive answers {what}.", "answers", Feedback, lambda a: int(verdict(a) or 0)),
    )


def _weighted(name: str, what: str, verdict: Verdict) -> tuple[Measure, ...]:
    def weight(answer: Feedback) -> int:
        return 0 if verdict(answer) is None else weight_micros(answer)

    return (
        *_answers(name, what, verdict),
        Measure(f"{name}_weight_micros", f"Weights of the answers {what}.", "millionths", Feedback, weight),
        Measure(
            f"{name}_positive_weight_micros",
            f"Weights of the positive answers {what}.",
            "millionths",
            Feedback,
            lambda answer: weight_micros(answer) if verdict(answer) else 0,
        ),
        Measure(
            f"{name}_square_micros",
            f"Squared weights of the answers {what}.",
            "millionths",
            Feedback,
            lambda answer: square_micros(weight(answer)),
        ),
    )


def _asked_micros(answer: Feedback) -> int:
    return weight_micros(answer) if answer.kind == "context_relevance" else 0


MEASURES: Final = (
    *_weighted("timely", "on whether the moment was right", is_timely),
    *_weighted("appropriate", "on whether it was right for the moment", is_appropriate),
    *_weighted("fitting", "on the moment, or on what was right for it", is_fitting),
    Measure(
        "asked_answers",
        "Answers on contextual relevance that state how likely one was to be asked.",
        "answers",
        Feedback,
        lambda answer: int(answer.kind == "context_relevance"),
        given="asked_prob",
    ),
    Measure(
        "asked_weight_micros",
        "Weights of those answers: how many would have answered, had everybody been asked.",
        "millionths",
        Feedback,
        _asked_micros,
        given="asked_prob",
    ),
    Measure(
        "asked_square_micros",
        "Squares of those weights.",
        "millionths",
        Feedback,
        lambda answer: square_micros(_asked_micros(answer)),
        given="asked_prob",
    ),
    *_answers("thumb", "by thumb", is_thumb_up),
    *_answers("relevance", "to whether it was relevant", is_found_relevant),
    Measure("hides", "Items hidden.", "hides", Feedback, lambda answer: int(answer.kind == "hide")),
)


def _positive(name: str, title: str, sums: str, help_: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="ratio",
        formula="sum of 1 / asked_prob over positive answers / sum of 1 / asked_prob over answers",
        caveat="Weights correct for who was asked, never for who chose to answer: read `context_answer_rate` beside "
        "it, and compare arms whose answer rates agree. 0 is an answer, and not a positive one. Not the mean opinion.",
        method=WeightedProportion(
            f"{sums}_positive_weight_micros",
            f"{sums}_weight_micros",
            f"{sums}_square_micros",
            f"{sums}_answers",
            scale=MICROS,
            squares_scale=MICROS,
        ),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
    )


METRICS: Final = (
    _positive(
        "context_timely",
        "Timely, people say",
        "timely",
        "Share of those asked who would say that the moment was right.",
    ),
    _positive(
        "context_appropriate",
        "Appropriate, people say",
        "appropriate",
        "Share of those asked who would say that what was shown was right for the moment.",
    ),
    _positive(
        "context_fitting",
        "Right in context, people say",
        "fitting",
        "Share of those asked who would find the moment, and what was shown in it, right.",
    ),
    Metric(
        name="context_answer_rate",
        title="Answer rate on context",
        help="Share of decisions whose viewers would answer, were they asked about contextual relevance.",
        unit="ratio",
        formula="sum of 1 / asked_prob over answers that state it / decisions",
        caveat="An estimate from the answers alone (Horvitz and Thompson), for no event tells that somebody was asked: "
        "it holds where whoever sees a decision may be asked, once. It is not answers / decisions, which falls when "
        "fewer are asked. An answer stands in its own pane, seconds after its decision.",
        method=Mean("asked_weight_micros", "decisions", "asked_square_micros", scale=MICROS, squares_scale=MICROS),
        honesty="estimate",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
        at_least=2,
    ),
    Metric(
        name="context_ask_rate",
        title="Ask rate on context",
        help="Of those who would answer about contextual relevance, the share that was asked.",
        unit="ratio",
        formula="answers that state asked_prob / sum of 1 / asked_prob over them",
        caveat="The harmonic mean of asked_prob over answers. It says how thin the survey is; how many were asked is "
        "told by no event.",
        method=Ratio("asked_answers", "asked_weight_micros", of_scale=MICROS),
        honesty="estimate",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
    ),
    Metric(
        name="thumbs_up",
        title="Thumbs up",
        help="Share of thumbs that are up.",
        unit="ratio",
        formula="thumbs with a score above 0 / thumbs with a score",
        caveat="Nobody was asked: those who care show a thumb. It is a share of thumbs, not of people.",
        method=Proportion("thumb_positive", "thumb_answers"),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="found_relevant",
        title="Relevant, people say",
        help="Share of answers that found what was shown helpful and relevant.",
        unit="ratio",
        formula="feedback of kind relevance with a score above 0 / feedback of kind relevance with a score",
        caveat="Scores are yes or no, 1 against 0 or -1; on five stars all would be positive: these are `rating`. It "
        "is not weighted by asked_prob, and those who answer are not those who were shown something.",
        method=Proportion("relevance_positive", "relevance_answers"),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        highest=1.0,
    ),
    Metric(
        name="hide_rate",
        title="Hidden per 1,000 impressions",
        help="How many items people hide, per 1,000 impressions.",
        unit="hides",
        formula="feedback of kind hide / impressions, times 1,000",
        caveat="People who hide one item hide more, so the interval is too narrow. A hide stands in its own pane, not "
        "in that of what it hides.",
        method=Rate("hides", "impressions", per=1_000),
        honesty="exact",
        settles="at_once",
        is_up_good=False,
    ),
)

FAMILY: Final = Family(
    "feedback", "Feedback", "What people say of what they were shown, and of its moment.", MEASURES, METRICS
)
