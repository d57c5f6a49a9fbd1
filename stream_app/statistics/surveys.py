"""What people answered when they were asked: net promoter score and satisfaction.

Who answers is not who was asked; the answer rate belongs beside every number here, and arms are compared with each
other rather than with last month.
"""

from math import sqrt

from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.proportions import wilson


def net_promoter_score(promoters: int, detractors: int, answers: int) -> Estimate | None:
    """Return the share of promoters (9, 10) less that of detractors (0 to 6), from -1 to 1; None without answers.

        NPS = p - d      var = (p + d - (p - d)^2) / n

    The two shares come from one multinomial sample, so they are negatively correlated: neither a binomial variance
    of the score nor the sum of two is right. Source: B. Rocks (2016), "Interval estimation for the net promoter
    score", The American Statistician 70. When all answers are of one kind the variance is 0, and the bounds are
    those that Wilson gives the share of that kind.

    Raises ValueError for more promoters and detractors than answers.
    """
    if min(promoters, detractors) < 0 or promoters + detractors > answers:
        raise ValueError(f"{promoters} promoters and {detractors} detractors are no part of {answers} answers")
    if not answers:
        return None
    p, d = promoters / answers, detractors / answers
    value = p - d
    doubt = 1 - wilson(answers, answers).low
    # Four cases: all promote, all detract, all are passive, or they differ.
    if promoters == answers:
        return Estimate(1.0, answers, 1 - 2 * doubt, 1.0)
    if detractors == answers:
        return Estimate(-1.0, answers, -1.0, 2 * doubt - 1)
    if promoters == detractors == 0:
        return Estimate(0.0, answers, -doubt, doubt)
    half = Z_95 * sqrt((p + d - value * value) / answers)
    return Estimate(value, answers, max(-1.0, value - half), min(1.0, value + half))


def satisfaction(satisfied: int, answers: int) -> Estimate | None:
    """Return the share of answers of 4 or 5 out of 5 (CSAT), with its Wilson interval; None without answers.

    It is not the mean rating in per cent: that of all-3 is 60 %, and nobody is satisfied.
    """
    return wilson(satisfied, answers) if answers else None
