"""The spill keeps what it was given, in order, within its bound, through torn lines, full disks and dead processes."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.composition import Record
from producers.spill import SEGMENT_BYTES, Read, Spill, line, parse
from stream_app.errors import LynceusError

MANY = 64 << 20


def record(number: int, size: int = 0) -> Record:
    """Return a record of one of three users, as large as is wanted."""
    user = f"u-{number % 3}"
    return Record(user.encode(), b'{"type":"x","id":"%d","user":"%b","p":"%b"}' % (number, user.encode(), b"p" * size))


def drained(spill: Spill) -> list[Record]:
    """Return everything, oldest first, and remove it as its delivery would."""
    found: list[Record] = []
    while (number := spill.first()) is not None:
        found += spill.read(number).records
        spill.remove(number)
    return found


def test_what_is_written_is_read_in_order_by_the_next_process(tmp_path: Path) -> None:
    """Records of several appends and segments come back in order from a new spill in the same folder."""
    first = Spill(tmp_path, MANY)
    records = [record(number, 40_000) for number in range(100)]
    for start in range(0, 100, 10):
        assert first.append(records[start : start + 10]) == 10
    first.close()
    second = Spill(tmp_path, MANY)
    assert (second.survey(), drained(second), second.is_empty) == ((100, 0), records, True)
    assert list(tmp_path.rglob("*.jsonl")) == []
    second.close()


def test_a_reserved_segment_stands_where_it_was_reserved(tmp_path: Path) -> None:
    """A batch that was in hand is written after what came later, and still comes first."""
    spill = Spill(tmp_path, MANY)
    number = spill.reserve()
    spill.append([record(2), record(3)])
    spill.append([record(0), record(1)], number)
    assert drained(spill) == [record(number) for number in range(4)]
    spill.close()


def test_the_bound_holds(tmp_path: Path) -> None:
    """No more is written than allowed: a prefix of the buffer's records, all or nothing of a reserved segment."""
    spill = Spill(tmp_path, 1_000)
    number = spill.reserve()
    records = [record(number, 100) for number in range(20)]
    safe = spill.append(records)
    assert (0 < safe < 20, spill.size_bytes <= 1_000) == (True, True)
    assert (spill.append(records, number), spill.append(records[safe:])) == (0, 0)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl")) == spill.size_bytes
    assert drained(spill) == records[:safe]
    assert spill.append(records[safe:]) > 0
    spill.close()


@settings(max_examples=60)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
def test_a_torn_line_costs_only_itself(sizes: list[int], data: st.DataObject) -> None:
    """Wherever the writing was cut off, whole lines are read and at most one torn line is counted."""
    records = [record(number, size) for number, size in enumerate(sizes)]
    text = b"".join(line(one.value) for one in records)
    cut = data.draw(st.integers(0, len(text)))
    whole = text[:cut].count(b"\n")
    read = parse(text[:cut])
    assert read.records[:whole] == records[:whole]
    # Without its newline a line is whole all the same.
    assert (len(read.records) - whole) + read.torn == bool(text[:cut].rpartition(b"\n")[2])


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_byte_is_noticed(at: int, byte: int) -> None:
    """Any byte that changed makes its line torn; it never becomes another event."""
    records = [record(number) for number in range(3)]
    text = bytearray(b"".join(line(one.value) for one in records))
    text[at % len(text)] = byte
    assert set(parse(bytes(text)).records) <= set(records)


def test_lines_are_json() -> None:
    """Each line is an array of checksum, length and event, for whoever looks at the file."""
    assert (line(record(1).value), parse(line(record(1).value))) == (
        b'["5e2f815d","00000029",{"type":"x","id":"1","user":"u-1","p":""}]\n',
        Read([record(1)], 0),
    )


def test_two_spills_share_a_folder_and_the_dead_are_taken_over(tmp_path: Path) -> None:
    """Each has its own lane; what a closed one left comes behind what the next finds in its own lane."""
    one, two = Spill(tmp_path, MANY), Spill(tmp_path, MANY)
    one.append([record(0)])
    two.append([record(1)])
    two.close()
    one.close()
    heir = Spill(tmp_path, MANY)
    assert (drained(heir), len(list(tmp_path.rglob("*.jsonl")))) == ([record(0), record(1)], 0)
    heir.close()


def test_a_lane_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """A second spill does not see what the first holds."""
    one = Spill(tmp_path, MANY)
    one.append([record(0)])
    two = Spill(tmp_path, MANY)
    assert (two.is_empty, drained(one)) == (True, [record(0)])
    one.close()
    two.close()


def test_a_disk_that_fails_leaves_what_was_safe(tmp_path: Path) -> None:
    """A failed write raises, and is done again when the disk is back."""
    spill = Spill(tmp_path, MANY)
    shutil.rmtree(tmp_path / "lane-0")
    with pytest.raises(OSError, match="No such file"):
        spill.append([record(0)])
    (tmp_path / "lane-0").mkdir()
    assert (spill.append([record(0)]), drained(spill)) == (1, [record(0)])
    spill.close()


def test_segments_stay_near_their_size(tmp_path: Path) -> None:
    """A segment takes no more batches once it has a megabyte, so that what is delivered can be removed."""
    spill = Spill(tmp_path, MANY)
    for number in range(60):
        spill.append([record(number, 50_000)])
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.jsonl")]
    assert (len(sizes), max(sizes) < SEGMENT_BYTES + 60_000) == (3, True)
    spill.close()


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    """The error names the option and the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LynceusError, match=r"spill_to='.*file/spill': NotADirectoryError"):
        Spill(tmp_path / "file" / "spill", MANY)
