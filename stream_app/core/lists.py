"""A list under way: what the impressions of one decision have in common, worked out for the first of them.

Most events are impressions, and the impressions of a list come one after the other: same decision, same time, same
person, same slice. To see that one goes on costs a comparison; to work all that out again would cost many times more.
It is a shortcut and nothing else: where a list is cut, what is credited is the same.
"""

from typing import Final, NamedTuple

from stream_app.core.aggregation import Place
from stream_app.core.events import Impression

NO_IMPRESSION: Final = Impression(id="", ts=0, user="", decision="", item="", position=0)
"""Like none that can be decoded."""


class EndedList(NamedTuple):
    """What is to be credited of a list: its impressions, their keys, and what they have in common.

    `place` is the cell of its slice, `home` that of its surface and arm.
    `is_new` says that the decision was not known when its first impression came, `is_at_risk` that its session had
    not clicked before.
    """

    exposure: int
    place: Place
    home: Place
    decision: int
    is_new: bool
    is_at_risk: bool
    impressions: list[Impression]
    keys: list[int]


class ListUnderWay:
    """The impressions of one list come one after the other, and share nearly all: what is worked out once for them.

    Mutable state: all of it, and the lists that ended and were not credited yet. `first` is what the next impression
    must be like to go on. `exposed_in` and `decided_in` are generations of the tables in which exposure and decision
    stand.
    """

    __slots__ = (
        "_ended",
        "decided_in",
        "decision",
        "exposed_in",
        "exposure",
        "first",
        "home",
        "impressions",
        "is_at_risk",
        "is_new",
        "keys",
        "place",
        "record",
        "user",
    )

    def __init__(self) -> None:
        self.first = NO_IMPRESSION
        self.impressions: list[Impression] = []
        self.keys: list[int] = []
        self.is_new = self.is_at_risk = False
        self.place = self.home = (0, 0)
        self.decision = 0
        self.user, self.exposure, self.record = 0, 0, b""
        self.exposed_in = self.decided_in = -1
        self._ended: list[EndedList] = []

    def end(self) -> None:
        """End the list: the next impression begins one."""
        if self.impressions:
            self._ended.append(
                EndedList(
                    self.exposure,
                    self.place,
                    self.home,
                    self.decision,
                    self.is_new,
                    self.is_at_risk,
                    self.impressions,
                    self.keys,
                )
            )
            self.impressions, self.keys, self.first = [], [], NO_IMPRESSION

    def take_ended(self) -> list[EndedList]:
        """Return the lists that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def goes_on_with(self, event: Impression) -> bool:
        """Say whether all that is worked out holds for this impression too."""
        first = self.first
        return (
            event.decision == first.decision
            and event.ts == first.ts
            and event.user == first.user
            and event.session == first.session
            and event.surface == first.surface
            and event.arm == first.arm
            and event.policy == first.policy
            and event.segment == first.segment
            and event.channel == first.channel
            and event.device == first.device
            and event.consent == first.consent
        )
