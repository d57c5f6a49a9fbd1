"""Rows of shares, counts and answers: Wilson's interval, exact Poisson, net scores, weighted answers, medians."""

from collections.abc import Iterator
from math import log
from statistics import NormalDist
from typing import Final

import numpy as np

from benchmarks.covered import METRIC, Bounds, Kind, Rng, Row, answers, of_sessions
from stream_app.metrics.methods import MedianBetween
from stream_app.metrics.returns import ACQUISITION, PERSONALIZATION
from stream_app.statistics.proportions import agresti_coull
from stream_app.statistics.surveys import satisfaction

COST: Final = 5_000.0
_ASKED: Final = ((0.05, 0.5, 0.4), (0.1, 0.2, 0.6), (0.2, 0.3, 0.7))
"""Of those who answer: with which probability they were asked, their share, and how many of them are pleased."""


def _of_trials(
    name: str, successes: str, trials: str, n: int, p: float, kind: Kind = "nominal", words: str = ""
) -> Row:
    """Return the row of a metric that counts `successes` of so many independent trials."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        return answers(name, {successes: rng.binomial(n, p, draws), trials: [n] * draws})

    return Row(name, words or f"{n:,} independent trials, {p:.3g} of them succeed", p, draw, kind)


def _alike(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """200 sessions of 20 impressions, whose click rates are those of a beta law."""
    return answers("ctr", of_sessions(rng, draws, 200, 20, rng.beta(1, 97 / 3, (draws, 200))))


def _clicked(sessions: int, seen: int, rate: float, kind: Kind = "nominal") -> Row:
    """Return the row of the click-through rate of independent impressions."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        return answers("ctr", of_sessions(rng, draws, sessions, seen, rate))

    words = f"{sessions} sessions of {seen} independent impressions, {sessions * seen * rate:g} clicks on the mean"
    return Row("ctr", words, rate, draw, kind)


def _hidden(n: int, mean: float, cluster: float = 0.0) -> Row:
    """Return the row of a Poisson number of hides; with `cluster`, of people who hide so many at once."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        means = rng.gamma(mean / cluster, cluster, draws) if cluster else np.full(draws, mean)
        return answers("hide_rate", {"hides": rng.poisson(means), "impressions": [n] * draws})

    words = f"{n:,} impressions, {mean:g} hides on the mean"
    if cluster:
        return Row("hide_rate", f"{words}, whose variance is {1 + cluster:g} times that of Poisson's", 1_000 * mean / n,
                   draw, "corner")  # fmt: skip
    return Row("hide_rate", words, 1_000 * mean / n, draw, "at least")


def _first(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    return answers("first_conversion_rate", {"first_conversions": rng.binomial(4_000, 0.03, draws),
                                             "sessions": [4_000] * draws})  # fmt: skip


def _recommended(n: int, kind: Kind = "nominal") -> Row:
    """Return the row of the net promoter score of `n` answers."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        promoters, _, detractors = rng.multinomial(n, (0.45, 0.35, 0.20), draws).T
        return answers("nps", {"nps_promoters": promoters, "nps_detractors": detractors, "nps_answers": [n] * draws})

    return Row("nps", f"{n:,} answers, 45 % promote, 20 % detract", 0.25, draw, kind)


def _weighted(name: str, n: int, kind: Kind = "nominal") -> Row:
    """Return the row of answers that weigh 20, 10 or 5, as those who give them were asked."""
    stem, told = {"csat_weighted": ("csat", "csat_satisfied")}.get(name, ("appropriate", "appropriate_positive"))

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        numbers = rng.multinomial(n, [share for _, share, _ in _ASKED], draws).T
        weights = squares = positive = np.zeros(draws, np.int64)
        for number, (asked, _, pleased) in zip(numbers, _ASKED, strict=True):
            weight = round(1 / asked)
            weights, squares = weights + number * weight, squares + number * weight**2
            positive = positive + rng.binomial(number, pleased) * weight
        sums = {
            f"{told}_weight_micros": positive * 10**6, f"{stem}_weight_micros": weights * 10**6,
            ("csat_weight_squares" if stem == "csat" else f"{stem}_square_micros"): squares * 10**6,
            ("csat_asked_answers" if stem == "csat" else f"{stem}_answers"): [n] * draws,
        }  # fmt: skip
        return answers(name, sums)

    truth = sum(s / a * p for a, s, p in _ASKED) / sum(s / a for a, s, _ in _ASKED)
    return Row(name, f"{n:,} answers of people asked with 5, 10 and 20 %", truth, draw, kind)


def _stayed(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """400 views whose time is log-normal, seen at the check-ins."""
    method = METRIC["dwell_median"].method
    assert isinstance(method, MedianBetween)
    law = NormalDist(log(22), 1.0)
    reached, left = {}, np.full(draws, 400)
    before = 1.0
    for point, name in zip(method.points, method.reached, strict=True):
        share = 1 - law.cdf(log(point))
        left = rng.binomial(left, share / before)
        reached[name], before = left, share
    return answers("dwell_median", reached | {name: [400] * draws for name in method.known})


def _bought(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    return answers("cpa", {"conversions": rng.poisson(120, draws)}, told={ACQUISITION: COST})


def _extra(rate: float, kind: Kind) -> Row:
    """Return the row of the cost per extra converter: 20,000 sessions of one arm, 5,000 of the other, at 5 %."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        one, other = ({"converted_sessions": rng.binomial(n, p, draws), "sessions": [n] * draws}
                      for n, p in ((20_000, rate), (5_000, 0.05)))  # fmt: skip
        return answers("incremental_cpa", one, base=other, told={PERSONALIZATION: COST})

    words = f"20,000 sessions converting with {rate:.1%}, 5,000 of the holdout with 5 %"
    if kind == "corner":
        words += ": told only where the interval excludes 0, so mostly where chance helped"
    return Row("incremental_cpa", words, COST / (20_000 * (rate - 0.05)), draw, kind)


def _agresti(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    return (agresti_coull(x, 2_000) for x in rng.binomial(2_000, 0.03, draws).tolist())


def _satisfied(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    return (satisfaction(x, 200) for x in rng.binomial(200, 0.6, draws).tolist())


ROWS: Final = (
    _clicked(400, 5, 0.03),
    _of_trials("conversion", "converted_sessions", "sessions", 1_000, 0.05),
    _of_trials("session_ctr", "clicked_sessions", "sessions", 100, 0.2),
    _clicked(80, 5, 0.005, "corner"),
    Row(
        "ctr",
        "200 sessions of 20 impressions whose click rates differ: 1.57 times the variance",
        0.03,
        _alike,
    ),
    _hidden(20_000, 20.0),
    _hidden(20_000, 20.0, 1.0),
    Row("first_conversion_rate", "4,000 sessions of which 3 % convert", 0.03, _first, "at least"),
    _recommended(200),
    _recommended(10),
    _weighted("context_appropriate", 400),
    _weighted("csat_weighted", 200),
    _weighted("csat_weighted", 10),
    Row("dwell_median", "400 views, log-normal around 22 s, known at 5, 15, 30 s, ...", 22.0, _stayed, "at least"),
    Row("cpa", "120 conversions on the mean", COST / 120, _bought, "at least"),
    _extra(0.07, "nominal"),
    _extra(0.055, "corner"),
    Row("agresti_coull", "2,000 independent trials, 0.03 of them succeed", 0.03, _agresti),
    Row("satisfaction", "200 answers, 60 % satisfied", 0.6, _satisfied),
)
