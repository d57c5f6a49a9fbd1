"""A replay sends everything in order, at the pace that was asked for, and waits where it is told to."""

from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from producers.open_bandit import DATA, events
from producers.publisher import Delivery, Publisher
from producers.record_files import opened
from producers.replay import BadLine, jsonl, moved, replay, span_ms
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import Decision, DecisionItem, Event, PageView
from stream_app.embedded import MockKafka
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

START_MS = 1_732_300_000_000


def page_views(*seconds: float) -> list[Event]:
    """Return one event for every given second after the start."""
    return [
        PageView(id=f"v-{number}", ts=START_MS + int(second * 1000), user="u-1", page="/")
        for number, second in enumerate(seconds)
    ]


class Clock:
    """A clock that only sleeping moves, and what it was asked to sleep."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now_s += seconds


@pytest.mark.parametrize(("speed", "slept"), [(1.0, [2.0, 1.5]), (10.0, [0.2, 0.15]), (None, [])])
def test_the_pace_is_a_multiple_of_the_original(
    mock_kafka_settings: KafkaSettings, speed: float | None, slept: list[float]
) -> None:
    """Events leave at their distance in time, divided by the speed; one that is behind does not wait."""
    clock = Clock()
    with Publisher(mock_kafka_settings) as publisher:
        report = replay(page_views(0, 2, 1, 3.5, 3.5), publisher, speed=speed, clock=clock, sleep=clock.sleep)
    assert clock.slept == slept
    assert (report.events, report.first_ms, report.last_ms) == (5, START_MS, START_MS + 3_500)
    assert (report.delivery.delivered, report.elapsed_s) == (5, pytest.approx(sum(slept)))


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_none_is_refused(mock_kafka_settings: KafkaSettings, speed: float) -> None:
    """A replay at no speed would never end."""
    with Publisher(mock_kafka_settings) as publisher, pytest.raises(LynceusError, match="speed"):
        replay(page_views(0), publisher, speed=speed)


def test_gate_and_progress_are_told_how_far_it_is(mock_kafka_settings: KafkaSettings) -> None:
    """Both hear of every thousandth event, and progress of the end."""
    gates: list[int] = []
    steps: list[int] = []
    with Publisher(mock_kafka_settings) as publisher:
        replay(page_views(*range(2_500)), publisher, gate=gates.append, progress=steps.append)
    assert (gates, steps) == ([1_000, 2_000], [1_000, 2_000, 2_500])


def test_a_replay_of_nothing_is_a_report_of_nothing(mock_kafka_settings: KafkaSettings) -> None:
    """No events: nothing sent, no times."""
    clock = Clock()
    with Publisher(mock_kafka_settings) as publisher:
        report = replay([], publisher, clock=clock)
    assert report == (Delivery(0, 0, 0, None), 0, None, None, 0.0)


def test_the_whole_selection_fits_the_mock_cluster() -> None:
    """All 20,115 events of the Open Bandit selection arrive in the mock cluster, and none is dropped."""
    with MockKafka({"lynceus.events": 8}) as cluster:
        with Publisher(KafkaSettings(bootstrap=cluster.bootstrap, api_version="2.0")) as publisher:
            report = replay(events(DATA, ends_at_ms=START_MS), publisher)
        consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, api_version=(2, 0))
        partitions = [TopicPartition("lynceus.events", number) for number in range(8)]
        kept = sum(consumer.end_offsets(partitions).values()) - sum(consumer.beginning_offsets(partitions).values())
        consumer.close()
    assert (report.delivery, kept) == (Delivery(20_115, 20_115, 0, None), 20_115)


def test_lines_become_events_and_bad_ones_are_reported(tmp_path: Path) -> None:
    """Good lines are events in order; each other line is reported with its number and reason."""
    good = page_views(0, 1, 2)
    path = tmp_path / "recorded.jsonl"
    path.write_bytes(
        codec.encode(good[0]) + b"\n" + b'{"type":"page_view"}\n' + codec.encode(good[1]) + b"\r\n"
        b"\n" + b'{"id":"x","ts":1,"user":"u","type":"page_view","page":"/"}\n' + codec.encode(good[2])
    )
    bad: list[BadLine] = []
    with opened(path) as file:
        read = list(jsonl(file, bad.append))
    assert read == good
    assert [(line.line, line.rejected.reason) for line in bad] == [
        (2, "type"),
        (4, "syntax"),
        (5, "timestamp_unit"),
    ]
    assert all(isinstance(line.rejected, Rejected) and line.rejected.detail for line in bad)


def test_a_line_that_is_far_too_long_is_reported(tmp_path: Path) -> None:
    """A line without end costs one report, not the memory, and the next one is read."""
    path = tmp_path / "recorded.jsonl"
    (good,) = page_views(0)
    path.write_bytes(b"x" * 9_000_000 + b"\n" + codec.encode(good) + b"\n")
    bad: list[BadLine] = []
    with opened(path) as file:
        assert [good] == list(jsonl(file, bad.append))
    assert [(1, "limits")] == [(line.line, line.rejected.reason) for line in bad]


def test_moved_events_keep_everything_but_their_time() -> None:
    """Distances, ids and fields stay; the time of a decision's context moves along."""
    views = page_views(0, 2)
    decision = Decision(
        id="d", ts=START_MS, user="u-1", decision="d", items=(DecisionItem(item="a", position=1),), context_ts=START_MS
    )
    (*later, decided) = moved([*views, decision], 5_000)
    assert [(view.id, view.ts + 5_000) for view in views] == [(event.id, event.ts) for event in later]
    assert (decision.items, START_MS + 5_000, START_MS + 5_000) == (decided.items, decided.ts, decided.context_ts)


def test_events_are_not_moved_out_of_time() -> None:
    """A move beyond the years that event times may have is an error, not a topic of rejected records."""
    with pytest.raises(LynceusError, match="would happen at"):
        list(moved(page_views(0), 10**13))


def test_the_span_is_from_the_earliest_to_the_latest(tmp_path: Path) -> None:
    """Recorded events need not be in order, and lines that are none do not count."""
    path = tmp_path / "recorded.jsonl"
    path.write_bytes(b"\n".join([b"{}", *map(codec.encode, page_views(3, 1, 2))]))
    with opened(path) as file:
        assert (START_MS + 1_000, START_MS + 3_000) == span_ms(file)
    path.write_bytes(b"{}\n")
    with opened(path) as file, pytest.raises(LynceusError, match="no event in it"):
        span_ms(file)


def test_progress_is_noted_when_it_is_delivered(mock_kafka_settings: KafkaSettings) -> None:
    """What is noted every five seconds, and at the end, has been acknowledged by Kafka."""
    clock = Clock()
    noted: list[tuple[int, int]] = []
    with Publisher(mock_kafka_settings) as publisher:

        def note(count: int) -> None:
            noted.append((count, publisher.delivery().delivered))

        replay(page_views(0, 3, 6, 8, 12), publisher, speed=1, noted=note, clock=clock, sleep=clock.sleep)
    assert [(2, 2), (4, 4), (5, 5)] == noted


def test_nothing_is_noted_that_was_not_delivered() -> None:
    """When the broker is gone, the note stays where it was."""
    noted: list[int] = []
    with MockKafka({"lynceus.events": 1}) as cluster:
        publisher = Publisher(KafkaSettings(bootstrap=cluster.bootstrap, api_version="2.0"), delivery_timeout_s=0.5)
        replay(page_views(0), publisher, noted=noted.append)
    report = replay(page_views(1, 2, 3), publisher, noted=noted.append)
    publisher.close(0.2)
    assert ([1], 3) == (noted, report.delivery.failed)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    with (
        pytest.raises(LynceusError, match=r"absent\.jsonl cannot be read: No such file"),
        opened(tmp_path / "absent.jsonl"),
    ):
        pass
