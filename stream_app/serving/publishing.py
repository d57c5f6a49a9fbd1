"""Publishes what decisions are made on: a snapshot of each window and surface in Redis, for `stream_app.decisions`.

    views of one end      |E|E|E|E|F|F|...     time goes past E: the last view of it is published, as of E

The contract is `decisions.contract`. Any number of servers may publish: whoever moves the pointer from where it stood
wins, the others have nothing left to do. A snapshot stays for three lengths of its window, and for a minute once it has
a successor, so that who has just read the pointer still finds it.
"""

import asyncio
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from redis.exceptions import RedisError

from stream_app.core.slices import ALL, DIMENSIONS, shown_as
from stream_app.core.tally import add_into
from stream_app.decisions.contract import COUNTED, META, STEP_S, VERSION, WHOLE, entity, pointer_key, snapshot_key
from stream_app.errors import LynceusError
from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Metric
from stream_app.serving.outage import Outage
from stream_app.serving.snapshot import WindowView
from stream_app.serving.views import Meaning, View, largest
from stream_app.settings import DecisionsSettings
from stream_app.statistics.lowering import lower

if TYPE_CHECKING:
    from redis.asyncio import Redis

GRACE_S: Final = 60
LENGTHS_KEPT: Final = 3
Values = tuple[str | None, ...]
"""A value of each counted dimension, or None where all of them are meant."""
_AT: Final = tuple(DIMENSIONS.index(name) for name in COUNTED)
_ASKED: Final = tuple(
    frozenset(chosen) for number in (0, 1, 2) for chosen in combinations(range(len(COUNTED)), number)
)  # the surface as a whole, values of one dimension, and pairs of two

PUBLISH: Final = """
-- Swap a window's snapshot. KEYS: pointer, snapshot, the one before; ARGV: pointer as it was ('' = none), end,
-- seconds to keep, seconds to keep the one before, field, value, ...
-- Whoever comes second finds another pointer, and changes nothing.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
for at = 5, #ARGV, 1000 do redis.call('HSET', KEYS[2], unpack(ARGV, at, math.min(at + 999, #ARGV))) end
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
if ARGV[1] ~= '' then redis.call('EXPIRE', KEYS[3], ARGV[4]) end
return 1
"""


class Published(NamedTuple):
    """A snapshot: where it belongs, and its fields."""

    surface: str
    window: str
    end_ms: int
    length_ms: int
    fields: dict[str, str]


def surfaces(view: View, meaning: Meaning, limit: int) -> list[str]:
    """Return the `limit` surfaces with most impressions in all that is kept, so that none comes and goes."""
    sums: dict[tuple[str, str], list[int]] = {}
    for (surface, _), tally in view.pairs[ALL].items():
        add_into(sums.setdefault((surface, ALL), [0] * len(tally)), tally)
    return sorted(surface for surface, _ in largest(sums, meaning.index["impressions"], limit))


def snapshots(view: View, meaning: Meaning, window: str, of: Sequence[str], max_entities: int) -> Iterator[Published]:
    """Yield the snapshot of `window` for each surface in `of`; with its `max_entities` of most impressions."""
    metrics = [metric for metric in meaning.headlines(window) if "surface" in metric.dimensions]
    needs = sorted({"impressions", *(measure for metric in metrics for measure in metric.needs)})
    index = {measure: at for at, measure in enumerate(needs)}
    places = [meaning.index[measure] for measure in needs]
    told = view.snapshot.windows[window]
    sums: dict[str, dict[Values, list[int]]] = {surface: {} for surface in of}
    for slice_, tally in view.totals[window].items():
        by_values = sums.get(shown_as(slice_.surface))
        if by_values is None:
            continue
        part = [tally[place] for place in places]
        values = [slice_[at] for at in _AT]
        for asked in _ASKED:
            key = tuple(value if at in asked else None for at, value in enumerate(values))
            total = by_values.get(key)
            if total is None:
                by_values[key] = [*part]
            else:
                add_into(total, part)
    meta = json.dumps(_meta(view, told, metrics))
    nothing, seen = [0] * len(needs), index["impressions"]
    everything: Values = (None,) * len(COUNTED)
    for surface, by_values in sums.items():
        parts = {key: by_values[key] for key in by_values if key != everything}
        kept = heapq.nsmallest(max_entities, ((-tally[seen], entity(_named(key)), key) for key, tally in parts.items()))
        fields = {META: meta, WHOLE: _cell(metrics, by_values.get(everything, nothing), index, ())}
        for _, spelt, key in kept:
            fields[spelt] = _cell(metrics, parts[key], index, _named(key))
        yield Published(surface, window, told.end_ms, told.length_ms, fields)


class Publisher:
    """Publishes views as time goes past them. Mutable state: the view held back, since when, and whether Redis is lost.

    It is a task of its own: what it waits for holds up no view. Raises LynceusError for windows that do not exist.
    """

    def __init__(
        self,
        redis: "Redis",
        prefix: str,
        meaning: Meaning,
        settings: DecisionsSettings,
        current: Callable[[], View | None],
        clock: Callable[[], int],
    ) -> None:
        known = [window.name for window in meaning.windows]
        self._windows = settings.published_windows
        for name in self._windows:
            if name not in known:
                raise LynceusError(
                    f"LYNCEUS_DECISIONS__WINDOWS={settings.windows!r}: there is no window {name}",
                    f"Choose among {', '.join(known)}",
                )
        self._publish = redis.register_script(PUBLISH)
        self._redis, self._prefix, self._meaning, self._settings = redis, prefix, meaning, settings
        self._current, self._clock = current, clock
        self._held: View | None = None
        self._held_ms = 0
        self._published_ms = 0
        self._outage = Outage(
            "snapshots for decisions cannot be published", "snapshots for decisions are published again"
        )
        self._log: Any = structlog.get_logger("lynceus.server")

    async def run(self, stop: asyncio.Event, every_s: float) -> None:
        """Look at the current view every `every_s`, until `stop`; not at all where nothing shall be published."""
        while self._settings.publish and not stop.is_set():
            await self.step()
            try:
                async with asyncio.timeout(every_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Publish the view held back if time went past it, or stood still for a step; return how many snapshots.

        Never raises.
        """
        view, now_ms = self._current(), self._clock()
        held = self._held
        is_due = held is not None and (
            (view is not None and _end(view) > _end(held)) or now_ms - self._held_ms >= STEP_S * 1000
        )
        number = 0
        if held is not None and is_due and _end(held) > self._published_ms:
            try:
                number = await self.publish(held)
                self._published_ms = _end(held)
                self._outage.note("")
            except (RedisError, OSError, TimeoutError) as error:
                self._outage.note(type(error).__name__)
            except Exception:
                # A bug, or bytes that nobody foresaw: readers must still be served.
                self._log.exception("a snapshot for decisions cannot be made")
                self._published_ms = _end(held)
        if view is not None and not view.is_stale and _end(view):
            if held is None or _end(view) != _end(held):
                self._held_ms = now_ms
            self._held = view
        return number

    async def publish(self, view: View) -> int:
        """Publish what of `view` no server has published yet; return how many snapshots.

        Raises redis.RedisError.
        """
        told, now_ms = view.snapshot.windows, self._clock()
        # What ended three lengths ago has expired, and must not come back with a server that starts.
        fresh = [name for name in self._windows if now_ms - told[name].end_ms < LENGTHS_KEPT * told[name].length_ms]
        of = surfaces(view, self._meaning, self._settings.max_surfaces)
        places = [(surface, name) for name in fresh for surface in of]
        if not places:
            return 0
        pointers = await self._redis.mget([pointer_key(self._prefix, *place) for place in places])
        stood = {place: b"" if was is None else was for place, was in zip(places, pointers, strict=True)}
        number = 0
        for name in fresh:
            behind = [surface for surface in of if int(stood[surface, name] or 0) < told[name].end_ms]
            # Off the event loop, one window at a time: streams must keep beating.
            ready = await asyncio.to_thread(self._snapshots, view, name, behind)
            if not ready:
                continue
            pipe = self._redis.pipeline(transaction=False)
            for one in ready:
                was = stood[one.surface, name]
                await self._publish(
                    keys=[
                        pointer_key(self._prefix, one.surface, name),
                        snapshot_key(self._prefix, one.surface, name, one.end_ms),
                        snapshot_key(self._prefix, one.surface, name, int(was or 0)),
                    ],
                    args=[was, one.end_ms, LENGTHS_KEPT * one.length_ms // 1000, GRACE_S]
                    + [part for field in one.fields.items() for part in field],
                    client=pipe,
                )
            number += sum(await pipe.execute())
        return number

    def _snapshots(self, view: View, window: str, of: Sequence[str]) -> list[Published]:
        return list(snapshots(view, self._meaning, window, of, self._settings.max_entities)) if of else []


# -- inside ----------------------------------------------------------------------------------------------------------


def _named(key: Values) -> dict[str, str]:
    return {name: value for name, value in zip(COUNTED, key, strict=True) if value is not None}


def _end(view: View) -> int:
    return view.snapshot.end_ms or 0


def _meta(view: View, told: WindowView, metrics: Sequence[Metric]) -> dict[str, Any]:
    snapshot = view.snapshot
    flags = {"replaying": snapshot.replaying, "gapped": told.gapped, "rekeyed": told.rekeyed}
    because = [*snapshot.incomplete_because, *(word for word, is_so in flags.items() if is_so)]
    is_complete = told.complete and not because
    return {
        "v": VERSION,
        "start_ms": told.start_ms,
        "end_ms": told.end_ms,
        "at_ms": snapshot.at_ms,
        "complete": is_complete,
        "because": because or ([] if is_complete else ["the window reaches back to before what is kept"]),
        "maturity": {metric.name: round(told.maturities[metric.name], 4) for metric in metrics},
    }


def _cell(metrics: Sequence[Metric], tally: Sequence[int], index: Mapping[str, int], named: Iterable[str]) -> str:
    """Return what is told of an entity: of each KPI that is known by its dimensions [n, x, p, lo, hi], or null."""
    cell: dict[str, list[float] | None] = {}
    for metric in metrics:
        if not set(named).issubset(metric.dimensions):
            continue
        found = lower(metric, tally, index)
        method = metric.method
        if found is None:
            cell[metric.name] = None
            continue
        x = tally[index[method.successes]] if isinstance(method, Proportion) else found.value * found.n
        cell[metric.name] = [found.n, x, found.value, found.low, found.high]
    return json.dumps(cell, separators=(",", ":"))
