"""Raw clicks: one session clicks many times, and evidence must be tempered for the false-alarm bound to hold.

First clicks per session need none of this, and find drops faster; raw clicks are for sources without sessions' state.
Dividing by the variance-to-mean ratio is not enough (1.29 false alarms a year at a budget of 1, simulated).
"""

from collections.abc import Mapping
from math import expm1, log


def eta(floor: float, drop: float, exposure_ratio: float, histogram: Mapping[int, int]) -> float:
    """Return the largest power of L that keeps E[L] <= 1, given how many sessions had how many clicks.

        largest eta <= 1 with  k rho_0 E[e^(eta a y) - 1] + E[e^(eta b y) - 1] <= 0
        a = ln(pi_j/pi_0)      b = ln((1 - pi_j)/(1 - pi_0))      k = n_T/n_C

    `histogram` maps clicks to sessions (those without a click do not matter); it is additive over panes, and one root
    a day is enough. The left side is convex and 0 at 0, so the root is found by bisection; it lies between 1/m, m the
    most clicks of a session, and 1. Without sessions that clicked there is nothing to learn from: 1/m is unknown, and
    ValueError is raised, as for floors, drops and ratios that cannot be.
    """
    clicks = {y: sessions for y, sessions in histogram.items() if y > 0 and sessions > 0}
    if not clicks or not (floor > 0 and 0 < drop < 1 and exposure_ratio > 0):
        raise ValueError(f"no tempering for floor {floor}, drop {drop}, ratio {exposure_ratio}, clicks {clicks}")
    odds = exposure_ratio * floor
    shrunk = log((odds + 1) / (odds * drop + 1))
    a, b = log(drop) + shrunk, shrunk

    def excess(power: float) -> float:
        return sum(s * (odds * expm1(power * a * y) + expm1(power * b * y)) for y, s in clicks.items())

    safe, unsafe = 1 / max(clicks), 1.0
    if safe == unsafe or excess(unsafe) <= 0:
        return 1.0
    while unsafe - safe > 1e-12:
        middle = (safe + unsafe) / 2
        if excess(middle) <= 0:
            safe = middle
        else:
            unsafe = middle
    return safe
