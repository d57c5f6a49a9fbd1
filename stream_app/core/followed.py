"""Lists: what one decision showed together, remembered until the clicks on it have come.

    impressions of one decision, one after the other             a click, perhaps late
    1 2 3 seen; predicted, propensity of each                    2 clicked
    --> LIST () to (111, 000), PREDICTION x 3, CHOICE x 3        --> LIST (111, 000) to (111, 010), PREDICTION, CHOICE

All of it is at home in the pane of the list's first impression, by surface and arm, whenever it comes. A list is its
decision: nothing here is kept under a person. An item counts where it was first seen; seen again, it changes nothing.
A list is remembered for its horizon: impressions and clicks that come later than that are no part of it.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from stream_app.core.events import Impression
from stream_app.core.histograms import Bins
from stream_app.core.memory import Remembered
from stream_app.core.panes import HOUR_MS
from stream_app.core.tally import Occasion

MOST_POSITIONS: Final = 64
"""Positions beyond are no part of a list: nobody sees them together, and the masks fit 64 bits."""
ITEM_BINS: Final = 1_024
"""Items are told apart by so many bins of their hash: enough to count some thousands of them."""

_HEADER: Final = struct.Struct(">qIQQ")
_ITEM: Final = struct.Struct(">IBdd")
_TAG: Final = 2**32 - 1
_UNSTATED: Final = -1.0

Seen = tuple[int, int, int, int]
"""The masks of a list, seen and clicked, before and after something came."""
Stated = float | tuple[float]
"""A prediction or a propensity: by an impression that states it; in a tuple, by the click on one that stated it."""


@cache  # by the number of items: 64 at most
def _layout(items: int) -> struct.Struct:
    """Return the layout of a packed list: header, and of each item its tag, position, prediction, propensity."""
    return struct.Struct(_HEADER.format + _ITEM.format[1:] * items)


class ClickedList(NamedTuple):
    """Which positions of a list were seen and clicked: bit 0 is position 1. A clicked position was seen."""

    seen: int = 0
    clicked: int = 0

    def with_impression(self, position: int) -> "ClickedList":
        """Return the list once `position` (from 1) was seen; itself when it was before, or is beyond the list."""
        if position > MOST_POSITIONS:
            return self
        return ClickedList(self.seen | 1 << position - 1, self.clicked)

    def with_click(self, position: int) -> "ClickedList":
        """Return the list once `position` (from 1) was clicked; itself when it was before, or is beyond the list."""
        if position > MOST_POSITIONS:
            return self
        bit = 1 << position - 1
        return ClickedList(self.seen | bit, self.clicked | bit)


EMPTY: Final = ClickedList()


def listed_at(packed: bytes) -> int:
    """Return the event time of a packed list's home."""
    return int.from_bytes(packed[:8])


class FollowedLists:
    """Follows lists and gathers what grows with them in `bins`. Mutable state: the table, decision -> packed list.

    Packed are the home (pane, slice of surface and arm), the two masks, and of each item a tag of 32 bits, its position
    and what was stated of it: 28 bytes and 21 for each item.
    """

    __slots__ = ("_changes", "_choices", "_items", "_predictions", "_table", "is_needed")

    def __init__(self, table: Remembered[bytes], bins: Bins) -> None:
        self._table = table
        self._changes = bins.gathered(Occasion.LIST)
        self._predictions = bins.gathered(Occasion.PREDICTION)
        self._choices = bins.gathered(Occasion.CHOICE)
        self._items = bins.gathered(Occasion.SHOWN_ITEM)
        followed = (
            Occasion.LIST,
            Occasion.PREDICTION,
            Occasion.CHOICE,
            Occasion.SHOWN_ITEM,
            Occasion.POSITIONS_AT_RISK,
            Occasion.FIRST_CLICK_AT,
        )
        self.is_needed = any(map(bins.grows_on, followed))

    def take(
        self,
        decision: int,
        place: tuple[int, int],
        impressions: Sequence[Impression],
        keys: Sequence[int],
        *,
        is_new: bool,
    ) -> int:
        """Add impressions of one list, and return the mask of the positions that were seen for the first time.

        `keys` are those of decision and item, `place` a pane and a coarse slice. What is not new and no longer
        remembered is passed over: a list is never begun in its middle.
        """
        # Most events are impressions: this is written for speed.
        packed = self._table.get(decision)
        seen = clicked = 0
        before: Sequence[Any] = ()
        if packed is not None:
            start, coarse, seen, clicked, *before = _unpack(packed)
            place = start, coarse
        elif not is_new:
            return 0
        if before or len({*keys}) < len(keys):
            impressions, keys = _unmet({*before[::4]}, impressions, keys)
        predictions, choices = self._predictions[place], self._choices[place]
        items = self._items[place[0] - place[0] % HOUR_MS, place[1]]
        entries = [*before]
        after = seen
        for event, key in zip(impressions, keys, strict=True):
            position, predicted, propensity = event.position, event.predicted, event.propensity
            if position > MOST_POSITIONS:
                continue
            after |= 1 << position - 1
            items.append((key ^ decision) % ITEM_BINS)
            if predicted is None:
                predicted = _UNSTATED
            else:
                predictions.append(predicted)
            if propensity is None:
                propensity = _UNSTATED
            else:
                choices.append(propensity)
            entries += key & _TAG, position, predicted, propensity
        if packed is not None and len(entries) == len(before):
            return 0
        number = len(entries) // 4
        self._table.put(decision, _layout(number).pack(place[0], place[1], after, clicked, *entries))
        if after != seen:
            self._changes[place].append((seen, clicked, after, clicked))
        return after & ~seen

    def click(self, decision: int, key: int) -> int:
        """Add the first click on an item, and return its position.

        One that the list does not know (any more) changes nothing, and 0 is returned.
        """
        packed = self._table.get(decision)
        if packed is None:
            return 0
        start, coarse, seen, clicked, *entries = _unpack(packed)
        tags = entries[::4]
        tag = key & _TAG
        if tag not in tags:
            return 0
        _, position, predicted, propensity = entries[4 * tags.index(tag) :][:4]
        place, after = (start, coarse), clicked | 1 << position - 1
        if after != clicked:
            self._table.put(decision, _HEADER.pack(start, coarse, seen, after) + packed[_HEADER.size :])
            self._changes[place].append((seen, clicked, seen, after))
        if predicted != _UNSTATED:
            self._predictions[place].append((predicted,))
        if propensity != _UNSTATED:
            self._choices[place].append((propensity,))
        return int(position)


# -- inside ----------------------------------------------------------------------------------------------------------


def _unmet(
    met: set[int], impressions: Sequence[Impression], keys: Sequence[int]
) -> tuple[Sequence[Impression], Sequence[int]]:
    """Return the impressions whose item was not met before, with their keys; at most as many as a list may have."""
    fresh = []
    for at, key in enumerate(keys):
        if key & _TAG not in met and len(met) < MOST_POSITIONS:
            met.add(key & _TAG)
            fresh.append(at)
    return [impressions[at] for at in fresh], [keys[at] for at in fresh]


def _unpack(packed: bytes) -> tuple[Any, ...]:
    """Return start, coarse slice, both masks, and of each item its tag, position, prediction and propensity."""
    return _layout((len(packed) - _HEADER.size) // _ITEM.size).unpack(packed)
