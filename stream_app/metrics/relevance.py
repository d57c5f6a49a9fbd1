"""Contextual relevance, in its simplest honest form: the mean relevance that the recommender itself stated.

It answers "how well did what was shown match the context, as the model saw it", and is only as good as that model.
What people did and said about it (response, lift, feedback) comes as further metrics.
"""

from operator import attrgetter, itemgetter
from typing import Final

from stream_app.core.attribution import MICROS
from stream_app.core.tally import Measure, Occasion
from stream_app.metrics.methods import ClusteredMean, Clusters
from stream_app.metrics.metric import Family, Metric

MEASURES: Final = (
    Measure(
        "scored_impressions",
        "Impressions that carry a relevance score.",
        "items",
        Occasion.RATED,
        itemgetter(0),
    ),
    Measure(
        "relevance_micros",
        "Sum of relevance scores, in millionths.",
        "millionths",
        Occasion.RATED,
        itemgetter(1),
    ),
    Measure(
        "scored_sessions",
        "Sessions that saw a scored impression on the surface, at their first one.",
        "sessions",
        Occasion.SCORES,
        attrgetter("sessions"),
    ),
    Measure(
        "session_relevance_squares",
        "Sum over sessions of the square of the sum of their relevance scores, in millionths.",
        "millionths",
        Occasion.SCORES,
        attrgetter("squares"),
    ),
    Measure(
        "session_scored_squares",
        "Sum over sessions of the square of the number of their scored impressions.",
        "items squared",
        Occasion.SCORES,
        attrgetter("counts_squared"),
    ),
    Measure(
        "session_relevance_products",
        "Sum over sessions of that sum times that number, in millionths.",
        "millionths",
        Occasion.SCORES,
        attrgetter("products"),
    ),
)

METRICS: Final = (
    Metric(
        name="relevance",
        title="Contextual relevance",
        help="Mean relevance in context of the impressions that state one, 0 to 1, as scored when they were decided.",
        unit="ratio",
        formula="sum of stated relevance / impressions that state one",
        caveat="It is the recommender's own opinion, and only as good as its model: a model that is sure of itself and "
        "wrong scores high. What people did and said about it are other metrics.",
        method=ClusteredMean(
            "relevance_micros",
            "scored_impressions",
            Clusters(
                "scored_sessions",
                "session_relevance_squares",
                "session_scored_squares",
                "session_relevance_products",
            ),
            scale=MICROS,
            squares_scale=MICROS,
        ),
        honesty="estimate",
        settles="at_once",
        is_up_good=True,
        is_exported=True,
        highest=1.0,
        at_least=2,
    ),
)

FAMILY: Final = Family(
    "relevance", "Contextual relevance", "How well what was shown met the moment.", MEASURES, METRICS
)
