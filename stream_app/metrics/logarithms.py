"""Amounts with a heavy tail on the logarithmic scale, in fixed point: what a geometric mean adds up."""

from math import log1p
from typing import Final

NANOS: Final = 10**9


def log_nanos(amount: float) -> int:
    """Return ln(1 + amount) in units of 10^-9; `amount` >= 0."""
    return int(log1p(amount) * NANOS + 0.5)


def log_square_nanos(amount: float) -> int:
    """Return ln(1 + amount)^2 in units of 10^-9; `amount` >= 0."""
    return int(log1p(amount) ** 2 * NANOS + 0.5)
