"""`lynceus backtest`: records of a file or of a topic through the watch, and what it would have said."""

import gzip
import json
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pytest
from kafka import KafkaProducer

from producers.topics import ensure_topics
from producers.transit import records
from producers.world import World
from stream_app.backtest import Account, Backtest, watched_plan
from stream_app.backtest_report import as_json, as_table, policy_of
from stream_app.backtest_sources import over_file, over_topic
from stream_app.core.cells import unpack_rows
from stream_app.core.codec import decode, encode
from stream_app.core.events import Event
from stream_app.core.histograms import bin_of
from stream_app.core.panes import DAY_MS
from stream_app.core.processor import Partition, Span
from stream_app.core.rules import Rules
from stream_app.core.slices import Slice
from stream_app.core.tally import Plan
from stream_app.errors import LynceusError
from stream_app.metrics.catalogue import PLAN
from stream_app.serving import server
from stream_app.serving.watch_view import WatchView, recorded, surface_watch, told
from stream_app.settings import KafkaSettings, VerdictsSettings
from stream_app.statistics.minutes import BY_POSITION, WATCHED, Minute, minutes_of
from stream_app.statistics.verdicts import Verdict, where
from stream_app.statistics.watch import Policy
from stream_app.verdicts import words
from tests import commands
from tests.incident import BEGAN_MS, PLACES, listed, values
from tests.timelines import LATER

MINUTE = 60_000
POLICY = Policy(settle_ms=60 * MINUTE)
BREAKS = 90
LOG = values(120, BREAKS)
NOTHING: dict[str, Any] = {"margin": None, "settle": None, "shares": (), "budget": None, "series": None}


def watched(log: Sequence[bytes | None], chunk: int = 1_000) -> tuple[Backtest, Account]:
    """Return a backtest over one partition, fed by chunks, and its account."""
    backtest = Backtest(Rules(), POLICY)
    for begin in range(0, len(log), chunk):
        backtest.feed(0, log[begin : begin + chunk], LATER)
    return backtest, backtest.close(is_whole=True)


def said(verdicts: Sequence[Verdict]) -> list[tuple[str, bool]]:
    return [(verdict.cause, verdict.is_open) for verdict in verdicts]


@pytest.fixture(scope="module")
def broken() -> tuple[Backtest, Account]:
    return watched(LOG)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(LOG) + b"\n")
    return path


def test_a_drop_is_found_where_it_was(broken: tuple[Backtest, Account]) -> None:
    """90 % of the personalized clicks go at minute 90: a drop of CTR within 10 minutes, dated to within 3."""
    assert [("not_enough", True), ("not_enough", False), ("drop", True)] == said(broken[0].verdicts)
    drop = broken[0].verdicts[-1]
    assert (True, True, True, "ctr") == (
        BREAKS < (drop.at_ms - BEGAN_MS) / MINUTE <= BREAKS + 10,
        abs((drop.since_ms - BEGAN_MS) / MINUTE - BREAKS) <= 3,
        drop.size is not None and drop.size.low <= 0.9 <= drop.size.high,
        drop.kpi,
    )


@pytest.mark.parametrize("place", [1, 2])
def test_a_position_that_went_bad_is_named_first(place: int) -> None:
    """Nobody clicks any more what stands there in the personalized arm: of all that is told it adds most."""
    log = [encode(event) for event in listed(180, BREAKS, {place: 0.0})]
    (drop,) = [verdict for verdict in watched(log)[0].verdicts if verdict.kpi == "ctr"]
    assert (f"position={place}", True) == (drop.contributors[0][0], drop.is_open)


def test_where_all_positions_fell_alike_none_stands_out() -> None:
    """Each adds about as much of the evidence as it had of the clicks, and no device is behind the first position."""
    log = [encode(event) for event in listed(120, BREAKS, dict.fromkeys(range(1, 5), 0.3))]
    (drop,) = [verdict for verdict in watched(log)[0].verdicts if verdict.kpi == "ctr"]
    told = dict(drop.contributors)
    clicks = sum(PLACES["personalized"])
    found = {name: round(e / drop.log_evidence, 2) for name, e in told.items() if name.startswith("position=")}
    usual = {f"position={at}": rate / clicks for at, rate in enumerate(PLACES["personalized"], 1)}
    assert found == {name: pytest.approx(usual[name], abs=0.2) for name in found}
    assert True is (max(told.values()) > max(e for name, e in told.items() if name.startswith("position=")))


def test_without_a_drop_nothing_fires() -> None:
    """A shop in which nothing breaks ends with all well."""
    backtest, _ = watched(values(120, 1_000))
    assert ([("not_enough", True), ("not_enough", False)], ()) == (said(backtest.verdicts), backtest.standing)


def test_everything_is_accounted_for(broken: tuple[Backtest, Account]) -> None:
    """All records, all minutes, and the surface that was watched."""
    end_ms = BEGAN_MS + 120 * MINUTE
    assert Account(len(LOG), {"counted": len(LOG)}, {}, BEGAN_MS, end_ms, 120, 0, ("home",), ()) == broken[1]


@pytest.mark.parametrize("log", [LOG, values(20 * 60, 10**6, a_minute=0.5)], ids=["dense", "sparse"])
def test_how_records_are_handed_over_changes_nothing(log: list[bytes]) -> None:
    """A few at a time or all at once: the same evidence, to the last digit, though panes are folded meanwhile."""
    few, many = watched(log, 7), watched(log, len(log))
    assert (few[0].verdicts, few[0].watched, few[1]) == (many[0].verdicts, many[0].watched, many[1])


def test_partitions_add_up_to_one_log(broken: tuple[Backtest, Account]) -> None:
    """Users spread over partitions that are read at different paces: the same verdicts as from one."""
    parts: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for value in LOG:
        event = decode(value)
        assert isinstance(event, Event)
        parts[int(event.user[1:]) % 2].append(value)
    backtest = Backtest(Rules(), POLICY, parts)
    backtest.finish(2)  # of which nothing comes
    for begin in range(0, len(LOG), 900):
        backtest.feed(0, parts[0][begin : begin + 900], LATER)
        backtest.feed(1, parts[1][begin // 3 : begin // 3 + 300], LATER)
    backtest.finish(0)
    backtest.feed(1, parts[1][-(-len(LOG) // 900) * 300 :], LATER)
    account = backtest.close(is_whole=True)
    assert (broken[0].verdicts, broken[0].watched, broken[1]) == (backtest.verdicts, backtest.watched, account)


def test_a_partition_that_runs_ahead_says_so() -> None:
    """How far it leads is event time before the slowest that is still read."""
    backtest = Backtest(Rules(), POLICY, (0, 1))
    backtest.feed(0, LOG, LATER)
    backtest.feed(1, LOG[:1], LATER)
    ahead = (backtest.lead_ms(0) // MINUTE, backtest.lead_ms(1))
    backtest.finish(1)
    assert ((119, 0), 0) == (ahead, backtest.lead_ms(0))


def test_what_is_not_sealed_is_not_judged() -> None:
    """Of a log that goes on, minutes within lateness and disorder of the newest event may still change."""
    backtest = Backtest(Rules(), POLICY)
    backtest.feed(0, LOG, LATER)
    assert 120 - 6 == backtest.close(is_whole=False).minutes


def test_a_long_silence_is_skipped() -> None:
    """Two days without an event are not 2,880 minutes of nothing; an hour is 60 of them."""
    hour = values(10, 1_000)
    apart = [_later(value, 60 * MINUTE) for value in hour], [_later(value, 2 * DAY_MS) for value in hour]
    _, account = watched([*hour, *apart[0], *apart[1]])
    assert (80, 2 * 1440 - 70) == (account.minutes, account.skipped_minutes)


def _later(value: bytes, by_ms: int) -> bytes:
    told = json.loads(value)
    for name in ("id", "user", "session", "decision"):
        told[name] += f"+{by_ms}"
    return json.dumps(told | {"ts": told["ts"] + by_ms}).encode()


def test_a_surface_in_one_arm_is_not_watched() -> None:
    """Where there is no holdout nothing can be held against it, and the account says so."""
    treated = [value for value in values(30, 1_000) if b'"personalized"' in value]
    backtest, account = watched(treated)
    assert ([], (), ("home",)) == (backtest.verdicts, account.surfaces, account.one_armed)


def test_bad_records_are_counted() -> None:
    """Garbage, tombstones and duplicates are in the account, and stop nothing."""
    _, account = watched([b"{", None, *LOG[:50], *LOG[:50]])
    assert ({"counted": 50, "duplicate": 50, "rejected": 2}, 102) == (account.outcomes, account.records)


def test_few_measures_are_counted_as_in_the_catalogue() -> None:
    """Counting only what the watch reads gives the same amounts, event for event, as the whole catalogue."""
    world = World(3)
    log = [record.value for record in islice(records(world, world.happenings(BEGAN_MS, 5.0)), 4_000)]
    assert _totals(PLAN, log) == _totals(watched_plan(), log)


def _totals(plan: Plan, log: Sequence[bytes]) -> dict[tuple[object, ...], int]:
    state = Partition(plan, Rules())
    state.process([Span(0, LATER, log)])
    state.cells.settle()
    state.bins.settle()
    places = [(name, at) for name in WATCHED if (at := plan.place_of(name)) is not None]
    positions = {each.number: each.name for each in plan.histograms if each.name in BY_POSITION}
    by_position = {
        (start, bin_.surface, bin_.arm, positions[bin_.histogram], bin_.bin): amount
        for start, rows in state.bins.cells.panes.items()
        for key, (amount,) in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items()
        if (bin_ := bin_of(state.slices.slices, key)).histogram in positions
    }
    assert {*BY_POSITION} == {at[3] for at in by_position}
    return by_position | {
        (start, state.slices.slices[number], name): tally[at]
        for start, rows in state.cells.panes.items()
        for number, tally in (unpack_rows(rows) if isinstance(rows, bytes) else rows).items()
        for name, at in places
        if tally[at]
    }


def test_a_minute_is_taken_apart_by_dimension() -> None:
    """Arms of the surface, and of each of its segments, channels and devices, which add up to it."""
    home = Slice("home", "holdout", "p", "new", "web", "phone")
    rows = {home: [3, 1], home._replace(device="tablet"): [4, 0], home._replace(surface="all"): [1, 0]}
    counts = {"holdout": {"impressions": 7, "first_clicks": 1}}
    assert {
        "home": Minute(
            0,
            counts,
            {
                "segment=new": counts,
                "channel=web": counts,
                "device=phone": {"holdout": {"impressions": 3, "first_clicks": 1}},
                "device=tablet": {"holdout": {"impressions": 4}},
            },
        )
    } == {
        surface: minute
        for surface, minute in minutes_of(0, rows.items(), {"impressions": 0, "first_clicks": 1}).items()
        if surface != "other"
    }


def test_a_file_is_one_log(file: Path, broken: tuple[Backtest, Account]) -> None:
    """JSON lines, plain or gzip: the same as the records in memory."""
    packed = file.with_suffix(".gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    found = [over_file(path, Rules(), POLICY, LATER) for path in (file, packed)]
    assert [(broken[0].verdicts, broken[1])] * 2 == [(each[0].verdicts, each[1]) for each in found]


def test_a_topic_is_read_to_where_it_ends(kafka_settings: KafkaSettings, broken: tuple[Backtest, Account]) -> None:
    """Eight partitions of a real broker, keyed by user: the drop of the file, with every record accounted for."""
    ensure_topics(kafka_settings)
    producer = KafkaProducer(bootstrap_servers=kafka_settings.bootstrap)
    for value in LOG:
        event = decode(value)
        assert isinstance(event, Event)
        producer.send(kafka_settings.events_topic, value, key=event.user.encode())
    producer.close(30)
    backtest, account = over_topic(kafka_settings, kafka_settings.events_topic, Rules(), POLICY, time.monotonic)
    assert (broken[0].verdicts, broken[1].outcomes, 114) == (backtest.verdicts, account.outcomes, account.minutes)


def test_an_empty_topic_says_nothing(kafka_settings: KafkaSettings) -> None:
    """A topic without records is read at once; one that does not exist is an error with its name."""
    ensure_topics(kafka_settings)
    backtest, account = over_topic(kafka_settings, kafka_settings.events_topic, Rules(), POLICY, time.monotonic)
    with pytest.raises(LynceusError, match="there is no topic 'nowhere'"):
        over_topic(kafka_settings, "nowhere", Rules(), POLICY, time.monotonic)
    assert ([], 0, None) == (backtest.verdicts, account.records, account.first_ms)


def test_no_broker_is_said() -> None:
    """Where no broker listens: one line with its address."""
    settings = KafkaSettings(bootstrap="127.0.0.1:1", connect_timeout_s=0.5)
    with pytest.raises(LynceusError, match=r"no Kafka broker at 127\.0\.0\.1:1"):
        over_topic(settings, "lynceus.events", Rules(), POLICY, time.monotonic)


def test_the_table_says_when_where_why_and_how_much(broken: tuple[Backtest, Account]) -> None:
    """A line for each verdict, what it rests on, and how things stand at the end."""
    lines = as_table("log.jsonl", *broken).splitlines()
    drop = next(line for line in lines if " drop " in line)
    assert ["home", "ctr", "drop", "opened"] == drop.split()[2:6]
    assert [f"log.jsonl: {len(LOG):,} records, {len(LOG):,} counted", "watched: home", "at the end:"] == [
        lines[0],
        lines[2],
        lines[-2],
    ]


def test_where_most_of_it_is_is_said_in_words(broken: tuple[Backtest, Account]) -> None:
    """By the table of a backtest, by `lynceus verdicts` of what is open, and of what was said."""
    backtest, account = broken
    drop = backtest.verdicts[-1]
    watch = WatchView(tuple(surface_watch(POLICY, each) for each in backtest.watched.values()))
    lines = words(recorded(watch, map(told, backtest.verdicts))).splitlines()
    most = f"{drop.contributors[0][0]} {drop.contributors[0][1]:.1f}"
    assert ([f"most of it: {where(drop)}"] * 2, True, True) == (
        [line.strip() for line in (*lines, *as_table("log", backtest, account).splitlines()) if "most of it" in line],
        any(line.endswith(f" Most of it: {where(drop)}.") for line in lines),
        where(drop).startswith(most),
    )


def test_the_table_says_that_nothing_fired() -> None:
    """An empty log: no minute, no surface, nothing fired, all well."""
    words = as_table("log.jsonl", *watched([]))
    assert [True] * 4 == [
        part in words for part in ("no minute was sealed", "no surface", "nothing would have fired", "all is well")
    ]


def test_json_has_all_of_it(broken: tuple[Backtest, Account]) -> None:
    """Each verdict with its id, those that stand, and the account."""
    told = json.loads(as_json("log.jsonl", *broken))
    assert ([verdict.id for verdict in broken[0].verdicts], ["drop"], len(LOG)) == (
        [verdict["id"] for verdict in told["verdicts"]],
        [verdict["cause"] for verdict in told["standing"]],
        told["account"]["records"],
    )


def test_options_become_a_policy() -> None:
    """Budget, series, margin, what was promised, and how long nothing is said."""
    told = {
        "shares": ("personalized=90%", "holdout=0.1"), "settle": "2h", "margin": "10%", "budget": 12.0, "series": 3,
    }  # fmt: skip
    assert (
        Policy(budget_a_year=12.0, margin=0.1, shares={"personalized": 0.9, "holdout": 0.1}, settle_ms=120 * MINUTE)
    ) == policy_of(VerdictsSettings(), told)


def test_what_is_not_told_is_as_a_server_has_it() -> None:
    """Without options the policy is that of a server with the same settings, series and shares included."""
    settings = VerdictsSettings(budget_a_year=2.0, surfaces=7, shares="personalized=0.8,holdout=0.2", srm_alpha=0.01)
    assert (server.policy_of(settings), 21) == (policy_of(settings, NOTHING), policy_of(settings, NOTHING).series)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"settle": "soon"}, "--settle 'soon' is no time"),
        ({"shares": ("holdout",)}, "--share 'holdout' is no share of an arm"),
        ({"shares": ("holdout=10%",)}, "the arms' shares add up to 0.1"),
        ({"margin": "100%"}, "a margin of 1"),
        ({"budget": 0.0}, "budget 0.0"),
    ],
)
def test_options_that_cannot_be_are_refused(more: dict[str, Any], words: str) -> None:
    """The option, what was given, and what it should be."""
    with pytest.raises((click.UsageError, LynceusError), match=words):
        policy_of(VerdictsSettings(), NOTHING | more)


def test_the_command_prints_it(file: Path, tmp_path: Path) -> None:
    """The command finds the drop in a file; a folder, no file, and neither file nor topic are refused."""
    ran = commands.run_all(
        [f"backtest {file} --settle 1h --json", f"backtest {tmp_path}", "backtest nowhere.jsonl", "backtest"],
        {},
        tmp_path,
    )
    found, folder, missing, neither = ran.values()
    assert [("not_enough", True), ("not_enough", False), ("drop", True)] == [
        (verdict["cause"], verdict["is_open"]) for verdict in json.loads(found.stdout)["verdicts"]
    ]
    assert (True, True, (1, 1, 2)) == (
        "is a folder" in folder.stderr,
        "nowhere.jsonl cannot be read" in missing.stderr,
        (folder.status, missing.status, neither.status),
    )
