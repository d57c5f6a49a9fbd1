"""Amounts with a heavy tail on the logarithmic scale, in fixed point: what a geometric mean adds up."""

from math import log1p

from stream_app.metrics.fixed_point import nanos


def log_nanos(amount: float) -> int:
    """Return ln(1 + amount) in units of 10^-9; `amount` >= 0."""
    return nanos(log1p(amount))


def log_square_nanos(amount: float) -> int:
    """Return ln(1 + amount)^2 in units of 10^-9; `amount` >= 0."""
    return nanos(log1p(amount) ** 2)
