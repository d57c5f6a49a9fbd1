"""`lynceus import` and `lynceus replay` as a person runs them: what they send, say, leave behind and refuse."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaConsumer, TopicPartition

from producers.bookmark import beginning_of
from producers.open_bandit import DATA
from stream_app.cli import main
from stream_app.core import codec
from stream_app.core.events import PageView
from stream_app.settings import KafkaSettings, environment
from tests.commands import run
from tests.fleet import make_settings
from tests.foreign import records

START_MS = 1_732_300_000_000
GA4 = [*records("ga4").values(), {"events": 3}]
MADE = 20
"""Events that the records of Google's documentation give."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a folder to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def invoke(*words: object, **given: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words], env=given)


def environ(kafka: KafkaSettings) -> dict[str, str]:
    """Return the settings of a command that sends to this Kafka."""
    return environment(make_settings(kafka, "redis://127.0.0.1/0"))


def sent(settings: KafkaSettings) -> list[Any]:
    """Return the events of the topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap, api_version=settings.api_version_tuple, consumer_timeout_ms=1_000,
        auto_offset_reset="earliest",
    )  # fmt: skip
    try:
        topic = settings.events_topic
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        return [codec.decode(record.value) for record in consumer]
    finally:
        consumer.close()


def page_views(count: int) -> list[PageView]:
    """Return events, one a second."""
    return [
        PageView(id=f"v-{number}", ts=START_MS + 1_000 * number, user=f"u-{number}", page="/")
        for number in range(count)
    ]


def write_events(path: Path, events: list[PageView]) -> Path:
    """Write canonical events, one a line."""
    path.write_bytes(b"".join(codec.encode(event) + b"\n" for event in events))
    return path


@pytest.mark.parametrize("form", ["lines", "array", "packed"])
def test_a_file_is_imported_into_a_file(work: Path, form: str) -> None:
    """Lines, an array and gzip of it give the same summary, the same events, and the same refusals beside."""
    lines = "\n".join(map(json.dumps, GA4)).encode()
    content = {"lines": lines, "array": json.dumps(GA4).encode(), "packed": gzip.compress(lines)}[form]
    (work / "ga4").write_bytes(content)
    ran = invoke("import", "--from", "ga4", work / "ga4", "--to-file", work / "out.jsonl", "--json")
    decoded = [codec.decode(line) for line in (work / "out.jsonl").read_bytes().splitlines()]
    refused = [json.loads(line) for line in (work / "ga4.rejected.jsonl").read_text().splitlines()]
    assert (0, {
        "records": len(GA4), "resumed": 0, "events": MADE, "refused": 2, "behind": 4, "to": str(work / "out.jsonl"),
        "rejects": str(work / "ga4.rejected.jsonl"),
    }) == (ran.exit_code, json.loads(ran.stdout))  # fmt: skip
    assert (MADE, 0) == (len(decoded), sum(isinstance(event, codec.Rejected) for event in decoded))
    assert [(13, "events[0].name"), (16, "app_instance_id")] == [(one["line"], one["field"]) for one in refused]


def test_an_import_sums_up_in_one_line(work: Path) -> None:
    """Without --json, a person reads what became of the file."""
    (work / "ga4.jsonl").write_text("\n".join(map(json.dumps, GA4)))
    out = work / "out.jsonl"
    ran = invoke("import", "--from", "ga4", work / "ga4.jsonl", "--to-file", out)
    rejects = work / "ga4.jsonl.rejected.jsonl"
    behind = "4 far behind an earlier one, perhaps too late to count: sort the file by time"
    assert f"16 records: {MADE} events to {out}; {behind}; 2 refused, see {rejects}\n" == ran.stdout
    again = invoke("import", "--from", "ga4", work / "ga4.jsonl", "--to-file", out, "--resume")
    done = "the first 16 records were done before"
    assert f"16 records: {MADE} events to {out}; {done}; {behind}; 2 refused, see {rejects}\n" == again.stdout


def test_a_table_is_imported_by_its_name(work: Path) -> None:
    """Open Bandit files are CSV, and say campaign and policy in their names."""
    path = work / "men-bts.csv"
    with gzip.open(DATA / "men-bts.csv.gz", "rt") as rows:
        path.write_text("".join(row for _, row in zip(range(101), rows, strict=False)))
    ran = invoke("import", "--from", "open-bandit", path, "--to-file", work / "out.jsonl", "--json")
    assert (0, 100, 0) == (ran.exit_code, json.loads(ran.stdout)["records"], json.loads(ran.stdout)["refused"])
    path.rename(work / "rows.csv")
    assert "is not named <campaign>-<policy>.csv" in invoke("import", "--from", "open-bandit", work / "rows.csv").stderr


def test_user_ids_become_keys(work: Path) -> None:
    """With a secret, addresses never reach the events; without, they are refused."""
    (work / "calls.jsonl").write_text(json.dumps(records("segment")["page"] | {"anonymousId": "jane@example.com"}))
    (work / "key").write_text("a secret of sixteen bytes and more\n")
    words = ("import", "--from", "segment", work / "calls.jsonl", "--to-file", work / "out.jsonl", "--json")
    refused, keyed = invoke(*words), invoke(*words, "--key-file", work / "key")
    assert [(0, 1), (1, 0)] == [(a["events"], a["refused"]) for a in (json.loads(r.stdout) for r in (refused, keyed))]
    assert b"jane" not in (work / "out.jsonl").read_bytes()
    (work / "key").write_text("short")
    assert "has 5 bytes" in invoke(*words, "--key-file", work / "key").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "ga", "calls.jsonl"), "no adapter for 'ga'. Did you mean ga4?"),
        (("--from", "segment", "absent.jsonl"), "absent.jsonl cannot be read: No such file or directory"),
        (("--from", "segment", "broken.json"), "element 2 of the array cannot be read"),
        (("--from", "segment", "calls.jsonl", "--to-file", "calls.jsonl"), "calls.jsonl is the file that is read"),
        (("--from", "segment", "calls.jsonl", "--to-file", "no/out.jsonl"), "out.jsonl cannot be written"),
        (("--from", "segment", "calls.jsonl", "--to-file", "o", "--key-file", "absent"), "absent cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    work: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """An import that cannot begin, or cannot go on, ends with 1 and says what to mend; the file stays as it was."""
    monkeypatch.chdir(work)
    (work / "calls.jsonl").write_text(json.dumps(records("segment")["page"]))
    (work / "broken.json").write_text('[{"type": "track"}, {"type": ')
    target = () if "--to-file" in words else ("--to-file", "out.jsonl")
    ran = invoke("import", *words, *target)
    assert (1, True, 1) == (ran.exit_code, said in ran.stderr, ran.stderr.count("\n"))
    assert json.dumps(records("segment")["page"]) == (work / "calls.jsonl").read_text()


def test_an_import_reaches_kafka(mock_kafka_settings: KafkaSettings, work: Path) -> None:
    """Without --to-file the events go to the topic; twice imported, they have the same ids."""
    (work / "ga4.jsonl").write_text("\n".join(map(json.dumps, GA4)))
    ran = [run(("import", "--from", "ga4", "ga4.jsonl", "--json"), environ(mock_kafka_settings), work) for _ in "12"]
    assert [(0, MADE)] * 2 == [(one.status, json.loads(one.stdout)["events"]) for one in ran]
    events = [event for event in sent(mock_kafka_settings) if event.id.startswith("ga4-")]
    assert (2 * MADE, MADE) == (len(events), len({event.id for event in events}))


def test_no_broker_is_one_clear_line(work: Path) -> None:
    """An import without a Kafka says so, and has begun nothing."""
    (work / "ga4.jsonl").write_text("\n".join(map(json.dumps, GA4)))
    nowhere = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_s=0.5)
    ran = run(("import", "--from", "ga4", "ga4.jsonl"), environ(nowhere), work)
    assert (1, True) == (ran.status, "no Kafka broker at 127.0.0.1:1" in ran.stderr)
    assert ["ga4.jsonl"] == sorted(path.name for path in work.iterdir())


def test_a_replay_is_moved_to_a_time(mock_kafka_settings: KafkaSettings, work: Path) -> None:
    """The first, or the last, event happens when asked; the distances stay, and nothing is left behind."""
    write_events(work / "moved.jsonl", page_views(3))
    given = environ(mock_kafka_settings)
    starts = run(("replay", "moved.jsonl", "--starts-at", "2025-01-01T00:00:00Z"), given, work)
    ends = run(("replay", "moved.jsonl", "--ends-at", "2025-02-01T00:00:00+01:00"), given, work)
    assert [0, 0] == [starts.status, ends.status]
    times = {event.ts for event in sent(mock_kafka_settings) if event.id.startswith("v-")}
    first_ms, last_ms = 1_735_689_600_000, 1_738_364_400_000
    assert {first_ms, first_ms + 1_000, first_ms + 2_000, last_ms - 2_000, last_ms - 1_000, last_ms} <= times
    assert ["moved.jsonl"] == sorted(path.name for path in work.iterdir())


def test_a_replay_continues_where_it_was(mock_kafka_settings: KafkaSettings, work: Path) -> None:
    """Resumed, only the rest is sent, moved as far as the beginning was."""
    path = write_events(work / "long.jsonl", page_views(10))
    note_replayed(path, beginning_of(path), 7, 86_400_000 * 30)
    ran = run(("replay", "long.jsonl", "--resume"), environ(mock_kafka_settings), work)
    assert (0, 3, 7) == (ran.status, json.loads(ran.stdout)["events"], json.loads(ran.stdout)["resumed_after"])
    moved_ms = START_MS + 86_400_000 * 30
    assert {moved_ms + 7_000, moved_ms + 8_000, moved_ms + 9_000} <= {e.ts for e in sent(mock_kafka_settings)}


def test_a_replay_of_a_folder_continues_where_it_was(mock_kafka_settings: KafkaSettings, work: Path) -> None:
    """So does one of Open Bandit files, in the order of their events, from the folder they are in."""
    row = "2019-11-24 12:00:{:02}+00:00,7,1,0,0.5\n"
    header = "timestamp,item_id,position,click,propensity_score\n"
    (work / "men-bts.csv").write_text(header + "".join(map(row.format, range(0, 10, 2))))
    (work / "women-bts.csv").write_text(header + "".join(map(row.format, range(1, 11, 2))))
    note_replayed(work, ["men-bts.csv", "women-bts.csv"], 8, 86_400_000)
    ran = run(("replay", ".", "--resume"), environ(mock_kafka_settings), work)
    noon_ms = 1_574_596_800_000 + 86_400_000
    assert (0, 2, 8) == (ran.status, json.loads(ran.stdout)["events"], json.loads(ran.stdout)["resumed_after"])
    replayed = {(event.id, event.ts) for event in sent(mock_kafka_settings) if event.id.startswith("ob-")}
    assert {("ob-men-bts-000004-i", noon_ms + 8_000), ("ob-women-bts-000004-i", noon_ms + 9_000)} == replayed
    assert [] == list(work.parent.glob("*.replay-state.json"))


def note_replayed(path: Path, beginning: object, events: int, moved_ms: int) -> None:
    """Write what an interrupted replay leaves behind."""
    purpose = {"version": 1, "replay": path.name, "beginning": beginning}
    note = {"purpose": purpose, "progress": {"events": events, "moved_ms": moved_ms}}
    path.with_name(f"{path.name}.replay-state.json").write_text(json.dumps(note))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("x.jsonl", "--starts-at", "now", "--ends-at", "now"), 2, "choose one"),
        (("--resume",), 2, "--resume goes with a source of your own"),
        (("x.jsonl", "--ends-at", "tomorrow"), 1, "'tomorrow' is no time"),
        (("x.jsonl", "--starts-at", "2025-01-01T00:00:00"), 1, "is no time"),
        (("absent.jsonl",), 1, "absent.jsonl does not exist"),
    ],
)
def test_a_replay_that_cannot_be_is_one_clear_line(words: tuple[str, ...], status: int, said: str) -> None:
    """What was asked for wrongly is said before anything is sent."""
    ran = invoke("replay", *words)
    assert (status, True) == (ran.exit_code, said in ran.stderr)
