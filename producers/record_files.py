"""Files of records: JSON lines, a JSON array, or the rows of Open Bandit; plain or gzip, read without holding them.

    with opened(path) as file:
        for record in file.records():      # or file.rows({...}) of a CSV file
            record.number, record.value, record.fault

Records are numbered from 1: by line (of a file of lines), by element (of an array), by row. What a record cannot be
read for is its `fault`; only what makes the rest unreadable is a LynceusError.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from stream_app.errors import LynceusError

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""Of one line or element; far more than any event, far less than a file without line ends."""
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_CHUNK: Final = 65_536
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class Record(NamedTuple):
    """One record: its number, its value, and why there is none."""

    number: int
    value: object
    fault: str | None = None


class RecordFile:
    """An opened file. Mutable state: how far it has been read."""

    def __init__(self, raw: BinaryIO, stream: BinaryIO, size: int) -> None:
        """`raw` is the file, `stream` what is in it once unpacked; `size` is that of the file, in bytes."""
        self._raw, self._stream = raw, stream
        self.size = size

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._raw.tell()

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield every line with its number, without its end; None for one that is longer than allowed."""
        number = 0
        while line := self._stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) <= MAX_LINE_BYTES:
                yield number, line.rstrip(b"\r\n").removeprefix(_BOM if number == 1 else b"")
                continue
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(MAX_LINE_BYTES)
            yield number, None

    def records(self, skip: int = 0) -> Iterator[Record]:
        """Yield the records of JSON lines or of a JSON array, after the first `skip`. Empty lines are none."""
        reader = cast("io.BufferedReader", self._stream)
        # An array begins with a bracket, a line of records with a brace.
        if reader.peek(_CHUNK)[:_CHUNK].removeprefix(_BOM).lstrip()[:1] == b"[":
            yield from self._elements(skip)
            return
        for number, line in self.lines():
            if number > skip and line != b"":
                yield _of_line(number, line)

    def rows(self, named: dict[str, object], skip: int = 0) -> Iterator[Record]:
        """Yield the rows of a CSV file by column, with `named` and `row`, the row's number from 0, added to each."""
        with io.TextIOWrapper(self._stream, encoding="utf-8", newline="") as text:
            for number, row in enumerate(csv.DictReader(text), 1):
                if number <= skip:
                    continue
                if None in row or None in row.values():
                    yield Record(number, None, "has not as many fields as there are columns")
                else:
                    yield Record(number, {**row, **named, "row": number - 1})

    def _elements(self, skip: int) -> Iterator[Record]:
        text = io.TextIOWrapper(self._stream, encoding="utf-8-sig")
        decode = json.JSONDecoder(parse_constant=_no_constant).raw_decode
        buffer, number = text.read(_CHUNK), 0
        at = _past_space(buffer, 0) + 1
        while not buffer.startswith("]", at := _past_space(buffer, at)):
            fault = "a comma or the end of the array was expected"
            try:
                value, end = decode(buffer, at)
                end = _past_space(buffer, end)
            except (ValueError, RecursionError) as error:
                fault, end = str(error), len(buffer)
            # An element is whole when something follows it: 12 may be the beginning of 123.
            if buffer[end : end + 1] in (",", "]"):
                at = end + (buffer[end] == ",")
                number += 1
                if number > skip:
                    yield Record(number, value)
                continue
            more = text.read(max(_CHUNK, len(buffer) - at))
            if not more or len(buffer) - at > MAX_LINE_BYTES:
                raise LynceusError(
                    f"element {number + 1} of the array cannot be read: {fault}",
                    "Mend it, or write one record a line: then a bad one costs the others nothing",
                )
            buffer, at = buffer[at:] + more, 0


@contextmanager
def opened(path: Path) -> Iterator[RecordFile]:
    """Open a file, unpacked if it is gzip, and say in our words what is wrong with it.

    Raises LynceusError when it cannot be read, also in the middle.
    """
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(2) == _GZIP
            size = raw.seek(0, io.SEEK_END)
            raw.seek(0)
            stream = io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=raw))) if is_packed else raw
            yield RecordFile(raw, cast("BinaryIO", stream), size)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LynceusError(f"{path} cannot be read: {reason}", "Name a readable file of records") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise LynceusError(f"{path} cannot be read: {error}", "The file is UTF-8, or gzip of it") from None


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _of_line(number: int, line: bytes | None) -> Record:
    if line is None:
        return Record(number, None, f"is longer than {MAX_LINE_BYTES} bytes")
    try:
        return Record(number, json.loads(line, parse_constant=_no_constant))
    except UnicodeDecodeError as error:
        return Record(number, None, f"is not UTF-8: byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Record(number, None, f"is not JSON: {error}")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
