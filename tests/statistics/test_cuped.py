"""CUPED: against gbstats, against a regression over users, and that it narrows without bias."""

import numpy as np
import pytest

from stream_app.statistics.clusters import Moments, shift
from stream_app.statistics.cuped import Adjusted, Arm, RatioArm, difference, difference_of_ratios
from tests.statistics.frozen import ORACLES


def of_users(y: np.ndarray, x: np.ndarray) -> Moments:
    users = zip(y.tolist(), x.tolist(), strict=True)
    return sum((shift(None, user) for user in users), Moments())


def shop(rng: np.random.Generator, users: int, effect: float, new_share: float = 0.0) -> tuple[Arm, np.ndarray]:
    """Return an arm, and its users as rows of (now, before, is new)."""
    taste = rng.gamma(2, 2, users)
    is_new = rng.random(users) < new_share
    before = np.where(is_new, 0, rng.poisson(taste))
    now = rng.poisson(taste + effect)
    arm = Arm(of_users(now[~is_new], before[~is_new]), of_users(now[is_new], before[is_new]))
    return arm, np.stack([now, before, is_new], axis=1).astype(float)


@pytest.mark.parametrize("frozen", ORACLES["cuped"])
def test_the_adjusted_difference_equals_gbstats(frozen: dict) -> None:
    """With no new users, difference and standard error are those of gbstats' regression adjustment."""
    found = difference(Arm(Moments(*frozen["treated"])), Arm(Moments(*frozen["base"])))
    assert found is not None
    assert pytest.approx((frozen["value"], frozen["standard_error"]), rel=1e-10) == (found.value, found.standard_error)


def test_new_users_are_a_covariate_of_their_own() -> None:
    """With new users it is the least-squares adjustment by the past and the mark, computed user by user."""
    rng = np.random.default_rng(4)
    treated, one = shop(rng, 3_000, 0.5, 0.3)
    base, two = shop(rng, 2_000, 0.0, 0.4)
    both = np.concatenate([one, two])
    covariance = np.cov(both.T)
    theta = np.linalg.solve(covariance[1:, 1:], covariance[1:, 0])
    left = [arm[:, 0] - arm[:, 1:] @ theta for arm in (one, two)]
    value = left[0].mean() - left[1].mean()
    error = np.sqrt(left[0].var(ddof=1) / len(one) + left[1].var(ddof=1) / len(two))
    found = difference(treated, base)
    assert isinstance(found, Adjusted)
    assert pytest.approx((value, error), rel=1e-9) == (found.value, found.standard_error)


def test_what_users_did_before_narrows_the_difference() -> None:
    """Where the past explains half of the variance, it is taken out, and the interval is narrower by sqrt(2)."""
    rng = np.random.default_rng(5)
    found = difference(shop(rng, 20_000, 0.0)[0], shop(rng, 20_000, 0.0)[0])
    assert found is not None
    # Var(taste) = 8, and 4 of Poisson noise in each: rho^2 = (8/12)^2.
    assert pytest.approx(4 / 9, abs=0.02) == found.variance_removed


@pytest.mark.parametrize("known", [Moments(3, 6, 0, 14, 0, 0), Moments(3, 6, 3, 14, 3, 6)])
def test_a_past_that_says_nothing_changes_nothing(known: Moments) -> None:
    """A past that is the same for all leaves the plain difference of means, its interval and no reduction."""
    base = Moments(3, 3, known.x, 5, known.xx, known.x)
    found = difference(Arm(known), Arm(base))
    assert found is not None
    assert (1.0, 0.0, pytest.approx((1 / 3 + 1 / 3) ** 0.5)) == (
        found.value,
        found.variance_removed,
        found.standard_error,
    )


def test_only_new_users_are_compared_as_they_are() -> None:
    """An arm of new users only has no past to adjust by."""
    new = Moments(3, 6, 0, 14, 0, 0)
    found = difference(Arm(Moments(), new), Arm(Moments(), new))
    assert found is not None
    assert (0.0, 1.0, 6) == (found.value, found.p_value, found.n)


def ratio_shop(rng: np.random.Generator, users: int, rate: float) -> tuple[RatioArm, np.ndarray]:
    """Return an arm of a ratio, and its users as rows of (clicks, impressions, clicks before)."""
    taste = rng.beta(2, 2 / rate - 2, users)
    x = 1 + rng.poisson(20, users)
    y, p = rng.binomial(x, taste), rng.binomial(40, taste)
    sums = [int(v) for v in (p.sum(), (p * p).sum(), (y * p).sum(), (x * p).sum())]
    return RatioArm(of_users(y, x), *sums), np.stack([y, x, p]).astype(float)


def test_a_ratio_is_adjusted_by_its_linearised_users() -> None:
    """The adjusted difference of two ratios is that of l = r + (y - r x)/mean(x), computed user by user."""
    rng = np.random.default_rng(6)
    arms = [ratio_shop(rng, 4_000, 0.12), ratio_shop(rng, 1_000, 0.1)]
    parts = []
    for _, (y, x, p) in arms:
        r = y.sum() / x.sum()
        parts.append((r + (y - r * x) / x.mean(), p))
    within = [np.cov(part, p) * (len(p) - 1) for part, p in parts]
    theta = sum(c[0, 1] for c in within) / sum(c[1, 1] for c in within)
    left = [part - theta * p for part, p in parts]
    value = left[0].mean() - left[1].mean()
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in left))
    found = difference_of_ratios(arms[0][0], arms[1][0])
    assert found is not None
    assert pytest.approx((value, error), rel=1e-9) == (found.value, found.standard_error)
    assert found.variance_removed > 0.3


def test_a_ratio_without_a_past_is_compared_as_it_is() -> None:
    """A past that is the same for all adjusts nothing; an arm without impressions has no ratio."""
    arm, nothing = RatioArm(Moments(3, 6, 9, 14, 29, 19), 3, 3, 6, 9), RatioArm(Moments(3), 0, 0, 0, 0)
    found = difference_of_ratios(arm, arm)
    assert found is not None
    assert (0.0, 0.0, None) == (found.value, found.variance_removed, difference_of_ratios(arm, nothing))


def test_an_arm_of_one_user_has_no_difference() -> None:
    """One user says nothing about the spread."""
    assert None is difference(Arm(Moments(1, 1, 1, 1, 1, 1)), Arm(Moments(9, 9, 9, 9, 9, 9)))
