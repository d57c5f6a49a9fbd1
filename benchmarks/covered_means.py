"""Rows of amounts: means, winsorised and geometric ones, quantiles, gains and returns, the forecast of a lifetime."""

from collections.abc import Iterator
from math import exp, expm1, log
from statistics import NormalDist
from typing import Final

import numpy as np

from benchmarks.covered import METRIC, Bounds, Draw, Ints, Kind, Law, Mixture, Rng, Row, answers
from producers.amounts import ORDER_VALUE, lognormal
from stream_app.core.quantile_sketch import bucket_of
from stream_app.metrics.methods import Gain, IncrementalShare, Mean, Quantile, ReturnOnInvestment, ReturnRatio
from stream_app.metrics.returns import DISCOUNT, MARGIN, PERSONALIZATION

STEPS: Final = 20_000
TOLD: Final = {PERSONALIZATION: 10_000.0, MARGIN: 0.35, DISCOUNT: 0.1}
PLAIN: Final = Law(lognormal(4_500, 0.6, 300, 1_000_000, STEPS))
"""Orders in cents, log-normal around 45.00."""
HEAVY: Final = Law(ORDER_VALUE)
"""Those of the simulated world: one of 16 is from a Pareto law with exponent 1.6."""
_NORMAL: Final = NormalDist()
_Sum = Mean | ReturnRatio | Gain | ReturnOnInvestment | IncrementalShare


def _sums(name: str, law: Law, rng: Rng, sizes: Ints, count: Ints) -> dict[str, Ints]:
    """Return the measures of a metric over amounts: so many (`sizes`) of the law, the rest up to `count` are 0."""
    method = METRIC[name].method
    assert isinstance(method, _Sum)
    total, squares = law.sums(rng, sizes)
    return {method.total: total, method.count: count, method.squares: squares}


def _of_amounts(name: str, law: Law, n: int, words: str, scale: int = 1, share: float = 1.0, kind: Kind = "nominal",
                of_draws: float = 1.0) -> Row:  # fmt: skip
    """Return the row of a mean of `n` amounts, of which `share` are of the law and the others 0."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        count = np.full(draws, n)
        return answers(name, _sums(name, law, rng, rng.binomial(count, share), count))

    return Row(name, words, share * law.mean / scale, draw, kind, share=of_draws)


def _rated(n: int, kind: Kind = "nominal") -> Row:
    stars = Law(np.repeat([100, 200, 300, 400, 500], [4, 6, 15, 35, 40]))
    return _of_amounts("rating", stars, n, f"{n} ratings of 1 to 5 stars, 4.01 on the mean", 100, kind=kind)


def _spans(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    logs, squares = _LOGS.sums(rng, np.full(draws, 500), lambda x: x * x // 10**6)
    names = {"visit_log_span_nanos": logs * 1_000, "visits": [500] * draws,
             "visit_log_span_square_nanos": squares * 1_000}  # fmt: skip
    return answers("visit_duration", names)


_SECONDS: Final = np.array([exp(_NORMAL.inv_cdf((k + 0.5) / STEPS) * 1.3 + log(90)) // 1 for k in range(STEPS)])
_LOGS: Final = Law(np.round(np.log1p(_SECONDS) * 1e6).astype(np.int64))
"""ln(1 + seconds) in millionths: log-normal around a minute and a half."""


def _relevant(n: int, kind: Kind = "nominal") -> Row:
    """Return the row of relevance: `n` sessions of 3, 6 or 9 impressions, each session with a level of its own."""
    levels = np.array([45, 60, 75, 90])

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        sizes = 3 * rng.integers(1, 4, (draws, n))
        # Longer sessions are those that are shown what suits, so the ratio is not that of independent sums.
        level = levels[np.minimum(rng.integers(0, 4, (draws, n)) + (sizes == 9), 3)]
        spread = np.rint(rng.normal(0, 10, (draws, n)) * np.sqrt(sizes)).astype(np.int64)
        totals = level * sizes + spread
        sums = {
            "relevance_micros": totals.sum(1) * 10_000, "scored_impressions": sizes.sum(1),
            "scored_sessions": [n] * draws, "session_relevance_squares": (totals**2).sum(1) * 100,
            "session_scored_squares": (sizes**2).sum(1), "session_relevance_products": (totals * sizes).sum(1) * 10_000,
        }  # fmt: skip
        return answers("relevance", sums)

    means = {3: 67.5, 6: 67.5, 9: (60 + 75 + 90 + 90) / 4}
    truth = sum(size * level for size, level in means.items()) / sum(means) / 100
    return Row("relevance", f"{n} sessions of 3, 6 or 9 impressions that are alike in each", truth, draw, kind)


def _carts(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """150 carts of 1 to 5 adds, of which a share that each cart has for itself is recommended."""
    adds = 1 + rng.binomial(4, 0.3, (draws, 150))
    quoted = rng.binomial(adds, rng.beta(2, 4, (draws, 150)))
    sums = {
        "recommended_adds": quoted.sum(1), "cart_adds": adds.sum(1), "carts": [150] * draws,
        "recommended_add_squares": (quoted**2).sum(1), "cart_add_squares": (adds**2).sum(1),
        "recommended_add_products": (quoted * adds).sum(1),
    }  # fmt: skip
    return answers("recommended_add_share", sums)


def _sketched(name: str, law: Law, n: int, words: str) -> Row:
    """Return the row of a quantile, or of the mean below one, of `n` amounts in buckets."""
    method = METRIC[name].method
    buckets, sizes = np.unique([bucket_of(int(amount)) for amount in law.amounts], return_counts=True)
    mixture = Mixture((float(size), {int(bucket): 1}) for bucket, size in zip(buckets, sizes, strict=True))
    histogram, scale = method.histogram, method.scale  # type: ignore[union-attr]  # of those two methods

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        return answers(name, {}, mixture.bins(rng, histogram, draws, n))

    if isinstance(method, Quantile):
        truth = law.quantile(method.share) / scale
    else:
        truth = law.capped(law.quantile(0.99)).mean / scale
    return Row(name, words, truth, draw, "at least", share=0.25)


def _between(name: str, truth: float, law: Law = PLAIN, kind: Kind = "nominal", words: str = "") -> Row:
    """Return the row of what is held against the holdout: 20,000 units of which 6 % pay, 5,000 of which 5 % do."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        one, other = (
            _sums(name, law, rng, rng.binomial(n, p, draws), np.full(draws, n))
            for n, p in ((20_000, 0.06), (5_000, 0.05))
        )
        return answers(name, one, base=other, told=TOLD)

    usual = "20,000 sessions of which 6 % buy, 5,000 of the holdout of which 5 % do"
    return Row(name, words or usual, truth, draw, kind, share=0.5)


def _returned(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    count = np.full(draws, 20_000)
    return answers("return_ratio", _sums("return_ratio", PLAIN, rng, rng.binomial(count, 0.06), count), told=TOLD)


def _forecast(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """1,000 people of whom 30 % buy in the first period; of 800, each stays another 62 days with the same chance."""
    total, squares = PLAIN.sums(rng, rng.binomial(1_000, 0.3, draws))
    sums = {
        "value_28d_minor": total, "people_29d": [1_000] * draws, "value_28d_squares": squares,
        "lapsed_90d": rng.binomial(800, 1 - _STAYS**(62 / 28), draws), "people_90d": [800] * draws,
    }  # fmt: skip
    return answers("lifetime_value_forecast", sums, told=TOLD)


_STAYS: Final = 0.7
_PERIOD: Final = expm1(np.log1p(TOLD[DISCOUNT]) * 28 / 365)
_WORTH: Final = TOLD[MARGIN] * 0.3 * PLAIN.mean / 100
_EXTRA: Final = 20_000 * (0.06 - 0.05)
_EARNED: Final = TOLD[MARGIN] * _EXTRA * PLAIN.mean / 100
_MS: Final = Law(lognormal(90_000, 1.3, 0, 10**9, STEPS))
_WAITS: Final = Law(lognormal(2_000, 1.0, 1, 600_000, STEPS))
_of: Draw
ROWS: Final = (
    _of_amounts("aov", PLAIN, 300, "300 orders, log-normal", 100),
    _of_amounts("aov", HEAVY, 300, "300 orders, one in 16 of a Pareto law with exponent 1.6", 100, kind="corner"),
    _of_amounts("aov", HEAVY, 10_000, "10,000 such orders", 100, kind="corner", of_draws=0.1),
    _of_amounts("aov_winsorised", HEAVY.capped(50_000), 300, "300 such orders, cut at 500", 100),
    _of_amounts(
        "revenue_per_session_winsorised",
        HEAVY.capped(50_000),
        8_000,
        "8,000 sessions of which 3 % buy, amounts cut at 500",
        100,
        0.03,
    ),
    _of_amounts("revenue_per_session", HEAVY, 8_000, "the same sessions, amounts as they are", 100, 0.03, "corner"),
    _of_amounts(
        "conversions_per_session",
        Law([1, 1, 1, 1, 2, 3]),
        3_000,
        "3,000 sessions of which 5 % convert, once or more",
        1,
        0.05,
    ),
    _of_amounts("pages_per_visit", Law([1, 1, 1, 2, 2, 3, 4, 5, 8, 15]), 300, "300 visits of 1 to 15 pages"),
    _rated(200),
    _rated(10, "corner"),
    Row("visit_duration", "500 visits, log-normal around 90 s", expm1(_LOGS.mean / 1e6), _spans),
    _relevant(200),
    _relevant(8, "corner"),
    Row("recommended_add_share", "150 carts of 1 to 5 adds", 1 / 3, _carts),
    _sketched("visit_duration_median", _MS, 500, "500 visits, log-normal around 90 s"),
    _sketched("order_value_p90", PLAIN, 500, "500 orders, log-normal"),
    _sketched("adaptation_p95", _WAITS, 500, "500 signals, log-normal around 2 s"),
    _sketched("adaptation_p99", _WAITS, 1_000, "1,000 signals, log-normal around 2 s"),
    _sketched("aov_below_p99", HEAVY, 1_000, "1,000 orders, one in 16 of a Pareto law"),
    _between("incremental_gain", _EARNED),
    _between("roi", (_EARNED - TOLD[PERSONALIZATION]) / TOLD[PERSONALIZATION]),
    _between(
        "incremental_revenue_share",
        1 - 0.05 / 0.06,
        words="20,000 user-days of which 6 % buy, 5,000 of the holdout of which 5 % do",
    ),
    _between(
        "incremental_gain",
        TOLD[MARGIN] * _EXTRA * HEAVY.mean / 100,
        HEAVY,
        "corner",
        "the same, one order in 16 of a Pareto law",
    ),
    Row(
        "return_ratio",
        "20,000 sessions of which 6 % buy",
        20_000 * 0.06 * PLAIN.mean / 100 / TOLD[PERSONALIZATION],
        _returned,
        share=0.5,
    ),
    Row(
        "lifetime_value_forecast",
        "1,000 people of whom 30 % buy, 70 % of 800 stay each period",
        _WORTH * _STAYS / (1 + _PERIOD - _STAYS),
        _forecast,
        "at least",
        0.9,
    ),
)
