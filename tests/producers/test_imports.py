"""Imports: everything of a file is delivered or refused with a reason, and an interrupted import goes on."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from producers import imports
from producers.foreign import as_given
from producers.imports import Imported, ToFile, bookmark_of, rejects_of, run
from stream_app.core import codec
from stream_app.core.events import AnyEvent
from stream_app.errors import LynceusError
from tests.foreign import records

SEARCH = records("segment")["products_searched"]
BAD = records("segment")["identify"]
HOW: dict[str, Any] = {"pseudonym": as_given, "patience_ms": 310_000}


def searches(count: int, bad: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Return calls with ids of their own, some of them refused."""
    return [(BAD if number in set(bad) else SEARCH) | {"messageId": f"m-{number}"} for number in range(1, count + 1)]


def write(folder: Path, calls: Iterable[object]) -> Path:
    """Write calls, one a line."""
    path = folder / "calls.jsonl"
    path.write_text("".join(f"{json.dumps(call)}\n" for call in calls))
    return path


def import_file(path: Path, out: Path, *, is_resumed: bool = False) -> Imported:
    """Import a file of Segment's into another file."""
    target: list[ToFile] = []

    def connect(before: dict[str, Any]) -> ToFile:
        target.append(ToFile(out, before.get("written_bytes", 0)))
        return target[0]

    bookmark = bookmark_of(path, "segment", str(out))
    try:
        return run(path, "segment", connect, bookmark, **HOW, is_resumed=is_resumed)
    finally:
        for opened in target:
            opened.close()


def ids(path: Path) -> list[str]:
    """Return the ids of the events in a file, each decoded by the worker's codec."""
    decoded = [codec.decode(line) for line in path.read_bytes().splitlines()]
    return [event.id for event in decoded if not isinstance(event, codec.Rejected)]


def test_everything_is_delivered_or_refused(tmp_path: Path) -> None:
    """Every record gives its events or a line with its number, field and reason; both add up."""
    path, out = write(tmp_path, [*searches(4, bad=[2]), 7]), tmp_path / "out.jsonl"
    with path.open("a") as more:
        more.write("{\n")
    assert Imported(records=6, resumed=0, events=3, refused=3, behind=0) == import_file(path, out)
    assert ["m-1", "m-3", "m-4"] == ids(out)
    refused = [json.loads(line) for line in rejects_of(path).read_text().splitlines()]
    assert [(2, "type"), (5, "record"), (6, "record")] == [(one["line"], one["field"]) for one in refused]
    assert all(one["reason"] for one in refused)


def test_a_clean_file_leaves_no_refusals(tmp_path: Path) -> None:
    """Refusals of an earlier import of the same file are removed with it."""
    path, out = write(tmp_path, searches(3, bad=[1])), tmp_path / "out.jsonl"
    import_file(path, out)
    write(tmp_path, searches(3))
    import_file(path, out)
    assert (False, ["m-1", "m-2", "m-3"]) == (rejects_of(path).exists(), ids(out))


class InterruptionError(Exception):
    """What happens to somebody's import."""


def test_an_interrupted_import_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written after the last note is taken back: resumed, the result is that of an import in one go."""
    monkeypatch.setattr(imports, "NOTED_EVERY", 10)
    path, out = write(tmp_path, searches(45, bad=[7, 23, 44])), tmp_path / "out.jsonl"

    class Failing(ToFile):
        def send(self, event: AnyEvent) -> None:
            if event.id == "m-26":
                self.settle()
                raise InterruptionError
            super().send(event)

    target = Failing(out, 0)
    with pytest.raises(InterruptionError):
        run(
            path,
            "segment",
            lambda _: target,
            bookmark_of(path, "segment", str(out)),
            pseudonym=as_given,
            patience_ms=310_000,
        )
    target.close()
    halfway = ids(out)
    resumed = import_file(path, out, is_resumed=True)
    assert "m-25" == halfway[-1]
    assert Imported(records=45, resumed=20, events=42, refused=3, behind=0) == resumed
    assert [f"m-{number}" for number in range(1, 46) if number not in (7, 23, 44)] == ids(out)
    assert [7, 23, 44] == [json.loads(line)["line"] for line in rejects_of(path).read_text().splitlines()]


def test_a_file_that_grew_is_continued(tmp_path: Path) -> None:
    """Resumed after the end, an import takes what came since."""
    path, out = write(tmp_path, searches(60)), tmp_path / "out.jsonl"
    import_file(path, out)
    write(tmp_path, searches(63))
    assert Imported(records=63, resumed=60, events=63, refused=0, behind=0) == import_file(path, out, is_resumed=True)
    assert 63 == len(set(ids(out)))


def test_progress_of_something_else_is_not_continued(tmp_path: Path) -> None:
    """Another file of the same name, or another target, is named instead of mixed up."""
    path, out = write(tmp_path, searches(3)), tmp_path / "out.jsonl"
    import_file(path, out)
    with pytest.raises(LynceusError, match="progress of something else"):
        import_file(path, tmp_path / "other.jsonl", is_resumed=True)
    write(tmp_path, reversed(searches(3)))
    with pytest.raises(LynceusError, match="progress of something else"):
        import_file(path, out, is_resumed=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"purpose": 1, "progress": []}'])
def test_a_damaged_progress_is_one_clear_line(tmp_path: Path, content: str) -> None:
    """A bookmark that cannot be read is named, and not taken for the beginning."""
    path, out = write(tmp_path, searches(3)), tmp_path / "out.jsonl"
    bookmark_of(path, "segment", str(out)).path.write_text(content)
    with pytest.raises(LynceusError, match=r"calls\.jsonl\.import-state\.json is"):
        import_file(path, out, is_resumed=True)


def test_a_target_that_shrank_is_not_filled_up(tmp_path: Path) -> None:
    """Somebody emptied the events that were written: a resumed import says so."""
    path, out = write(tmp_path, searches(3)), tmp_path / "out.jsonl"
    import_file(path, out)
    out.write_bytes(b"")
    with pytest.raises(LynceusError, match="shorter than it was"):
        import_file(path, out, is_resumed=True)


def test_a_second_import_has_the_same_ids(tmp_path: Path) -> None:
    """Imported twice, a file gives the same events: what arrives twice is counted once."""
    path, out = write(tmp_path, [*records("segment").values(), *searches(3)]), tmp_path / "out.jsonl"
    import_file(path, out)
    first = out.read_bytes()
    import_file(path, out)
    assert first == out.read_bytes()


def test_a_file_out_of_order_is_noticed(tmp_path: Path) -> None:
    """What lies further behind an earlier event than a worker waits is counted: here 24 and 0, not 25."""
    minutes = [30, 25, 24, 31, 0]
    times = [{"timestamp": f"2025-01-01T00:{minute:02}:00Z"} for minute in minutes]
    path = write(tmp_path, [call | time for call, time in zip(searches(5), times, strict=True)])
    assert Imported(records=5, resumed=0, events=5, refused=0, behind=2) == import_file(path, tmp_path / "out.jsonl")
