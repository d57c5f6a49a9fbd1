"""The drop detector over many shops at once, and the Prometheus rules it is compared with.

`stream_app.statistics.drops` reads a pane in 20 microseconds, so a simulated year takes 12 seconds; here the same
recursion runs on an array of shops. tests/statistics/test_drops.py holds the two together, alarm by alarm.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks.worlds import DAY, Floats, Ints, Minutes
from stream_app.statistics.drops import Plan


def alarms(plan: Plan, shops: Sequence[Minutes]) -> list[Ints]:
    """Return the minutes at which the detector fires, for each shop; all shops are equally long."""
    r = np.asarray(plan.drops)
    eta = np.asarray(plan.etas)
    threshold = np.exp(plan.log_threshold)
    evidence = np.zeros((len(shops), len(r)))
    found: list[list[int]] = [[] for _ in shops]
    length = len(shops[0].trials)
    for begin in range(0, length, DAY):
        day = slice(begin, min(begin + DAY, length))
        t, c, t0, c0 = (
            np.stack([getattr(shop, name)[day] for shop in shops], axis=1)[:, :, None].astype(float)
            for name in ("trials", "successes", "base_trials", "base_successes")
        )
        is_seen = (t > 0) & (t0 > 0)
        shrunk = np.log((plan.floor * t + t0 + ~is_seen) / (plan.floor * r * t + t0 + ~is_seen))
        likelihood = np.where(is_seen, np.exp(eta * (c * (np.log(r) + shrunk) + c0 * shrunk)), 1.0)
        ticks = is_seen.astype(float)
        for i in range(len(likelihood)):
            evidence += ticks[i]
            evidence *= likelihood[i]
            fired = evidence.mean(axis=1) >= threshold
            if fired.any():
                evidence[fired] = 0.0
                for shop in np.flatnonzero(fired):
                    found[shop].append(begin + i)
    return [np.asarray(times, dtype=np.int64) for times in found]


def offset_rule(shop: Minutes, window: int = 5, hold: int = 5, factor: float = 0.8, offset: int = DAY) -> Ints:
    """Return the minutes at which `ctr[5m] < 0.8 * ctr[5m] offset 1d`, for 5m, begins to fire."""
    ctr = _rate(shop.successes + shop.base_successes, shop.trials + shop.base_trials, window)
    is_low = np.zeros(len(ctr), dtype=bool)
    with np.errstate(invalid="ignore"):  # a window without impressions compares as false, as in PromQL
        is_low[offset:] = ctr[offset:] < factor * ctr[:-offset]
    pending = np.cumsum(is_low)
    # `for`: true at `hold + 1` evaluations in a row, one a minute.
    firing = np.zeros(len(ctr), dtype=bool)
    firing[hold + 1 :] = pending[hold + 1 :] - pending[: -hold - 1] == hold + 1
    return np.flatnonzero(firing[1:] & ~firing[:-1]) + 1


def _rate(successes: Ints, trials: Ints, window: int) -> Floats:
    sums = [np.concatenate(([0], np.cumsum(counts))) for counts in (successes, trials)]
    summed = [s[np.minimum(np.arange(len(s) - 1) + 1, len(s) - 1)] for s in sums]
    before = [s[np.maximum(np.arange(len(s) - 1) + 1 - window, 0)] for s in sums]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate: Floats = (summed[0] - before[0]) / (summed[1] - before[1])
    return rate
