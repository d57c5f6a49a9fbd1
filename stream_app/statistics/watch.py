"""The watch over one surface: minute by minute, is personalization helping, and if not, whose fault is it.

A caller feeds each sealed minute once, in order, and keeps what it gets back: `observe` is a function of what it is
given, so that whoever feeds the same minutes has the same evidence and says the same, after a restart too. A minute
that is not after the last one changes nothing. A minute that is missing is evidence of nothing: it may be skipped, or
fed with `is_complete=False`, which says so.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from stream_app.core.panes import DAY_MS
from stream_app.statistics.drops import log_threshold
from stream_app.statistics.floors import MARGIN
from stream_app.statistics.verdicts import KPIS, Meter, Verdict, leading

MINUTE_MS: Final = 60_000
WATCHED: Final = (
    "impressions",
    "sessions",
    "at_risk_impressions",
    "first_clicks",
    "first_conversions",
    "first_scores",
    "first_score_micros",
    "decisions",
    "contextual_decisions",
)
"""The measures that a minute should have. One that is not there is 0, and what is told by it is then not watched."""
Amounts = Mapping[str, Mapping[str, int]]
"""Arm -> measure -> amount."""
_NOTHING: Final[Mapping[str, Amounts]] = MappingProxyType({})


class Minute(NamedTuple):
    """One surface in one sealed minute of event time, which begins at `at_ms`.

    `strata` has the same for parts of it, by name, e.g. "device=mobile"; those of one dimension add up to the whole.
    `is_complete` is False where something of the minute is known to be missing (a gap, a replay): nothing is read
    from it then, and the watch is paused.
    """

    at_ms: int
    arms: Amounts
    strata: Mapping[str, Amounts] = _NOTHING
    is_complete: bool = True


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the watch, the same for all surfaces.

    At most `budget_a_year` false drops are expected a year over all `series` (surfaces times three rates), and
    `notices_a_year` false findings of every other kind. `margin` is how far the ratio of the arms may breathe below
    its lower bound. `treated` is held against `base`; `shares` are those that the arms were promised (empty: not
    known), and `srm_alpha` the chance a day of finding a mismatch with them where there is none. Nothing is said
    before a surface has been seen for `settle_ms`.
    """

    budget_a_year: float = 1.0
    series: int = len(KPIS)
    notices_a_year: float = 12.0
    margin: float = MARGIN
    treated: str = "personalized"
    base: str = "holdout"
    shares: Mapping[str, float] = msgspec.field(default_factory=dict)
    srm_alpha: float = 0.001
    settle_ms: int = DAY_MS


class Watched(msgspec.Struct, frozen=True):
    """All that is known of one surface, as stored: it survives `msgspec.msgpack` unchanged.

    `last_ms` is the last minute fed (-1: none), `verdicts` those that are open, `paused` why no evidence is being
    gathered ("" where it is: "mismatch", "instrumentation" or "incomplete").
    """

    surface: str
    last_ms: int = -1
    paused: str = ""
    verdicts: tuple[Verdict, ...] = ()

    @property
    def standing(self) -> Verdict | None:
        """The open verdict that speaks for the surface; None while all is well, or nothing was fed yet."""
        return leading(self.verdicts)


def begin(surface: str) -> Watched:
    """Return the state of a surface of which nothing is known yet."""
    return Watched(surface)


def observe(policy: Policy, watched: Watched, minute: Minute) -> tuple[Watched, tuple[Verdict, ...]]:
    """Return the state after the minute, and the verdicts that changed with it: opened, closed, or of another cause.

    A cause that changes is told by the verdict once more, open, with the new cause and the same `opened_ms`. Raises
    ValueError for a time that is no whole minute, or a negative amount.
    """
    if minute.at_ms % MINUTE_MS or minute.at_ms < 0:
        raise ValueError(f"{minute.at_ms} is not where a minute begins; feed sealed minutes")
    if minute.at_ms <= watched.last_ms:
        return watched, ()
    opened: tuple[Verdict, ...] = ()
    if watched.last_ms < 0:
        opened = (
            Verdict(
                surface=watched.surface,
                kpi="surface",
                cause="not_enough",
                is_open=True,
                since_ms=minute.at_ms,
                opened_ms=minute.at_ms,
                at_ms=minute.at_ms,
                size=None,
                log_evidence=0.0,
                log_threshold=0.0,
                contributors=(),
                words="Not enough is known of this surface yet.",
            ),
        )
    return msgspec.structs.replace(
        watched,
        last_ms=minute.at_ms,
        paused="" if minute.is_complete else "incomplete",
        verdicts=watched.verdicts + opened,
    ), opened


def meters(policy: Policy, watched: Watched) -> tuple[Meter, ...]:
    """Return how close each rate is to an alarm, one for each of `KPIS` in that order."""
    threshold = log_threshold(policy.budget_a_year, policy.series)
    active = {verdict.kpi for verdict in watched.verdicts}
    return tuple(Meter(kpi, 0.0, threshold, kpi in active) for kpi in KPIS)


def mismatch_p_value(policy: Policy, watched: Watched) -> float | None:
    """Return the chance, valid at any time, of shares as far from the promised ones; None where none were promised."""
    return 1.0 if policy.shares else None
