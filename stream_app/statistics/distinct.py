"""How many different users, items or sessions there were, from a distinct sketch."""

from stream_app.core.distinct_sketch import DistinctSketch
from stream_app.statistics.estimates import Z_95, Estimate


def distinct_count(sketch: DistinctSketch) -> Estimate:
    """Return the number of different keys with the interval of the sketch's error: value * (1 -+ z 1.04 / sqrt(m)).

    Nothing seen is a count of 0, not a lack of it. `n` of the estimate is the value, rounded.
    """
    value = sketch.estimate()
    half = Z_95 * sketch.standard_error
    return Estimate(value, round(value), max(0.0, value * (1 - half)), value * (1 + half))
