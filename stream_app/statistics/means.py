"""The mean of amounts of which only count, sum and sum of squares were kept: these three add over panes."""

from math import inf, sqrt

from stream_app.statistics.estimates import Estimate, student


def mean(
    n: int,
    total: int,
    squares: int,
    scale: int = 1,
    squares_scale: int = 1,
    lowest: float | None = None,
    highest: float | None = None,
) -> Estimate:
    """Return the mean of `n` amounts with its interval, cut at `lowest` and `highest`.

    `total` is `scale` times the sum of the amounts, `squares` `squares_scale` times that of their squares.

        m = S/n      s^2 = (Q - S^2/n) / (n - 1)      interval = m -+ t * s / sqrt(n)

    with t of Student's distribution with n - 1 degrees of freedom, which is the normal one when there are many amounts.
    Source: e.g. Casella & Berger (2002), "Statistical Inference", 9.2 and 5.2 (the central limit theorem). For
    heavy-tailed amounts it is too narrow.

    Raises ValueError for fewer than two amounts: one amount says nothing about its spread.
    """
    half = student(n - 1) * standard_error(n, total, squares, scale, squares_scale)
    value = total / (n * scale)
    low = min(value, max(value - half, -inf if lowest is None else lowest))
    high = max(value, min(value + half, inf if highest is None else highest))
    return Estimate(value, n, low, high)


def standard_error(n: int, total: int, squares: int, scale: int = 1, squares_scale: int = 1) -> float:
    """Return s / sqrt(n), in units of the amounts, of sums scaled as in `mean`.

    Raises ValueError for fewer than two amounts.
    """
    if n < 2:
        raise ValueError(f"{n} amounts have no interval; at least 2 are needed")
    # In integers until the last division: Q - S^2/n cancels almost wholly when amounts are large and alike.
    # Rounded squares can still leave it a little below 0.
    deviations = max(0, n * squares * scale * scale - total * total * squares_scale)
    return sqrt(deviations / (n * n * (n - 1) * scale * scale * squares_scale))
