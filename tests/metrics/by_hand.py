"""A scene: a few events, and what metrics say of them on paper; with the names of events on a timeline in seconds."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple, TypeVar

from stream_app.core.cells import unpack_rows
from stream_app.core.events import AnyEvent, Decision, DecisionItem, Event
from stream_app.core.histograms import read_key
from stream_app.core.processor import Partition
from stream_app.core.slices import DIMENSIONS
from stream_app.metrics.catalogue import HISTOGRAMS, INDEX, METRICS
from stream_app.statistics.counted import Counted
from stream_app.statistics.lowering import lower
from tests.metrics.ageing import state_of
from tests.timelines import at

METRIC = {metric.name: metric for metric in METRICS}
_ARM = DIMENSIONS.index("arm")
_numbers = count()
E = TypeVar("E", bound=Event)


class Scene(NamedTuple):
    """What happened, and what metrics say of it: worked out on paper, as the comment beside it says."""

    events: tuple[AnyEvent, ...]
    values: Mapping[str, float]
    """By metric; every one of them is computed from the whole scene."""


def then(seconds: float, of: type[E], user: str = "u1", **fields: Any) -> E:
    """Return an event so many seconds after midnight."""
    own: dict[str, Any] = {"id": f"h{next(_numbers)}", "ts": at(seconds), "user": user}
    return of(**(own | fields))


def decided(seconds: float, user: str = "u1", name: str = "d", **fields: Any) -> Decision:
    """Return a decision for one item."""
    return then(seconds, Decision, user, decision=name, items=(DecisionItem(item="A", position=1),), **fields)


def values_of(scene: Scene) -> dict[str, float | None]:
    """Return what the metrics of a scene say, whatever the least number that they may be told of."""
    state = state_of(scene.events)
    arms = {arm: _counted(state, arm) for arm in ("", "personalized", "holdout")}
    found: dict[str, float | None] = {}
    for name in scene.values:
        metric = replace(METRIC[name], at_least=1)
        own, base = (arms[arm] for arm in metric.arms or ("", "holdout"))
        estimate = lower(metric, own.tally, INDEX, own.bins, arms["holdout"].bins, base.tally)
        found[name] = None if estimate is None else estimate.value
    return found


def _counted(state: Partition, arm: str) -> Counted:
    """Return all that was counted, of one arm or ("") of all."""
    tally = [0] * len(INDEX)
    for number, amounts in _rows(state.cells):
        if arm in ("", state.slices.slices[number][_ARM]):
            tally = [one + other for one, other in zip(tally, amounts, strict=True)]
    state.bins.settle()
    names = {histogram.number: histogram.name for histogram in HISTOGRAMS}
    bins: dict[str, dict[int, int]] = {name: {} for name in names.values()}
    for packed, (amount,) in _rows(state.bins.cells):
        key = read_key(packed)
        if arm in ("", state.slices.slices[key.slice_number][_ARM]):
            counts = bins[names[key.histogram]]
            counts[key.bin] = counts.get(key.bin, 0) + amount
    return Counted(tally, INDEX, bins)


def _rows(cells: Any) -> Iterator[tuple[int, Any]]:
    for tier in (cells.panes, cells.hours, cells.days):
        for rows in tier.values():
            yield from (unpack_rows(rows) if isinstance(rows, bytes) else rows).items()
