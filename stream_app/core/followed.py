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
from typing import Final, NamedTuple

from stream_app.core.events import Impression
from stream_app.core.histograms import Bins
from stream_app.core.memory import Remembered
from stream_app.core.panes import hour_start
from stream_app.core.records import Change
from stream_app.core.tally import Occasion

MOST_POSITIONS: Final = 64
"""Positions beyond are no part of a list: nobody sees them together, and the masks fit 64 bits."""
ITEM_BINS: Final = 1_024
"""Items are told apart by so many bins of their hash: enough to count some thousands of them."""
NANOS: Final = 10**9

_HEADER: Final = struct.Struct(">qIQQ")
_ENTRY: Final = struct.Struct(">IBII")
_TAG: Final = 2**32 - 1
_UNSTATED: Final = 0

Stated = tuple[int, bool]
"""A prediction or a propensity in units of 10^-9, and whether it is the click (not the impression) that says so."""


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
    and what was stated of it: 28 bytes and 13 for each item.
    """

    __slots__ = ("_changes", "_choices", "_items", "_predictions", "_table", "is_needed")

    def __init__(self, table: Remembered[bytes], bins: Bins) -> None:
        self._table = table
        self._changes = bins.gathered(Occasion.LIST)
        self._predictions = bins.gathered(Occasion.PREDICTION)
        self._choices = bins.gathered(Occasion.CHOICE)
        self._items = bins.gathered(Occasion.SHOWN_ITEM)
        followed = (Occasion.LIST, Occasion.PREDICTION, Occasion.CHOICE, Occasion.SHOWN_ITEM)
        self.is_needed = any(map(bins.grows_on, followed))

    def take(
        self,
        decision: int,
        place: tuple[int, int],
        impressions: Sequence[Impression],
        keys: Sequence[int],
        *,
        is_new: bool,
    ) -> None:
        """Add impressions of one list. `keys` are those of decision and item, `place` a pane and a coarse slice.

        What is not new and no longer remembered is passed over: a list is never begun in its middle.
        """
        # Most events are impressions: this is written for speed.
        packed = self._table.get(decision)
        if packed is None:
            if not is_new:
                return
            seen = clicked = 0
            entries = b""
            tags = set[int]()
        else:
            start, coarse, seen, clicked = _HEADER.unpack_from(packed)
            place = start, coarse
            entries = packed[_HEADER.size :]
            tags = {entry[0] for entry in _ENTRY.iter_unpack(entries)}
        after = seen
        predictions: list[Stated] = []
        choices: list[Stated] = []
        items: list[int] = []
        for event, key in zip(impressions, keys, strict=True):
            tag, position = key & _TAG, event.position
            if tag in tags or position > MOST_POSITIONS or len(tags) >= MOST_POSITIONS:
                continue
            tags.add(tag)
            after |= 1 << position - 1
            predicted, propensity = event.predicted, event.propensity
            probable = likely = _UNSTATED
            if predicted is not None:
                probable = int(predicted * NANOS + 0.5)
                predictions.append((probable, False))
                probable += 1  # 0 is taken
            if propensity is not None:
                likely = int(propensity * NANOS + 0.5) or 1
                choices.append((likely, False))
            items.append((key ^ decision) % ITEM_BINS)
            entries += _ENTRY.pack(tag, position, probable, likely)
        if packed is not None and not items:
            return
        self._table.put(decision, _HEADER.pack(place[0], place[1], after, clicked) + entries)
        if after != seen:
            self._changes[place].append(Change((seen, clicked), (after, clicked)))
        if predictions:
            self._predictions[place] += predictions
        if choices:
            self._choices[place] += choices
        if items:
            self._items[hour_start(place[0]), place[1]] += items

    def click(self, decision: int, key: int) -> None:
        """Add the first click on an item. One that the list does not know (any more) changes nothing."""
        packed = self._table.get(decision)
        if packed is None:
            return
        tag = key & _TAG
        start, coarse, seen, clicked = _HEADER.unpack_from(packed)
        entries = _ENTRY.iter_unpack(packed[_HEADER.size :])
        entry = next((entry for entry in entries if entry[0] == tag), None)
        if entry is None:
            return
        _, position, probable, likely = entry
        place, after = (start, coarse), clicked | 1 << position - 1
        if after != clicked:
            self._table.put(decision, _HEADER.pack(start, coarse, seen, after) + packed[_HEADER.size :])
            self._changes[place].append(Change((seen, clicked), (seen, after)))
        if probable != _UNSTATED:
            self._predictions[place].append((probable - 1, True))
        if likely != _UNSTATED:
            self._choices[place].append((likely, True))
