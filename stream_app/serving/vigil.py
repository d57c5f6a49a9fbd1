"""Keeps the watch: feeds sealed minutes to it, shares with other servers what came of them, and tells it.

Every server judges every minute and the first one's word counts (watch_store.py), so that any of them may come and go.
A minute is judged when it is sealed; after an outage those that are still kept are judged in order, a few at each look.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import structlog

from stream_app.core.histograms import Bin
from stream_app.core.slices import ALL
from stream_app.serving import minutes
from stream_app.serving.outage import Outage
from stream_app.serving.partitions import PartitionState
from stream_app.serving.reader import StoreUnavailableError
from stream_app.serving.sums import Sums
from stream_app.serving.views import Meaning, View
from stream_app.serving.watch_store import Kept, Shared, Step, WatchStore
from stream_app.serving.watch_view import NO_WATCH, WatchView, guard_of, seen, told
from stream_app.serving.windows import Windows
from stream_app.statistics.minutes import Minute, told_apart
from stream_app.statistics.series import MINUTE_MS
from stream_app.statistics.verdicts import Verdict
from stream_app.statistics.watch import Policy, Watched, begin, observe

MAX_MINUTES: Final = 10
"""Minutes judged at one look: after an outage streams must keep beating."""
SWEEP_EVERY_MS: Final = 3_600_000
"""How often a server that finds no place for a surface looks whether one has become free."""
GUARD_EVERY_MS: Final = 5_000
GUARD_EXPIRES_MS: Final = 60_000
"""A guard that nobody renews is gone by then: who asks is told that nothing is known."""
SILENCE: Final = "nothing new is counted"
"""Why a surface is not judged of which all was counted that came."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Watched).decode


class Carrying(Protocol):
    """Who brings verdicts to Kafka, and whether that goes well."""

    @property
    def is_up(self) -> bool:
        """Whether Kafka took what was sent last."""

    def wake(self) -> None:
        """Take note that verdicts wait; must not wait."""


class Judged(NamedTuple):
    """One surface, some minutes on."""

    step: Step
    watched: Watched
    verdicts: tuple[Verdict, ...]


class Vigil:
    """The watch as this server knows it. It must be asked by one task at a time.

    Mutable state: the evidence of each surface as it was last read or written, the surfaces whose evidence cannot be
    read, what is shared, the history, what was heard of the partitions, when guards were written, and `view`, which is
    replaced whole.
    """

    def __init__(
        self, store: WatchStore, policy: Policy, meaning: Meaning, max_surfaces: int, courier: Carrying
    ) -> None:
        self._store = store
        self._policy = policy
        self._meaning = meaning
        self._max_surfaces = max_surfaces
        self._courier = courier
        self._known: dict[str, Watched] = {}
        self._unreadable: dict[str, int] = {}
        self._unwatched = 0
        self._shared: Shared | None = None
        self._heard = minutes.Heard()
        self._swept_ms = 0
        self._guarded_ms = 0
        self._guards: Mapping[str, tuple[str, str]] = {}
        self._outage = Outage("the watch cannot be kept", "the watch is kept again")
        self._log: Any = structlog.get_logger("lynceus.server")
        self.history: tuple[bytes, ...] = ()
        self.view: WatchView = NO_WATCH

    async def watch(
        self, windows: Windows, bins: Sums[Bin], view: View, states: Sequence[PartitionState], at_ms: int
    ) -> None:
        """Judge what can be judged since the last look, and say so. Never raises for what the store did."""
        try:
            await self._catch_up(is_sweeping=self._unwatched > 0 and at_ms - self._swept_ms > SWEEP_EVERY_MS)
            self._swept_ms = self._swept_ms or at_ms
            sealed = self._sealed(states, at_ms)
            # Off the event loop: an hour of minutes takes a while.
            held = minutes.held(states, sealed.until_ms)
            judged = await asyncio.to_thread(self._judge, windows, bins, view, held)
            for each in judged:
                await self._commit(each)
            if any(each.verdicts for each in judged):
                await self._catch_up()
            self._tell(sealed.because, at_ms)
            await self._guard(at_ms)
        except StoreUnavailableError as error:
            self._outage.note(f"the watch cannot be kept: {error}")
            self.view = msgspec.structs.replace(self.view, held_because=self._outage.fault)
        else:
            self._outage.note("")

    def failed(self, error: Exception) -> None:
        """Take note of an error of our own: the watch stands still, and begins again from what is shared."""
        if not self._outage.fault:
            self._log.error("the watch failed", exc_info=error)
        self._outage.fault = f"the watch failed ({type(error).__name__})"
        self._known.clear()
        self.view = msgspec.structs.replace(self.view, held_because=self._outage.fault)

    # -- inside ----------------------------------------------------------------------------------------------

    def _sealed(self, states: Sequence[PartitionState], at_ms: int) -> minutes.Sealed:
        self._heard = minutes.hear(self._heard, states)
        meaning = self._meaning
        return minutes.sealed(states, self._heard, meaning.out_of_orderness_ms, meaning.lateness_ms, at_ms)

    async def _catch_up(self, *, is_sweeping: bool = False) -> None:
        """Take note of what other servers have done; now and then, look whether anything has expired."""
        shared = await self._store.look()
        before, self._shared = self._shared, shared
        stale = [surface for surface, last in shared.progress.items() if is_sweeping or self._last_ms(surface) != last]
        for surface, kept in (await self._store.load(stale)).items():
            self._known.pop(surface, None)
            self._unreadable.pop(surface, None)
            if kept is None:
                await self._store.forget(surface)
                continue
            if watched := unpacked(kept):
                self._known[surface] = watched
            else:
                self._unreadable[surface] = kept.last_ms
                self._log.warning("evidence of another version, the surface is not watched here", surface=surface)
        for surface in [surface for surface in self._known if surface not in shared.progress]:
            del self._known[surface]
        if before is None or before.tallies["verdicts"] != shared.tallies["verdicts"]:
            self.history = tuple(await self._store.history())
        if shared.waiting:
            self._courier.wake()

    def _last_ms(self, surface: str) -> int | None:
        watched = self._known.get(surface)
        return self._unreadable.get(surface) if watched is None else watched.last_ms

    def _judge(self, windows: Windows, bins: Sums[Bin], view: View, held: minutes.Held) -> list[Judged]:
        """Return what becomes of each surface by the oldest minutes that are sealed and were not judged yet."""
        candidates = self._candidates(windows, view, held)
        starts = {
            start for each in candidates.values() for start in (each.last_ms + MINUTE_MS,) if start <= held.last_ms
        }
        if not starts:
            return []
        first = max(min(starts), held.first_ms)
        span = range(first, min(held.last_ms, first + (MAX_MINUTES - 1) * MINUTE_MS) + MINUTE_MS, MINUTE_MS)
        values = told_apart(view.totals[ALL], self._meaning.index["impressions"])
        happened = {
            start: minutes.minutes(windows, bins, start, self._meaning, view.since, values)
            for start in span
            if start >= view.gap_ms
        }
        return [
            judged
            for watched in candidates.values()
            if (judged := self._judge_surface(watched, span, happened, held.first_ms))
        ]

    def _candidates(self, windows: Windows, view: View, held: minutes.Held) -> dict[str, Watched]:
        """Return the surfaces to be judged: those that are watched and of which something is kept, and new ones.

        New ones are those that were shown in both arms; where there is no room for all, the largest.
        """
        arms: dict[str, set[str]] = {}
        weights: dict[str, int] = {}
        for (surface, arm), tally in view.pairs[ALL].items():
            shown = tally[self._meaning.index["impressions"]]
            weights[surface] = weights.get(surface, 0) + shown
            arms.setdefault(surface, set()).update([arm] if shown else ())
        chosen = {surface: watched for surface, watched in self._known.items() if surface in arms}
        compared = {self._policy.treated, self._policy.base}
        new = [surface for surface in arms if compared <= arms[surface] and self._last_ms(surface) is None]
        room = max(0, self._max_surfaces - len(self._known) - len(self._unreadable))
        self._unwatched = max(0, len(new) - room)
        seen = minutes.first_minutes(windows) if new and room else {}
        for surface in sorted(seen.keys() & new, key=lambda surface: (-weights[surface], surface))[:room]:
            first = max(seen[surface], held.first_ms)
            chosen[surface] = msgspec.structs.replace(begin(surface), last_ms=first - MINUTE_MS)
        return chosen

    def _judge_surface(
        self, before: Watched, span: range, happened: Mapping[int, Mapping[str, Minute]], first_ms: int
    ) -> Judged | None:
        is_new = before.surface not in self._known
        watched = begin(before.surface) if is_new else before
        verdicts: tuple[Verdict, ...] = ()
        due = [start for start in span if start > before.last_ms]
        if not due:
            return None
        for start in due:
            known = happened.get(start)
            minute = Minute(start, {}, is_complete=False) if known is None else known.get(before.surface)
            watched, changed = observe(self._policy, watched, minute or Minute(start, {}))
            verdicts += changed
        gone = 0 if is_new else max(0, first_ms - before.last_ms - MINUTE_MS) // MINUTE_MS
        kept = Kept(watched.last_ms, _pack(watched))
        step = Step(before.surface, None if is_new else before.last_ms, kept, tuple(map(told, verdicts)), gone)
        return Judged(step, watched, verdicts)

    async def _commit(self, judged: Judged) -> None:
        """Write what was judged, unless another server was faster: then what it wrote is read at the next look."""
        surface = judged.step.surface
        if await self._store.advance(judged.step) != "ok":
            return
        self._known[surface] = judged.watched
        if judged.step.gone_minutes:
            self._log.warning("minutes were gone before they were judged", surface=surface, n=judged.step.gone_minutes)
        for verdict in judged.verdicts:
            self._log.info(
                "verdict", surface=surface, kpi=verdict.kpi, cause=verdict.cause, is_open=verdict.is_open,
                since_ms=verdict.since_ms, words=verdict.words,
            )  # fmt: skip

    def _tell(self, because: str, at_ms: int) -> None:
        assert self._shared is not None
        stands = because or SILENCE
        known = [watched for _, watched in sorted(self._known.items())]
        surfaces = seen(self._policy, known, self._meaning.open_ms, at_ms, stands)
        tallies = self._shared.tallies
        self.view = WatchView(
            surfaces,
            # Where nobody comes there is nothing to judge: that is no fault of the watch.
            because if not surfaces or any(each.paused == because for each in surfaces) else "",
            self._unwatched + len(self._unreadable),
            tallies["verdicts"],
            self._shared.waiting,
            tallies["unsent_verdicts"],
            tallies["gone_minutes"],
            self._courier.is_up,
        )

    async def _guard(self, at_ms: int) -> None:
        """Say of each surface whether personalization may be relied on: now and then, and when something changed."""
        guards = {each.surface: guard_of(each, at_ms) for each in self.view.surfaces}
        said = {surface: (guard.status, guard.reason) for surface, guard in guards.items()}
        if said != self._guards or at_ms - self._guarded_ms >= GUARD_EVERY_MS or at_ms < self._guarded_ms:
            await self._store.guard({s: msgspec.json.encode(guard) for s, guard in guards.items()}, GUARD_EXPIRES_MS)
            self._guards, self._guarded_ms = said, at_ms


def unpacked(kept: Kept) -> Watched | None:
    """Return the evidence of a surface; None where another version wrote it."""
    try:
        return _unpack(kept.packed)
    except msgspec.DecodeError:
        return None
