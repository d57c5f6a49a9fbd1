"""Files of records: lines, arrays, rows, plain and packed; a bad record costs the others nothing where it can."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.record_files import Record, opened
from stream_app.errors import LynceusError

VALUES: list[Any] = [{"a": 1}, {"b": "é"}, 12, 123.5, "text, ] with brackets [", [1, [2]], None, True]


def write(folder: Path, content: bytes, *, is_packed: bool = False) -> Path:
    """Write a file, packed or not; its name does not say which."""
    path = folder / "records"
    path.write_bytes(gzip.compress(content) if is_packed else content)
    return path


def read(path: Path, skip: int = 0) -> list[Record]:
    """Return all records of a file."""
    with opened(path) as file:
        return list(file.records(skip))


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_and_lines_hold_the_same_records(tmp_path: Path, indent: int | None, is_packed: bool) -> None:
    """However it is written, a file has the same records, numbered from 1."""
    objects = [{"number": number, "value": value} for number, value in enumerate(VALUES)]
    expected = [Record(number, value) for number, value in enumerate(objects, 1)]
    array = read(write(tmp_path, json.dumps(objects, indent=indent).encode(), is_packed=is_packed))
    lines = read(write(tmp_path, "\n".join(map(json.dumps, objects)).encode(), is_packed=is_packed))
    assert [expected] * 2 == [array, lines]


@given(values=st.lists(st.sampled_from(VALUES), max_size=20), pad=st.sampled_from(["", " ", "\n\t"]))
def test_an_array_is_read_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], pad: str
) -> None:
    """An array much longer than what is read at once gives its elements, whatever they are."""
    values = [*values, "x" * 70_000, *values, 7]
    text = f"{pad},{pad}".join(json.dumps(value, ensure_ascii=False) for value in values)
    path = write(tmp_path_factory.mktemp("array"), f"{pad}[{pad}{text}{pad}]{pad}".encode())
    assert values == [record.value for record in read(path)]


def test_a_bad_line_is_a_fault_with_its_number(tmp_path: Path) -> None:
    """What cannot be read says why; empty lines are no records, and still counted as lines."""
    content = b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": \n\xff\n{"a": NaN}\n' + b"[" * 100_000 + b'\n{"b": 2}'
    records = read(write(tmp_path, content))
    assert [(1, {"a": 1}), (7, {"b": 2})] == [record[:2] for record in records if record.fault is None]
    assert [(3, "is not JSON"), (4, "is not UTF-8"), (5, "is not JSON"), (6, "is not JSON")] == [
        (record.number, record.fault.partition(":")[0]) for record in records if record.fault is not None
    ]


def test_a_line_without_end_is_a_fault(tmp_path: Path) -> None:
    """A line of more than 4 MiB is not held in memory; the one behind it is read."""
    records = read(write(tmp_path, b'{"a": "' + b"x" * 9_000_000 + b'"}\n{"b": 2}\n'))
    assert [Record(1, None, "is longer than 4194304 bytes"), Record(2, {"b": 2})] == records


@pytest.mark.parametrize("content", [b"[1, 2", b"[1 2]", b"[1, nul]", b"[1, NaN]", b"[" * 5_000, b"[", b'["\xff"]'])
def test_a_broken_array_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    """Behind a broken element nothing can be told apart: the rest is unreadable."""
    with pytest.raises(LynceusError, match=r"cannot be read"):
        read(write(tmp_path, content))


def test_a_cut_packed_file_is_one_clear_line(tmp_path: Path) -> None:
    """What a packed file lost cannot be guessed."""
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1_000)[:-20])
    with pytest.raises(LynceusError, match=r"cut\.gz cannot be read"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[]", b" [ ] "])
def test_nothing_is_no_record(tmp_path: Path, content: bytes) -> None:
    """An empty file, or an empty array, has no records and no faults."""
    assert [] == read(write(tmp_path, content))


@pytest.mark.parametrize("content", [b"[1, 2, 3, 4]", b"1\n2\n3\n4\n"])
def test_reading_goes_on_behind_what_was_read(tmp_path: Path, content: bytes) -> None:
    """The first records can be left out, and the others keep their numbers."""
    assert [Record(3, 3), Record(4, 4)] == read(write(tmp_path, content), skip=2)


def test_rows_are_records_with_what_the_file_s_name_says(tmp_path: Path) -> None:
    """Columns by name, what is named besides, and the row's number from 0; a row that does not fit is a fault."""
    with opened(write(tmp_path, b"a,b\n1,2\n3\n4,5,6\n7,8\n", is_packed=True)) as file:
        rows = list(file.rows({"campaign": "men"}))
    fault = "has not as many fields as there are columns"
    assert [
        Record(1, {"a": "1", "b": "2", "campaign": "men", "row": 0}),
        Record(2, None, fault),
        Record(3, None, fault),
        Record(4, {"a": "7", "b": "8", "campaign": "men", "row": 3}),
    ] == rows


def test_the_position_ends_at_the_size(tmp_path: Path) -> None:
    """How far it is, is told in bytes of the file itself, also when it is packed."""
    with opened(write(tmp_path, b'{"a": 1}\n' * 5_000, is_packed=True)) as file:
        before = file.position
        count = len(list(file.records()))
        assert (0, 5_000, file.size) == (before, count, file.position)
