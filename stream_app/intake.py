"""Events from files: what `lynceus replay` and `lynceus import` do, put together."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console

from producers import adapters, imports, open_bandit, replay
from producers.bookmark import Bookmark, beginning_of
from producers.foreign import Pseudonym, as_given
from producers.imports import Target, ToFile, ToKafka
from producers.pseudonyms import Pseudonyms
from producers.publisher import Publisher
from producers.record_files import opened
from stream_app import settings as configuration
from stream_app.core.events import Event
from stream_app.errors import LynceusError
from stream_app.progress import Bar
from stream_app.settings import KafkaSettings

SHOWN_LINES: Final = 20


class Move(NamedTuple):
    """When the first, or the last, of the replayed events shall happen; None leaves them where they were."""

    starts_at_ms: int | None = None
    ends_at_ms: int | None = None


def time_ms(text: str | None) -> int | None:
    """Return a time of the command line, `now` or ISO 8601. Raises LynceusError for anything else."""
    if text is None:
        return None
    if text == "now":
        return _now_ms()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise LynceusError(f"{text!r} is no time", "Write `now`, or a time with its zone: 2026-01-31T08:00:00Z")
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def replay_into(
    kafka: KafkaSettings, source: Path | None, speed: float | None, move: Move, *, is_resumed: bool = False
) -> dict[str, Any]:
    """Send recorded events to Kafka: Open Bandit files or JSON lines. Returns the account."""
    console = Console(stderr=True)
    path = source or open_bandit.DATA
    if not path.exists():
        raise LynceusError(f"{path} does not exist", "Name a folder of Open Bandit files, or a file of JSON lines")
    bookmark = _replay_bookmark(path) if source is not None else None
    before: dict[str, Any] = {}
    if bookmark is not None:
        if is_resumed:
            before = bookmark.read()
        else:
            bookmark.forget()
    skip = int(before.get("events", 0))
    bad: list[replay.BadLine] = []
    with ExitStack() as stack:
        events, by_ms, bar = _recorded(stack, console, path, move, before.get("moved_ms"), bad.append)
        publisher = stack.enter_context(Publisher(kafka))
        stack.enter_context(bar)
        result = replay.replay(
            islice(events, skip, None),
            publisher,
            speed=speed,
            progress=lambda sent: bar(skip + sent),
            noted=None if bookmark is None else _noter(bookmark, skip, by_ms, must_write=is_resumed),
        )
    if bookmark is not None and result.delivery.is_complete:
        bookmark.forget()  # nothing is left to continue
    for line in bad[:SHOWN_LINES]:
        console.print(f"{path}:{line.line}: {line.rejected.reason}: {line.rejected.detail}")
    account = {"events": result.events, **result.delivery._asdict(), "refused_lines": len(bad) or None}
    return account | {"resumed_after": skip or None}


def import_into(
    path: Path,
    source: str,
    out: Path | None,
    key_file: Path | None,
    *,
    key_id: str = "k1",
    is_resumed: bool = False,
) -> dict[str, Any]:
    """Import a file into Kafka, or into another file. Returns the account."""
    adapters.named(source)  # before anything is opened
    if out is not None and out.resolve() == path.resolve():
        raise LynceusError(f"{out} is the file that is read", "Name another one for the events")
    pseudonym = _pseudonym(key_file, key_id)
    with ExitStack() as stack:

        def connect(before: dict[str, Any]) -> Target:
            if out is not None:
                target = ToFile(out, int(before.get("written_bytes", 0)))
                stack.callback(target.close)
                return target
            assert kafka is not None
            return ToKafka(stack.enter_context(Publisher(kafka)))

        settings = configuration.load()
        kafka = None if out is not None else settings.kafka
        where = str(out.resolve()) if out is not None else f"topic {kafka.events_topic}" if kafka is not None else ""
        bookmark = imports.bookmark_of(path, source, where)
        bar = stack.enter_context(Bar(Console(stderr=True), None, f"importing {path.name}", is_bytes=True))
        done = imports.run(
            path,
            source,
            connect,
            bookmark,
            pseudonym=pseudonym,
            patience_ms=(settings.counting.out_of_orderness_s + settings.counting.lateness_s) * 1000,
            is_resumed=is_resumed,
            progress=bar,
        )
    rejects = imports.rejects_of(path)
    return {**done._asdict(), "to": where, "rejects": str(rejects) if rejects.exists() else None}


def summary(imported: dict[str, Any]) -> str:
    """Return the account of an import as one line."""
    parts = [f"{imported['records']:,} records: {imported['events']:,} events to {imported['to']}"]
    if imported["resumed"]:
        parts.append(f"the first {imported['resumed']:,} records were done before")
    if imported["behind"]:
        parts.append(
            f"{imported['behind']:,} far behind an earlier one, perhaps too late to count: sort the file by time"
        )
    parts.append(f"{imported['refused']:,} refused" + (f", see {imported['rejects']}" if imported["rejects"] else ""))
    return "; ".join(parts)


def _recorded(
    stack: ExitStack,
    console: Console,
    path: Path,
    move: Move,
    moved_ms: int | None,
    report: Callable[[replay.BadLine], None],
) -> tuple[Iterator[Event], int, Bar]:
    """Return the events of a replay in order, by how much they are moved, and their bar.

    A replay that continues is moved as far as it was when it began.
    """
    if path.is_dir():
        logs = open_bandit.scan(path)
        last_ms = max(log.last_ms for log in logs)
        by_ms = _moved_by(move, min(log.first_ms for log in logs), last_ms, _now_ms()) if moved_ms is None else moved_ms
        count = sum(log.impressions + log.clicks for log in logs)
        return open_bandit.events(path, last_ms + by_ms), by_ms, Bar(console, count)
    if moved_ms is None and move != Move():
        with opened(path) as whole:
            moved_ms = _moved_by(move, *replay.span_ms(whole), None)
    by_ms = moved_ms or 0
    file = stack.enter_context(opened(path))
    events = replay.jsonl(file, report)
    bar = _BytesBar(console, file.size, lambda: file.position)
    return replay.moved(events, by_ms) if by_ms else events, by_ms, bar


class _BytesBar(Bar):
    """The bar of a file whose number of events nobody knows: it shows how much of the file has been read."""

    def __init__(self, console: Console, size: int, position: Callable[[], int]) -> None:
        super().__init__(console, size, is_bytes=True)
        self._position = position

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show how much has been read."""
        del done, total
        super().__call__(self._position())


def _moved_by(move: Move, first_ms: int, last_ms: int, otherwise_ends_ms: int | None) -> int:
    if move.starts_at_ms is not None:
        return move.starts_at_ms - first_ms
    ends_ms = otherwise_ends_ms if move.ends_at_ms is None else move.ends_at_ms
    return 0 if ends_ms is None else ends_ms - last_ms


def _replay_bookmark(path: Path) -> Bookmark:
    beginning = sorted(file.name for file in path.iterdir()) if path.is_dir() else beginning_of(path)
    path = path.resolve()  # `.` has a name, too
    return Bookmark(path.with_name(f"{path.name}.replay-state.json"), {"replay": path.name, "beginning": beginning})


def _noter(bookmark: Bookmark, skip: int, by_ms: int, *, must_write: bool) -> Callable[[int], None]:
    """Return what notes the progress. Where nothing can be written, only one who wants to continue needs to know."""

    def note(delivered: int) -> None:
        try:
            bookmark.write({"events": skip + delivered, "moved_ms": by_ms})
        except LynceusError:
            if must_write:
                raise

    return note


def _pseudonym(key_file: Path | None, key_id: str) -> Pseudonym:
    if key_file is None:
        return as_given
    try:
        key = key_file.read_bytes().strip()
    except OSError as error:
        raise LynceusError(f"{key_file} cannot be read: {error.strerror}", "Name a file with the secret") from None
    return Pseudonyms({key_id: key}, key_id).of


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
