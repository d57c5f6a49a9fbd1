"""How a question is put to Redis and what the replies mean: without a connection, so that both clients share it.

A conversation is a generator. It yields a command, is sent the reply, or is thrown UnreachableError, and returns the
answers:

    cached        nothing is asked
    usually       MGET current guard  ->  HMGET snapshot @meta all entity ...       once a step for each window
    in between    HMGET snapshot @meta entity ...                                   for entities not asked for before
"""

import json
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_app.decisions import guard as guards
from stream_app.decisions.answer import Answer, Found, Limits, Prior, Told, known, standing, unknown
from stream_app.decisions.contract import (
    COUNTED,
    ITEM,
    META,
    STEP_S,
    WHOLE,
    entity,
    guard_key,
    pointer_key,
    snapshot_key,
)
from stream_app.decisions.guard import Guard
from stream_app.decisions.memory import Cells, Memory, Window

REST_S: Final = 1.0
"""How long Redis is left in peace after it did not answer."""
MAX_AGE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Command = tuple[str, ...]
Reply = Sequence[bytes | None]
Talk = Generator[Command, Reply, Any]


class UnreachableError(Exception):
    """Redis did not answer in time, or refused; the message says why."""


class Question(NamedTuple):
    """Which KPI of which window of which surface, and of which entities, by the name under which each is answered."""

    kpi: str
    window: str
    surface: str
    entities: Mapping[str, str]


def question(
    kpi: str, surface: str, window: str, where: Mapping[str, str] | None, lists: Mapping[str, Sequence[str]]
) -> Question:
    """Return the question about the values of at most one dimension of `lists`, each within `where`.

    Without any, it is about `where` itself, answered under its spelling; without that, about the surface as a whole.

    Raises ValueError for two lists, or a dimension that does not exist or is given twice; TypeError for a bare name.
    """
    where = where or {}
    given = {dimension: values for dimension, values in lists.items() if values}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are two lists; ask for one, and name a value of the other in `where`")
    for dimension, values in given.items():
        if dimension in where:
            raise ValueError(f"{dimension} is in `where` and in a list")
        if isinstance(values, str):
            raise TypeError(f"{values!r} is one name; write a list of names")
        return Question(kpi, window, surface, {value: entity({**where, dimension: value}) for value in values})
    spelt = entity(where)
    return Question(kpi, window, surface, {spelt: spelt})


def seconds(age: str | float) -> float:
    """Return an age in seconds: a number of them, or 500ms, 90s, 2m, 1h. Raises ValueError for anything else."""
    if isinstance(age, int | float):
        parsed = float(age)
    else:
        found = MAX_AGE.fullmatch(age)
        parsed = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < parsed < float("inf"):
        raise ValueError(f"{age!r} is no age; write seconds, or 500ms, 90s, 2m, 1h")
    return parsed


class Conversations:
    """Puts questions. Mutable state: the memory."""

    def __init__(
        self,
        prefix: str,
        limits: Limits,
        priors: Mapping[str, Prior],
        clock_ms: Callable[[], float] = lambda: time.time() * 1000,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prefix = prefix
        self._limits = limits
        self._priors = dict(priors)
        self._clock_ms, self._elapsed_s = clock_ms, elapsed_s
        self._memory = Memory()

    def get(self, asked: Question) -> Generator[Command, Reply, dict[str, Answer]]:
        """Converse until every entity of a question has an answer."""
        surface, now_s = asked.surface, self._elapsed_s()
        kept = self._memory.window(surface, asked.window)
        fault = self._memory.fault(now_s)
        wanted = dict.fromkeys((WHOLE, *asked.entities.values()))
        if not fault:
            try:
                if kept is None or now_s - kept.read_s >= STEP_S:
                    kept = yield from self._window(surface, asked.window, kept, now_s)
                if kept.found.end_ms is not None and (missing := [one for one in wanted if one not in kept.cells]):
                    kept = yield from self._entities(surface, asked.window, kept, missing)
            except UnreachableError as error:
                fault = str(error)
                self._memory.rest(fault, now_s + REST_S)
        return self._answers(asked, kept, fault, now_s)

    def guard(self, surface: str) -> Generator[Command, Reply, Guard]:
        """Converse until the guard of a surface is known."""
        now_s = self._elapsed_s()
        known = self._memory.guard(surface)
        fault = self._memory.fault(now_s)
        if not fault and (known is None or now_s - known[1] >= STEP_S):
            try:
                (stored,) = yield ("MGET", guard_key(self._prefix, surface))
                self._memory.keep_guard(surface, guards.read(stored), now_s)
            except UnreachableError as error:
                fault = str(error)
                self._memory.rest(fault, now_s + REST_S)
        return self._guard(surface, fault, now_s)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _window(self, surface: str, name: str, kept: Window | None, now_s: float) -> Generator[Command, Reply, Window]:
        """Ask where the window stands; what is kept of it stays where it stands there still."""
        current, stored = yield ("MGET", pointer_key(self._prefix, surface, name), guard_key(self._prefix, surface))
        self._memory.keep_guard(surface, guards.read(stored), now_s)
        end_ms = int(current) if current is not None and current.isdigit() else None
        if kept is None or kept.found.end_ms != end_ms:
            kept = Window(Found(end_ms), now_s)
        kept.read_s = now_s
        self._memory.keep_window(surface, name, kept)
        return kept

    def _entities(
        self, surface: str, name: str, kept: Window, missing: Sequence[str]
    ) -> Generator[Command, Reply, Window]:
        assert kept.found.end_ms is not None
        key = snapshot_key(self._prefix, surface, name, kept.found.end_ms)
        stored_meta, *stored = yield ("HMGET", key, META, *missing)
        meta = _object(stored_meta)
        if meta is None:
            # Between two questions its successor took its place, or it expired: the next one looks again.
            kept = Window(kept.found, kept.read_s - STEP_S)
            self._memory.keep_window(surface, name, kept)
            return kept
        kept.keep(dict(zip(missing, _objects(stored), strict=True)))
        kept.found = kept.found._replace(
            because=() if meta.get("complete") else tuple(meta.get("because") or ("nobody says why",)),
            maturities=meta.get("maturity") or {},
        )
        return kept

    def _answers(self, asked: Question, kept: Window | None, fault: str, now_s: float) -> dict[str, Answer]:
        kpi, prior = asked.kpi, self._priors.get(asked.kpi)
        found = Found() if kept is None else kept.found
        cells: Cells = {} if kept is None else kept.cells
        found = found._replace(whole=_told(cells.get(WHOLE), kpi))
        guard = self._guard(asked.surface, fault, now_s)
        stands = standing(found, guard, self._limits.max_age_ms, self._clock_ms())
        answers = {}
        for name, spelt in asked.entities.items():
            cell = cells.get(spelt)
            if cell is not None and kpi in cell:
                answers[name] = known(kpi, _told(cell, kpi), found, stands, prior, self._limits.enough)
                continue
            # Five reasons to know nothing, the plainest first.
            if f",{spelt}".rpartition(",")[2].startswith(f"{ITEM}="):
                reason = "items are not counted one by one"
            elif cell is not None:
                reason = f"no {kpi} is published of it"
            elif spelt in cells:
                reason = "nothing was counted of it in this window"
            elif fault:
                reason = f"Redis is not to be had: {fault}"
            else:
                reason = "no server publishes such a window" if found.end_ms is None else "its snapshot is gone"
            answers[name] = unknown(reason, found, prior)
        return answers

    def _guard(self, surface: str, fault: str, now_s: float) -> Guard:
        known = self._memory.guard(surface)
        # What was read a while ago holds as long as a window may be old: then nobody knows any more.
        if known is None or (now_s - known[1]) * 1000 > self._limits.max_age_ms:
            return Guard("unknown", f"Redis is not to be had: {fault}") if fault else guards.UNTOLD
        return known[0]


def dimension_lists(
    arms: Sequence[str], policies: Sequence[str], segments: Sequence[str], channels: Sequence[str],
    devices: Sequence[str], items: Sequence[str],
) -> dict[str, Sequence[str]]:  # fmt: skip
    """Return the lists by dimension."""
    return dict(zip((*COUNTED, ITEM), (arms, policies, segments, channels, devices, items), strict=True))


def _objects(stored: Sequence[bytes | None]) -> list[dict[str, Any] | None]:
    """Return the objects in many fields, decoded at once where all are JSON: that takes half the time."""
    try:
        found = json.loads(b"[" + b",".join(b"null" if each is None else each for each in stored) + b"]")
    except ValueError:
        found = []
    if len(found) != len(stored):
        return [_object(each) for each in stored]
    return [each if isinstance(each, dict) else None for each in found]


def _object(stored: bytes | None) -> dict[str, Any] | None:
    try:
        found = None if stored is None else json.loads(stored)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _told(cell: Mapping[str, Any] | None, kpi: str) -> Told | None:
    told = None if cell is None else cell.get(kpi)
    return Told(*told) if isinstance(told, list) and len(told) == len(Told._fields) else None
