"""Minutes: what the watch over a surface is fed with, out of counts by slice.

slice -> tally                    surface -> Minute
home, holdout, new, web, phone     arms:    holdout -> impressions, first clicks, ...
home, holdout, old, web, desk      strata:  segment=new -> holdout -> ...; device=phone -> ...

bin -> amount
home, holdout, position 1                   position=1 -> holdout -> ...
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from stream_app.core.histograms import Bin
from stream_app.core.slices import DIMENSIONS, OTHER, Slice, shown_as
from stream_app.core.tally import Binned
from stream_app.metrics.clicked_lists import PLACES

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
STRATA: Final = ("segment", "channel", "device")
"""Dimensions by which a surface is taken apart; a policy belongs to an arm, so that there is nothing to compare."""
BY_POSITION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "at_risk_by_position": "at_risk_impressions",
        "first_clicks_by_position": "first_clicks",
    }
)
"""Of spreads by position of a list: which measure they take apart."""
POSITION: Final = "position="
"""What the name of a position begins with."""
MAX_VALUES: Final = 12
"""Values of a dimension that are told apart: the largest of all that is kept; the others are `other`."""
Amounts = Mapping[str, Mapping[str, int]]
"""Arm -> measure -> amount."""

_ARM: Final = DIMENSIONS.index("arm")
_LAST: Final = f"{POSITION}{PLACES}+"
_NOTHING: Final[Mapping[str, Amounts]] = MappingProxyType({})
_ALWAYS: Final[Mapping[str, int]] = MappingProxyType({})
_Counts = dict[str, dict[str, int]]


class Minute(NamedTuple):
    """One surface in one sealed minute of event time, which begins at `at_ms`.

    `strata` has the same for parts of it, by name, e.g. "device=mobile"; those of one dimension add up to the whole.
    Of positions, "position=1" to "position=11+", it has what `BY_POSITION` takes apart, and no more of that than the
    whole has: each position of a list counts once, and not every click is known to be in a list.
    `is_complete` is False where something of the minute is known to be missing (a gap, a replay): nothing is read
    from it then, and the watch is paused.
    """

    at_ms: int
    arms: Amounts
    strata: Mapping[str, Amounts] = _NOTHING
    is_complete: bool = True


def told_apart(totals: Mapping[Slice, Sequence[int]], weight: int) -> dict[str, frozenset[str]]:
    """Return by dimension the values that are told apart: those with most of the measure at `weight`."""
    chosen = {}
    for dimension in STRATA:
        at, weights = DIMENSIONS.index(dimension), dict[str, int]()
        for slice_, tally in totals.items():
            weights[slice_[at]] = weights.get(slice_[at], 0) + tally[weight]
        largest = sorted(weights, key=lambda value: (-weights[value], value))[:MAX_VALUES]
        chosen[dimension] = frozenset(largest)
    return chosen


def minutes_of(
    start_ms: int,
    rows: Iterable[tuple[Slice, Sequence[int]]],
    index: Mapping[str, int],
    since: Mapping[str, int] = _ALWAYS,
    values: Mapping[str, frozenset[str]] | None = None,
    bins: Iterable[tuple[Bin, Sequence[int]]] = (),
    histograms: Iterable[Binned] = (),
) -> dict[str, Minute]:
    """Return what happened in the minute that begins at `start_ms`, by surface; one that saw nobody is not there.

    `rows` are all tallies of that minute, `index` says where in them a measure is; `bins` are those of `histograms`. A
    measure of which counting began later than that (`since`) is left out: it would be too low. Without `values` all
    values are told apart.
    """
    columns = [(name, index[name]) for name in WATCHED if name in index and since.get(name, 0) <= start_ms]
    arms: dict[str, _Counts] = {}
    strata: dict[str, dict[str, _Counts]] = {}
    dimensions = [(name, DIMENSIONS.index(name), None if values is None else values[name]) for name in STRATA]
    for slice_, tally in rows:
        amounts = [(name, tally[at]) for name, at in columns if tally[at]]
        if not amounts:
            continue
        surface = shown_as(slice_.surface)
        apart = strata.setdefault(surface, {})
        parts = [arms.setdefault(surface, {})]
        for name, at, known in dimensions:
            value = slice_[at] if known is None or slice_[at] in known else OTHER
            parts.append(apart.setdefault(f"{name}={value}", {}))
        for part in parts:
            counts = part.setdefault(slice_[_ARM], {})
            for name, amount in amounts:
                counts[name] = counts.get(name, 0) + amount
    counted = [each for each in histograms if each.name in BY_POSITION and since.get(each.name, 0) <= start_ms]
    taken_apart = {each.number: BY_POSITION[each.name] for each in counted}
    for bin_, (amount,) in bins:
        measure, surface = taken_apart.get(bin_.histogram), shown_as(bin_.surface)
        if measure is None or surface not in arms:
            continue
        counts = strata[surface].setdefault(position(bin_.bin), {}).setdefault(bin_.arm, {})
        counts[measure] = counts.get(measure, 0) + amount
    return {surface: Minute(start_ms, counts, strata[surface]) for surface, counts in arms.items()}


def position(place: int) -> str:
    """Return the name of a position of a list, from 1; one name for the last that is told apart and all below it."""
    return _LAST if place >= PLACES else f"{POSITION}{place}"
