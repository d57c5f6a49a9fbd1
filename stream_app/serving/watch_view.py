"""What readers see of the watch: plain frozen values, rendered as they stand. Pure.

The guard is what a caller of personalization asks before it relies on it. Three cases: something is open by which
personalization itself is worse (degraded), something by which that cannot be known (unknown), everything else (ok).
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from stream_app.statistics.series import MINUTE_MS
from stream_app.statistics.verdicts import Cause, Meter, Verdict, leading
from stream_app.statistics.watch import Policy, Watched, meters, mismatch_p_value

DEGRADED: Final[tuple[Cause, ...]] = ("drop", "context")
UNKNOWN: Final[tuple[Cause, ...]] = ("instrumentation", "mismatch", "not_enough")
LATE_AFTER_MS: Final = 5 * MINUTE_MS
"""How much longer than panes are open the watch may be behind the clock before what it says is old."""


class SurfaceWatch(msgspec.Struct, frozen=True):
    """One surface that is watched: judged until `until_ms` (event time).

    `paused` says why no evidence is gathered, "" where it is; `cause` and `words` are those of the verdict that speaks
    for it, "ok" and "" where none is open; `mismatch_p_value` is valid at any time, null where no shares were promised.
    """

    surface: str
    until_ms: int
    paused: str
    cause: Cause
    words: str
    mismatch_p_value: float | None
    meters: tuple[Meter, ...]
    open: tuple[Verdict, ...]


class WatchView(msgspec.Struct, frozen=True):
    """The watch as a whole. `held_because` says why it stands still; "" = it does not.

    `unwatched` surfaces found no place among those that are watched. Of the verdicts since the watch began, `waiting`
    are not in Kafka yet and `unsent` never will be: there were too many. `gone_minutes` were no longer kept when they
    could have been judged.
    """

    surfaces: tuple[SurfaceWatch, ...] = ()
    held_because: str = ""
    unwatched: int = 0
    verdicts: int = 0
    waiting: int = 0
    unsent: int = 0
    gone_minutes: int = 0
    is_publishing: bool = True


class Guard(msgspec.Struct, frozen=True):
    """Whether personalization may be relied on at a surface, since when not, and when that was said (wall clock)."""

    status: Literal["ok", "degraded", "unknown"]
    reason: str
    cause: Cause
    since_ms: int | None
    at_ms: int


NO_WATCH: Final = WatchView()


def surface_watch(policy: Policy, watched: Watched, still: str = "") -> SurfaceWatch:
    """Return how a surface is seen; `still` says why its watch stands still, if it does."""
    standing = watched.standing
    return SurfaceWatch(
        watched.surface,
        watched.last_ms + MINUTE_MS if watched.last_ms >= 0 else 0,
        still or watched.paused,
        standing.cause if standing else "ok",
        standing.words if standing else "",
        mismatch_p_value(policy, watched),
        meters(policy, watched),
        watched.verdicts,
    )


def is_behind(until_ms: int, open_ms: int, at_ms: int) -> bool:
    """Say whether judging until `until_ms` is too long ago, where panes are open for `open_ms`."""
    return at_ms - until_ms > open_ms + LATE_AFTER_MS


def seen(policy: Policy, known: Iterable[Watched], open_ms: int, at_ms: int, stands: str) -> tuple[SurfaceWatch, ...]:
    """Return how surfaces are seen; `stands` says why one stands still that was judged too long ago."""
    return tuple(
        surface_watch(policy, watched, stands if is_behind(watched.last_ms + MINUTE_MS, open_ms, at_ms) else "")
        for watched in known
    )


def guard_of(watched: SurfaceWatch | None, at_ms: int) -> Guard:
    """Return the guard of a surface; None is one that is not watched."""
    if watched is None:
        return Guard("unknown", "this surface is not watched", "not_enough", None, at_ms)
    standing = leading(watched.open)
    since_ms = standing.since_ms if standing else None
    words, cause = watched.words, watched.cause
    if cause in DEGRADED:
        return Guard("degraded", words, cause, since_ms, at_ms)
    if cause in UNKNOWN:
        return Guard("unknown", words, cause, since_ms, at_ms)
    if watched.paused:
        return Guard("unknown", f"the watch is paused: {watched.paused}", cause, since_ms, at_ms)
    return Guard("ok", words, cause, since_ms, at_ms)


class Record(msgspec.Struct, frozen=True):
    """What `GET /v1/verdicts` answers: the watch, what is open, and what was said, the newest first."""

    watch: WatchView
    open: tuple[msgspec.Raw, ...]
    history: tuple[msgspec.Raw, ...]


def recorded(watch: WatchView, history: Iterable[bytes], surface: str | None = None) -> Record:
    """Return the record of all surfaces, or of one."""
    surfaces = tuple(each for each in watch.surfaces if surface in (None, each.surface))
    open_ = sorted((verdict for each in surfaces for verdict in each.open), key=lambda verdict: -verdict.opened_ms)
    said = tuple(told(verdict) for verdict in untold(history) if surface in (None, verdict.surface))
    watch = msgspec.structs.replace(watch, surfaces=surfaces)
    return Record(watch, tuple(msgspec.Raw(told(each)) for each in open_), tuple(map(msgspec.Raw, said)))


def told(verdict: Verdict) -> bytes:
    """Return a verdict as it goes into the history and to Kafka: with its id, for it may arrive more than once."""
    return _encode({"id": verdict.id, **msgspec.structs.asdict(verdict)})


def untold(lines: Iterable[bytes]) -> list[Verdict]:
    """Undo `told`; what cannot be read any more is left out."""
    found = []
    for line in lines:
        try:
            found.append(_decode(line))
        except msgspec.ValidationError:
            continue
    return found


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Verdict).decode
