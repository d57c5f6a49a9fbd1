"""Imports: the records of a file through an adapter, into Kafka or a file, with what was refused written beside.

Progress is noted when everything before it has been delivered, so an import that was interrupted continues where it
was; what it may deliver twice has the same ids, and is counted once.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol

from producers.adapters import named
from producers.bookmark import Bookmark, beginning_of
from producers.foreign import Adapted, Pseudonym, Refused
from producers.open_bandit import campaign_and_policy
from producers.publisher import Publisher
from producers.record_files import Record, RecordFile, opened
from stream_app.core import codec
from stream_app.core.events import AnyEvent
from stream_app.errors import LynceusError

NOTED_EVERY: Final = 2_000
"""Records between two notes of the progress."""
_TABLES: Final = frozenset({"open-bandit"})
"""Sources whose files are CSV."""


class Imported(NamedTuple):
    """What became of a file: `records` read, of which `resumed` before; `events` delivered; `refused` parts.

    `behind` of the events lie further behind an earlier one than a worker waits: they may come too late to count.
    """

    records: int
    resumed: int
    events: int
    refused: int
    behind: int


class Target(Protocol):
    """Where events go. `settle` returns when all before it are safe, with how to go back to here."""

    def send(self, event: AnyEvent) -> None:
        """Take one event."""

    def settle(self) -> dict[str, int]:
        """Wait until everything that was taken is safe. Raises LynceusError when it is not."""


class ToKafka:
    """Events to a topic."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def send(self, event: AnyEvent) -> None:
        """Take one event."""
        self._publisher.send(event)

    def settle(self) -> dict[str, int]:
        """Wait for the brokers."""
        delivery = self._publisher.flush()
        if delivery.failed:
            raise LynceusError(
                f"{delivery.failed} of {delivery.sent} events were not delivered: {delivery.first_error}",
                "Look at the brokers, then continue with --resume",
            )
        return {}


class ToFile:
    """Lines to a file, from `size` bytes on: what an interrupted import wrote after its last note is cut off."""

    def __init__(self, path: Path, size: int) -> None:
        """Open. Raises LynceusError when the file cannot be written, or is shorter than it was."""
        self.path = path
        with _writing(path):
            self._file: BinaryIO = path.open("r+b" if size else "wb")
            if self._file.seek(0, 2) < size:
                self._file.close()
                raise LynceusError(f"{path} is shorter than it was", "Begin anew, without --resume")
            self._file.truncate(size)
            self._file.seek(size)

    def send(self, event: AnyEvent) -> None:
        """Take one event."""
        self.write(codec.encode(event))

    def write(self, line: bytes) -> None:
        """Take one line."""
        with _writing(self.path):
            self._file.write(line + b"\n")

    def settle(self) -> dict[str, int]:
        """Hand everything to the operating system."""
        with _writing(self.path):
            self._file.flush()
            return {"written_bytes": self._file.tell()}

    def close(self) -> None:
        """End."""
        with _writing(self.path):
            self._file.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LynceusError(f"{path} cannot be written: {error.strerror}", "Is there room, and is it yours?") from None


def rejects_of(path: Path) -> Path:
    """Return where the refusals of a file are written."""
    return path.with_name(f"{path.name}.rejected.jsonl")


def bookmark_of(path: Path, source: str, target: str) -> Bookmark:
    """Return the progress of a file that is imported from `source` to `target`."""
    purpose = {"import": source, "beginning": beginning_of(path), "to": target}
    return Bookmark(path.with_name(f"{path.name}.import-state.json"), purpose)


def run(
    path: Path,
    source: str,
    connect: Callable[[dict[str, Any]], Target],
    bookmark: Bookmark,
    *,
    pseudonym: Pseudonym,
    patience_ms: int,
    is_resumed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Import a file; return what became of it.

    `connect` is given what `Target.settle` returned at the last note, for the import to continue there.
    `patience_ms` is how long a worker keeps a pane open behind the latest event. `progress` is told the bytes that
    were read, and those of the file. Raises LynceusError when the file cannot be read, the target cannot be written,
    or there is no such source.
    """
    adapter = named(source)
    before = bookmark.read() if is_resumed else {}
    skip = int(before.get("records", 0))
    names = ("records", "events", "refused", "behind", "latest_ms")
    counts = {name: int(before.get(name, 0)) for name in names}
    with opened(path) as file:
        records = _records(file, path, source, skip)
        if not is_resumed:
            bookmark.forget()
        target = connect(before)
        rejects = _Rejects(rejects_of(path), int(before.get("rejects_bytes", 0)))
        try:
            for done, record in enumerate(records, 1):
                adapted = _adapted(record, lambda value: adapter(value, pseudonym))
                for event in adapted.events:
                    target.send(event)
                    counts["behind"] += event.ts < counts["latest_ms"] - patience_ms
                    counts["latest_ms"] = max(counts["latest_ms"], event.ts)
                for refused in adapted.refused:
                    rejects.write(record.number, refused)
                counts["records"] = record.number
                counts["events"] += len(adapted.events)
                counts["refused"] += len(adapted.refused)
                if done % NOTED_EVERY == 0:
                    bookmark.write(counts | target.settle() | {"rejects_bytes": rejects.settle()})
                    if progress is not None:
                        progress(file.position, file.size)
            bookmark.write(counts | target.settle() | {"rejects_bytes": rejects.settle()})
            if progress is not None:
                progress(file.size, file.size)
        finally:
            rejects.close()
    return Imported(counts["records"], skip, counts["events"], counts["refused"], counts["behind"])


class _Rejects:
    """The refusals of a file, one JSON object a line; no file where there are none."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self._file: ToFile | None = ToFile(path, size) if size else None
        if not size:
            path.unlink(missing_ok=True)

    def write(self, number: int, refused: Refused) -> None:
        if self._file is None:
            self._file = ToFile(self._path, 0)
        self._file.write(json.dumps({"line": number, **refused._asdict()}).encode())

    def settle(self) -> int:
        return self._file.settle()["written_bytes"] if self._file is not None else 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _records(file: RecordFile, path: Path, source: str, skip: int) -> Iterator[Record]:
    if source not in _TABLES:
        return file.records(skip)
    campaign, policy = campaign_and_policy(path)
    return file.rows({"campaign": campaign, "policy": policy}, skip)


def _adapted(record: Record, adapter: Callable[[object], Adapted]) -> Adapted:
    if record.fault is not None:
        return Adapted((), (Refused("record", record.fault),))
    return adapter(record.value)
