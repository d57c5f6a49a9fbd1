"""Contextual relevance, in its simplest honest form: the mean relevance that the recommender itself stated.

It answers "how well did what was shown match the context, as the model saw it", and is only as good as that model.
What people did and said about it (response, lift, feedback) comes as further metrics.
"""

from typing import Final

from stream_app.core.events import Impression
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.metric import Metric

MICROS: Final = 1_000_000


def _micros(impression: Impression) -> int:
    relevance = impression.relevance or 0.0
    return int(relevance * MICROS + 0.5)


def _square_micros(impression: Impression) -> int:
    relevance = impression.relevance or 0.0
    return int(relevance * relevance * MICROS + 0.5)


MEASURES: Final = (
    Measure(
        "scored_impressions",
        "Impressions that carry a relevance score.",
        "items",
        Occasion.IMPRESSION,
        given="relevance",
    ),
    Measure(
        "relevance_micros",
        "Sum of relevance scores, in millionths.",
        "millionths",
        Occasion.IMPRESSION,
        _micros,
        given="relevance",
    ),
    Measure(
        "relevance_square_micros",
        "Sum of squared relevance scores, in millionths.",
        "millionths",
        Occasion.IMPRESSION,
        _square_micros,
        given="relevance",
    ),
)

METRICS: Final = (
    Metric(
        "relevance",
        "Contextual relevance",
        "Mean relevance in context of the impressions that state one, 0 to 1, as scored when they were decided.",
        "ratio",
        "mean",
        total="relevance_micros",
        count="scored_impressions",
        squares="relevance_square_micros",
        scale=MICROS,
        squares_scale=MICROS,
        highest=1.0,
        at_least=2,
    ),
)
