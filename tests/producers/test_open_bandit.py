"""The Open Bandit Dataset is replayed as recorded; a broken file is refused before anything is sent."""

import gzip
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from producers import open_bandit
from producers.open_bandit import CLICK_DELAY_MS, DATA, events, scan
from stream_app.core import codec
from stream_app.core.events import Click, Impression
from stream_app.errors import LynceusError

HEADER = ",timestamp,item_id,position,click,propensity_score,user_feature_0\n"
NOON_MS = 1_574_596_800_000  # 2019-11-24 12:00:00 UTC


def line(second: float, item: int = 1, position: int = 1, click: int = 0, propensity: float = 0.5) -> str:
    """Return one row, `second` seconds after noon."""
    stamp = f"2019-11-24 12:00:{second:09.6f}+00:00"
    return f"0,{stamp},{item},{position},{click},{propensity},x\n"


def write(path: Path, *lines: str) -> Path:
    """Write a log file, compressed where its name says so."""
    raw = (HEADER + "".join(lines)).encode()
    path.write_bytes(gzip.compress(raw) if path.name.endswith(".gz") else raw)
    return path.parent


def test_the_selection_has_the_published_totals() -> None:
    """10,000 impressions under each policy, with 46 clicks at random and 69 under Thompson sampling."""
    totals = {log.policy: (log.campaign, log.impressions, log.clicks, log.is_ordered) for log in scan(DATA)}
    assert totals == {"bts": ("men", 10_000, 69, True), "random": ("men", 10_000, 46, True)}


def test_the_selection_becomes_events_in_order_that_end_when_asked() -> None:
    """All impressions and clicks come in time order, under their arm, and the last one at the given time."""
    replayed = list(events(DATA, ends_at_ms=NOON_MS))
    counts = Counter((type(event), event.arm, event.policy) for event in replayed)
    assert counts == {
        (Impression, "personalized", "bts"): 10_000,
        (Click, "personalized", "bts"): 69,
        (Impression, "holdout", "random"): 10_000,
        (Click, "holdout", "random"): 46,
    }
    assert all(before.ts <= after.ts for before, after in pairwise(replayed))
    assert replayed[-1].ts == NOON_MS
    assert len({event.id for event in replayed}) == len(replayed)


def test_every_event_of_the_selection_passes_the_codec() -> None:
    """What is replayed is what the worker accepts: decoding gives the event back."""
    replayed = list(events(DATA, ends_at_ms=NOON_MS))
    assert [codec.decode(codec.encode(event)) for event in replayed] == replayed


def test_ids_do_not_depend_on_the_time_of_the_replay() -> None:
    """Two replays at different times have the same ids in the same order: the second is all duplicates."""
    first, second = events(DATA, NOON_MS), events(DATA, NOON_MS + 86_400_000)
    assert [event.id for event in first] == [event.id for event in second]


def test_a_row_is_an_impression_and_its_click(tmp_path: Path) -> None:
    """A clicked row gives both events, with ids from file and row, and the click a second later."""
    write(tmp_path / "men-bts.csv.gz", line(0), line(1.5, item=7, position=3, click=1, propensity=0.25))
    _, impression, click = events(tmp_path, ends_at_ms=NOON_MS + 2_500)
    assert impression == Impression(
        id="ob-men-bts-000001-i",
        ts=NOON_MS + 1_500,
        user="ob-men-bts-000001",
        surface="men",
        arm="personalized",
        policy="bts",
        decision="ob-men-bts-000001",
        item="7",
        position=3,
        propensity=0.25,
    )
    assert click == Click(
        id="ob-men-bts-000001-c",
        ts=NOON_MS + 1_500 + CLICK_DELAY_MS,
        user="ob-men-bts-000001",
        surface="men",
        arm="personalized",
        policy="bts",
        decision="ob-men-bts-000001",
        item="7",
        position=3,
    )


def test_files_are_merged_and_sorted_by_time(tmp_path: Path) -> None:
    """Rows out of order, plain and compressed files and several policies come out as one sequence in time."""
    write(tmp_path / "men-bts.csv", line(5), line(1, click=1), line(3))
    write(tmp_path / "women-epsilon.csv.gz", line(0), line(2), line(4))
    (tmp_path / "men-item_context.csv").write_text("features of items, not a log")
    (tmp_path / "NOTICE.md").write_text("not a log either")
    sequence = [(event.id, event.ts - NOON_MS) for event in events(tmp_path, NOON_MS + 5_000)]
    assert sequence == [
        ("ob-women-epsilon-000000-i", 0),
        ("ob-men-bts-000001-i", 1_000),
        ("ob-men-bts-000001-c", 2_000),
        ("ob-women-epsilon-000001-i", 2_000),
        ("ob-men-bts-000002-i", 3_000),
        ("ob-women-epsilon-000002-i", 4_000),
        ("ob-men-bts-000000-i", 5_000),
    ]


def test_an_unknown_policy_has_a_label_and_no_arm(tmp_path: Path) -> None:
    """Only the two policies of the published experiment stand for arms."""
    write(tmp_path / "men-epsilon.csv", line(0))
    (event,) = events(tmp_path, NOON_MS)
    assert (event.policy, event.arm) == ("epsilon", None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,yesterday,1,1,0,0.5,x\n", r"line 3: timestamp 'yesterday'"),
        ("0,2019-11-24 12:00:00,1,1,0,0.5,x\n", r"line 3: timestamp .* has no time zone"),
        (line(1, item=10**70), r"line 3: item_id '1000"),
        (line(1, position=0), r"line 3: position '0'"),
        ("0,2019-11-24 12:00:00+00:00,1,²,0,0.5,x\n", r"line 3: position '²'"),
        (line(1, click=2), r"line 3: click '2'"),
        (line(1, propensity=0.0), r"line 3: propensity_score '0.0'"),
        (line(1, propensity=float("nan")), r"line 3: propensity_score 'nan'"),
        ("0,2019-11-24 12:00:00+00:00,1,1,0,many,x\n", r"line 3: propensity_score 'many'"),
        ("0,2019-11-24 12:00:00+00:00,1\n", r"line 3: has 3 fields instead of 7"),
    ],
)
def test_a_bad_value_is_refused_before_anything_is_sent(tmp_path: Path, row: str, said: str) -> None:
    """The call itself raises, with file, line and value, although the rows before are good."""
    write(tmp_path / "men-bts.csv", line(0), row)
    with pytest.raises(LynceusError, match=rf"men-bts\.csv, {said}") as caught:
        events(tmp_path, NOON_MS)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("men-bts.csv.gz", b"not compressed", "men-bts.csv.gz cannot be read: Not a gzipped file"),
        ("men-bts.csv.gz", gzip.compress(HEADER.encode() * 99, mtime=0)[:60], "cannot be read: Compressed file ended"),
        ("men-bts.csv", b"\xff\xfe\x00", "men-bts.csv is no CSV file in UTF-8"),
        ("men-bts.csv", HEADER.encode(), "men-bts.csv has no rows"),
        ("men-bts.csv", b"", "line 1: has no column 'timestamp'"),
        ("men-bts.csv", HEADER.replace("click", "clicks").encode(), "line 1: has no column 'click'"),
        ("men.csv", HEADER.encode(), "men.csv is not named <campaign>-<policy>.csv.gz"),
        ("Men-BTS.csv", HEADER.encode(), "is not named"),
        ("notes.txt", b"", "has no logs"),
    ],
)
def test_a_broken_file_is_refused_before_anything_is_sent(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """A file that is not what it should be is named, with a remedy."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LynceusError, match=said) as caught:
        events(tmp_path, NOON_MS)
    assert caught.value.remedy


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    """A directory that does not exist is named."""
    with pytest.raises(LynceusError, match="absent is no directory"):
        events(tmp_path / "absent", NOON_MS)


def test_the_same_log_twice_is_refused(tmp_path: Path) -> None:
    """A log and its compressed copy would give every id twice."""
    write(tmp_path / "men-bts.csv", line(0))
    write(tmp_path / "men-bts.csv.gz", line(0))
    with pytest.raises(LynceusError, match="the same log"):
        events(tmp_path, NOON_MS)


def test_the_data_lie_inside_a_packaged_folder() -> None:
    """The wheel ships the selection with its notice, because they lie in a package that it ships whole."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert Path(open_bandit.__file__).parent.name in packages
    assert {path.name for path in DATA.iterdir()} == {
        "NOTICE.md",
        "men-bts.csv.gz",
        "men-item_context.csv",
        "men-random.csv.gz",
    }
