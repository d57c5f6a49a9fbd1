"""Assignment is a pure function: fair, sticky, independent between experiments, and calm when weights change."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.assignment import ARMS, Assigned, assign, point
from stream_app.core.events import Arm
from stream_app.errors import LynceusError

USERS = [f"u-{number}" for number in range(20_000)]
WEIGHTS: dict[Arm, float] = {"personalized": 0.8, "context_blind": 0.1, "holdout": 0.1}
CHI_SQUARE_999 = {2: 13.816, 8: 26.124, 9: 27.877}
"""The 99.9 % quantiles by degrees of freedom: hashes are fixed, so each test passes always or never."""

shares = st.floats(0, 1, allow_subnormal=False)
small = st.floats(0, 0.49)


def chi_square(observed: Counter[object], expected: dict[object, float]) -> float:
    return sum((observed[cell] - mean) ** 2 / mean for cell, mean in expected.items())


def test_arms_get_their_shares() -> None:
    """20,000 users fall into the arms by the weights: a chi-square test does not reject it."""
    observed = Counter(assign(user, "hero", WEIGHTS).arm for user in USERS)
    expected = {arm: weight * len(USERS) for arm, weight in WEIGHTS.items()}
    assert chi_square(observed, expected) < CHI_SQUARE_999[2]


def test_points_are_uniform() -> None:
    """The points of users fall evenly into ten bins."""
    observed = Counter(10 * point(user, "hero") // 2**64 for user in USERS)
    assert chi_square(observed, dict.fromkeys(range(10), len(USERS) / 10)) < CHI_SQUARE_999[9]


def test_an_assignment_never_changes() -> None:
    """Point and arms are the same in every process and release: these values are pinned."""
    arms = [assign(user, "hero", WEIGHTS).arm for user in ("u-1", "u-7", "u-13")]
    assert (point("u-1", "hero", "s1"), arms) == (
        5_235_030_791_695_687_209,
        ["personalized", "context_blind", "holdout"],
    )


@pytest.mark.parametrize(("first", "second"), [(("hero", ""), ("search", "")), (("hero", "s1"), ("hero", "s2"))])
def test_experiments_and_salts_are_independent(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Who is in which arm of one experiment, or under one salt, says nothing about another."""
    even: dict[Arm, float] = dict.fromkeys(ARMS, 1.0)
    draws = [[assign(user, name, even, salt=salt).arm for user in USERS] for name, salt in (first, second)]
    observed = Counter(zip(*draws, strict=True))
    assert chi_square(observed, {pair: len(USERS) / 9 for pair in product(ARMS, ARMS)}) < CHI_SQUARE_999[8]


def test_a_larger_holdout_moves_only_users_into_it() -> None:
    """From 10 % to 20 % holdout, a tenth of the users moves, all from personalized to holdout."""
    larger: dict[Arm, float] = {"personalized": 0.7, "context_blind": 0.1, "holdout": 0.2}
    moves = Counter((assign(user, "hero", WEIGHTS).arm, assign(user, "hero", larger).arm) for user in USERS)
    moved = {pair: count for pair, count in moves.items() if pair[0] != pair[1]}
    assert set(moved) == {("personalized", "holdout")}
    assert abs(sum(moved.values()) / len(USERS) - 0.1) < 0.01


@settings(max_examples=30)
@given(small, small, small, small)
def test_nobody_moves_between_the_comparison_arms(a: float, b: float, c: float, d: float) -> None:
    """While personalized has a share, nobody moves from holdout to context_blind or back, whatever the weights."""
    moves = set()
    for user in USERS[:300]:
        before = assign(user, "hero", {"holdout": a, "context_blind": b, "personalized": 1 - a - b})
        after = assign(user, "hero", {"holdout": c, "context_blind": d, "personalized": 1 - c - d})
        moves.add(frozenset((before.arm, after.arm)))
    assert frozenset(("holdout", "context_blind")) not in moves


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=20), st.dictionaries(st.sampled_from(ARMS), shares, min_size=1))
def test_an_arm_without_weight_gets_nobody(user: str, weights: dict[Arm, float]) -> None:
    """The arm that is drawn has a share, which is its probability; without any share the weights are refused."""
    if not sum(weights.values()):
        with pytest.raises(LynceusError, match="give nobody an arm"):
            assign(user, "hero", weights)
        return
    arm, prob = assign(user, "hero", weights)
    assert prob == pytest.approx(weights[arm] / sum(weights.values()))
    assert prob > 0


def test_shares_may_be_percentages() -> None:
    """90, 5 and 5 are the same as 0.9, 0.05 and 0.05."""
    percentages: dict[Arm, float] = {"personalized": 90, "context_blind": 5, "holdout": 5}
    assert assign("u-1", "hero", percentages) == Assigned("personalized", 0.9)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"control": 1.0}, "unknown arm 'control'"),
        ({"holdout": -0.1}, r"weights\['holdout'\] = -0.1"),
        ({"holdout": float("nan")}, "nan is no share"),
        ({}, "give nobody an arm"),
    ],
)
def test_weights_that_are_none_are_refused(weights: dict[Arm, float], message: str) -> None:
    """The arm and its weight are named."""
    with pytest.raises(LynceusError, match=message):
        assign("u-1", "hero", weights)


def test_two_triples_never_become_one() -> None:
    """A newline, which joins salt, experiment and user, is refused in the first two."""
    with pytest.raises(LynceusError, match="contains a newline"):
        point("u-1", "hero\nu-1")
