"""The Open Bandit Dataset as events: real impressions and clicks of a shop under two policies.

The files are `<campaign>-<policy>.csv.gz` (or `.csv`) with the columns of Saito et al. 2020
(arXiv:2008.07146), whose licence and selection `data/open_bandit/NOTICE.md` states. Each row is an impression
and, where it was clicked, a click `CLICK_DELAY_MS` later: the data say that there was a click, not when.
There are no user, session or list ids, so every impression has a pseudo-user of its own (its decision id) and
no session: rates, positions, propensities and lift can be replayed, nothing about people can. Ids come from
the file and the row, never from the clock, so a second replay consists of duplicates.
"""

import csv
import gzip
import heapq
import re
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, TextIO

from stream_app.core.events import Arm, Click, Impression
from stream_app.errors import LynceusError

DATA: Final = Path(__file__).parent / "data" / "open_bandit"
"""The selection that comes with Lynceus: 10,000 impressions of the campaign `men` per policy."""
PUBLISHED_CTR: Final = {"random": 0.0051, "bts": 0.0067}
"""Click-through rate by policy over the full data, as published with it (Saito et al. 2020)."""
CLICK_DELAY_MS: Final = 1_000

_ARMS: Final[dict[str, Arm]] = {"bts": "personalized", "random": "holdout"}
_COLUMNS: Final = ("timestamp", "item_id", "position", "click", "propensity_score")
_FILE_NAME: Final = re.compile(r"([a-z0-9]{1,20})-([a-z0-9_]{1,20})\.csv(\.gz)?")
_ITEM_FEATURES: Final = "item_context.csv"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Log(NamedTuple):
    """One file: what it says it is, and what reading all of it showed. Times are those of the source."""

    path: Path
    campaign: str
    policy: str
    impressions: int
    clicks: int
    first_ms: int
    last_ms: int
    is_ordered: bool


class Row(NamedTuple):
    """One impression of a file, numbered from 0."""

    at_ms: int
    ordinal: int
    item: str
    position: int
    is_clicked: bool
    propensity: float


def scan(directory: Path) -> tuple[Log, ...]:
    """Read every file of the directory once, by name. `last_ms` includes the click of the last row.

    Raises LynceusError with file, line, offending value and remedy.
    """
    if not directory.is_dir():
        raise LynceusError(f"{directory} is no directory", f"Name one with {_EXPECTED} files")
    paths = sorted(path for path in directory.iterdir() if path.name.endswith((".csv", ".gz")))
    logs = [_scan_file(path) for path in paths if not path.name.endswith(_ITEM_FEATURES)]
    if not logs:
        raise LynceusError(f"{directory} has no logs", f"Put {_EXPECTED} files there")
    for first, second in pairwise(logs):
        if first[1:3] == second[1:3]:
            raise LynceusError(
                f"{first.path} and {second.path.name} are the same log: their events would share ids",
                "Keep one of them",
            )
    return tuple(logs)


def events(directory: Path, ends_at_ms: int) -> Iterator[Impression | Click]:
    """Return the events of all files in time order, moved so that the last one happens at `ends_at_ms`.

    All files are read and checked before this returns; they are read again as the events are taken. Files
    that are in order are never held in memory. Raises LynceusError as `scan` does.
    """
    logs = scan(directory)
    return _merge(logs, ends_at_ms - max(log.last_ms for log in logs))


_EXPECTED: Final = "<campaign>-<policy>.csv.gz"


def _merge(logs: tuple[Log, ...], shift_ms: int) -> Iterator[Impression | Click]:
    # Every click is equally late, so clicks come due in the order of their impressions.
    clicks: deque[Click] = deque()
    for row, log in heapq.merge(*map(_ordered, logs)):
        while clicks and clicks[0].ts <= row.at_ms + shift_ms:
            yield clicks.popleft()
        impression, click = events_of(row, log.campaign, log.policy, shift_ms)
        yield impression
        if click is not None:
            clicks.append(click)
    yield from clicks


def events_of(row: Row, campaign: str, policy: str, shift_ms: int = 0) -> tuple[Impression, Click | None]:
    """Return the impression of a row, and its click if there was one, moved by `shift_ms`."""
    decision = f"ob-{campaign}-{policy}-{row.ordinal:06d}"
    arm = _ARMS.get(policy)
    at_ms = row.at_ms + shift_ms
    impression = Impression(
        id=f"{decision}-i", ts=at_ms, user=decision, surface=campaign, arm=arm, policy=policy,
        decision=decision, item=row.item, position=row.position, propensity=row.propensity,
    )  # fmt: skip
    if not row.is_clicked:
        return impression, None
    return impression, Click(
        id=f"{decision}-c", ts=at_ms + CLICK_DELAY_MS, user=decision, surface=campaign, arm=arm,
        policy=policy, decision=decision, item=row.item, position=row.position,
    )  # fmt: skip


def campaign_and_policy(path: Path) -> tuple[str, str]:
    """Return what the name of a file says. Raises LynceusError for another name."""
    name = _FILE_NAME.fullmatch(path.name)
    if name is None:
        raise LynceusError(f"{path} is not named {_EXPECTED}", "Rename it or take it away")
    return name[1], name[2]


def _ordered(log: Log) -> Iterator[tuple[Row, Log]]:
    """Yield the rows in time order, each with its log; the file's name decides between equal rows."""
    rows = _rows(log.path) if log.is_ordered else iter(sorted(_rows(log.path)))
    return ((row, log) for row in rows)


def _scan_file(path: Path) -> Log:
    campaign, policy = campaign_and_policy(path)
    impressions = clicks = latest_ms = last_ms = 0
    first_ms: int | None = None
    is_ordered = True
    for row in _rows(path):
        impressions += 1
        clicks += row.is_clicked
        is_ordered = is_ordered and row.at_ms >= latest_ms
        latest_ms = max(latest_ms, row.at_ms)
        first_ms = row.at_ms if first_ms is None else min(first_ms, row.at_ms)
        last_ms = max(last_ms, row.at_ms + CLICK_DELAY_MS * row.is_clicked)
    if first_ms is None:
        raise LynceusError(f"{path} has no rows", "Take it away, or put its rows back")
    return Log(path, campaign, policy, impressions, clicks, first_ms, last_ms, is_ordered)


def _rows(path: Path) -> Iterator[Row]:
    with _opened(path) as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        for column in _COLUMNS:
            if column not in header:
                _refuse(path, 1, f"has no column {column!r}", "The columns are those of the Open Bandit Dataset")
        places = [header.index(column) for column in _COLUMNS]
        for ordinal, fields in enumerate(reader):
            if len(fields) != len(header):
                _refuse(
                    path,
                    reader.line_num,
                    f"has {len(fields)} fields instead of {len(header)}",
                    "Mend the line",
                )
            yield _parse(path, reader.line_num, ordinal, [fields[place] for place in places])


def _parse(path: Path, line: int, ordinal: int, fields: list[str]) -> Row:
    timestamp, item, position, click, propensity = fields
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        _refuse(path, line, f"timestamp {timestamp!r}", "Write it as 2019-11-24 00:01:03.979311+00:00")
    if at.tzinfo is None:
        _refuse(path, line, f"timestamp {timestamp!r} has no time zone", "Write +00:00 after it")
    if not 1 <= len(item) <= 64:
        _refuse(path, line, f"item_id {item!r}", "An item has 1 to 64 characters")
    if not (position.isascii() and position.isdigit() and 1 <= int(position) <= 10_000):
        _refuse(path, line, f"position {position!r}", "A position is a whole number from 1 to 10000")
    if click not in ("0", "1"):
        _refuse(path, line, f"click {click!r}", "A click is 0 or 1")
    try:
        probability = float(propensity)
    except ValueError:
        probability = 0.0
    if not 0.0 < probability <= 1.0:
        _refuse(path, line, f"propensity_score {propensity!r}", "A propensity is above 0 and at most 1")
    return Row((at - _EPOCH) // _MILLISECOND, ordinal, item, int(position), click == "1", probability)


def _refuse(path: Path, line: int, what: str, remedy: str) -> NoReturn:
    raise LynceusError(f"{path}, line {line}: {what}", remedy)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a plain or compressed file as text, and say in our words what is wrong with it."""
    is_packed = path.name.endswith(".gz")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if is_packed
            else path.open(encoding="utf-8", newline="") as lines
        ):
            yield lines
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LynceusError(f"{path} cannot be read: {reason}", "Fetch it again") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise LynceusError(f"{path} is no CSV file in UTF-8: {error}", "Fetch it again") from None


def arm_of(policy: str) -> Arm | None:
    """Return the arm that a policy stands for, or None for one that is neither of the two published."""
    return _ARMS.get(policy)
