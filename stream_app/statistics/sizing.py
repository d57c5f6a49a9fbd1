"""How large must the holdout be, and how long until a drop is seen: before anything is switched on.

Agrees with simulation within a quarter (`python -m benchmarks.simulate`): a median, for one incident that begins
while there is no evidence yet.
"""

from collections.abc import Sequence
from math import inf, log

import msgspec

from stream_app.statistics.drops import DROPS
from stream_app.statistics.floors import MARGIN


class Traffic(msgspec.Struct, frozen=True):
    """What a surface sees: impressions a day, the share of the holdout in them, its click rate, and the lift."""

    impressions_a_day: float
    holdout_share: float
    holdout_ctr: float
    lift: float = 0.25

    def __post_init__(self) -> None:
        if not (self.impressions_a_day > 0 and 0 < self.holdout_share < 1 and 0 < self.holdout_ctr <= 1):
            raise ValueError(f"impressions must be above 0, holdout and click rate between 0 and 1: {self}")
        if not self.lift > -1:
            raise ValueError(f"a lift of {self.lift} leaves no clicks")

    @property
    def clicks_a_minute(self) -> float:
        """Of the holdout, on average over the day; the information is there."""
        return self.impressions_a_day * self.holdout_share * self.holdout_ctr / 1440


class Delay(msgspec.Struct, frozen=True):
    """A drop (0.2 = a fifth of the rate is lost), the holdout's clicks it takes, and in how many minutes they come."""

    drop: float
    holdout_clicks: float
    minutes: float


def holdout_clicks(
    drop: float,
    log_threshold: float,
    odds: float = inf,
    margin: float = MARGIN,
    eta: float = 1.0,
    clicks_a_pane: float = inf,
) -> float:
    """Return how many clicks of the holdout are needed until a loss of `drop` of the ratio is an alarm.

        N = (ln A + ln J + min(0, ln g)) / (eta * I)      r_e = (1 - drop)/(1 - margin)
        I = q r_e ln(pi_1/pi_0) + ln((1 - pi_1)/(1 - pi_0))      pi_1 = q r_e/(q r_e + 1), pi_0 = q/(q + 1)

    `odds` q = n_T rho_0/n_C is how many clicks the treated arm has for one of the holdout at the floor; without end,
    I = -ln r_e - (1 - r_e). The log-likelihood ratio, which grows by I with each click of the holdout, must climb to
    the threshold, with the price of J alternatives. g = eta I `clicks_a_pane` is its growth per pane: where it is
    small, about 1/g panes are as good a begin as the right one, and their evidence adds (the diffusion approximation
    of M. Pollak & D. Siegmund (1985), Biometrika 72, without its constant). inf for a drop within the margin: it is
    never an alarm.

    Raises ValueError unless 0 < drop < 1.
    """
    if not 0 < drop < 1:
        raise ValueError(f"a drop of {drop} is none; it lies between 0 and 1, 0.2 is the loss of a fifth")
    left = (1 - drop) / (1 - margin)
    if left >= 1:
        return inf
    if odds == inf:
        gain = -log(left) - (1 - left)
    else:
        shrunk = log((odds + 1) / (odds * left + 1))
        gain = odds * left * (log(left) + shrunk) + shrunk
    starts = min(0.0, log(eta * gain * clicks_a_pane))
    return max(0.0, log_threshold + log(len(DROPS)) + starts) / (eta * gain)


def delays(
    traffic: Traffic, log_threshold: float, drops: Sequence[float] = (0.2, 0.33, 0.5, 0.8), margin: float = MARGIN,
    eta: float = 1.0,
) -> list[Delay]:  # fmt: skip
    """Return for each drop in how many minutes of average traffic it is seen, with panes of a minute."""
    share = traffic.holdout_share
    odds = (1 - share) / share * (1 + traffic.lift) * (1 - margin)
    found = []
    for drop in drops:
        clicks = holdout_clicks(drop, log_threshold, odds, margin, eta, traffic.clicks_a_minute)
        found.append(Delay(drop, clicks, clicks / traffic.clicks_a_minute))
    return found


def holdout_share(
    traffic: Traffic, log_threshold: float, drop: float, minutes: float, margin: float = MARGIN
) -> float | None:
    """Return the least share of a holdout (up to a half) with which `drop` is seen within `minutes`.

    None when not even a half is enough. `traffic.holdout_share` is what is sought and is not read. By bisection: the
    delay falls as the holdout grows, up to a half.
    """

    def is_enough(share: float) -> bool:
        candidate = msgspec.structs.replace(traffic, holdout_share=share)
        return delays(candidate, log_threshold, [drop], margin)[0].minutes <= minutes

    little, enough = 0.0, 0.5
    if not is_enough(enough):
        return None
    while enough - little > 1e-6:
        middle = (little + enough) / 2
        little, enough = (little, middle) if is_enough(middle) else (middle, enough)
    return enough
