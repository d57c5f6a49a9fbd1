"""Every nominal 95 % interval covers the truth in 94 to 96 % of simulated samples (fixed seeds)."""

from collections.abc import Iterable
from math import exp

import numpy as np

from stream_app.statistics.clusters import Moments, design_effect, ratio_estimate
from stream_app.statistics.cuped import Arm, difference
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lifts import Lift, lift
from stream_app.statistics.proportions import agresti_coull, wilson
from stream_app.statistics.survival import kaplan_meier, restricted_mean

RUNS = 4_000


def coverage(intervals: Iterable[Estimate | Lift | None], truth: float) -> float:
    kept = [interval.low <= truth <= interval.high for interval in intervals if interval is not None]
    return sum(kept) / len(kept)


def is_nominal(share: float) -> bool:
    return 0.94 <= share <= 0.96


def shops(rng: np.random.Generator, users: int, mean: float, runs: int = RUNS) -> list[Moments]:
    """Return the moments of samples of users with 1 + Poisson(8) impressions, who click as each likes."""
    x = 1 + rng.poisson(8, (runs, users))
    y = rng.binomial(x, rng.beta(4 * mean / 0.2, 4 * (1 - mean) / 0.2, (runs, users)))
    columns = (np.full(runs, users), y.sum(1), x.sum(1), (y * y).sum(1), (x * x).sum(1), (x * y).sum(1))
    return [Moments(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def test_proportions_of_independent_trials() -> None:
    """Wilson and Agresti-Coull, of 3 % of 2,000 independent impressions."""
    successes = np.random.default_rng(1).binomial(2_000, 0.03, 20_000).tolist()
    found = [coverage((f(x, 2_000) for x in successes), 0.03) for f in (wilson, agresti_coull)]
    assert [True, True] == [is_nominal(share) for share in found]


def test_ratios_of_clustered_trials() -> None:
    """By user, or with the design effect: nominal. By impression, as if they were independent: too narrow."""
    samples = shops(np.random.default_rng(2), 500, 0.1)
    clustered = coverage((ratio_estimate(m) for m in samples), 0.1)
    corrected = [
        coverage((f(m.y, m.x, design_effect=design_effect(m) or 1.0) for m in samples), 0.1)
        for f in (wilson, agresti_coull)
    ]
    plain = coverage((wilson(m.y, m.x) for m in samples), 0.1)
    assert [True, True, True, True] == [is_nominal(clustered), *map(is_nominal, corrected), plain < 0.935]


def test_lifts_of_clustered_ratios() -> None:
    """The log-ratio lift between a tenth of the users and the rest."""
    rng = np.random.default_rng(3)
    arms = zip(shops(rng, 400, 0.125), shops(rng, 150, 0.1), strict=True)
    assert is_nominal(coverage((lift(treated, base) for treated, base in arms), 0.25))


def test_differences_adjusted_by_the_past() -> None:
    """CUPED with new users: the adjusted difference covers the true effect."""
    rng = np.random.default_rng(4)

    def arms(users: int, effect: float) -> list[Arm]:
        taste = rng.gamma(2, 2, (RUNS, users))
        is_new = rng.random((RUNS, users)) < 0.3
        x = np.where(is_new, 0, rng.poisson(taste))
        y = rng.poisson(taste + effect)
        parts = []
        for chosen in (~is_new, is_new):
            columns = [(c * chosen).sum(1).tolist() for c in (np.ones_like(x), y, x, y * y, x * x, x * y)]
            parts.append([Moments(*row) for row in zip(*columns, strict=True)])
        return [Arm(known, new) for known, new in zip(*parts, strict=True)]

    found = [difference(treated, base) for treated, base in zip(arms(200, 0.5), arms(100, 0.0), strict=True)]
    kept = [d.low <= 0.5 <= d.high for d in found if d is not None]
    removed = float(np.mean([d.variance_removed for d in found if d is not None]))
    assert (True, True) == (is_nominal(sum(kept) / RUNS), removed > 0.25)


def test_survival_and_its_mean() -> None:
    """Kaplan-Meier at 4 weeks and the mean up to 8 weeks, with many of the customers censored."""
    rng = np.random.default_rng(5)
    lives = rng.geometric(1 - exp(-1 / 6), (RUNS, 200))
    followed = rng.integers(2, 16, (RUNS, 200))
    at_four, means = [], []
    for life, end in zip(lives, followed, strict=True):
        ended = np.bincount(life[life <= end], minlength=16).tolist()
        censored = np.bincount(end[life > end], minlength=16).tolist()
        state = dict(enumerate(zip(ended, censored, strict=True)))
        last = [step for step in kaplan_meier(state) if step.at <= 4][-1]
        at_four.append(Estimate(last.survival, 200, last.low, last.high))
        means.append(restricted_mean(state, 8))
    mean = sum(exp(-t / 6) for t in range(8))
    found = [coverage(at_four, exp(-4 / 6)), coverage(means, mean)]
    assert [True, True] == [is_nominal(share) for share in found]
