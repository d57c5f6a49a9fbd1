"""What people answered when they were asked: net promoter score and satisfaction.

Who answers is not who was asked; the answer rate belongs beside every number here, and arms are compared with each
other rather than with last month.
"""

from math import sqrt
from typing import Final

from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.proportions import wilson

ADDED: Final = 3
"""Answers that the interval of the net promoter score adds to those that were given."""


def net_promoter_score(promoters: int, detractors: int, answers: int) -> Estimate | None:
    """Return the share of promoters (9, 10) less that of detractors (0 to 6), from -1 to 1; None without answers.

        NPS = p - d      interval = p' - d' -+ z sqrt((p' + d' - (p' - d')^2) / n')

    where p', d' and n' have three answers more, 3/4 of them promoters and 3/4 detractors: the adjusted Wald interval.
    The two shares come from one multinomial sample, so they are negatively correlated: neither a binomial variance of
    the score nor the sum of two is right. Without the three, the interval of ten answers covers 90 % and not 95, and is
    a point when all are of one kind. Source: B. Rocks (2016), "Interval estimation for the net promoter score", The
    American Statistician 70.

    Raises ValueError for more promoters and detractors than answers.
    """
    if min(promoters, detractors) < 0 or promoters + detractors > answers:
        raise ValueError(f"{promoters} promoters and {detractors} detractors are no part of {answers} answers")
    if not answers:
        return None
    value = (promoters - detractors) / answers
    more = answers + ADDED
    p, d = (promoters + ADDED / 4) / more, (detractors + ADDED / 4) / more
    half = Z_95 * sqrt((p + d - (p - d) ** 2) / more)
    low, high = max(-1.0, p - d - half), min(1.0, p - d + half)
    return Estimate(value, answers, min(value, low), max(value, high))


def weighted_share(
    answers: int, positive_weights: int, weights: int, weight_squares: int, scale: int = 1, squares_scale: int = 1
) -> Estimate:
    """Return the share of positive answers when each weighs w = 1 / the probability with which it was asked for.

        p = sum(w y) / sum(w)      n_e = sum(w)^2 / sum(w^2)      interval = Wilson's of p in n_e answers

    so that who was asked rarely stands for as many as who was asked often. `positive_weights` and `weights` are `scale`
    times, `weight_squares` is `squares_scale` times the sums. `n` of the estimate is the number of answers, which is
    never below n_e. Source: L. Kish (1965), "Survey Sampling", 11.7; the ratio estimator is J. Hajek (1971), in
    "Foundations of Statistical Inference". It corrects for who was asked, not for who answered.

    Raises ValueError unless 0 <= positive_weights <= weights, and weights, their squares and answers are above 0.
    """
    if min(answers, weights, weight_squares) <= 0:
        raise ValueError(f"{answers} answers of weight {weights} and squares {weight_squares} have no share")
    # Rounded squares can put n_e a little above the number of answers, which it never is.
    effective = min(answers, weights * weights * squares_scale / (weight_squares * scale * scale))
    share = wilson(positive_weights, weights, design_effect=weights / effective)
    return Estimate(share.value, answers, share.low, share.high)


def satisfaction(satisfied: int, answers: int) -> Estimate | None:
    """Return the share of answers of 4 or 5 out of 5 (CSAT), with its Wilson interval; None without answers.

    It is not the mean rating in per cent: that of all-3 is 60 %, and nobody is satisfied.
    """
    return wilson(satisfied, answers) if answers else None
