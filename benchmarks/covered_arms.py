"""Rows of arms against each other, of users, of sequences that may always be looked at, of durations without an end."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import exp, inf
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from benchmarks.covered import METRIC, Bounds, Ints, Kind, Law, Rng, Row, counted, of_sessions, rows
from benchmarks.covered_means import HEAVY, PLAIN
from stream_app.statistics import cuped
from stream_app.statistics.clusters import Moments, design_effect, ratio_estimate
from stream_app.statistics.contrasts import contrast, difference_between, ratio_between
from stream_app.statistics.differences import difference
from stream_app.statistics.drops import Counts, log_threshold
from stream_app.statistics.lifts import lift, lift_bound, lift_sequence
from stream_app.statistics.proportions import agresti_coull, wilson
from stream_app.statistics.sequences import mean_bound, mean_sequence
from stream_app.statistics.series import MINUTE_MS, Rule, Series, lost, step, unknown
from stream_app.statistics.survival import kaplan_meier, restricted_mean
from stream_app.statistics.waterfall import waterfall_of

Sums = Mapping[str, Ints]
Sample = Callable[[Rng, int, str], Sums]
"""Draws the sums of one arm, by its name."""
BASE: Final = "holdout"


class Interval(NamedTuple):
    """Two bounds, one of which may be infinite."""

    low: float
    high: float


def _clicked(sessions: Mapping[str, int], rates: Mapping[str, float]) -> Sample:
    """Return the sums of sessions of 20 independent impressions."""

    def sample(rng: Rng, draws: int, arm: str) -> Sums:
        return of_sessions(rng, draws, sessions[arm], 20, rates[arm])

    return sample


def _hidden(sizes: Mapping[str, int], rates: Mapping[str, float]) -> Sample:
    def sample(rng: Rng, draws: int, arm: str) -> Sums:
        return {"hides": rng.binomial(sizes[arm], rates[arm], draws), "impressions": np.full(draws, sizes[arm])}

    return sample


_SESSIONS: Final = {"personalized": 400, "context_blind": 100, BASE: 100}
_CTR: Final = _clicked(_SESSIONS, {"personalized": 0.06, "context_blind": 0.05, BASE: 0.04})
_FEW: Final = _clicked({"personalized": 40, BASE: 10}, {"personalized": 0.02, BASE: 0.01})
_HIDES: Final = _hidden({"personalized": 40_000, BASE: 20_000}, {"personalized": 0.0005, BASE: 0.001})


def _orders(law: Law) -> Sample:
    """Return the sums of orders of which those of the holdout are worth less: their amounts are cut at 200."""
    of = {"personalized": (law.capped(50_000), 1_200), BASE: (law.capped(20_000), 300)}

    def sample(rng: Rng, draws: int, arm: str) -> Sums:
        amounts, n = of[arm]
        total, squares = amounts.sums(rng, np.full(draws, n))
        return {"order_capped_minor": total, "orders": np.full(draws, n), "order_capped_squares": squares}

    return sample


_WORTH: Final = [HEAVY.capped(cap).mean / 100 for cap in (50_000, 20_000)]


def _nps(rng: Rng, draws: int, arm: str) -> Sums:
    n, shares = (400, (0.5, 0.3, 0.2)) if arm != BASE else (100, (0.4, 0.35, 0.25))
    promoters, _, detractors = rng.multinomial(n, shares, draws).T
    return {"nps_promoters": promoters, "nps_detractors": detractors, "nps_answers": np.full(draws, n)}


def _carts(rng: Rng, draws: int, arm: str) -> Sums:
    """Carts of which a share that each has for itself is recommended: a third, or a quarter."""
    n, b = (400, 4) if arm != BASE else (150, 6)
    adds = 1 + rng.binomial(4, 0.3, (draws, n))
    quoted = rng.binomial(adds, rng.beta(2, b, (draws, n)))
    return {
        "recommended_adds": quoted.sum(1), "cart_adds": adds.sum(1), "carts": np.full(draws, n),
        "recommended_add_squares": (quoted**2).sum(1), "cart_add_squares": (adds**2).sum(1),
        "recommended_add_products": (quoted * adds).sum(1),
    }  # fmt: skip


def _between(
    name: str, how: str, sample: Sample, truth: float, words: str, kind: Kind = "nominal", share: float = 0.5
) -> Row:
    """Return the row of a metric in an arm against the holdout: "ratio" or "difference"."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        for begin in range(0, draws, 1_000):
            some = min(1_000, draws - begin)
            of, base = (counted(sample(rng, some, arm)) for arm in ("personalized", BASE))
            for one, other in zip(of, base, strict=True):
                if how == "ratio":
                    yield ratio_between(METRIC[name], one, other)
                else:
                    yield difference_between(METRIC[name], one, other)

    return Row(f"{how} of {name}", words, truth, draw, kind, share=share)


def _viewed(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """Draw the ratio that views have, of tallies alone."""
    of, base = (_CTR(rng, draws, arm) for arm in ("personalized", BASE))
    index = {measure: number for number, measure in enumerate(of)}
    return (contrast(METRIC["ctr"], one, other, index) for one, other in zip(rows(of), rows(base), strict=True))


def _gap(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """Draw the gap between two shares: of what people answered, and of another sample."""
    for x, y in zip(rng.binomial(400, 0.6, draws).tolist(), rng.binomial(150, 0.5, draws).tolist(), strict=True):
        yield difference(wilson(x, 400), wilson(y, 150))


def _steps(step: str) -> Callable[[Rng, int], Iterator[Bounds | None]]:
    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        by_arm = {arm: _CTR(rng, draws, arm) for arm in _SESSIONS}
        index = {measure: number for number, measure in enumerate(by_arm[BASE])}
        for tallies in zip(*(rows(sums) for sums in by_arm.values()), strict=True):
            found = waterfall_of(METRIC["ctr"], dict(zip(by_arm, tallies, strict=True)), index)
            yield getattr(found, step) if found else None

    return draw


def _shops(rng: Rng, users: int, mean: float, draws: int) -> Iterator[Moments]:
    """Yield the moments of users with 1 + Poisson(8) impressions, who click as each likes."""
    for begin in range(0, draws, 1_000):
        some = min(1_000, draws - begin)
        x = 1 + rng.poisson(8, (some, users))
        y = rng.binomial(x, rng.beta(4 * mean / 0.2, 4 * (1 - mean) / 0.2, (some, users)))
        yield from _moments(y, x)


def _moments(y: Ints, x: Ints, chosen: Ints | None = None) -> Iterator[Moments]:
    one = np.ones_like(x) if chosen is None else chosen
    sums = [(one * column).sum(1).tolist() for column in (np.ones_like(x), y, x, y * y, x * x, x * y)]
    return (Moments(*row) for row in zip(*sums, strict=True))


def _users(of: Callable[[Moments], Bounds | None]) -> Callable[[Rng, int], Iterable[Bounds | None]]:
    return lambda rng, draws: map(of, _shops(rng, 500, 0.1, draws))


def _lifts(of: Callable[[Moments, Moments], Bounds | None]) -> Callable[[Rng, int], Iterable[Bounds | None]]:
    return lambda rng, draws: map(of, _shops(rng, 400, 0.125, draws), _shops(rng, 150, 0.1, draws))


def _looked_at(of: Callable[[Moments, Moments], Bounds | None]) -> Callable[[Rng, int], Iterator[Bounds | None]]:
    """Look again after each of 20 batches of users; yield a look that misses a lift of 0.25, else the last one."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        for _ in range(draws):
            treated = base = Moments()
            for one, other in zip(_shops(rng, 100, 0.125, 20), _shops(rng, 40, 0.1, 20), strict=True):
                treated, base = treated + one, base + other
                found = of(treated, base)
                if found is not None and not found.low <= 0.25 <= found.high:
                    break
            yield found

    return draw


def _means(of: Callable[[int, int, int], Bounds]) -> Callable[[Rng, int], Iterator[Bounds | None]]:
    """Look at a mean of orders after every 100 of 2,000; yield a look that misses, else the last one."""
    amounts = PLAIN.amounts
    truth = PLAIN.mean

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        for _ in range(draws):
            drawn = amounts[rng.integers(0, len(amounts), 2_000)]
            totals, squares = np.cumsum(drawn)[99::100].tolist(), np.cumsum(drawn * drawn)[99::100].tolist()
            for number, (total, square) in enumerate(zip(totals, squares, strict=True), 1):
                found = of(100 * number, total, square)
                if not found.low <= truth <= found.high:
                    break
            yield found

    return draw


def _above(treated: Moments, base: Moments) -> Interval | None:
    found = lift_bound(treated, base, 2_800, "above")
    return Interval(found.lift, inf) if found else None


def _past(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """200 users against 100, of whom three in ten are new and the others' past says half of what they do now."""

    def arms(users: int, effect: float) -> Iterator[cuped.Arm]:
        taste = rng.gamma(2, 2, (draws, users))
        is_new = rng.random((draws, users)) < 0.3
        x, y = np.where(is_new, 0, rng.poisson(taste)), rng.poisson(taste + effect)
        return map(cuped.Arm, _moments(y, x, ~is_new), _moments(y, x, is_new))

    return map(cuped.difference, arms(200, 0.5), arms(100, 0.0))


def _past_of_ratios(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """Click rates of 400 users against 200 whose clicks of before are known."""

    def arms(users: int, effect: float) -> Iterator[cuped.RatioArm]:
        taste = rng.beta(2, 14, (draws, users))
        x, p = 1 + rng.poisson(8, (draws, users)), rng.binomial(20, taste)
        y = rng.binomial(x, taste + effect)
        past = [column.sum(1).tolist() for column in (p, p * p, y * p, x * p)]
        return (cuped.RatioArm(one, *sums) for one, *sums in zip(_moments(y, x), *past, strict=True))

    return map(cuped.difference_of_ratios, arms(400, 0.03), arms(200, 0.0))


def _lives(
    of: Callable[[Mapping[int, tuple[int, int]]], Bounds | None],
) -> Callable[[Rng, int], Iterator[Bounds | None]]:
    """200 customers who leave with the same chance each week, followed for 2 to 15 weeks."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        lives = rng.geometric(1 - exp(-1 / 6), (draws, 200))
        ends = rng.integers(2, 16, (draws, 200))
        for life, end in zip(lives, ends, strict=True):
            ended = np.bincount(life[life <= end], minlength=16).tolist()
            censored = np.bincount(end[life > end], minlength=16).tolist()
            yield of(dict(enumerate(zip(ended, censored, strict=True))))

    return draw


def _normal(rng: Rng, draws: int) -> Iterator[Series]:
    """Yield what a day says of the normal ratio of two arms, nine to one: it is 1.25."""
    floor = 1.15
    for normal, base in zip(rng.poisson(9_000, draws).tolist(), rng.poisson(800, draws).tolist(), strict=True):
        yield replace(unknown(0), floor=floor, normal=normal / base / 9, variance=1 / normal + 1 / base)


def _lost(rng: Rng, draws: int) -> Iterator[Bounds | None]:
    """Two fifths of the ratio are lost, for a time that is known beforehand."""
    counts = zip(rng.poisson(405, draws).tolist(), rng.poisson(60, draws).tolist(), strict=True)
    for series, (x, y) in zip(_normal(rng, draws), counts, strict=True):
        yield lost(series, 1.0, Counts(18_000, x, 2_000, y))


def _found(after: int) -> Callable[[Rng, int], Iterator[Bounds | None]]:
    """Let it fall, find it as the watch does, and tell its size so many minutes later."""

    def draw(rng: Rng, draws: int) -> Iterator[Bounds | None]:
        for series in _normal(rng, draws):
            rates = np.array([40.5, 6.0])  # successes a minute of 1,800 and 200 at risk, where 67.5 and 6 are normal
            left = after
            for minute, (x, y) in enumerate(rng.poisson(rates, (DAY, 2)).tolist()):
                series, _ = step(series, _RULE, minute * MINUTE_MS, Counts(1_800, x, 200, y))
                left -= series.finding is not None
                if left < 0:
                    break
            yield lost(series, 1.0, series.finding.during) if series.finding else None

    return draw


DAY: Final = 1_440
_RULE: Final = Rule(0.05, 1.0, log_threshold(1.0))
_USERS: Final = "500 users with 9 impressions on the mean, who click as each likes"
_PAIR: Final = "400 users against 150, who click as each likes"
_LOOKED: Final = "20 looks at up to 2,800 users, all at once"
_ALIVE: Final = "200 customers, followed for 2 to 15 weeks"
ROWS: Final = (
    _between("ctr", "ratio", _CTR, 1.5, "8,000 impressions with 6 %, 2,000 with 4 %"),
    _between("ctr", "difference", _CTR, 0.02, "8,000 impressions with 6 %, 2,000 with 4 %"),
    _between("ctr", "ratio", _FEW, 2.0, "800 impressions with 2 %, 200 with 1 %: 2 clicks on the mean", "corner"),
    _between("ctr", "difference", _FEW, 0.01, "800 impressions with 2 %, 200 with 1 %: 2 clicks on the mean", "corner"),
    _between("hide_rate", "ratio", _HIDES, 0.5, "20 hides in each arm on the mean", "at least"),
    _between("hide_rate", "difference", _HIDES, -0.5, "20 hides in each arm on the mean", "at least"),
    _between("aov_winsorised", "ratio", _orders(HEAVY), _WORTH[0] / _WORTH[1], "1,200 orders against 300 smaller ones"),
    _between(
        "aov_winsorised", "difference", _orders(HEAVY), _WORTH[0] - _WORTH[1], "1,200 orders against 300 smaller ones"
    ),
    _between("recommended_add_share", "ratio", _carts, 4 / 3, "400 carts against 150", share=0.3),
    _between("recommended_add_share", "difference", _carts, 1 / 12, "400 carts against 150", share=0.3),
    _between("nps", "difference", _nps, 0.15, "400 answers against 100"),
    Row("contrast of ctr", "8,000 impressions with 6 %, 2,000 with 4 %", 1.5, _viewed, share=0.5),
    Row("gap of answers", "400 answers against 150", 0.1, _gap),
    Row("waterfall, context", "8,000, 2,000 and 2,000 impressions with 6, 5, 4 %", 1.2, _steps("context"), share=0.5),
    Row("waterfall, personalization", "the same", 1.25, _steps("personalization"), share=0.5),
    Row("waterfall, total", "the same", 1.5, _steps("total"), share=0.5),
    Row("ratio_estimate", _USERS, 0.1, _users(ratio_estimate), share=0.5),
    Row(
        "wilson, with design effect",
        _USERS,
        0.1,
        _users(lambda m: wilson(m.y, m.x, design_effect=design_effect(m) or 1.0)),
        share=0.5,
    ),
    Row(
        "agresti_coull, with design effect",
        _USERS,
        0.1,
        _users(lambda m: agresti_coull(m.y, m.x, design_effect=design_effect(m) or 1.0)),
        share=0.5,
    ),
    Row("wilson, without it: what not to do", _USERS, 0.1, _users(lambda m: wilson(m.y, m.x)), "corner", share=0.5),
    Row("lift", _PAIR, 0.25, _lifts(lift), share=0.5),
    Row(
        "lift_sequence, at any look",
        _LOOKED,
        0.25,
        _looked_at(lambda t, b: lift_sequence(t, b, 2_800)),
        "at least",
        share=0.05,
    ),
    Row("lift_bound, at any look", _LOOKED, 0.25, _looked_at(_above), "at least", share=0.05),
    Row(
        "mean_sequence, at any look",
        "20 looks at up to 2,000 orders",
        PLAIN.mean,
        _means(lambda n, total, squares: mean_sequence(n, total, squares, 2_000)),
        "at least",
        share=0.2,
    ),
    Row(
        "mean_bound, at any look",
        "20 looks at up to 2,000 orders",
        PLAIN.mean,
        _means(lambda n, total, squares: Interval(-inf, mean_bound(n, total, squares, 2_000, "below"))),
        "at least",
        share=0.2,
    ),
    Row("cuped.difference", "200 users against 100, three in ten of them new", 0.5, _past, share=0.3),
    Row("cuped.difference_of_ratios", "400 users against 200 of known past", 0.03, _past_of_ratios, share=0.3),
    Row(
        "kaplan_meier, at 4 weeks",
        _ALIVE,
        exp(-4 / 6),
        _lives(lambda state: [step for step in kaplan_meier(state) if step.at <= 4][-1]),
        share=0.3,
    ),
    Row(
        "restricted_mean, of 8 weeks",
        _ALIVE,
        sum(exp(-t / 6) for t in range(8)),
        _lives(lambda state: restricted_mean(state, 8)),
        share=0.3,
    ),
    Row("lost, the size of a drop", "405 and 60 successes, of minutes that are given", 0.4, _lost),
    Row(
        "lost, the size of a drop",
        "when it is found, since it seems to have begun",
        0.4,
        _found(0),
        "corner",
        share=0.1,
    ),
    Row("lost, the size of a drop", "an hour after it was found", 0.4, _found(60), "corner", share=0.1),
)
