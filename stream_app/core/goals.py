"""Goals: the names of conversions that are told apart; all others are one.

A sender may name any goal. Those of this list have a bit in what is remembered of a session, so that "sessions that
reached it" is exact and bounded. An order reaches `purchase`. Names are compared in lower case, `-` and space as `_`.
"""

from functools import lru_cache
from typing import Final

PURCHASE: Final = "purchase"
GOALS: Final = (
    PURCHASE, "sign_up", "inquiry", "quote", "demo", "lead", "qualified", "activation", "subscription", "referral",
)  # fmt: skip
"""In the order of their bits: new ones come last, none ever leaves its place."""
OTHER_GOAL: Final = "other_goal"
ALSO: Final = {"signup": "sign_up", "order": PURCHASE, "enquiry": "inquiry"}
"""Other spellings of the same."""


@lru_cache(maxsize=256)  # names come from outside
def goal_of(name: str) -> str:
    """Return the goal that a sender's name stands for, `OTHER_GOAL` where it is none of ours."""
    word = name.lower().replace("-", "_").replace(" ", "_")
    goal = ALSO.get(word, word)
    return goal if goal in GOALS else OTHER_GOAL


def goal_bit(name: str) -> int:
    """Return the bit of a goal; that of all others is the lowest."""
    goal = goal_of(name)
    return 1 if goal == OTHER_GOAL else 2 << GOALS.index(goal)
