"""Which arm of an experiment a user is in: a pure function of a salted hash, so that it is sticky without memory.

Every service that knows salt, experiment and weights gives the same answer, without asking anybody. The point of a
user is a number in [0, 1); the arms share it out like this, with the default in the middle:

    0            holdout       1 - context_blind            1
    |-- holdout --|---- personalized ----|-- context_blind --|

So a changed weight moves only users between `personalized` and the arm whose weight changed, never between the two
comparison arms, and no more of them than the weights changed by.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Final, NamedTuple, get_args

from stream_app.core.events import Arm
from stream_app.errors import LynceusError

ARMS: Final[tuple[Arm, ...]] = get_args(Arm)
_SPAN: Final = 2**64


class Assigned(NamedTuple):
    """An arm, and the probability with which a user gets it: the `arm` and `prob` of an assignment event."""

    arm: Arm
    prob: float


def assign(user: str, experiment: str, weights: Mapping[Arm, float], *, salt: str = "") -> Assigned:
    """Return the arm of a user in an experiment.

    `weights` are shares of any total, e.g. {"personalized": 90, "context_blind": 5, "holdout": 5}; an arm that is
    not named gets nobody. Another `experiment` or another `salt` draws anew, independently. Raises LynceusError for
    weights that are no shares.
    """
    shares = _shares(weights)
    at = point(user, experiment, salt)
    if at < round(shares["holdout"] * _SPAN):
        arm: Arm = "holdout"
    elif at >= _SPAN - round(shares["context_blind"] * _SPAN):
        arm = "context_blind"
    else:
        arm = "personalized"
    # Rounding may leave a sliver of 2**-64 to an arm of weight zero; it goes to one that has a share.
    if not shares[arm]:
        arm = max(ARMS, key=shares.__getitem__)
    return Assigned(arm, shares[arm])


def point(user: str, experiment: str, salt: str = "") -> int:
    """Return the point of a user in [0, 2**64): the first 8 bytes of SHA-256 of salt, experiment and user.

    The three are joined by newlines, as UTF-8; so any other language gets the same arms. Raises LynceusError when
    salt or experiment contain a newline, which would make two triples one.
    """
    for name, value in (("experiment", experiment), ("salt", salt)):
        if "\n" in value:
            raise LynceusError(f"{name} = {value!r} contains a newline", "Name it in one line")
    digest = hashlib.sha256(f"{salt}\n{experiment}\n{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _shares(weights: Mapping[Arm, float]) -> dict[Arm, float]:
    for arm, weight in weights.items():
        if arm not in ARMS:
            raise LynceusError(f"weights name an unknown arm {arm!r}", f"The arms are {', '.join(ARMS)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise LynceusError(f"weights[{arm!r}] = {weight!r} is no share", "A weight is a number from 0 on")
    total = math.fsum(weights.values())
    if not total > 0:
        raise LynceusError(f"weights = {dict(weights)!r} give nobody an arm", "At least one weight is above 0")
    return {arm: weights.get(arm, 0.0) / total for arm in ARMS}
