"""A replay sends everything in order, at the pace that was asked for, and waits where it is told to."""

from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from producers.open_bandit import DATA, events
from producers.publisher import Delivery, Publisher
from producers.replay import BadLine, jsonl, replay
from stream_app.core import codec
from stream_app.core.codec import Rejected
from stream_app.core.events import Event, PageView
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
    read = list(jsonl(path, bad.append))
    assert read == good
    assert [(line.line, line.rejected.reason) for line in bad] == [
        (2, "type"),
        (4, "syntax"),
        (5, "timestamp_unit"),
    ]
    assert all(isinstance(line.rejected, Rejected) and line.rejected.detail for line in bad)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    with pytest.raises(LynceusError, match=r"absent\.jsonl: No such file"):
        list(jsonl(tmp_path / "absent.jsonl", lambda _: None))
