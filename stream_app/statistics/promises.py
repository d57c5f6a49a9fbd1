"""Did the arms get the shares that they were promised: today, by sessions, impressions, and sessions on each device.

Counted anew each day (UTC), so that a mismatch that begins late is not diluted by weeks in which all was well; the
chance of a false finding is `alpha` a day, over all that is looked at and however often.
"""

from collections.abc import Mapping, Sequence
from math import exp

import msgspec

from stream_app.core.panes import DAY_MS
from stream_app.statistics.mismatch import Mismatch, mismatches

SESSIONS, IMPRESSIONS = "sessions", "impressions"


class Promise(msgspec.Struct, frozen=True):
    """The counts of a day, each by arm, and since when the promise has been broken (-1: it is kept)."""

    day: int = -1
    counts: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    broken_ms: int = -1
    found: tuple[str, ...] = ()
    log_evidence: float = 0.0
    log_threshold: float = 0.0

    @property
    def p_value(self) -> float:
        """The chance of sessions as far from their promised shares, or farther, valid whenever it is looked at."""
        return exp(-max(0.0, self.log_evidence))

    def watch(
        self,
        at_ms: int,
        shares: Sequence[float],
        counts: Mapping[str, Sequence[int]],
        alpha: float,
        sessions_per_user: float,
    ) -> "Promise":
        """Return what is known after the counts of a minute.

        A broken promise is kept again when a whole day says so: at its end the evidence against it is below 0.
        """
        day, broken_ms, found, before = at_ms // DAY_MS, self.broken_ms, self.found, self.counts
        if day != self.day:
            if broken_ms >= 0 and broken_ms // DAY_MS < self.day and self.log_evidence < 0:
                broken_ms, found = -1, ()
            before = {}
        now = {
            name: tuple(a + b for a, b in zip(before.get(name, (0,) * len(shares)), amounts, strict=True))
            for name, amounts in counts.items()
        }
        seen = {name: amounts for name, amounts in now.items() if sum(amounts)}
        told = mismatches(seen, shares, alpha, design_effects=_design_effects(seen, sessions_per_user))
        broken = tuple(name for name, one in told.items() if one.is_found)
        if broken and broken_ms < 0:
            broken_ms = at_ms
        sessions = told.get(SESSIONS, Mismatch(0.0, 0.0))
        return Promise(
            day,
            now,
            broken_ms,
            tuple(dict.fromkeys((*found, *broken))),
            sessions.log_evidence,
            sessions.log_threshold,
        )


def _design_effects(counts: Mapping[str, Sequence[int]], sessions_per_user: float) -> dict[str, float]:
    """Return by how much the counts are less than they look: several of them are of one person."""
    sessions, impressions = (sum(counts.get(name, ())) for name in (SESSIONS, IMPRESSIONS))
    each = max(1.0, impressions / sessions) if sessions else 1.0
    return {name: sessions_per_user * (each if name == IMPRESSIONS else 1.0) for name in counts}
