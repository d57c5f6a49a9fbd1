"""What the watch says of personalization, on the command line: from what the servers share in Redis, without one."""

from datetime import UTC, datetime
from time import time

from stream_app.errors import LynceusError
from stream_app.serving.reader import StoreUnavailableError, check_store, connect
from stream_app.serving.server import meaning_of, policy_of, watch_store_of
from stream_app.serving.snapshot import encode
from stream_app.serving.vigil import unpacked
from stream_app.serving.watch_view import Record, SurfaceWatch, WatchView, recorded, seen, untold
from stream_app.settings import Settings
from stream_app.statistics.verdicts import Verdict, where


async def answered(settings: Settings, surface: str | None, *, as_json: bool) -> str:
    """Return what is said of all surfaces, or of one; as text or as JSON. Raises LynceusError without Redis."""
    record = await _record(settings, surface, int(time() * 1000))
    return encode(record).decode() if as_json else words(record)


async def _record(settings: Settings, surface: str | None, at_ms: int) -> Record:
    meaning, policy = meaning_of(settings), policy_of(settings.verdicts)
    async with connect(settings.redis) as redis:
        await check_store(redis, settings.redis)
        store = watch_store_of(settings, redis)
        try:
            shared = await store.look()
            kept, history = await store.load(sorted(shared.progress)), await store.history()
        except StoreUnavailableError as error:
            raise LynceusError(f"Redis cannot be read: {error}", "Try again when it answers") from None
    there = [each for each in kept.values() if each is not None]
    known = [watched for each in there if (watched := unpacked(each)) is not None]
    tallies = shared.tallies
    watch = WatchView(
        seen(policy, known, meaning.open_ms, at_ms, "it stands still: no server runs, or nothing is sealed"),
        unwatched=len(there) - len(known),
        verdicts=tallies["verdicts"],
        waiting=shared.waiting,
        unsent=tallies["unsent_verdicts"],
        gone_minutes=tallies["gone_minutes"],
    )
    return recorded(watch, history, surface)


def words(record: Record) -> str:
    """Return a record as text: a paragraph for each surface, then what was said, the newest first."""
    watch = record.watch
    lines = [line for each in watch.surfaces for line in _surface(each)] or ["no surface is watched yet"]
    if watch.waiting or watch.unsent:
        lines.append(f"{watch.waiting:,} verdicts wait for Kafka, {watch.unsent:,} were given up")
    said = untold(bytes(line) for line in record.history)
    if said:
        lines += ["", "what was said, the newest first:", *map(_line, said)]
    return "\n".join(lines)


def _surface(watched: SurfaceWatch) -> list[str]:
    state = f"{watched.cause}: {watched.words}" if watched.words else watched.cause
    lines = [f"{watched.surface}   {state}"]
    lines += [f"  most of it: {most}" for each in watched.open if (most := where(each))]
    if watched.paused:
        lines.append(f"  paused: {watched.paused}")
    evidence = ", ".join(
        f"{meter.kpi} {meter.log_evidence:.1f} of {meter.log_threshold:.1f}{' ALARM' if meter.is_active else ''}"
        for meter in watched.meters
    )
    lines.append(f"  evidence {evidence}; judged until {_time(watched.until_ms)}")
    if watched.mismatch_p_value is not None:
        lines.append(f"  shares of the arms: p {watched.mismatch_p_value:.3g}")
    return lines


def _line(verdict: Verdict) -> str:
    state = "opened" if verdict.is_open else "closed"
    size = f", {verdict.size.value:.0%} ({verdict.size.low:.0%} to {verdict.size.high:.0%})" if verdict.size else ""
    most = f" Most of it: {found}." if (found := where(verdict)) else ""
    return (
        f"{_time(verdict.at_ms)}  {state} {verdict.cause} of {verdict.kpi} on {verdict.surface}{size}, "
        f"since {_time(verdict.since_ms)}. {verdict.words}{most}"
    )


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
