"""What looking again and again does to tests of *nothing*: four weeks of hourly looks at two equal arms."""

import numpy as np

from stream_app.statistics.clusters import Moments
from stream_app.statistics.lifts import lift, lift_sequence
from stream_app.statistics.mismatch import log_bayes_factor

LEAST_CLICKS = 100
"""Of an arm, before its intervals are believed: they are asymptotic, and of a few clicks they are not yet."""


def looks(
    rng: np.random.Generator, users: int = 3_000, hours: int = 672, holdout_share: float = 0.1
) -> list[tuple[Moments, Moments]]:
    """Return the moments of both arms (treated, holdout) after each hour; users return, and click as they like."""
    is_held = rng.random(users) < holdout_share
    taste = rng.beta(1.0, 9.0, users)  # who clicks much today clicks much tomorrow
    impressions = rng.poisson(12 / 672, (hours, users)) * rng.integers(1, 4, (hours, users))
    clicks = rng.binomial(impressions, taste)
    x, y = np.cumsum(impressions, axis=0), np.cumsum(clicks, axis=0)
    return list(zip(_moments(y, x, ~is_held), _moments(y, x, is_held), strict=True))


def _moments(y: np.ndarray, x: np.ndarray, arm: np.ndarray) -> list[Moments]:
    y, x = y[:, arm], x[:, arm]
    columns = ((x > 0), y, x, y * y, x * x, x * y)
    sums = [np.asarray(column).sum(axis=1).tolist() for column in columns]
    return [Moments(*row) for row in zip(*sums, strict=True)]


def false_lifts(rng: np.random.Generator, runs: int, n_star: float, **shop: float) -> tuple[float, float, float]:
    """Return the share of equal arms that differ: fixed interval at the end, at any look, sequence at any look."""
    last = peeked = sequence = 0
    for _ in range(runs):
        seen = [arms for arms in looks(rng, **shop) if min(arms[0].y, arms[1].y) >= LEAST_CLICKS]
        fixed = [lift(*arms) for arms in seen]
        always = [lift_sequence(*arms, n_star) for arms in seen]
        last += bool(fixed) and fixed[-1] is not None and fixed[-1].p_value < 0.05
        peeked += any(found is not None and found.p_value < 0.05 for found in fixed)
        sequence += any(found is not None and not found.low <= 0 <= found.high for found in always)
    return last / runs, peeked / runs, sequence / runs


def false_mismatches(
    rng: np.random.Generator, runs: int, alpha: float, hours: int = 672, users_an_hour: int = 1_000
) -> tuple[float, float]:
    """Return the share of kept 10:90 splits in which hourly looks find a mismatch: chi-square, Bayes factor."""
    critical = {0.05: 3.841458820694124, 0.001: 10.827566170662733}[alpha]
    held = np.cumsum(rng.binomial(users_an_hour, 0.1, (runs, hours)), axis=1)
    total = np.arange(1, hours + 1) * users_an_hour
    chi = (held - 0.1 * total) ** 2 / (0.1 * 0.9 * total)
    found = sum(
        any(
            log_bayes_factor((h, n - h), (0.1, 0.9)) >= -np.log(alpha) for h, n in zip(row, total.tolist(), strict=True)
        )
        for row in held.tolist()
    )
    return float((chi > critical).any(axis=1).mean()), found / runs


def hours_to_mismatch(rng: np.random.Generator, runs: int, share: float, alpha: float, hours: int = 672) -> float:
    """Return the median of the hours until a holdout of `share` instead of 10 % of 1,000 users an hour is found."""
    held = np.cumsum(rng.binomial(1_000, share, (runs, hours)), axis=1).tolist()

    def first(row: list[int]) -> float:
        looks = enumerate(row, 1)
        return next(
            (i for i, h in looks if log_bayes_factor((h, 1_000 * i - h), (0.1, 0.9)) >= -np.log(alpha)), float("inf")
        )

    return float(np.median([first(row) for row in held]))
