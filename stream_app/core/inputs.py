"""Business inputs: figures that no event can give, as told by people, with author and date.

    cost, scope email   |----- 600 -----|----- 300 -----|
    window                      |===========|
    told for the window          300     +   150          spread evenly over the time it is said to be of

A cost is an amount of a stretch of time, and belongs to a window as far as it lies in it. A rate, a unit cost or a
benchmark is a level: the latest one that holds at the window's end. What is not told for the whole window is not
known for it, and never taken for 0. Two currencies are never added.

A scope says of what it is told: nothing (of everything), a programme (`acquisition`), and the part asked for
(`acquisition/channel=email`). The cost of a part is only what is told of that part; a level of the whole holds for a
part of which none is told.
"""

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Final, NamedTuple, TypeVar

from stream_app.core import codec
from stream_app.core.events import AnyInput, BusinessInput
from stream_app.core.slices import DIMENSIONS

AMOUNTS: Final = ("cost",)
"""Keys that are amounts of a stretch of time; all others are levels."""
MOST_INPUTS: Final = 10_000
"""Inputs kept by id; a new one beyond is refused."""
EVERYTHING: Final = ""
"""The scope of what is said of no part in particular."""

Inputs = Mapping[str, BusinessInput]
"""By id: a later input of the same id replaces the earlier one."""
NO_INPUTS: Final[Inputs] = {}


Anyone = TypeVar("Anyone", bound=AnyInput)


class Figure(NamedTuple):
    """What a metric must be told: a key, and of what."""

    key: str
    scope: str = EVERYTHING

    @property
    def text(self) -> str:
        """Both, for people."""
        return f"{self.key} {self.scope}".strip()


class Told(NamedTuple):
    """A figure for a window: the value, when its newest part was told (ms), by whom, and of what."""

    value: float
    told_ms: int
    authors: tuple[str, ...]
    scope: str = EVERYTHING


def rank(told: AnyInput) -> tuple[int, float, bytes]:
    """Return by what inputs of one id are ordered: the one that was told last stands, and of two at once, one."""
    return told.ts, told.value, codec.encode(told)


def latest(inputs: Iterable[Anyone]) -> dict[str, Anyone]:
    """Return the inputs by id, in whatever order they come: the one that was told last stands."""
    kept: dict[str, Anyone] = {}
    for each in inputs:
        known = kept.get(each.id)
        if known is None or rank(each) > rank(known):
            kept[each.id] = each
    return kept


def read(fields: Mapping[bytes, bytes]) -> dict[str, AnyInput]:
    """Return the inputs of the stored hash by id; a field that cannot be read holds none."""
    found = {name: codec.decode_input(raw) for name, raw in fields.items() if not name.startswith(b"@")}
    return {
        each.id: each
        for name, each in found.items()
        if not isinstance(each, codec.Rejected) and each.id.encode() == name
    }


def scope_of(figure: Figure, where: Mapping[str, str]) -> str:
    """Return the scope of a figure for the part of everything that has these values of dimensions."""
    parts = (f"{dimension}={where[dimension]}" for dimension in DIMENSIONS if dimension in where)
    return "/".join(part for part in (figure.scope, *parts) if part)


def told_for(
    inputs: Inputs, figure: Figure, where: Mapping[str, str], start_ms: int, end_ms: int, currency: str
) -> Told | None:
    """Return what is told of a figure for `[start_ms, end_ms)` and a part, in `currency`; None where nothing is."""
    scope = scope_of(figure, where)
    if figure.key in AMOUNTS:
        return amount(inputs, figure.key, scope, start_ms, end_ms, currency)
    return level(inputs, figure.key, scope, end_ms) or level(inputs, figure.key, figure.scope, end_ms)


def amount(inputs: Inputs, key: str, scope: str, start_ms: int, end_ms: int, currency: str) -> Told | None:
    """Return the sum of an amount over `[start_ms, end_ms)`, in major units of `currency`.

    Parts that overlap are added. None where some moment of the window is not told of, or something is told in another
    currency.
    """
    parts = [
        each
        for each in inputs.values()
        if each.key == key and (each.scope or EVERYTHING) == scope and each.from_ts < end_ms and each.to_ts > start_ms
    ]
    if not _covers(parts, start_ms, end_ms) or any(each.currency not in (None, currency) for each in parts):
        return None
    total = fsum(
        each.value * (min(each.to_ts, end_ms) - max(each.from_ts, start_ms)) / (each.to_ts - each.from_ts)
        for each in parts
    )
    return Told(total, max(each.ts for each in parts), _authors(parts), scope)


def level(inputs: Inputs, key: str, scope: str, at_ms: int) -> Told | None:
    """Return the level of a rate or a benchmark just before `at_ms`: the one told last of those that hold then.

    None where none is told for that moment.
    """
    holding = [
        each
        for each in inputs.values()
        if each.key == key and (each.scope or EVERYTHING) == scope and each.from_ts < at_ms <= each.to_ts
    ]
    if not holding:
        return None
    newest = max(holding, key=lambda each: (each.ts, each.id))
    return Told(newest.value, newest.ts, _authors([newest]), scope)


def fault_of(told: AnyInput) -> str:
    """Return what is wrong with an input that can be read, or an empty string."""
    if told.id.startswith("@"):
        return f"the id {told.id!r} begins with @"
    if not isinstance(told, BusinessInput):
        return ""
    if told.to_ts <= told.from_ts:
        return f"to_ts {told.to_ts} is not after from_ts {told.from_ts}"
    if told.author is None:
        return "an input needs an author: whose figure is it?"
    if told.key == "margin_rate" and not 0 <= told.value <= 1:
        return f"margin_rate {told.value} is not between 0 and 1"
    if told.key in ("cost", "unit_cost", "discount_rate") and told.value < 0:
        return f"{told.key} {told.value} is negative"
    return ""


def _covers(parts: Iterable[BusinessInput], start_ms: int, end_ms: int) -> bool:
    reached = start_ms
    for part in sorted(parts, key=lambda each: each.from_ts):
        if part.from_ts > reached:
            return False
        reached = max(reached, part.to_ts)
    return reached >= end_ms > start_ms


def _authors(parts: Iterable[BusinessInput]) -> tuple[str, ...]:
    return tuple(sorted({each.author for each in parts if each.author is not None}))
