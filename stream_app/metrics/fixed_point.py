"""Shares and products as integers, so that sums are exact and a difference takes back what it should.

What is remembered until a click comes is the integer, never the float it was made of: then the click's correction
starts from exactly what the impression added.
"""

from typing import Final

MICROS: Final = 10**6
NANOS: Final = 10**9
PICOS: Final = 10**12


def nanos(amount: float) -> int:
    """Return an amount >= 0 in units of 10^-9, rounded half up."""
    return int(amount * NANOS + 0.5)


def divided(amount: int, by: int) -> int:
    """Return amount / by, rounded half up, in integers; `by` > 0."""
    return (2 * amount + by) // (2 * by)
