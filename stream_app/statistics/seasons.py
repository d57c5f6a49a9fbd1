"""What is usual at this hour of the week: how many people come, and how readily they click, by arm.

Only what hits both arms alike needs it (site-wide, traffic): the arms themselves are held against each other. An hour
of the week that was never seen is taken from the same hour of other days, and that from all hours.
"""

from operator import add
from typing import Final, NamedTuple

import msgspec

from stream_app.core.panes import HOUR_MS

HOURS: Final = 168
KNOWN_MINUTES: Final = 30
"""Fewer minutes of an hour than that are not what is usual there."""
KEPT: Final = (3, 4)
"""What is left of an hour's sums when it comes again: a memory of four weeks on the mean."""


class Usual(NamedTuple):
    """Sums of an hour: its minutes, the sessions of all arms, at risk and first clicks of the treated arm and base."""

    week: int = 0
    minutes: int = 0
    sessions: int = 0
    at_risk: int = 0
    clicks: int = 0
    base_at_risk: int = 0
    base_clicks: int = 0


class Expectation(NamedTuple):
    """What a minute like this would bring if it were a usual one."""

    sessions: float
    clicks: float
    base_clicks: float


class Seasons(msgspec.Struct, frozen=True):
    """The hours of the week, from Thursday 0:00 UTC on, as the epoch was; `total` is their sum.

    The hour that is going on (`current`, by number since the epoch) is apart until it is over: what happens in it is
    held against others, never against itself.
    """

    hours: tuple[Usual, ...] = (Usual(),) * HOURS
    total: Usual = Usual()
    current: tuple[int, Usual] = (-1, Usual())

    def learn(self, at_ms: int, minute: Usual) -> "Seasons":
        """Add a minute in which all was well (its `week` is not read)."""
        hour = at_ms // HOUR_MS
        number, so_far = self.current
        if hour != number:
            return Seasons(*self._with(number, so_far), (hour, minute))
        return Seasons(self.hours, self.total, (hour, Usual(*map(add, so_far, minute))))

    def _with(self, number: int, sums: Usual) -> tuple[tuple[Usual, ...], Usual]:
        """Return the hours and their sum with one that is over; what it was before fades, once a week."""
        if not sums.minutes:
            return self.hours, self.total
        week, hour = divmod(number, HOURS)
        kept, of = KEPT
        before = self.hours[hour]
        faded = before if before.week == week else Usual(week, *(amount * kept // of for amount in before[1:]))
        after = Usual(week, *map(add, faded[1:], sums[1:]))
        total = Usual(0, *(all_ - a + b for all_, a, b in zip(self.total[1:], before[1:], after[1:], strict=True)))
        return (*self.hours[:hour], after, *self.hours[hour + 1 :]), total

    def expect(self, at_ms: int, minute: Usual, least_minutes: int) -> Expectation | None:
        """Return what is usual at this time for as many at risk as the minute had; None before so many minutes.

        How readily people click by the hour is taken of both arms together, and the level of each from all hours: one
        hour of a small holdout alone would be too few.
        """
        all_ = self.total
        if all_.minutes < max(1, least_minutes):
            return None
        hour = self._hour(at_ms // HOUR_MS % HOURS)
        at_risk, clicks = hour.at_risk + hour.base_at_risk, hour.clicks + hour.base_clicks
        all_at_risk, all_clicks = all_.at_risk + all_.base_at_risk, all_.clicks + all_.base_clicks
        sessions = hour.sessions / hour.minutes
        if not (at_risk and all_clicks and all_.at_risk and all_.base_at_risk):
            return Expectation(sessions, 0.0, 0.0)
        shape = clicks / at_risk / (all_clicks / all_at_risk)
        return Expectation(
            sessions,
            minute.at_risk * shape * all_.clicks / all_.at_risk,
            minute.base_at_risk * shape * all_.base_clicks / all_.base_at_risk,
        )

    def _hour(self, hour: int) -> Usual:
        one = self.hours[hour]
        if one.minutes >= KNOWN_MINUTES:
            return one
        same = Usual(*map(sum, zip(*self.hours[hour % 24 :: 24], strict=True)))
        return same if same.minutes >= KNOWN_MINUTES else self.total
